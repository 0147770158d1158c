//! Runner: runs one hook and exits. Whatever happens in it, the supervisor only sees an exit status, and kills it when
//! its time is up: no limit here is needed for that.

mod code;
mod context;
mod http;
mod limits;
mod linker;
mod output;
mod state;
mod trap;

pub use context::Context;

use super::{
    Common,
    compiler::contract,
    compilers::Compiler,
    engine,
    load::{Code, Hook},
    report::{MISCONFIGURED, SUCCEEDED, Verdict},
};
use crate::{
    log::{Level, Line},
    outcome::WRAPPER_FAILED,
    sandbox::{self, heap},
    text::{REASON_LIMIT, truncate},
};
use bindings::exports::wrapper::hook::run::Error as HookError;
use http::{Connector, Files, Outbound};
use limits::Limits;
use output::Output;
use state::{State, bindings};
use std::{fs::File, mem::ManuallyDrop};
use trap::RunError;
use wasmtime::{Store, component::InstancePre};
use wasmtime_wasi::{WasiCtx, p2::bindings::CommandPre};

/// Everything that is read before the process enters its sandbox.
struct Inherited {
    /// The container's variables that the hook may read; those of the Job are added later.
    variables: Vec<(String, String)>,
    /// Code from the compiler, if there is any.
    code: Option<File>,
    /// Form of the code that the hook is compiled to.
    target: engine::Target,
}

/// Runs the hook; the result is in the log and in the exit code of this process.
pub fn run(hook: &Hook, common: &Common, context: &Context) -> u8 {
    sandbox::close_fds_except(&hook.descriptors());
    heap::end_when_exhausted();
    let identity = ["TLS_CERT", "TLS_KEY"].map(|setting| hook.settings.variables.named(setting));
    let files = Files::read(&hook.settings.allow_http.value, identity);
    let inherited = Inherited {
        variables: Context::inherited_variables(&hook.settings.variables, &hook.granted(common)),
        code: hook.compiler.as_ref().and_then(Compiler::code),
        target: match hook.code {
            Code::BuiltIn(_) => engine::Target::Interpreted,
            Code::Component(_) => engine::Target::allowed(),
        },
    };
    if !sandbox_is_left_out() {
        let allow_http = &hook.settings.allow_http.value;
        sandbox::enter_as_runner(&sandbox::Runner {
            memory: hook.settings.memory.value,
            scarce_address_space: common.scarce_address_space,
            ports: Connector::ports(allow_http),
            lookups: allow_http.names_hosts(),
            may_map_code: inherited.target == engine::Target::Machine,
        });
    }
    let connector = files.parse(&hook.label);
    let failure = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => ManuallyDrop::new(runtime).block_on(execute(hook, common, context, connector, inherited)).err(),
        Err(error) => Some(RunError::Detected(format!("cannot create the event loop: {error}"))),
    };
    let Some(failure) = failure else { return SUCCEEDED };
    let (failed, misconfigured) = (Verdict::Failed.as_str(), Verdict::Misconfigured.as_str());
    let line = |text: String| {
        Line::new(Level::Error, truncate(&text, REASON_LIMIT))
            .about_hook(&hook.label)
            .field("phase", context.phase.as_str())
    };
    let (line, code) = match failure {
        RunError::OutOfMemory => return heap::OUT_OF_MEMORY,
        RunError::Detected(why) => (line(format!("{failed}: {why}")).field("verdict", failed), WRAPPER_FAILED),
        RunError::Reported(why) => (line(why).reported_as(failed), WRAPPER_FAILED),
        RunError::Misconfigured(why) => (line(why).reported_as(misconfigured), MISCONFIGURED),
    };
    line.write();
    code
}

/// Whether a test has left the sandbox out, to show that it is what holds.
fn sandbox_is_left_out() -> bool {
    #[cfg(debug_assertions)]
    return sandbox::escape::is_left_out();
    #[cfg(not(debug_assertions))]
    false
}

async fn execute(
    hook: &Hook,
    common: &Common,
    context: &Context,
    connector: Connector,
    inherited: Inherited,
) -> Result<(), RunError> {
    let component = match &hook.code {
        Code::BuiltIn(built_in) => code::of_built_in(built_in, hook, common)?,
        Code::Component(file) => {
            let component = code::of_component(file, hook, common, &inherited)?;
            if inherited.target == engine::Target::Machine && !sandbox_is_left_out() {
                sandbox::forbid_executable_memory();
            }
            component
        }
    };
    heap::limit(heap::budget(hook.settings.memory.value));
    #[cfg(debug_assertions)]
    sandbox::escape::attempt();
    let pre = linker::granted(&component)?.instantiate_pre(&component).map_err(|error| {
        let layers: Vec<_> = error.chain().map(ToString::to_string).collect();
        RunError::Detected(format!("cannot be linked: {}", layers.join(": ")))
    })?;
    let output = Output::new(&hook.label);
    let (stdout, stderr) = (output.stream(), output.stream());
    let mut wasi = WasiCtx::builder();
    wasi.envs(&context.variables(inherited.variables)).stdout(stdout.clone()).stderr(stderr.clone());
    wasi.arg(&hook.label.name);
    limits::limit_wasi(&mut wasi);
    let state = State {
        context: context.clone(),
        wasi: wasi.build(),
        http: limits::http(),
        outbound: Outbound::new(&hook.settings.allow_http, connector, &hook.label, &output, context.deadline),
        output,
        table: limits::table(),
        limits: Limits::new(hook.settings.memory.value),
    };
    // The process is about to exit: to free each piece of memory first takes 0.1 ms.
    let mut store = ManuallyDrop::new(Store::new(component.engine(), state));
    store.limiter(|state| &mut state.limits);
    store.set_hostcall_fuel(limits::CALL_BYTES);
    store.set_max_component_handles(limits::HANDLES);
    let result = call(pre, &mut store, &hook.settings.memory.by).await;
    stdout.finish();
    stderr.finish();
    result
}

/// Calls the hook's own `run`, or the `main` of a program.
async fn call(pre: InstancePre<State>, store: &mut Store<State>, memory_by: &str) -> Result<(), RunError> {
    let is_hook = pre.component().get_export_index(None, contract::run()).is_some();
    let called = if is_hook { call_run(pre, store).await } else { call_main(pre, store).await };
    match called {
        Ok(result) => result,
        Err(error) if trap::is_out_of_memory(&error) => Err(error.into()),
        Err(error) => trap::explain(&error, memory_by).map_or(Ok(()), |text| Err(RunError::Detected(text))),
    }
}

async fn call_run(pre: InstancePre<State>, store: &mut Store<State>) -> wasmtime::Result<Result<(), RunError>> {
    let hook = bindings::HookPre::new(pre)?.instantiate_async(&mut *store).await?;
    Ok(hook.wrapper_hook_run().call_run(store).await?.map_err(reason))
}

async fn call_main(pre: InstancePre<State>, store: &mut Store<State>) -> wasmtime::Result<Result<(), RunError>> {
    let program = CommandPre::new(pre)?.instantiate_async(&mut *store).await?;
    let result = program.wasi_cli_run().call_run(store).await?;
    Ok(result.map_err(|()| RunError::Detected("its main function returned an error".into())))
}

fn reason(error: HookError) -> RunError {
    let or_none = |text: String| if text.trim().is_empty() { "no reason".into() } else { text };
    match error {
        HookError::Failed(text) | HookError::Other(text) => RunError::Reported(or_none(text)),
        HookError::Misconfigured(text) => RunError::Misconfigured(or_none(text)),
    }
}
