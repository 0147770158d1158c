//! Looks up the name HOOK_NAME as a program of an operating system does, and says what came of it.

use std::{env, net::ToSocketAddrs};

fn main() {
    let name = env::var("HOOK_NAME").unwrap();
    match (name.as_str(), 80).to_socket_addrs() {
        Ok(all) => println!("found {}", all.count()),
        Err(_) => println!("not found"),
    }
}
