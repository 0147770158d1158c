//! Has the host keep HOOK_COUNT things of the kind HOOK_WHAT, each with HOOK_BYTES of content, and lets go of none.
//! Says how many there are and, when the host refuses one, that.

use std::mem::forget;
use wrapper_hook::{
    Context, Result,
    bindings::wasi::{
        clocks::monotonic_clock,
        http::{
            outgoing_handler,
            types::{Fields, Method, OutgoingBody, OutgoingRequest, OutgoingResponse, RequestOptions, Scheme},
        },
    },
    log,
};

wrapper_hook::hook!(run);

fn run(cx: &Context) -> Result {
    let number = |name: &str| cx.var(name).and_then(|number| number.parse::<usize>().ok());
    let (count, bytes) = (number("HOOK_COUNT").ok_or("HOOK_COUNT is no number")?, number("HOOK_BYTES").unwrap_or(0));
    let what = cx.var("HOOK_WHAT").ok_or("HOOK_WHAT is not set")?;
    let authority = cx.var("HOOK_AUTHORITY").unwrap_or_default();
    let text = "x".repeat(bytes);
    for kept in 0..count {
        if !keep(&what, &text, &authority) {
            log::info(&format!("refused after {kept}"));
            return Ok(());
        }
    }
    log::info(&format!("has {count}"));
    Ok(())
}

fn keep(what: &str, text: &str, authority: &str) -> bool {
    let request = || OutgoingRequest::new(Fields::new());
    match what {
        "pollable" => kept(monotonic_clock::subscribe_duration(u64::MAX), true),
        "options" => kept(RequestOptions::new(), true),
        "method" => setting(request(), |it| it.set_method(&Method::Other(text.into()))),
        "scheme" => setting(request(), |it| it.set_scheme(Some(&Scheme::Other(text.into())))),
        "authority" => setting(request(), |it| it.set_authority(Some(text))),
        "path" => setting(request(), |it| it.set_path_with_query(Some(&format!("/{text}")))),
        "value" => {
            let fields = Fields::new();
            let fits = fields.append("content", text.as_bytes()).is_ok();
            kept(fields, fits)
        }
        "list" => match Fields::from_list(&[("content".into(), text.into())]) {
            Ok(fields) => kept(fields, true),
            Err(_) => false,
        },
        "names" => kept(full(), true),
        "clones" => {
            let clone = full().clone();
            let changed = clone.set("one-more", &[]).is_ok();
            kept(clone, changed)
        }
        "response" => kept(OutgoingResponse::new(full()), true),
        "body" => setting(request(), |it| {
            let body = it.body()?;
            write(&body, text);
            // The content stays with the request, and so do the trailers.
            OutgoingBody::finish(body, Some(full())).map_err(drop)
        }),
        "answer" => {
            let request = request();
            let set = request.set_scheme(Some(&Scheme::Http)).is_ok()
                && request.set_authority(Some(authority)).is_ok()
                && request.set_path_with_query(Some("/")).is_ok();
            let Ok(answer) = outgoing_handler::handle(request, None) else { return false };
            answer.subscribe().block();
            match answer.get() {
                Some(Ok(Ok(answer))) => {
                    drop(answer.consume());
                    kept(answer, set)
                }
                _ => false,
            }
        }
        _ => false,
    }
}

fn kept<T>(what: T, fits: bool) -> bool {
    forget(what);
    fits
}

fn setting(request: OutgoingRequest, set: impl FnOnce(&OutgoingRequest) -> std::result::Result<(), ()>) -> bool {
    let fits = set(&request).is_ok();
    kept(request, fits)
}

/// Almost the 32 KiB of headers that one message may have, in short names, which take the host the most.
fn full() -> Fields {
    let fields = Fields::new();
    for name in 0..400 {
        assert!(fields.append(&format!("{name:x}"), b"v").is_ok(), "{name}");
    }
    fields
}

fn write(body: &OutgoingBody, text: &str) {
    let Ok(stream) = body.write() else { return };
    for piece in text.as_bytes().chunks(16 * 1024) {
        if stream.check_write().is_ok_and(|room| room >= piece.len() as u64) {
            let _ = stream.write(piece);
        }
    }
}
