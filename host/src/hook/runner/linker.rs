//! Runner: links what hooks are granted, HTTP and their own context. Files and sockets are linked, because some
//! languages' runtimes import them, but every use is denied and logged.

use super::{
    limits::{AUTHORITY_BYTES, METHOD_BYTES},
    state::{State, bindings},
};
use crate::{
    log::{Level, Line},
    text::truncate,
};
use wasmtime::{
    Result,
    component::{Component, HasSelf, Linker, LinkerInstance, Resource},
};
use wasmtime_wasi::{
    cli::{WasiCli, WasiCliView},
    filesystem::Descriptor,
    p2::{
        TcpSocket, UdpSocket,
        bindings::{
            cli::environment,
            sockets::{
                ip_name_lookup::ResolveAddressStream,
                network::{ErrorCode, IpAddressFamily, Network},
            },
        },
    },
};
use wasmtime_wasi_http::{
    WasiHttpView,
    p2::{
        bindings::http::types::{HostOutgoingRequest as _, Method},
        types::HostOutgoingRequest,
    },
};

/// The version of WASI that wasmtime's crates link their functions under.
const WASI_VERSION: &str = "0.2.12";

/// Bytes of a name in the log: the longest that DNS has.
const NAME_LENGTH: usize = 253;

/// Everything that is granted, and nothing else.
pub fn granted(component: &Component) -> Result<Linker<State>> {
    let mut linker = Linker::new(component.engine());
    if uses_only_sdk_imports(component) {
        wasmtime_wasi::p2::add_to_linker_proxy_interfaces_async(&mut linker)?;
        environment::add_to_linker::<_, WasiCli>(&mut linker, WasiCliView::cli)?;
    } else {
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        deny_files_and_sockets(&mut linker)?;
    }
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    limit_strings(&mut linker)?;
    bindings::Hook::add_to_linker::<_, HasSelf<_>>(&mut linker, |state: &mut State| state)?;
    Ok(linker)
}

/// Whether a hook imports no more than one made with guest-sdk does. To register all of WASI for it would take longer
/// than it runs.
fn uses_only_sdk_imports(component: &Component) -> bool {
    const SDK_IMPORTS: [&str; 6] =
        ["wrapper:hook/", "wasi:http/", "wasi:io/", "wasi:clocks/", "wasi:random/random@", "wasi:cli/environment@"];
    let component_type = component.component_type();
    component_type.imports(component.engine()).all(|(name, _)| SDK_IMPORTS.iter().any(|known| name.starts_with(known)))
}

/// Replaces the functions that create handles of files and sockets: all others need a handle.
fn deny_files_and_sockets(linker: &mut Linker<State>) -> Result<()> {
    linker.allow_shadowing(true);
    instance(linker, "wasi:filesystem/preopens")?.func_wrap("get-directories", |store, (): ()| {
        // Some languages' runtimes call this at every start, even if the program uses no files.
        log_denied(store.data(), Level::Debug, "files");
        Ok((Vec::<(Resource<Descriptor>, String)>::new(),))
    })?;
    instance(linker, "wasi:sockets/tcp-create-socket")?.func_wrap(
        "create-tcp-socket",
        |store, (_,): (IpAddressFamily,)| {
            log_denied(store.data(), Level::Warn, "a TCP socket");
            Ok((Err::<Resource<TcpSocket>, _>(ErrorCode::AccessDenied),))
        },
    )?;
    instance(linker, "wasi:sockets/udp-create-socket")?.func_wrap(
        "create-udp-socket",
        |store, (_,): (IpAddressFamily,)| {
            log_denied(store.data(), Level::Warn, "a UDP socket");
            Ok((Err::<Resource<UdpSocket>, _>(ErrorCode::AccessDenied),))
        },
    )?;
    instance(linker, "wasi:sockets/ip-name-lookup")?.func_wrap(
        "resolve-addresses",
        |store, (_, name): (Resource<Network>, String)| {
            let name = truncate(&name, NAME_LENGTH);
            log_denied(store.data(), Level::Warn, &format!("a name lookup of {name:?}"));
            Ok((Err::<Resource<ResolveAddressStream>, _>(ErrorCode::AccessDenied),))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn log_denied(state: &State, level: Level, what: &str) {
    state.output.admit(&format!("not allowed: {what}; hooks may use HTTP only"), |line| {
        Line::new(level, line).about_hook(&state.context.hook).write();
    });
}

/// Replaces the functions that keep a string however long it is. One that is too long gets the same error as one that
/// is malformed.
fn limit_strings(linker: &mut Linker<State>) -> Result<()> {
    linker.allow_shadowing(true);
    let mut types = instance(linker, "wasi:http/types")?;
    types.func_wrap(
        "[method]outgoing-request.set-method",
        |mut store, (request, method): (Resource<HostOutgoingRequest>, Method)| {
            Ok((match &method {
                Method::Other(name) if name.len() > METHOD_BYTES => Err(()),
                _ => store.data_mut().http().set_method(request, method)?,
            },))
        },
    )?;
    types.func_wrap(
        "[method]outgoing-request.set-authority",
        |mut store, (request, authority): (Resource<HostOutgoingRequest>, Option<String>)| {
            Ok((match &authority {
                Some(name) if name.len() > AUTHORITY_BYTES => Err(()),
                _ => store.data_mut().http().set_authority(request, authority)?,
            },))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// One of WASI's interfaces, to replace functions of it.
fn instance<'a>(linker: &'a mut Linker<State>, interface: &str) -> Result<LinkerInstance<'a, State>> {
    linker.instance(&format!("{interface}@{WASI_VERSION}"))
}
