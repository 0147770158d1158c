//! Supervisor: the witness, a wrapper without a command in a container of its own. The wrappers of the pod's other
//! containers report to it. When one is killed, with its container, the witness runs the hooks that it has not run.
//!
//! It sees that by the end of the connection, which the kernel closes with the process. What other containers send is
//! kept as it came, at most so much of it, and chooses among the witness's own hooks; see `protocol`.

mod client;
mod protocol;
mod socket;

pub use client::Client;
pub use protocol::NAME_LIMIT;
pub use socket::PATH_LIMIT;

use crate::{
    hook::{self, Common, Hooks},
    job::{Job, Phase},
    log::{self, Label, Level, Line},
    outcome::{Ending, Outcome, WRAPPER_FAILED, killed_by},
    supervise::{SIGKILL, StopPolicy, Supervisor, release_memory},
    text::strerror,
    trace::Trace,
};
use protocol::{LIMIT, Message, Received, Reply, receive, reply};
use rustix::{
    event::epoll,
    fd::{AsFd, OwnedFd},
    io::Errno,
};
use socket::Listener;
use std::{
    collections::VecDeque,
    ffi::OsString,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

/// Settings of both sides.
#[derive(Debug)]
pub struct Settings {
    pub socket: PathBuf,
    /// Of this container, among those of one witness.
    pub name: OsString,
    /// How many report to the witness.
    pub containers: usize,
}

/// Connections that have not registered. A wrapper registers as soon as it has connected; of more than so many, the
/// oldest are closed.
const UNREGISTERED: usize = 8;

/// Connections, or messages of one connection, that are looked at in turn. The others wait until the next.
const AT_ONCE: usize = 32;

/// Pause if there are no descriptors left for a connection.
const ACCEPT_RETRY: Duration = Duration::from_secs(1);

/// Witnesses the containers of a pod until it is asked to stop; returns the exit code.
pub fn serve(settings: &Settings, hooks: &Hooks, common: &Common, started: Instant, supervisor: &mut Supervisor) -> u8 {
    let listener = match Listener::bind(&settings.socket) {
        Ok(listener) => listener,
        Err(error) => {
            log::error(format!("cannot listen on {:?}: {}", settings.socket.to_string_lossy(), strerror(error)));
            return WRAPPER_FAILED;
        }
    };
    let witness = Witness::new(listener, settings.containers, hooks);
    let code = match witness {
        Ok(mut witness) => witness.run(common, started, supervisor),
        Err(errno) => {
            log::error(format!("cannot wait for connections: {}", strerror(errno)));
            WRAPPER_FAILED
        }
    };
    supervisor.end_helpers();
    code
}

struct Witness<'a> {
    hooks: &'a Hooks,
    listener: Listener,
    /// Can be read when one of the sockets can.
    events: OwnedFd,
    unregistered: VecDeque<OwnedFd>,
    /// Those that have registered, at most `limit`.
    containers: Vec<Container>,
    limit: usize,
    /// For each hook whether it runs in the last container only, and whether it has since one was registered.
    on_last: Vec<OnLast>,
    /// Whether the log has it that a connection was refused.
    refused: bool,
}

#[derive(Clone, Copy)]
struct OnLast {
    is_set: bool,
    has_run: bool,
}

struct Container {
    name: Box<[u8]>,
    /// Nothing once it has ended.
    session: Option<Session>,
}

/// From the registration of a wrapper to its end.
struct Session {
    socket: OwnedFd,
    command: Box<[u8]>,
    trace: Trace,
    started_at: SystemTime,
    start: Instant,
    stop_signal: Option<u8>,
    ending: Option<Ending>,
    /// For each hook of the witness whether the wrapper has run it.
    ran: Vec<bool>,
    /// Whether it has asked if it is the last, and the answer.
    asks: bool,
    is_last: Option<bool>,
}

