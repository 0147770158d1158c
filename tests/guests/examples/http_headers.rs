//! Tries to set each of the headers in HOOK_HEADERS, in every way there is, and to smuggle lines into what else is
//! sent; then sends what it got to HOOK_AUTHORITY.

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
    let names = cx.var("HOOK_HEADERS").ok_or("HOOK_HEADERS is not set")?;
    let headers = Fields::new();
    let value = b"smuggled".to_vec();
    for name in names.split(' ') {
        let appended = headers.append(name, &value).is_ok();
        let set = headers.set(name, std::slice::from_ref(&value)).is_ok();
        let listed = Fields::from_list(&[(name.to_owned(), value.clone())]).is_ok();
        log::info(&format!("{name}: {appended} {set} {listed}"));
    }
    let broken = headers.append("x-broken", b"a\r\nx-injected: smuggled").is_ok();
    log::info(&format!("value with a line end: {broken}"));
    let request = OutgoingRequest::new(headers);
    let authority = cx.var("HOOK_AUTHORITY").ok_or("HOOK_AUTHORITY is not set")?;
    let injection = " HTTP/1.1\r\nx-injected: smuggled";
    log::info(&format!(
        "path with a line end: {}",
        request.set_path_with_query(Some(&format!("/{injection}"))).is_ok()
    ));
    log::info(&format!("method with a line end: {}", request.set_method(&Method::Other(injection.into())).is_ok()));
    log::info(&format!(
        "authority with a line end: {}",
        request.set_authority(Some(&format!("localhost{injection}"))).is_ok()
    ));
    let sendable = request.set_method(&Method::Get).is_ok()
        && request.set_path_with_query(Some("/plain")).is_ok()
        && request.set_scheme(Some(&Scheme::Http)).is_ok()
        && request.set_authority(Some(&authority)).is_ok();
    if !sendable {
        return Err("cannot be sent".into());
    }
    let answer = outgoing_handler::handle(request, None).map_err(|error| format!("{error:?}"))?;
    answer.subscribe().block();
    match answer.get() {
        Some(Ok(Ok(answer))) => log::info(&format!("answered {}", answer.status())),
        other => log::info(&format!("failed: {other:?}")),
    }
    Ok(())
}
