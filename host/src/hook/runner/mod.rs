//! The process that runs one hook and ends. Whatever happens in it, the supervisor only sees an exit status, and
//! kills it when its time is up: no limit here is needed for that.

mod context;
mod http;
mod kept;
pub mod limits;
mod linker;
mod output;
pub mod trap;

pub use context::{Facts, Moment, Phase};
pub use http::Means;

use crate::{
    hook::{
        Common, compiler,
        engine::{self, Code},
        load::Hook,
        memfd,
        preparation::Preparation,
        report::Verdict,
    },
    log::{self, Level, Line},
    outcome::WRAPPER_FAILED,
    sandbox::{self, heap},
};
use bindings::exports::wrapper::hook::run::Error as HookError;
use context::bindings;
use http::{Files, Outbound};
use limits::Limits;
use output::Output;
use std::fs::File;
use wasmtime::{
    Engine, Store,
    component::{Component, HasSelf, InstancePre, Linker, ResourceTable},
};
use wasmtime_wasi::{
    WasiCtx, WasiCtxView, WasiView,
    cli::{WasiCli, WasiCliView},
    p2::bindings::{CommandPre, cli::environment},
};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// The runner's exit code when the hook did its work.
const SUCCEEDED: u8 = 0;

/// When the hook said that its settings have to be changed: what sysexits.h has for it, `EX_CONFIG`.
const MISCONFIGURED: u8 = 78;

/// What an exit code of this process says of the hook.
pub fn verdict(code: u8) -> Verdict {
    match code {
        SUCCEEDED => Verdict::Succeeded,
        MISCONFIGURED => Verdict::Misconfigured,
        _ => Verdict::Failed,
    }
}

/// Everything one hook has.
pub struct State {
    pub facts: Facts,
    pub output: Output,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outbound: Outbound,
    table: ResourceTable,
    pub limits: Limits,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.outbound, table: &mut self.table, ctx: &mut self.http }
    }
}

/// What the process takes along into its jail, where it can get no more of it.
struct Taken {
    /// The hook's.
    variables: Vec<(String, String)>,
    /// What `prepare` has left.
    code: Option<File>,
}

/// Runs the hook and says how it went: in the log, and by the exit code of this process.
pub fn run(hook: &Hook, common: &Common, facts: &Facts) -> u8 {
    sandbox::close_all_but(&hook.descriptors());
    heap::end_when_exhausted();
    let identity = ["TLS_CERT", "TLS_KEY"].map(|setting| hook.settings.variables.named(setting));
    let files = Files::read(&hook.settings.allow_http.value, identity);
    let of_product = hook.product_variables().iter().map(|name| (*name).to_owned());
    let listed: Vec<_> = common.env.iter().cloned().chain(of_product).collect();
    let taken = Taken {
        variables: facts.variables(&hook.settings.variables, &listed),
        code: hook.preparation.as_ref().and_then(Preparation::code),
    };
    if !trusted() {
        sandbox::enter_as_runner(&hook.settings, common.scarce_address_space);
    }
    let means = files.parse(&hook.label);
    let problem = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(execute(hook, common, facts, means, taken)).err(),
        Err(error) => Some(Problem::Found(format!("cannot run: {error}"))),
    };
    let Some(problem) = problem else { return SUCCEEDED };
    let (failed, misconfigured) = (Verdict::Failed.name(), Verdict::Misconfigured.name());
    let line = |text| Line::new(Level::Error, trap::cut(text)).about(&hook.label).field("phase", facts.phase.name());
    let (line, code) = match problem {
        Problem::OutOfMemory => return heap::OUT_OF_MEMORY,
        Problem::Found(why) => (line(format!("{failed}: {why}")).field("verdict", failed), WRAPPER_FAILED),
        Problem::Failed(why) => (line(why).reported_as(failed), WRAPPER_FAILED),
        Problem::Misconfigured(why) => (line(why).reported_as(misconfigured), MISCONFIGURED),
    };
    line.write();
    code
}

/// Whether the tests took the jail away, to show that it is what holds.
fn trusted() -> bool {
    #[cfg(debug_assertions)]
    return sandbox::escape::without_jail();
    #[cfg(not(debug_assertions))]
    false
}

/// Why a hook did not do its work.
enum Problem {
    /// In wrapper's words: it trapped, say.
    Found(String),
    /// In its own words.
    Failed(String),
    /// The same, and somebody has to change its settings first.
    Misconfigured(String),
    /// Which takes memory to say: the supervisor does.
    OutOfMemory,
}

impl From<wasmtime::Error> for Problem {
    fn from(error: wasmtime::Error) -> Self {
        match trap::exhausted(&error) {
            true => Self::OutOfMemory,
            false => Self::Found(trap::flatten(&error)),
        }
    }
}