/// Hooks that are to be run for a wrapper that has ended.
struct Due {
    message: String,
    job: Job,
    /// By their places.
    hooks: Vec<bool>,
}

impl hook::Share for Vec<bool> {
    fn is_due(&mut self, place: usize, _: &Label, _: &hook::Settings, _: &mut Supervisor) -> bool {
        self.get(place).copied().unwrap_or(false)
    }

    fn succeeded(&mut self, _: &Label) {}
}

impl<'a> Witness<'a> {
    fn new(listener: Listener, limit: usize, hooks: &'a Hooks) -> Result<Self, Errno> {
        let events = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let on_last = hooks.after().map(|(_, settings)| OnLast { is_set: settings.on_last, has_run: false }).collect();
        let unregistered = VecDeque::new();
        let witness =
            Self { hooks, listener, events, unregistered, containers: Vec::new(), limit, on_last, refused: false };
        witness.watch(witness.listener.as_fd())?;
        Ok(witness)
    }

    fn run(&mut self, common: &Common, started: Instant, supervisor: &mut Supervisor) -> u8 {
        log::debug(|| "the witness listens".into());
        loop {
            // Before what has come is looked at, so that nothing that came before the signal is left.
            let stopping = supervisor.stop_signal();
            let due = self.look(started, supervisor);
            for Due { message, job, mut hooks } in due {
                Line::new(Level::Info, message).write();
                self.hooks.run(Phase::After, common, &job, supervisor, &mut hooks);
            }
            let policy = match stopping {
                None => StopPolicy::EndOnFirst,
                Some(_) => StopPolicy::EndOnSecond,
            };
            match stopping {
                Some(signal) if supervisor.is_stopping(StopPolicy::EndOnSecond) => return killed_by(signal),
                Some(_) if self.containers.iter().all(|container| container.session.is_none()) => return 0,
                Some(_) => supervisor.expect_second_stop(),
                // It came while hooks ran.
                None if supervisor.stop_signal().is_some() => continue,
                None => {}
            }
            release_memory();
            supervisor.wait_for(Some(self.events.as_fd()), None, policy);
        }
    }

    /// Looks at all that has come; returns what is to be done about it.
    fn look(&mut self, started: Instant, supervisor: &mut Supervisor) -> Vec<Due> {
        let mut buffer = Vec::with_capacity(LIMIT);
        let mut due = Vec::new();
        self.accept(supervisor);
        for _ in 0..self.unregistered.len() {
            let Some(socket) = self.unregistered.pop_front() else { break };
            match receive(&socket, &mut buffer) {
                Received::Nothing => self.unregistered.push_back(socket),
                Received::End => self.unwatch(&socket),
                Received::Message(()) => match Message::decode(&buffer) {
                    Some(Message::Register { name, trace, command }) => {
                        let (name, trace, command) = (Box::from(name), Trace::of_bytes(trace), Box::from(command));
                        if let Some(place) = self.place(&name) {
                            // The wrapper of a container that was started again has ended before.
                            due.extend(self.read(place, &mut buffer, started));
                        }
                        self.register(socket, name, trace, command);
                    }
                    _ => self.refuse(&socket, "a connection that does not begin with a registration"),
                },
            }
        }
        while self.unregistered.len() > UNREGISTERED {
            if let Some(oldest) = self.unregistered.pop_front() {
                self.unwatch(&oldest);
            }
        }
        due.extend(self.read_all(&mut buffer, started));
        loop {
            let asking: Vec<usize> = (0..self.containers.len()).filter(|place| self.is_asking(*place)).collect();
            if asking.is_empty() {
                return due;
            }
            // What happened before the question was sent can be read by now.
            due.extend(self.read_all(&mut buffer, started));
            asking.into_iter().for_each(|place| self.answer(place));
        }
    }

    fn read_all(&mut self, buffer: &mut Vec<u8>, started: Instant) -> Vec<Due> {
        (0..self.containers.len()).filter_map(|place| self.read(place, buffer, started)).collect()
    }

