//! Hooks for *wrapper*: small WebAssembly components that run when a command has ended, or before it starts.
//!
//! This is a whole hook, `src/lib.rs`. It asks the sidecar to quit unless the command was killed:
//!
//! ```no_run
//! #![cfg_attr(target_family = "wasm", no_std)]
//! use wrapper_hook::{Context, Outcome, Result, http, log};
//!
//! wrapper_hook::hook!(run);
//!
//! fn run(cx: &Context) -> Result {
//!     if let Some(Outcome::Killed { .. }) = cx.outcome() {
//!         log::info("killed; the sidecar stays up for a look at it");
//!         return Ok(());
//!     }
//!     http::post("http://localhost:15020/quitquitquit").timeout_secs(3).send()?.ok()
//! }
//! ```
//!
//! and its `Cargo.toml` has a library of type `cdylib`, this crate, and a release profile made for size. The crate is
//! part of wrapper's repository; it is not on crates.io.
//!
//! ```toml
//! [lib]
//! crate-type = ["cdylib"]
//!
//! [dependencies]
//! wrapper-hook = { path = "../wrapper/guest-sdk" } # in your clone
//!
//! [profile.release]
//! opt-level = "z"
//! lto = true
//! codegen-units = 1
//! panic = "abort"
//! strip = true
//! ```
//!
//! `cargo build --target wasm32-wasip2 --release` makes the component. `hooks/template` of the repository is a hook to
//! copy, with tests.
//!
//! # Size
//!
//! Without the standard library a hook is 8 to 30 kB large, with it 45 kB larger. Nothing here uses `core::fmt`:
//! [`text!`] fills in `{}` and `{name}` at a fraction of the cost of `alloc::format!`, which adds 4 kB, and `{:?}` of
//! large types several times that.
//!
//! A hook that uses the standard library leaves out `no_std` and enables this crate's feature `std`. Leaving out
//! `no_std` alone ends in the error E0152, a duplicate lang item.
//!
//! # What a hook can do
//!
//! It reads the [`Context`], writes [`log`] lines, sends [`http`] requests,
//! [with retries](http::send_with_retries) or without, and [probes](probe) to the addresses that the operator allowed,
//! and [sleeps](sleep). The built-in hook `http` sends [`Context::to_json`]. [`describe!`] declares its settings, so
//! that wrapper checks them before the command starts. It runs once, for at most [`Context::time_left`]; its memory is
//! freed when it ends, not before.
#![no_std]
#![deny(missing_docs)]

extern crate alloc;
#[cfg(not(target_family = "wasm"))]
extern crate std;
// The macros refer to this crate by the name it has in a hook.
extern crate self as wrapper_hook;

mod context;
mod describe;
mod error;
pub mod http;
pub mod json;
pub mod log;
pub mod probe;
#[cfg(all(target_family = "wasm", not(feature = "std")))]
#[doc(hidden)]
pub mod rt;
pub mod template;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod text;
#[cfg(target_family = "wasm")]
mod time;
mod values;

/// The functions of the host: those of wrapper, or in a native test those of [`testing`].
#[cfg(target_family = "wasm")]
mod host {
    pub use crate::{
        bindings::{
            wasi::cli::environment::get_environment,
            wrapper::hook::{
                context::*,
                logging::*,
                probe::{Failure, probe},
            },
        },
        time::{nanoseconds, now, random, sleep},
    };
}
#[cfg(not(target_family = "wasm"))]
use testing::host;

pub use alloc::{string::String, vec::Vec};
pub use context::{Cause, Context, CpuTime, Outcome, Phase, Position};
#[doc(hidden)]
pub use describe::{__joined, __length};
pub use error::{Error, Result};
pub use text::{Text, concat, milliseconds, seconds};

use core::time::Duration;

/// Builds a `String` like the standard library's `format!`, in a fraction of the code.
///
/// It supports `{}` and `{name}`, for values that are [`Text`]: strings, `char`, `bool`, integers and this crate's
/// errors. For the rest, such as `{:?}` and `{:.3}`, use `alloc::format!` (after
/// `extern crate alloc;`), which makes a hook 4 kB larger.
///
/// ```
/// let (url, status) = ("http://localhost/", 404);
/// assert_eq!(wrapper_hook::text!("\"{url}\" answered {}", status), "\"http://localhost/\" answered 404");
/// ```
pub use wrapper_hook_macros::text;

/// Waits for `time`. It counts towards the hook's own time: see [`Context::time_left`].
pub fn sleep(time: Duration) {
    host::sleep(time);
}

/// The time since 1970-01-01T00:00:00Z, by the machine's clock.
pub fn now() -> Duration {
    host::now()
}

/// An unpredictable random number.
pub fn random() -> u64 {
    host::random()
}

#[doc(hidden)]
#[allow(missing_docs, unsafe_code)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "wrapper:hook/hook",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "export_hook",
        default_bindings_module: "wrapper_hook::bindings",
    });
}

/// Makes a function the hook's entry point. The function takes the [`Context`] and returns a [`Result`].
///
/// In a hook without the standard library it also defines an allocator and a panic handler. The handler logs the place
/// of the panic, and the message if it is plain text; messages with values, as of `unwrap`, `expect` and
/// `panic!("{x}")`, need the feature `std`. The error E0152, a duplicate lang item, means that the hook uses the
/// standard library without that feature.
///
/// Built for anything but WebAssembly, the function is compiled and nothing exported: a hook is what
/// `cargo build --target wasm32-wasip2 --release` makes.
#[macro_export]
macro_rules! hook {
    ($run:path) => {
        $crate::__runtime!();

        const _: () = {
            const _: fn(&$crate::Context) -> $crate::Result = $run;

            $crate::__export!($run);
        };
    };
}

/// Exports nothing: other linkers do not accept the names of a component's exports.
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($run:path) => {};
}

#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($run:path) => {
        struct Hook;

        impl $crate::bindings::exports::wrapper::hook::run::Guest for Hook {
            fn run() -> ::core::result::Result<(), $crate::bindings::exports::wrapper::hook::run::Error> {
                $run($crate::Context::get()).map_err(::core::convert::Into::into)
            }
        }

        $crate::bindings::export_hook!(Hook with_types_in $crate::bindings);
    };
}

/// Defines nothing: the standard library has an allocator and a panic handler.
#[cfg(not(all(target_family = "wasm", not(feature = "std"))))]
#[doc(hidden)]
#[macro_export]
macro_rules! __runtime {
    () => {};
}
