//! A component that is sound, but not for this wrapper: built for a later WASI, or with a proposal of WebAssembly that
//! hooks are not given. Says which, and what to turn off where it was built.

use super::{
    contract::{FEATURES, Interface},
    validate::read,
};
use wasmparser::{BinaryReaderError, Parser, Payload, WasmFeatures};

/// What came with WASI 0.3: functions that suspend, streams, futures.
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

/// Each proposal that is not served: its name, and what leaves it out.
const PROPOSALS: [(WasmFeatures, &str, &str); 14] = [
    (WasmFeatures::STACK_SWITCHING, "stack switching", "build it without"),
    (
        GC,
        "garbage collection or typed references",
        "choose a language, or a mode of its compiler, that brings its own memory management",
    ),
    (
        WasmFeatures::EXCEPTIONS.union(WasmFeatures::LEGACY_EXCEPTIONS),
        "exception handling",
        "build it with -fno-exceptions and without setjmp, in Rust with panic=abort",
    ),
    (WasmFeatures::MEMORY64.union(WasmFeatures::CM64), "64-bit memory", "build it for wasm32, not wasm64"),
    (
        WasmFeatures::THREADS.union(WasmFeatures::SHARED_EVERYTHING_THREADS),
        "threads",
        "build it without -pthread and without the target feature atomics",
    ),
    (WasmFeatures::CUSTOM_PAGE_SIZES, "custom page sizes", "link it without --page-size"),
    (WasmFeatures::WIDE_ARITHMETIC, "wide arithmetic", "build it without the target feature wide-arithmetic"),
    (WasmFeatures::MEMORY_CONTROL, "memory control", "build it without"),
    (WasmFeatures::COMPACT_IMPORTS, "compact imports", "build it without"),
    (WasmFeatures::CM_VALUES, "component values", "leave values out of its world"),
    (WasmFeatures::CM_NESTED_NAMES, "nested package names", "name its packages namespace:package"),
    (WasmFeatures::CM_FIXED_LENGTH_LISTS, "fixed-length lists", "use plain lists in its world"),
    (WasmFeatures::CM_MAP, "maps", "use lists of pairs in its world"),
    (
        WasmFeatures::CM_IMPLEMENTS.union(WasmFeatures::CM_CANON_NAMES),
        "names of later components",
        "build it with older tools",
    ),
];

/// How many proposals are looked for in one file; each costs another look at all of it.
const LOOKS: usize = 6;

/// Why a component did not pass.
pub fn explain(bytes: &[u8], mut error: BinaryReaderError) -> String {
    let mut missing = WasmFeatures::empty();
    let mut sound = false;
    // Is that proposal the only reason? With it allowed, either the component is valid or the next reason appears.
    for _ in 0..LOOKS {
        let Some(feature) = error.missing_wasm_feature() else { break };
        missing |= feature;
        match read(bytes, FEATURES | missing) {
            Ok(_) => {
                sound = true;
                break;
            }
            Err(next) => error = next,
        }
    }
    let known = sound || error.missing_wasm_feature().is_some();
    let truncated = error.message() == "unexpected end-of-file";
    // A draft of WASI 0.3 may say things in ways that were dropped since; the names remain.
    if !truncated && let Some(version) = names(bytes).iter().find_map(|name| later(name)) {
        return later_wasi(version);
    }
    let found = PROPOSALS.iter().find(|(features, ..)| features.intersects(missing));
    match found {
        _ if known && missing.intersects(ASYNC) => later_wasi("0.3"),
        Some((_, name, mend)) if known => format!("uses {name}, a proposal that hooks are not given; {mend}"),
        _ if truncated => "not a valid component: unexpected end-of-file; is it cut off? copy it again".into(),
        // What is wrong inside an interface comes in lines, from the outside to the inside.
        _ => format!("not a valid component: {}", error.message().replace('\n', ": ")),
    }
}

/// The message for who builds for a WASI after 0.2.
pub fn later_wasi(version: &str) -> String {
    format!(
        "built for WASI {version}, which wrapper does not run yet; build it for WASI 0.2 (componentize-qjs: --sync; Rust: \
         target wasm32-wasip2, spin-sdk 5, without the crate wasip3; elsewhere: a world of WASI 0.2 without async)"
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

/// What the outermost component imports and exports, as far as that can be read.
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