    /// The place of the container of that name, if it is known.
    fn place(&self, name: &[u8]) -> Option<usize> {
        self.containers.iter().position(|container| *container.name == *name)
    }

    fn session(&mut self, place: usize) -> Option<&mut Session> {
        self.containers.get_mut(place)?.session.as_mut()
    }

    /// Whether a container waits for an answer, of which it gets one.
    fn is_asking(&mut self, place: usize) -> bool {
        self.session(place).is_some_and(|session| session.asks && session.is_last.is_none())
    }

    fn accept(&mut self, supervisor: &mut Supervisor) {
        for _ in 0..AT_ONCE {
            match self.listener.accept() {
                Ok(Some(socket)) => {
                    if self.watch(socket.as_fd()).is_ok() {
                        self.unregistered.push_back(socket);
                    }
                }
                Ok(None) => break,
                Err(errno) => {
                    log::debug(|| format!("cannot accept a connection: {}", strerror(errno)));
                    supervisor.wait_for(None, Instant::now() + ACCEPT_RETRY, StopPolicy::EndOnSecond);
                    break;
                }
            }
        }
    }

    fn register(&mut self, socket: OwnedFd, name: Box<[u8]>, trace: Trace, command: Box<[u8]>) {
        let place = self.place(&name);
        match place.map(|place| self.session(place).is_some()) {
            Some(true) => {
                let why = format!("a second container {}; set WRAPPER_WITNESS_NAME in each", display(&name));
                return self.refuse(&socket, &why);
            }
            None if self.containers.len() >= self.limit => {
                let why = format!("container {}; --witness-containers is {}", display(&name), self.limit);
                return self.refuse(&socket, &why);
            }
            _ => {}
        }
        log::debug(|| format!("container {} is registered", display(&name)));
        // Before its first message can come.
        reply(&socket, Reply::Registered);
        self.on_last.iter_mut().for_each(|hook| hook.has_run = false);
        let session = Some(Session {
            socket,
            command,
            trace,
            started_at: SystemTime::now(),
            start: Instant::now(),
            stop_signal: None,
            ending: None,
            ran: vec![false; self.on_last.len()],
            asks: false,
            is_last: None,
        });
        match place.and_then(|place| self.containers.get_mut(place)) {
            Some(container) => container.session = session,
            None => self.containers.push(Container { name, session }),
        }
    }

    /// Refuses a connection, and logs the first.
    fn refuse(&mut self, socket: &OwnedFd, what: &str) {
        reply(socket, Reply::Refused);
        self.unwatch(socket);
        if !self.refused {
            self.refused = true;
            log::warn(format!("the witness has refused {what}; further ones are not logged"));
        }
    }

    /// Reads the messages of a container. If its wrapper has ended, returns what is to be done.
    fn read(&mut self, place: usize, buffer: &mut Vec<u8>, started: Instant) -> Option<Due> {
        for _ in 0..AT_ONCE {
            let session = self.session(place)?;
            match receive(&session.socket, buffer) {
                Received::Nothing => break,
                Received::End => return self.end(place, false, started),
                Received::Message(()) => match Message::decode(buffer) {
                    Some(Message::Stopping(signal)) => session.stop_signal = Some(signal),
                    Some(Message::Ended(ending)) => session.ending = Some(ending),
                    Some(Message::Ran(name)) => self.note_ran(place, name),
                    Some(Message::IsLast) => session.asks = true,
                    Some(Message::Finished) => return self.end(place, true, started),
                    Some(Message::Register { .. }) | None => {}
                },
            }
        }
        None
    }

    /// Notes the hook of this name, or the next one if several have it.
    fn note_ran(&mut self, place: usize, name: &[u8]) {
        let Some(session) = self.containers.get_mut(place).and_then(|container| container.session.as_mut()) else {
            return;
        };
        let mut hooks = self.hooks.after().zip(session.ran.iter_mut()).zip(&mut self.on_last);
        if let Some(((_, ran), on_last)) = hooks.find(|(((label, _), ran), _)| !**ran && label.name.as_bytes() == name)
        {
            *ran = true;
            on_last.has_run = true;
        }
    }

