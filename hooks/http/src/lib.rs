//! `http`: notifies a server of how the command ended, or that it is about to start.
//!
//! Settings: `HOOK_HTTP_URL`, `…_METHOD`, `…_HEADERS` (one per line) and `…_BODY`. URL, headers and body may contain
//! placeholders: `{exit_code}`, `{summary}`. Those in capitals are variables. Listed under another name, as in
//! `--plugin slack=http`, the hook has settings under that name: `HOOK_SLACK_URL`.
#![cfg_attr(target_family = "wasm", no_std)]

use wrapper_hook::{
    Context, Error, Result, String, Vec, http,
    template::{self, Escape, fill},
    text,
};

wrapper_hook::hook!(run);

wrapper_hook::describe! {
    about: "notifies a server of how the command ended, or that it is about to start",
    placeholders: [
        "command",
        "phase",
        "outcome",
        "cause",
        "result",
        "exit_code",
        "signal",
        "duration",
        "duration_ms",
        "cpu_time_ms",
        "peak_memory",
        "leftovers",
        "started_at",
        "ended_at",
        "summary",
    ],
    settings: [
        URL: required url,
        METHOD: method = "POST",
        HEADERS: headers,
        BODY: template,
        TRY_TIMEOUT: positive_time = "3s",
    ],
}

fn run(cx: &Context) -> Result {
    // The body is sent as it is; other settings are trimmed.
    let setting = |name: &str| cx.trimmed(&cx.setting_name(name));
    let missing = || Error::Misconfigured(text!("{} is not set", cx.setting_name("URL")));
    let url = fill(cx, &setting("URL").ok_or_else(missing)?, Escape::Url)?;
    let mut method = setting("METHOD").unwrap_or_else(|| "POST".into());
    method.make_ascii_uppercase();
    let headers = headers(cx, &setting("HEADERS").unwrap_or_default())?;
    let typed = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let body = match cx.var(&cx.setting_name("BODY")) {
        Some(body) => body,
        None if matches!(method.as_str(), "GET" | "HEAD" | "DELETE") => String::new(),
        None => template::REPORT.into(),
    };
    let json = match typed {
        Some((_, value)) => value.as_bytes().windows(4).any(|word| word.eq_ignore_ascii_case(b"json")),
        None => template::is_json(&body),
    };
    let body = fill(cx, &body, if json { Escape::Json } else { Escape::Nothing })?;
    notify::send(cx, &url, || {
        let mut request = http::request(&method, &url);
        if !body.is_empty() {
            if typed.is_none() {
                let kind = if json { "application/json" } else { "text/plain; charset=utf-8" };
                request = request.header("Content-Type", kind);
            }
            request = request.body(body.as_bytes());
        }
        headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    })
}

/// Parses lines of `Name: value`.
fn headers(cx: &Context, text: &str) -> Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.bytes().position(|byte| byte == b'\n').unwrap_or(rest.len());
        let line = rest.get(..end).unwrap_or_default().trim_ascii();
        rest = rest.get(end + 1..).unwrap_or_default();
        if line.is_empty() {
            continue;
        }
        // The message leaves the line out: it may contain a secret.
        let malformed = || Error::Misconfigured(text!("{}: a line is not \"Name: value\"", cx.setting_name("HEADERS")));
        let colon = line.bytes().position(|byte| byte == b':').ok_or_else(malformed)?;
        let name = line.get(..colon).unwrap_or_default().trim_ascii();
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
            return Err(malformed());
        }
        let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
        headers.push((name.into(), fill(cx, value, Escape::Header)?));
    }
    Ok(headers)
}
