//! `echo`: says how the command ended. The smallest useful hook, and the first one to try.

#![cfg_attr(target_family = "wasm", no_std)]

use wrapper_hook::{Context, Outcome, Phase, Result, format, log};

wrapper_hook::hook!(run);

fn run(cx: &Context) -> Result {
    let command = cx.command().first().cloned().unwrap_or_default();
    let what = match (cx.phase(), cx.outcome()) {
        (Phase::Before, _) => format!("about to start \"{command}\""),
        (_, Some(Outcome::Exited(status))) => format!("\"{command}\" exited with {status}"),
        (_, Some(Outcome::Killed { signal, .. })) => format!("\"{command}\" was killed by signal {signal}"),
        (_, Some(Outcome::NotStarted { reason, .. })) => format!("\"{command}\" was not started: {reason}"),
        (_, Some(Outcome::Other(end))) => format!("\"{command}\" ended: {end}"),
        _ => format!("\"{command}\" ended"),
    };
    let after = cx.elapsed().map(|time| format!(" after {} ms", time.as_millis() as u64)).unwrap_or_default();
    log::info(&format!("Echo demo plugin: {what}{after}"));
    Ok(())
}