    /// Answers the question of a container that has nothing left but the hooks for the last one. The others have ended,
    /// or have asked before; of those that ask at the same time the last one is the last.
    fn answer(&mut self, place: usize) {
        let registered = self.containers.len() == self.limit;
        let mut others = self.containers.iter().enumerate().filter(|(other, _)| *other != place);
        let ended =
            |container: &Container| container.session.as_ref().is_none_or(|session| session.is_last == Some(false));
        let is_last = registered && others.all(|(_, container)| ended(container));
        if let Some(session) = self.session(place) {
            session.is_last = Some(is_last);
            reply(&session.socket, if is_last { Reply::Last } else { Reply::NotLast });
        }
    }

    /// Ends the session of a container; returns the hooks that nobody has run.
    fn end(&mut self, place: usize, finished: bool, started: Instant) -> Option<Due> {
        let session = self.containers.get_mut(place)?.session.take()?;
        self.unwatch(&session.socket);
        let told_last = session.is_last == Some(true);
        if finished && told_last {
            // Successfully or not, it has run them.
            self.on_last.iter_mut().for_each(|hook| hook.has_run = true);
        }
        let all_ended =
            self.containers.len() == self.limit && self.containers.iter().all(|container| container.session.is_none());
        let is_last = all_ended || told_last;
        let due = |(hook, ran): (&OnLast, &bool)| match hook.is_set {
            true => is_last && !hook.has_run,
            false => !finished && !ran,
        };
        let hooks: Vec<bool> = self.on_last.iter().zip(&session.ran).map(due).collect();
        if is_last {
            self.on_last.iter_mut().for_each(|hook| hook.has_run = true);
        }
        let name = self.containers.get(place).map(|container| display(&container.name)).unwrap_or_default();
        let count = hooks.iter().filter(|due| **due).count();
        if finished && count == 0 {
            log::debug(|| format!("container {name} has finished"));
            return None;
        }
        let killed = || Outcome::Killed { signal: SIGKILL as u8, core_dumped: false }.into();
        let ending = session.ending.clone().unwrap_or_else(killed);
        let how = match (finished, &session.ending) {
            (true, _) => "has finished, the last one".to_owned(),
            (false, None) => "was killed".into(),
            (false, Some(ending)) => format!("was killed after its command {}", ended(&ending.outcome)),
        };
        let message = format!("container {name} {how}; hooks left to run: {count}");
        Some(Due { message, job: session.into_job(ending, started), hooks })
    }

    fn watch(&self, socket: impl AsFd) -> Result<(), Errno> {
        epoll::add(&self.events, socket, epoll::EventData::new_u64(0), epoll::EventFlags::IN)
    }

    /// Before it is closed: a process that is being forked may still have it.
    fn unwatch(&self, socket: &OwnedFd) {
        let _ = epoll::delete(&self.events, socket);
    }
}

impl Session {
    fn into_job(self, ending: Ending, wrapper_started: Instant) -> Job {
        let ran = !matches!(ending.outcome, Outcome::NotStarted { .. });
        Job {
            command: self.command.into(),
            wrapper_started,
            started_at: ran.then_some(self.started_at),
            elapsed: ran.then(|| self.start.elapsed()),
            ending: Some(ending),
            stop_signal: self.stop_signal,
            trace: self.trace,
        }
    }
}

/// The name of a container as the log has it.
fn display(name: &[u8]) -> String {
    format!("\"{}\"", name.escape_ascii())
}

fn ended(outcome: &Outcome) -> String {
    match outcome {
        Outcome::NotStarted { .. } => "was not started".into(),
        outcome => outcome.to_string(),
    }
}
