//! Compiler and runner: explains what a rejected file is, and how to make a hook of it: other files, recognised by
//! their first bytes; modules that are not components; components for another WASI or with unsupported proposals.

use super::contract::{FEATURES, Interface};
use wasmparser::{BinaryReaderError, Parser, Payload, WasmFeatures};

/// Features of WASI 0.3: functions that suspend, streams, futures.
const ASYNC: WasmFeatures = WasmFeatures::CM_ASYNC
    .union(WasmFeatures::CM_ASYNC_STACKFUL)
    .union(WasmFeatures::CM_MORE_ASYNC_BUILTINS)
    .union(WasmFeatures::CM_ERROR_CONTEXT)
    .union(WasmFeatures::CM_THREADING);

const GC: WasmFeatures = WasmFeatures::GC
    .union(WasmFeatures::GC_TYPES)
    .union(WasmFeatures::FUNCTION_REFERENCES)
    .union(WasmFeatures::CUSTOM_DESCRIPTORS)
    .union(WasmFeatures::CM_GC);

/// Each unsupported proposal: its name, and how to build without it.
const PROPOSALS: [(WasmFeatures, &str, &str); 14] = [
    (WasmFeatures::STACK_SWITCHING, "stack switching", "build it without this proposal"),
    (
        GC,
        "garbage collection or typed references",
        "use a language, or a compiler mode, with its own memory management",
    ),
    (
        WasmFeatures::EXCEPTIONS.union(WasmFeatures::LEGACY_EXCEPTIONS),
        "exception handling",
        "build it with -fno-exceptions and without setjmp (Rust: panic=abort)",
    ),
    (WasmFeatures::MEMORY64.union(WasmFeatures::CM64), "64-bit memory", "build it for wasm32, not wasm64"),
    (
        WasmFeatures::THREADS.union(WasmFeatures::SHARED_EVERYTHING_THREADS),
        "threads",
        "build it without -pthread and without the target feature atomics",
    ),
    (WasmFeatures::CUSTOM_PAGE_SIZES, "custom page sizes", "link it without --page-size"),
    (WasmFeatures::WIDE_ARITHMETIC, "wide arithmetic", "build it without the target feature wide-arithmetic"),
    (WasmFeatures::MEMORY_CONTROL, "memory control", "build it without this proposal"),
    (WasmFeatures::COMPACT_IMPORTS, "compact imports", "build it without this proposal"),
    (WasmFeatures::CM_VALUES, "component values", "remove values from its world"),
    (WasmFeatures::CM_NESTED_NAMES, "nested package names", "name its packages namespace:package"),
    (WasmFeatures::CM_FIXED_LENGTH_LISTS, "fixed-length lists", "use plain lists in its world"),
    (WasmFeatures::CM_MAP, "maps", "use lists of pairs in its world"),
    (
        WasmFeatures::CM_IMPLEMENTS.union(WasmFeatures::CM_CANON_NAMES),
        "names of later components",
        "build it with older tools",
    ),
];

/// Proposals that are detected in one file; each takes another pass over all of it.
const LOOKS: usize = 6;

/// Explains why a component is invalid; `validate` reads it again with other features.
pub fn unsupported(
    bytes: &[u8],
    mut error: BinaryReaderError,
    validate: impl Fn(WasmFeatures) -> Result<(), BinaryReaderError>,
) -> String {
    let mut missing = WasmFeatures::empty();
    let mut sound = false;
    // Is that proposal the only reason? With it allowed, either the component is valid or the next reason appears.
    for _ in 0..LOOKS {
        let Some(feature) = error.missing_wasm_feature() else { break };
        missing |= feature;
        match validate(FEATURES | missing) {
            Ok(()) => {
                sound = true;
                break;
            }
            Err(next) => error = next,
        }
    }
    let known = sound || error.missing_wasm_feature().is_some();
    let truncated = error.message() == "unexpected end-of-file";
    // A draft of WASI 0.3 may be encoded in ways that were dropped since; the names remain.
    if !truncated && let Some(version) = names(bytes).iter().find_map(|name| later(name)) {
        return later_wasi(version);
    }
    let found = PROPOSALS.iter().find(|(features, ..)| features.intersects(missing));
    match found {
        _ if known && missing.intersects(ASYNC) => later_wasi("0.3"),
        Some((_, name, fix)) if known => format!("uses {name}, a proposal that hooks cannot use; {fix}"),
        _ if truncated => "not a valid component: unexpected end-of-file; it is truncated, copy it again".into(),
        // Errors inside an interface are several lines, from the outside to the inside.
        _ => format!("not a valid component: {}", error.message().replace('\n', ": ")),
    }
}

/// The message for a component of a WASI after 0.2.
pub fn later_wasi(version: &str) -> String {
    format!(
        "built for WASI {version}, which wrapper does not support yet; build it for WASI 0.2 (componentize-qjs: \
         --sync; Rust: target wasm32-wasip2, spin-sdk 5, without the crate wasip3; elsewhere: a world of WASI 0.2 \
         without async)"
    )
}

