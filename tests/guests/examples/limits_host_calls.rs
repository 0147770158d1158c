//! Calls the host again and again, in the way HOOK_CALL says, and never comes to an end.

use wrapper_hook::{
    Context, Result,
    bindings::wasi::{
        cli::environment,
        clocks::{monotonic_clock, wall_clock},
        http::types::Fields,
        random::random,
    },
    log,
};

wrapper_hook::hook!(run);

fn run(cx: &Context) -> Result {
    let call: fn() = match cx.var("HOOK_CALL").as_deref() {
        Some("clock") => || _ = (monotonic_clock::now(), wall_clock::now()),
        Some("random") => || _ = random::get_random_u64(),
        Some("environment") => || drop(environment::get_environment()),
        Some("poll") => || monotonic_clock::subscribe_duration(0).block(),
        Some("sleep") => || monotonic_clock::subscribe_duration(u64::MAX).block(),
        Some("fields") => || drop(Fields::new()),
        Some("log") => || log::info("again"),
        Some("debug") => || log::debug("again"),
        _ => return Err("HOOK_CALL is no call".into()),
    };
    loop {
        call();
    }
}
