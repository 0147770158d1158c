//! `echo`: logs how the command ended. The smallest useful hook, and the first one to try.

#![cfg_attr(target_family = "wasm", no_std)]

use wrapper_hook::{Context, Outcome, Phase, Result, log, text};

wrapper_hook::hook!(run);

wrapper_hook::describe! { about: "logs how the command ended" }

fn run(cx: &Context) -> Result {
    let command = cx.command().first().cloned().unwrap_or_default();
    let what = match (cx.phase(), cx.outcome()) {
        (Phase::Before, _) => text!("about to start \"{command}\""),
        (_, Some(Outcome::Exited(status))) => text!("\"{command}\" exited with {status}"),
        (_, Some(Outcome::Killed { signal, .. })) => text!("\"{command}\" was killed by signal {signal}"),
        (_, Some(Outcome::NotStarted { reason, .. })) => text!("\"{command}\" was not started: {reason}"),
        (_, Some(Outcome::Other(end))) => text!("\"{command}\" ended: {end}"),
        _ => text!("\"{command}\" ended"),
    };
    let after = cx.elapsed().map(|time| text!(" after {} ms", time.as_millis() as u64)).unwrap_or_default();
    log::info(&(what + &after));
    Ok(())
}
