//! Prints how the command ended: an ordinary program that reads its context from environment variables.

use std::env::{VarError, var};

fn main() -> Result<(), VarError> {
    let (command, status) = (var("WRAPPER_COMMAND")?, var("EXIT_STATUS")?);
    let program = command.split(' ').next().unwrap_or_default();
    match var("EXIT_CODE")?.as_str() {
        "exited" => println!("\"{program}\" exited with {status}"),
        "killed" => println!("\"{program}\" was killed by signal {status}"),
        _ => println!("\"{program}\" was not started: {}", var("WRAPPER_REASON")?),
    }
    Ok(())
}
