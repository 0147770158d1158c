//! Logs one message of HOOK_MIB MiB, HOOK_TIMES times; with HOOK_NEWLINES it is nothing but line ends. Or logs
//! HOOK_MESSAGE, HOOK_REPEAT times in one message.

use wrapper_hook::{Context, Result, log};

wrapper_hook::hook!(run);

fn run(cx: &Context) -> Result {
    let number = |name: &str| cx.var(name).and_then(|number| number.parse::<usize>().ok());
    if let Some(message) = cx.var("HOOK_MESSAGE") {
        log::info(&message.repeat(number("HOOK_REPEAT").unwrap_or(1)));
        return Ok(());
    }
    let letter = if cx.var("HOOK_NEWLINES").is_some() { "\n" } else { "m" };
    let message = letter.repeat(number("HOOK_MIB").ok_or("HOOK_MIB is no number")? << 20);
    for _ in 0..number("HOOK_TIMES").unwrap_or(1) {
        log::info(&message);
    }
    Ok(())
}
