//! `pushgateway`: pushes metrics of the command to a Prometheus Pushgateway.
//!
//! Settings: `HOOK_PUSHGATEWAY_URL` is the gateway, `HOOK_PUSHGATEWAY_JOB` the job, by default the program's name, and
//! `HOOK_PUSHGATEWAY_GROUPING` further labels: `namespace=batch,instance=a`. Other metrics of the group stay, so the
//! time of the last success is still there after a failure.
#![cfg_attr(target_family = "wasm", no_std)]

use notify::program;
use wrapper_hook::{Context, CpuTime, Error, Phase, Result, String, http, seconds, text};

wrapper_hook::hook!(run);

wrapper_hook::describe! {
    about: "pushes metrics of the command to a Prometheus Pushgateway",
    phase: after,
    settings: [
        URL: url = URL,
        JOB: text,
        GROUPING: pairs,
        TRY_TIMEOUT: positive_time = "3s",
    ],
}

/// The default URL: a gateway on this machine.
const URL: &str = "http://localhost:9091";

fn run(cx: &Context) -> Result {
    if cx.phase() == Phase::Before {
        return Err(Error::Misconfigured("there are no metrics before the command has run".into()));
    }
    let setting = |name: &str| cx.trimmed(&cx.setting_name(name));
    let mut url = setting("URL").unwrap_or_else(|| URL.into());
    while url.ends_with('/') {
        url.pop();
    }
    url.push_str("/metrics");
    label(&mut url, "job", &setting("JOB").unwrap_or_else(|| program(cx)));
    for pair in cx.list(&cx.setting_name("GROUPING")) {
        let equals = pair.bytes().position(|byte| byte == b'=').filter(|place| *place > 0);
        let parts = equals.and_then(|place| Some((pair.get(..place)?, pair.get(place + 1..)?)));
        let Some((name, value)) = parts else {
            let variable = cx.setting_name("GROUPING");
            return Err(Error::Misconfigured(text!("{variable}: \"{pair}\" is not of the form label=value")));
        };
        label(&mut url, name, value);
    }
    let metrics = metrics(cx);
    notify::send(cx, &url, || {
        http::post(&url).header("Content-Type", "text/plain; version=0.0.4").body(metrics.as_bytes())
    })
}

fn metrics(cx: &Context) -> String {
    let mut text = String::new();
    let mut metric = |name: &str, help: &str, value: &str| {
        text +=
            &text!("# HELP wrapper_job_{name} {help}\n# TYPE wrapper_job_{name} gauge\nwrapper_job_{name} {value}\n");
    };
    metric("exit_code", "Exit code of the container.", &text!("{}", cx.exit_code()));
    metric("success", "1 if the command succeeded, otherwise 0.", if cx.succeeded() { "1" } else { "0" });
    if let (Some(elapsed), Some(start), Some(end)) = (cx.elapsed(), cx.started_at(), cx.ended_at()) {
        metric("duration_seconds", "Run time of the command.", &seconds(elapsed));
        metric("start_time_seconds", "Start of the command, as Unix time.", &seconds(start));
        metric("end_time_seconds", "Exit of the command, as Unix time.", &seconds(end));
        if let Some(CpuTime { user, system, .. }) = cx.cpu_time() {
            let help = "Processor time of the command.";
            metric("cpu_time_seconds", help, &seconds(user.saturating_add(system)));
        }
        if let Some(bytes) = cx.peak_memory() {
            metric("peak_memory_bytes", "Most memory that the command used at one time.", &text!("{bytes}"));
        }
        if cx.succeeded() {
            metric("last_success_time_seconds", "Exit of the last successful command, as Unix time.", &seconds(end));
        }
    }
    text
}

/// Appends a label and its value to the path, in base64 if the value has characters that a path cannot hold.
fn label(url: &mut String, name: &str, value: &str) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    *url += &if !value.is_empty() && value.bytes().all(plain) {
        text!("/{name}/{value}")
    } else {
        text!("/{name}@base64/{}", &*base64(value.as_bytes()))
    };
}

/// Base64 for URLs, with padding, as the gateway expects it: "=" alone is an empty value.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().chain([&0, &0]).take(3).fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        for place in 0..=3 {
            let digit = DIGITS.get(bits >> (18 - 6 * place) & 63).filter(|_| place <= three.len());
            text.push(digit.map_or('=', |digit| char::from(*digit)));
        }
    }
    if text.is_empty() {
        text.push('=');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{base64, run};
    use wrapper_hook::testing::{Job, Server};

    #[test]
    fn the_metrics_go_into_the_group_of_the_settings() {
        let server = Server::answering(202, "");
        let job = Job::exited(3).command(&["/usr/bin/backup", "--all"]).name("pushgateway");
        let job = job.var("HOOK_PUSHGATEWAY_URL", server.url("").as_str());
        let job = job.var("HOOK_PUSHGATEWAY_GROUPING", "namespace=batch, path=/var/tmp, empty=");
        assert_eq!(job.run(run).result, Ok(()));
        let request = &server.requests()[0];
        let group = "job/backup/namespace/batch/path@base64/L3Zhci90bXA=/empty@base64/=";
        assert_eq!(request.line, format!("POST /metrics/{group} HTTP/1.1"));
        let exit_code = "# TYPE wrapper_job_exit_code gauge\nwrapper_job_exit_code 3\n";
        assert!(request.body.contains(exit_code), "{}", request.body);
        assert!(request.body.contains("\nwrapper_job_duration_seconds 1.000\n"), "{}", request.body);
        assert!(!request.body.contains("last_success"), "{}", request.body);
    }

    #[test]
    fn base64_is_that_of_rfc_4648_for_urls() {
        for (plain, encoded) in
            [("", "="), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("\u{3ff}?>", "z78_Pg==")]
        {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }
}
