//! Reports how the command ended to a server: JSON, with a token, and again if the server is not available.
//!
//! Settings: `HOOK_MY_HOOK_URL` and `HOOK_MY_HOOK_TOKEN`. The middle part is the name of the hook: that of the file,
//! or `slack` if it is listed as `--after slack=my_hook.wasm`.
#![cfg_attr(target_family = "wasm", no_std)]

use wrapper_hook::{Context, Error, Result, String, http, log, text};

wrapper_hook::hook!(run);

// wrapper checks these before it starts the command.
wrapper_hook::describe! {
    about: "reports how the command ended",
    settings: [URL: required url, TOKEN: required text],
}

fn run(cx: &Context) -> Result {
    let url = setting(cx, "URL")?;
    let authorization = text!("Bearer {}", setting(cx, "TOKEN")?);
    let report = cx.to_json();
    http::send_with_retries(cx, || {
        http::post(&url)
            .header("Authorization", &authorization)
            .header("Content-Type", "application/json")
            .body(report.as_bytes())
    })?;
    log::info("reported");
    Ok(())
}

fn setting(cx: &Context, name: &str) -> Result<String> {
    let variable = cx.setting_name(name);
    cx.trimmed(&variable).ok_or_else(|| Error::Misconfigured(text!("{variable} is not set")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wrapper_hook::testing::{Job, Server};

    #[test]
    fn a_report_is_sent_again_while_the_server_is_not_available() {
        let server = Server::answering_in_turn([(503, ""), (503, ""), (200, "")]);
        let job = Job::killed(9).name("my_hook").var("HOOK_MY_HOOK_TOKEN", "s3cret\n");
        let report = job.var("HOOK_MY_HOOK_URL", &server.url("/jobs")).run(run);
        assert_eq!(report.result, Ok(()));
        let requests = server.requests();
        assert_eq!(requests.len(), 3);
        assert_eq!(requests[2].line, "POST /jobs HTTP/1.1");
        assert_eq!(requests[2].header("Authorization"), Some("Bearer s3cret"));
        assert!(requests[2].body.contains(r#""exit_code":137"#), "{}", requests[2].body);
    }

    #[test]
    fn without_a_url_the_error_names_the_variable() {
        let report = Job::exited(0).name("my_hook").run(run);
        assert_eq!(report.result, Err(Error::Misconfigured("HOOK_MY_HOOK_URL is not set".into())));
    }
}
