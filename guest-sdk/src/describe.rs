//! The description that a hook carries: its settings, for wrapper to check before the command starts.

/// Describes the hook and its settings to wrapper, which then checks them before it starts the command: a wrong value,
/// a required one that is missing, a URL that the hook may not connect to. `wrapper --inspect` shows the description.
///
/// It is optional, and so is each part but `about`; the parts are in this order:
///
/// ```
/// wrapper_hook::describe! {
///     about: "reports the job's result to the dashboard",
///     // When it is of use, if not in both phases.
///     phase: after,
///     // The other names of its settings, as with `Context::setting_name_or`.
///     prefix: "HOOK_DASHBOARD",
///     // Variables that it reads besides `HOOK_…`, with `--plugin-env`.
///     reads: ["POD_NAME"],
///     // Where it connects besides its settings: URLs, of which it needs one, and variables that replace them.
///     connects: ["http://localhost:8080", "{DASHBOARD_URL}"],
///     // Each without the prefix: `HOOK_DASHBOARD_URL`.
///     settings: [
///         URL: required url,
///         MODE: one_of("strict|lenient") = "lenient",
///         TIMEOUT_TRY: time = "3s",
///         VERBOSE: switch,
///         TITLE: text,
///     ],
/// }
/// ```
///
/// The kinds of settings are `url`, `urls` (separated by commas), `time`, `switch` and `one_of`, as the [`Context`]
/// reads them, and `text`. With a part `placeholders: ["exit_code"]` before the settings, URLs may contain these
/// placeholders in braces, and variables in capitals; so may a `template`, and `headers`, one `Name: value` per line.
///
/// [`Context`]: crate::Context
#[macro_export]
macro_rules! describe {
    (
        about: $about:expr
        $(, phase: $phase:ident)?
        $(, prefix: $prefix:expr)?
        $(, reads: [$($variable:expr),* $(,)?])?
        $(, connects: [$($connects:expr),* $(,)?])?
        $(, placeholders: [$($placeholder:expr),* $(,)?])?
        $(, settings: [$($setting:ident: $($kind:ident)+ $(($words:expr))? $(= $default:expr)?),* $(,)?])?
        $(,)?
    ) => {
        const _: () = {
            const PARTS: &[&str] = &[
                "about\t", $about, "\n",
                $("phase\t", ::core::stringify!($phase), "\n",)?
                $("prefix\t", $prefix, "\n",)?
                $($("reads\t", $variable, "\n",)*)?
                $($("connects\t", $connects, "\n",)*)?
                $($("placeholder\t", $placeholder, "\n",)*)?
                $($(
                    "setting\t", ::core::stringify!($setting), "\t", $crate::__kind!($($kind)+),
                    $($words,)? $("\t", $default,)? "\n",
                )*)?
            ];

            #[allow(dead_code)]
            // Not `used`: it would be in the hook's memory, too.
            #[cfg_attr(target_family = "wasm", unsafe(link_section = "wrapper:hook"))]
            static DESCRIPTION: [u8; $crate::__length(PARTS)] = $crate::__joined(PARTS);
        };
    };
}

/// The name of a kind of setting in the description; `!` marks a required one.
#[doc(hidden)]
#[macro_export]
macro_rules! __kind {
    (required $kind:ident) => {
        ::core::concat!("!", $crate::__kind!($kind))
    };
    (url) => {
        "url"
    };
    (urls) => {
        "urls"
    };
    (time) => {
        "time"
    };
    (switch) => {
        "switch"
    };
    (text) => {
        "text"
    };
    (template) => {
        "template"
    };
    (headers) => {
        "headers"
    };
    // Its words follow.
    (one_of) => {
        "="
    };
}

#[doc(hidden)]
pub const fn __length(parts: &[&str]) -> usize {
    let (mut length, mut rest) = (0, parts);
    while let [part, others @ ..] = rest {
        (length, rest) = (length + part.len(), others);
    }
    length
}

#[doc(hidden)]
#[allow(clippy::indexing_slicing, reason = "it runs in the compiler, which reports it")]
pub const fn __joined<const LENGTH: usize>(parts: &[&str]) -> [u8; LENGTH] {
    let (mut joined, mut at, mut rest) = ([0; LENGTH], 0, parts);
    while let [part, others @ ..] = rest {
        let mut bytes = part.as_bytes();
        while let [byte, behind @ ..] = bytes {
            joined[at] = *byte;
            (at, bytes) = (at + 1, behind);
        }
        rest = others;
    }
    joined
}
