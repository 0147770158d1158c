//! Runner: the state of a hook's store, and the functions of `wrapper:hook` on it.

use super::{
    context::{Context, since_epoch},
    http::Outbound,
    limits::Limits,
    output::Output,
};
use crate::{
    job::Phase,
    log::{Level, Line},
    outcome::{Cause, CpuTime, Ending, Outcome},
};
use bindings::wrapper::hook::{context, logging, probe};
use std::time::Duration;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

pub mod bindings {
    // The world without its `wasi:…` imports, which come from wasmtime's own crates.
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "
            package wrapper:host;
            world hook {
                import wrapper:hook/context@0.1.0;
                import wrapper:hook/logging@0.1.0;
                import wrapper:hook/probe@0.1.0;
                export wrapper:hook/run@0.1.0;
            }
        ",
        world: "wrapper:host/hook",
        imports: { "wrapper:hook/probe.probe": async },
        exports: { default: async },
    });
}

/// Everything one hook has.
pub struct State {
    pub context: Context,
    pub output: Output,
    pub wasi: WasiCtx,
    pub http: WasiHttpCtx,
    pub outbound: Outbound,
    pub table: ResourceTable,
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

impl State {
    fn ending(&self) -> Option<&Ending> {
        self.context.job.ending.as_ref()
    }
}

/// 64 bits of nanoseconds last for 584 years.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl context::Host for State {
    fn get_phase(&mut self) -> context::Phase {
        match self.context.phase {
            Phase::Before => context::Phase::Before,
            Phase::After => context::Phase::After,
        }
    }

    fn get_command(&mut self) -> Vec<String> {
        self.context.job.arguments().collect()
    }

    fn get_outcome(&mut self) -> Option<context::Outcome> {
        Some(match self.ending()?.outcome.clone() {
            Outcome::Exited(status) => context::Outcome::Exited(status),
            Outcome::Killed { signal, core_dumped } => {
                context::Outcome::Killed(context::Killed { signal, core_dumped })
            }
            Outcome::NotStarted { reason, code } => {
                context::Outcome::NotStarted(context::NotStarted { reason, exit_code: code })
            }
        })
    }

    fn get_cause(&mut self) -> Option<context::Cause> {
        Some(match self.ending()?.cause? {
            Cause::OutOfMemory => context::Cause::OutOfMemory,
            Cause::TimedOut => context::Cause::TimedOut,
        })
    }

    fn get_exit_code(&mut self) -> Option<u8> {
        self.ending().map(|ending| ending.exit_code)
    }

    fn get_succeeded(&mut self) -> Option<bool> {
        self.ending().map(|ending| ending.succeeded)
    }

    fn get_peak_memory(&mut self) -> Option<u64> {
        self.ending()?.usage.peak_memory
    }

    fn get_cpu_time(&mut self) -> Option<context::CpuTime> {
        let CpuTime { user, system } = self.ending()?.usage.cpu_time?;
        Some(context::CpuTime { user: nanoseconds(user), system: nanoseconds(system) })
    }

    fn get_leftover_count(&mut self) -> Option<u32> {
        self.ending()?.leftovers
    }

    fn get_stop_signal(&mut self) -> Option<u8> {
        self.context.job.stop_signal
    }

    fn get_started_at(&mut self) -> Option<u64> {
        self.context.job.started_at.map(|time| nanoseconds(since_epoch(time)))
    }

    fn get_elapsed(&mut self) -> Option<u64> {
        self.context.job.elapsed.map(nanoseconds)
    }

    fn get_uptime(&mut self) -> u64 {
        nanoseconds(self.context.job.wrapper_started.elapsed())
    }

    fn get_time_left(&mut self) -> u64 {
        nanoseconds(self.context.time_left())
    }

    fn get_name(&mut self) -> String {
        self.context.hook.name.clone()
    }

    fn get_position(&mut self) -> context::Position {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        context::Position { number: number(self.context.number), count: number(self.context.count) }
    }
}

impl logging::Host for State {
    fn log(&mut self, level: logging::Level, message: String) {
        let level = match level {
            logging::Level::Debug => Level::Debug,
            logging::Level::Info => Level::Info,
            logging::Level::Warn => Level::Warn,
            logging::Level::Error => Level::Error,
        };
        for line in Output::lines(&message) {
            self.output.admit(line, |line| Line::new(level, line).by_hook(&self.context.hook).write());
        }
    }
}

impl probe::Host for State {
    async fn probe(&mut self, targets: Vec<String>, timeout: u64) -> Vec<Result<(), probe::Failure>> {
        self.outbound.probe(targets, Duration::from_nanos(timeout)).await
    }
}
