//! Sends HOOK_COUNT requests to HOOK_AUTHORITY, one after the other, reads each answer to its end, and never finishes
//! the body of a request. With HOOK_FINISH set it does.

use wrapper_hook::{
    Context, Result,
    bindings::wasi::{
        http::{
            outgoing_handler,
            types::{Fields, Method, OutgoingBody, OutgoingRequest, Scheme},
        },
        io::streams::StreamError,
    },
    log,
};

wrapper_hook::hook!(run);

fn run(cx: &Context) -> Result {
    let count = cx.var("HOOK_COUNT").and_then(|count| count.parse().ok()).unwrap_or(0);
    let authority = cx.var("HOOK_AUTHORITY").ok_or("HOOK_AUTHORITY is not set")?;
    let mut kept = Vec::new();
    for number in 1..=count {
        let request = OutgoingRequest::new(Fields::new());
        let set = request.set_method(&Method::Post).is_ok()
            && request.set_scheme(Some(&Scheme::Http)).is_ok()
            && request.set_authority(Some(&authority)).is_ok()
            && request.set_path_with_query(Some("/")).is_ok();
        assert!(set, "a request");
        let body = request.body().unwrap();
        let answer = outgoing_handler::handle(request, None).map_err(|error| format!("{error:?}"))?;
        if cx.var("HOOK_FINISH").is_some() {
            OutgoingBody::finish(body, None).map_err(|error| format!("{error:?}"))?;
        } else {
            kept.push(body);
        }
        answer.subscribe().block();
        let answer = match answer.get() {
            Some(Ok(Ok(answer))) => answer,
            other => return Err(format!("{number}: no answer: {other:?}").into()),
        };
        let incoming = answer.consume().unwrap();
        let stream = incoming.stream().unwrap();
        while !matches!(stream.blocking_read(1 << 16), Err(StreamError::Closed)) {}
        drop(stream);
        // The body keeps the connection open until the hook ends.
        std::mem::forget(incoming);
        log::info(&format!("{number} answered"));
    }
    drop(kept);
    Ok(())
}
