//! What people really mount by mistake, told by its first bytes; and of a core module, which step makes it a component.

use wasmparser::{Parser, Payload};

const MEND: &str = "hooks are WebAssembly components, build it for wasm32-wasip2";

/// Not a component, in words: what it is, and what would mend it.
pub fn sniff(bytes: &[u8]) -> Result<(), String> {
    Err(match bytes {
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => return Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => module(bytes),
        [0, b'a', b's', b'm', ..] => format!("a kind of WebAssembly that is not known here; {MEND}"),
        // wasmtime's machine code is an ELF file with an ABI of its own (ELFOSABI_WASMTIME).
        [0x7f, b'E', b'L', b'F', _, _, _, 200, ..] => {
            "machine code compiled from a component, which is never trusted; give the component itself".into()
        }
        [0x7f, b'E', b'L', b'F', ..] => format!("native code (ELF), as Wrapper4's plugins were; {MEND}"),
        [0x1f, 0x8b, ..] => "compressed with gzip; unpack it".into(),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "compressed with zstd; unpack it".into(),
        [b'P', b'K', 3, 4, ..] => "a zip archive; unpack it".into(),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => "compressed with xz; unpack it".into(),
        // "\0asm" in base64. A ConfigMap decodes what is in `binaryData`, and not what is in `data`.
        [b'A', b'G', b'F', b'z', b'b', ..] => {
            "base64 text, not the bytes themselves; decode it (a ConfigMap has it in binaryData, not in data)".into()
        }
        _ if begins(bytes, &["(component", "(module", ";;", "(;"]) => {
            "WebAssembly text, not binary; turn it into a component with `wasm-tools parse`".into()
        }
        _ if begins(bytes, &["<!doctype", "<html", "<?xml"]) => {
            format!("a web page, perhaps of a download that failed; {MEND}")
        }
        _ if begins(bytes, &["version https://git-lfs"]) => {
            "a pointer of Git LFS, not the file itself; fetch it with `git lfs pull`".into()
        }
        _ => format!("not WebAssembly; {MEND}"),
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

/// What a core module lacks to be a component.
fn module(bytes: &[u8]) -> String {
    let mut preview1 = false;
    let mut foreign = None;
    let mut typed = false;
    // A damaged module is a module, too.
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
            // Where wit-bindgen leaves the world that the module is to be made a component of.
            Payload::CustomSection(section) if section.name().starts_with("component-type") => typed = true,
            _ => {}
        }
    }
    let start = "not a component but a core module; build it for wasm32-wasip2";
    let adapt = "`wasm-tools component new --adapt wasi_snapshot_preview1.command.wasm`";
    let general = format!(
        "{start}, or where the compiler has no such target (Go, Zig, AssemblyScript) for WASI 0.1, and make that a \
         component with {adapt}"
    );
    match foreign {
        _ if typed && !preview1 => format!("{start}, or make it a component with `wasm-tools component new`"),
        _ if typed => format!("{start}, or make it a component with {}", adapt.replace("command", "reactor")),
        None if preview1 => {
            format!(
                "{start}, or where the compiler has no such target (Go, Zig, AssemblyScript) make it a component with {adapt}"
            )
        }
        None => general,
        Some(("gojs" | "go", _)) => format!("{general}; this one is for JavaScript: Go's GOOS is to be wasip1, not js"),
        Some(("env", "abort")) => {
            format!(
                "{general}; this one needs env.abort: AssemblyScript builds for WASI with @assemblyscript/wasi-shim"
            )
        }
        Some((module, name)) => {
            format!("{general}; this one needs {:?}, which is not of WASI", format!("{module}.{name}"))
        }
    }
}
