//! Exits with the code in HOOK_EXIT; without one its main function returns an error.

fn main() -> Result<(), String> {
    let code = std::env::var("HOOK_EXIT").map_err(|error| error.to_string())?;
    std::process::exit(code.parse().unwrap());
}
