//! Tries what a program of an operating system can do, and prints what it got.

use std::{
    env, fs,
    io::{IsTerminal, Read},
    net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket},
    process::Command,
};

fn main() {
    let port: u16 = env::var("HOOK_PORT").unwrap().parse().unwrap();
    tell("arguments", Ok::<_, String>(env::args().count()));
    tell("read a file", fs::read("/etc/hostname").map(|_| ()));
    tell("read a file beside", fs::read("Cargo.toml").map(|_| ()));
    tell("list the root", fs::read_dir("/").map(|_| ()));
    tell("list here", fs::read_dir(".").map(|_| ()));
    tell("write a file", fs::write("/tmp/of-a-hook", "x"));
    tell("make a directory", fs::create_dir("/tmp/of-a-hook-too"));
    tell("change directory", env::set_current_dir("/"));
    tell("connect", TcpStream::connect(("127.0.0.1", port)).map(|_| ()));
    tell("listen", TcpListener::bind("127.0.0.1:0").map(|_| ()));
    tell("send a datagram", UdpSocket::bind("127.0.0.1:0").and_then(|udp| udp.send_to(b"x", ("127.0.0.1", port))));
    tell("look up a name", "localhost:80".to_socket_addrs().map(|all| all.count()));
    tell("start a process", Command::new("/bin/true").spawn().map(|_| ()));
    tell("start a thread", std::thread::Builder::new().spawn(|| ()).map(|_| ()));
    let mut stdin = Vec::new();
    tell("stdin", std::io::stdin().read_to_end(&mut stdin));
    tell("terminal", Ok::<_, String>(std::io::stdin().is_terminal() || std::io::stderr().is_terminal()));
}

fn tell<T: std::fmt::Debug, E: std::fmt::Display>(what: &str, result: Result<T, E>) {
    match result {
        Ok(value) => println!("{what}: {value:?}"),
        Err(_) => println!("{what}: refused"),
    }
}