async fn execute(hook: &Hook, common: &Common, facts: &Facts, means: Means, taken: Taken) -> Result<(), Problem> {
    let component = code(hook, common, taken.code.as_ref())?;
    if !trusted() {
        sandbox::seal_code();
    }
    heap::limit(limits::budget(&hook.settings));
    #[cfg(debug_assertions)]
    sandbox::escape::attempt();
    let pre = linker(&component)?.instantiate_pre(&component).map_err(|error| {
        let layers: Vec<_> = error.chain().map(ToString::to_string).collect();
        Problem::Found(format!("cannot be linked: {}", layers.join(": ")))
    })?;
    let output = Output::new(&hook.label);
    let (stdout, stderr) = (output.stream(), output.stream());
    let mut wasi = WasiCtx::builder();
    wasi.envs(&taken.variables).stdout(stdout.clone()).stderr(stderr.clone());
    wasi.arg(&hook.label.name);
    limits::limit_wasi(&mut wasi);
    let state = State {
        facts: facts.clone(),
        wasi: wasi.build(),
        http: limits::http(),
        outbound: Outbound::new(&hook.settings.allow_http, means, &hook.label, &output, facts.deadline),
        output,
        table: limits::table(),
        limits: Limits::new(hook.settings.memory.value),
    };
    let mut store = Store::new(component.engine(), state);
    limits::limit_store(&mut store);
    let result = call(pre, &mut store, &hook.settings.memory.by).await;
    stdout.finish();
    stderr.finish();
    result
}

/// The hook's code: machine code, or where executable memory is forbidden, as by SELinux's execmem or a strict seccomp
/// profile, code that is interpreted.
fn code(hook: &Hook, common: &Common, prepared: Option<&File>) -> Result<Component, Problem> {
    let engine = |code| engine::new(hook.settings.memory.value, common.scarce_address_space, code);
    let machine = engine(Code::usual())?;
    match component(hook, &machine, prepared) {
        Err(error) if trap::forbidden(&error) => {
            log::debug(|| format!("executable memory is forbidden here, the hook is interpreted: {error}"));
            Ok(component(hook, &engine(Code::Interpreted)?, None)?)
        }
        result => Ok(result?),
    }
}

/// The hook's code: what `prepare` left, or made now.
fn component(hook: &Hook, engine: &Engine, prepared: Option<&File>) -> wasmtime::Result<Component> {
    if let Some(code) = prepared {
        match load(code, engine) {
            Ok(component) => return Ok(component),
            Err(error) => log::debug(|| format!("prepared code is not used: {error}")),
        }
    }
    let bytes = hook.bytes()?;
    // The check was done before, but the process that did it is not the one that relies on it.
    if hook.needs_check() {
        compiler::check(&bytes, &hook.settings).map_err(wasmtime::Error::msg)?;
    }
    Component::new(engine, &bytes)
}

#[allow(unsafe_code)]
fn load(code: &File, engine: &Engine) -> wasmtime::Result<Component> {
    let bytes = memfd::read(code)?;
    // SAFETY: the file was created, written and sealed by `prepare`'s process for this hook, which is the same binary,
    // and came on a socket that no other process can send to.
    unsafe { Component::deserialize(engine, bytes) }
}

/// Everything that is granted, and nothing else. Files and sockets are linked, because some languages' libraries
/// import them, but there are none.
fn linker(component: &Component) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(component.engine());
    if needs_little(component) {
        wasmtime_wasi::p2::add_to_linker_proxy_interfaces_async(&mut linker)?;
        environment::add_to_linker::<_, WasiCli>(&mut linker, WasiCliView::cli)?;
    } else {
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        linker::add_to_linker(&mut linker)?;
    }
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    kept::limit_strings(&mut linker)?;
    bindings::Hook::add_to_linker::<_, HasSelf<_>>(&mut linker, |state: &mut State| state)?;
    Ok(linker)
}

/// Whether a hook imports no more than one made with guest-sdk does. To register all of WASI for it would take longer
/// than it runs.
fn needs_little(component: &Component) -> bool {
    const LITTLE: [&str; 5] = ["wrapper:hook/", "wasi:http/", "wasi:io/", "wasi:clocks/", "wasi:cli/environment@"];
    let component_type = component.component_type();
    component_type.imports(component.engine()).all(|(name, _)| LITTLE.iter().any(|known| name.starts_with(known)))
}

/// Calls the hook's own `run`, or the `main` of a program.
async fn call(pre: InstancePre<State>, store: &mut Store<State>, memory_by: &str) -> Result<(), Problem> {
    let is_hook = pre.component().get_export_index(None, "wrapper:hook/run@0.1.0").is_some();
    let called = match is_hook {
        true => call_run(pre, store).await,
        false => call_main(pre, store).await,
    };
    match called {
        Ok(result) => result,
        Err(error) if trap::exhausted(&error) => Err(error.into()),
        Err(error) => trap::describe(&error, memory_by).map_or(Ok(()), |text| Err(Problem::Found(text))),
    }
}

async fn call_run(pre: InstancePre<State>, store: &mut Store<State>) -> wasmtime::Result<Result<(), Problem>> {
    let hook = bindings::HookPre::new(pre)?.instantiate_async(&mut *store).await?;
    Ok(hook.wrapper_hook_run().call_run(store).await?.map_err(reason))
}

async fn call_main(pre: InstancePre<State>, store: &mut Store<State>) -> wasmtime::Result<Result<(), Problem>> {
    let program = CommandPre::new(pre)?.instantiate_async(&mut *store).await?;
    let result = program.wasi_cli_run().call_run(store).await?;
    Ok(result.map_err(|()| Problem::Found("its main function returned an error".into())))
}

fn reason(error: HookError) -> Problem {
    let or_none = |text: String| if text.trim().is_empty() { "no reason".into() } else { text };
    match error {
        HookError::Failed(text) | HookError::Other(text) => Problem::Failed(or_none(text)),
        HookError::Misconfigured(text) => Problem::Misconfigured(or_none(text)),
    }
}
