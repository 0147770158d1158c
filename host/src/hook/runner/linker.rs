//! What a hook asks for besides HTTP, and does not get. The interfaces are there, because some languages' libraries
//! import them; that one of them is used is worth a line.

use super::State;
use crate::log::{Level, Line};
use wasmtime::{
    Result,
    component::{Linker, Resource},
};
use wasmtime_wasi::{
    filesystem::Descriptor,
    p2::{
        TcpSocket, UdpSocket,
        bindings::sockets::{
            ip_name_lookup::ResolveAddressStream,
            network::{ErrorCode, IpAddressFamily, Network},
        },
    },
};

/// How much of a name is told: the longest that DNS has.
const NAME_LENGTH: usize = 253;

/// Takes the place of the functions by which files and sockets come into a hook's hands: all others need what these
/// give.
pub fn add_to_linker(linker: &mut Linker<State>) -> Result<()> {
    linker.allow_shadowing(true);
    linker.instance("wasi:filesystem/preopens@0.2.12")?.func_wrap("get-directories", |store, (): ()| {
        // Some languages' libraries ask at every start, whether the program uses files or not.
        tell(store.data(), Level::Debug, "files");
        Ok((Vec::<(Resource<Descriptor>, String)>::new(),))
    })?;
    linker.instance("wasi:sockets/tcp-create-socket@0.2.12")?.func_wrap(
        "create-tcp-socket",
        |store, (_,): (IpAddressFamily,)| {
            tell(store.data(), Level::Warn, "a TCP socket");
            Ok((Err::<Resource<TcpSocket>, _>(ErrorCode::AccessDenied),))
        },
    )?;
    linker.instance("wasi:sockets/udp-create-socket@0.2.12")?.func_wrap(
        "create-udp-socket",
        |store, (_,): (IpAddressFamily,)| {
            tell(store.data(), Level::Warn, "a UDP socket");
            Ok((Err::<Resource<UdpSocket>, _>(ErrorCode::AccessDenied),))
        },
    )?;
    linker.instance("wasi:sockets/ip-name-lookup@0.2.12")?.func_wrap(
        "resolve-addresses",
        |store, (_, name): (Resource<Network>, String)| {
            let name = name.get(..name.floor_char_boundary(NAME_LENGTH)).unwrap_or(&name);
            tell(store.data(), Level::Warn, &format!("a name lookup of {name:?}"));
            Ok((Err::<Resource<ResolveAddressStream>, _>(ErrorCode::AccessDenied),))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn tell(state: &State, level: Level, what: &str) {
    state.output.admit(&format!("not allowed: {what}; hooks have HTTP and nothing else"), |line| {
        Line::new(level, line).about(&state.facts.hook).write();
    });
}
