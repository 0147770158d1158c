//! Sends each of the requests in HOOK_REQUESTS, lines of `METHOD PATH`, to HOOK_AUTHORITY, and says what came of it.

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
    let authority = cx.var("HOOK_AUTHORITY").ok_or("HOOK_AUTHORITY is not set")?;
    for line in cx.var("HOOK_REQUESTS").ok_or("HOOK_REQUESTS is not set")?.lines() {
        let (method, path) = line.split_once(' ').ok_or("no path")?;
        let request = OutgoingRequest::new(Fields::new());
        let method = match method {
            "connect" => Method::Connect,
            "trace" => Method::Trace,
            other => Method::Other(other.into()),
        };
        let set = request.set_method(&method).is_ok()
            && request.set_scheme(Some(&Scheme::Http)).is_ok()
            && request.set_authority(Some(&authority)).is_ok()
            && request.set_path_with_query((!path.is_empty()).then_some(path)).is_ok();
        if !set {
            log::info(&format!("{line}: cannot be asked for"));
            continue;
        }
        match outgoing_handler::handle(request, None) {
            Ok(answer) => {
                answer.subscribe().block();
                match answer.get() {
                    Some(Ok(Ok(answer))) => log::info(&format!("{line}: answered {}", answer.status())),
                    Some(Ok(Err(error))) => log::info(&format!("{line}: failed: {error:?}")),
                    other => log::info(&format!("{line}: {other:?}")),
                }
            }
            Err(error) => log::info(&format!("{line}: not sent: {error:?}")),
        }
    }
    Ok(())
}
