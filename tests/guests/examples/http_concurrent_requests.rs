//! Starts HOOK_COUNT requests before it waits for the first, and counts the answers.

use wrapper_hook::{
    Context, Result,
    bindings::wasi::http::{
        outgoing_handler,
        types::{Fields, Method, OutgoingRequest, Scheme},
    },
    log,
};

wrapper_hook::hook!(run);

fn run(cx: &Context) -> Result {
    let count = cx.var("HOOK_COUNT").and_then(|count| count.parse().ok()).unwrap_or(0);
    let authority = cx.var("HOOK_AUTHORITY").ok_or("HOOK_AUTHORITY is not set")?;
    let mut answers = Vec::new();
    for _ in 0..count {
        let request = OutgoingRequest::new(Fields::new());
        let set = request.set_method(&Method::Post).is_ok()
            && request.set_scheme(Some(&Scheme::Http)).is_ok()
            && request.set_authority(Some(&authority)).is_ok()
            && request.set_path_with_query(Some("/")).is_ok();
        assert!(set, "a request");
        answers.push(outgoing_handler::handle(request, None).map_err(|error| format!("{error:?}"))?);
    }
    let (mut answered, mut failed) = (0, 0);
    for answer in answers {
        answer.subscribe().block();
        match answer.get() {
            Some(Ok(Ok(_))) => answered += 1,
            _ => failed += 1,
        }
    }
    log::info(&format!("{answered} answered, {failed} failed"));
    Ok(())
}
