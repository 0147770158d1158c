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
///     // Variables that it reads besides `HOOK_…`, which needs `--plugin-env`. They may be meant for the command, so
///     // their values are not checked.
///     reads: ["POD_NAME"],
///     // Where it connects besides its settings: URLs, of which it needs one, and variables that replace them.
///     connects: ["http://localhost:8080", "{DASHBOARD_URL}"],
///     // Each without the prefix: `HOOK_DASHBOARD_URL`.
///     settings: [
///         URL: required url,
///         MODE: one_of("strict|lenient") = "lenient",
///         TIMEOUT_TRY: positive_time = "3s",
///         VERBOSE: switch,
///         TITLE: text,
///     ],
/// }
/// ```
///
/// The kinds of settings are `url`, `time`, `switch` and `one_of`, as the [`Context`] reads them, and `text`. Further
/// ones say more about a value:
///
/// - `positive_time`: a time that is more than 0.
/// - `startup`: a time in which a peer has to start. It is a warning if the hook's time limit leaves no room for it,
///   unless a setting `ABSENT` has another value than its default.
/// - `targets`: targets of [probes](crate::probe), separated by commas or white space.
/// - `some_of("a|b")`: some of these words, separated by commas or white space.
/// - `pairs`: `name=value`, separated by commas or white space.
/// - `method`: the method of a request.
///
/// With a part `placeholders: ["exit_code"]` before the settings, URLs may contain these placeholders in braces, and
/// variables in capitals; so may a `template`, and `headers`, one `Name: value` per line.
///
/// An older wrapper takes a kind that it does not know for `text`.
///
/// [`Context`]: crate::Context
#[macro_export]
macro_rules! describe {
    (
        about: $about:expr
        $(, phase: $phase:ident)?
        $(, prefix: $prefix:expr)?
        $(, reads: [$($variable:literal),* $(,)?])?
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
    (time) => {
        "time"
    };
    (positive_time) => {
        "positive-time"
    };
    (startup) => {
        "startup"
    };
    (targets) => {
        "targets"
    };
    (method) => {
        "method"
    };
    (switch) => {
        "switch"
    };
    (text) => {
        "text"
    };
    (pairs) => {
        "pairs"
    };
    (template) => {
        "template"
    };
    (headers) => {
        "headers"
    };
    // Their words follow.
    (one_of) => {
        "="
    };
    (some_of) => {
        "+"
    };
    ($($other:tt)+) => {
        ::core::compile_error!(::core::concat!(
            "`",
            ::core::stringify!($($other)+),
            "` is not a kind of setting; the kinds are url, targets, time, positive_time, startup, switch, text, \
             template, headers, method, pairs, one_of(\"a|b\") and some_of(\"a|b\"), each also with `required` \
             before it"
        ))
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
