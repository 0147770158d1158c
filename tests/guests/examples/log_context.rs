//! Logs everything the context says.

use wrapper_hook::{Context, Result, log};

wrapper_hook::hook!(run);

fn run(cx: &Context) -> Result {
    log::info(&format!("phase {:?}", cx.phase()));
    log::info(&format!("command {:?}", cx.command()));
    log::info(&format!("outcome {:?}", cx.outcome()));
    log::info(&format!("succeeded {}", cx.succeeded()));
    log::info(&format!("exit code {}", cx.exit_code()));
    log::info(&format!("cause {:?}", cx.cause()));
    log::info(&format!("peak memory {:?}", cx.peak_memory()));
    log::info(&format!("cpu time ms {:?}", cx.cpu_time().map(|time| (time.user + time.system).as_millis())));
    log::info(&format!("leftovers {:?}", cx.leftover_count()));
    log::info(&format!("stop signal {:?}", cx.stop_signal()));
    log::info(&format!("started at {:?}", cx.started_at().map(|time| time.as_secs())));
    log::info(&format!("elapsed ms {:?}", cx.elapsed().map(|time| time.as_millis())));
    log::info(&format!("uptime ms {}", cx.uptime().as_millis()));
    log::info(&format!("time left ms {}", cx.time_left().as_millis()));
    log::info(&format!("name {}", cx.name()));
    log::info(&format!("position {:?}", cx.position()));
    log::info(&format!("variable {:?}", cx.var("HOOK_GREETING")));
    Ok(())
}
