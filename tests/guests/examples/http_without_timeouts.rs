//! Asks HOOK_URL's authority with the longest timeouts there are, a header of HOOK_HEADER bytes and a body of
//! HOOK_BODY bytes, waits without any deadline of its own, and reads the answer's body to its end
//! or to where it breaks off, and why. With HOOK_TRAILERS set it asks for what comes after the body instead.

use wrapper_hook::{
    Context, Result,
    bindings::wasi::{
        http::{
            outgoing_handler,
            types::{Fields, IncomingBody, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme},
        },
        io::streams::StreamError,
    },
    log,
};

wrapper_hook::hook!(run);

fn run(cx: &Context) -> Result {
    let number = |name: &str| cx.var(name).and_then(|number| number.parse::<usize>().ok()).unwrap_or(0);
    let headers = Fields::new();
    if number("HOOK_HEADER") > 0 {
        let value = vec![b'h'; number("HOOK_HEADER")];
        headers.append("x-large", &value).map_err(|error| format!("header refused: {error:?}"))?;
    }
    let request = OutgoingRequest::new(headers);
    let set = request.set_method(&Method::Post).is_ok()
        && request.set_scheme(Some(&Scheme::Http)).is_ok()
        && request.set_authority(cx.var("HOOK_AUTHORITY").as_deref()).is_ok()
        && request.set_path_with_query(Some("/")).is_ok();
    if !set {
        return Err("HOOK_AUTHORITY is no authority".into());
    }
    let options = RequestOptions::new();
    let set = options.set_connect_timeout(Some(u64::MAX)).is_ok()
        && options.set_first_byte_timeout(Some(u64::MAX)).is_ok()
        && options.set_between_bytes_timeout(Some(u64::MAX)).is_ok();
    log::info(&format!("timeouts taken: {set}"));
    let body = (number("HOOK_BODY") > 0).then(|| request.body().unwrap());
    let answer = outgoing_handler::handle(request, Some(options)).map_err(|error| format!("not sent: {error:?}"))?;
    if let Some(body) = body {
        let stream = body.write().unwrap();
        let mut left = number("HOOK_BODY");
        while left > 0 {
            let length = left.min(4096);
            if stream.blocking_write_and_flush(&[b'b'; 4096][..length]).is_err() {
                log::info(&format!("not taken: {left}"));
                break;
            }
            left -= length;
        }
        drop(stream);
        if left == 0 {
            OutgoingBody::finish(body, None).map_err(|error| format!("not finished: {error:?}"))?;
        }
    }
    answer.subscribe().block();
    let answer = match answer.get() {
        Some(Ok(Ok(answer))) => answer,
        other => return Err(format!("no answer: {other:?}").into()),
    };
    log::info(&format!("status {}", answer.status()));
    let body = answer.consume().unwrap();
    if cx.var("HOOK_TRAILERS").is_some() {
        let trailers = IncomingBody::finish(body);
        trailers.subscribe().block();
        return Err(format!("trailers: {:?}", trailers.get()).into());
    }
    let stream = body.stream().unwrap();
    let mut count = 0;
    loop {
        match stream.blocking_read(1 << 16) {
            Ok(bytes) => count += bytes.len(),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => {
                return Err(format!("broke off after {count}: {}", error.to_debug_string()).into());
            }
        }
    }
    log::info(&format!("body of {count}"));
    Ok(())
}