/// The version of WASI, such as 0.3, that a name of a WASI interface has, if it is later than 0.2.
pub fn later(name: &str) -> Option<&str> {
    let interface = Interface::parse(name);
    let version = interface.version;
    let (major, rest) = version.split_once('.')?;
    let minor = rest.split(['.', '-']).next()?;
    let is_later = (major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?) > (0, 2);
    (interface.is_wasi() && is_later).then(|| version.get(..major.len() + 1 + minor.len())).flatten()
}

/// Imports and exports of the outermost component, as far as they can be read.
fn names(bytes: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(bytes).map_while(Result::ok) {
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 0 => {
                names.extend(section.into_iter().map_while(Result::ok).map(|import| import.name.name.to_owned()));
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                names.extend(section.into_iter().map_while(Result::ok).map(|export| export.name.name.to_owned()));
            }
            _ => {}
        }
    }
    names
}

/// Advice for files that are not components.
const ADVICE: &str = "hooks are WebAssembly components, build it for wasm32-wasip2";

/// Recognises files that are not components, and explains what to do.
pub fn sniff(bytes: &[u8]) -> Result<(), String> {
    Err(match bytes {
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => return Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => module(bytes),
        [0, b'a', b's', b'm', ..] => format!("an unknown version of WebAssembly; {ADVICE}"),
        // wasmtime's machine code is an ELF file with an ABI of its own (ELFOSABI_WASMTIME).
        [0x7f, b'E', b'L', b'F', _, _, _, 200, ..] => {
            "machine code compiled from a component, which is never trusted; use the component itself".into()
        }
        [0x7f, b'E', b'L', b'F', ..] => format!("native code (ELF), such as a plugin of Wrapper4; {ADVICE}"),
        [0x1f, 0x8b, ..] => "compressed with gzip; unpack it".into(),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "compressed with zstd; unpack it".into(),
        [b'P', b'K', 3, 4, ..] => "a zip archive; unpack it".into(),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => "compressed with xz; unpack it".into(),
        // "\0asm" in base64. A ConfigMap decodes what is in `binaryData`, and not what is in `data`.
        [b'A', b'G', b'F', b'z', b'b', ..] => {
            "base64 text, not the decoded bytes; decode it (in a ConfigMap use binaryData, not data)".into()
        }
        _ if begins(bytes, &["(component", "(module", ";;", "(;"]) => {
            "WebAssembly text, not binary; convert it with `wasm-tools parse`".into()
        }
        _ if begins(bytes, &["<!doctype", "<html", "<?xml"]) => {
            format!("a web page, perhaps of a failed download; {ADVICE}")
        }
        _ if begins(bytes, &["version https://git-lfs"]) => {
            "a Git LFS pointer, not the file itself; fetch it with `git lfs pull`".into()
        }
        _ => format!("not WebAssembly; {ADVICE}"),
    })
}

fn begins(bytes: &[u8], starts: &[&str]) -> bool {
    let bytes = bytes.trim_ascii_start();
    starts
        .iter()
        .any(|start| bytes.get(..start.len()).is_some_and(|found| found.eq_ignore_ascii_case(start.as_bytes())))
}

/// The module of WASI 0.1's functions. wasmtime's releases have an adapter from it to WASI 0.2.
const PREVIEW1: &str = "wasi_snapshot_preview1";

/// Advice for a core module, by what it imports.
fn module(bytes: &[u8]) -> String {
    let mut preview1 = false;
    let mut foreign = None;
    let mut typed = false;
    // A damaged module is still a module.
    for payload in Parser::new(0).parse_all(bytes).map_while(Result::ok) {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.into_imports().map_while(Result::ok) {
                    match import.module {
                        PREVIEW1 => preview1 = true,
                        module => foreign = foreign.or(Some((module, import.name))),
                    }
                }
            }
            // wit-bindgen stores the world of the future component there.
            Payload::CustomSection(section) if section.name().starts_with("component-type") => typed = true,
            _ => {}
        }
    }
    let start = "not a component but a core module; build it for wasm32-wasip2";
    let adapt = "`wasm-tools component new --adapt wasi_snapshot_preview1.command.wasm`";
    let general = format!(
        "{start}, or where the compiler has no such target (Go, Zig, AssemblyScript) for WASI 0.1, and convert that \
         with {adapt}"
    );
    match foreign {
        _ if typed && !preview1 => format!("{start}, or convert it with `wasm-tools component new`"),
        _ if typed => format!("{start}, or convert it with {}", adapt.replace("command", "reactor")),
        None if preview1 => {
            format!(
                "{start}, or where the compiler has no such target (Go, Zig, AssemblyScript) convert it with {adapt}"
            )
        }
        None => general,
        Some(("gojs" | "go", _)) => format!("{general}; this one is for JavaScript: set GOOS=wasip1, not js"),
        Some(("env", "abort")) => {
            format!("{general}; this one imports env.abort: build AssemblyScript with @assemblyscript/wasi-shim")
        }
        Some((module, name)) => {
            format!("{general}; this one imports {:?}, which is not part of WASI", format!("{module}.{name}"))
        }
    }
}
