//! Supervisor: the side of the wrapper that has a witness. It reports what happens, and never waits for the witness
//! longer than `PATIENCE`: the Job runs and ends without one, too.

use super::{
    Settings,
    protocol::{Message, Received, Reply, receive_reply, send},
};
use crate::{
    hook,
    job::Job,
    log,
    log::Label,
    outcome::Ending,
    supervise::{Readiness, StopPolicy, Supervisor},
    text::strerror,
};
use rustix::{
    fd::{AsFd, OwnedFd},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with},
};
use std::{
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

/// How long the start of the command waits for the witness at most, and the end of the hooks for its answer. A witness
/// on an idle node answers in less than a millisecond; one that was started just before needs some to begin.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two attempts to connect to a witness that does not listen yet.
const RETRY: Duration = Duration::from_millis(10);

/// The connection to the witness, if there is one.
pub struct Client {
    socket: Option<Rc<OwnedFd>>,
    /// Its path, for messages.
    path: PathBuf,
    is_last: Option<bool>,
    warned: bool,
}

impl Client {
    /// Registers with the witness that the user has named, if any.
    pub fn register(settings: Option<&Settings>, job: &Job, supervisor: &mut Supervisor) -> Self {
        let mut client = Self { socket: None, path: PathBuf::new(), is_last: None, warned: false };
        let Some(settings) = settings else { return client };
        client.path.clone_from(&settings.socket);
        let deadline = Instant::now() + PATIENCE;
        let (name, trace) = (settings.name.as_bytes(), job.trace.as_bytes());
        let message = Message::Register { name, trace, command: &job.command };
        let connected = connect_until(&settings.socket, deadline, supervisor)
            .and_then(|socket| send(&socket, &message).map(|()| socket));
        match connected {
            Ok(socket) => client.wait_for_registration(socket.into(), deadline, supervisor),
            Err(errno) => client.warn(&strerror(errno)),
        }
        client
    }

    fn wait_for_registration(&mut self, socket: Rc<OwnedFd>, deadline: Instant, supervisor: &mut Supervisor) {
        match supervisor.wait_for(Some(socket.as_fd()), deadline, StopPolicy::EndOnFirst) {
            Readiness::Readable => match receive_reply(&socket) {
                Received::Message(Some(Reply::Registered)) => log::debug(|| "registered with the witness".into()),
                Received::Message(Some(Reply::Refused)) => {
                    return self.warn("it has refused this container; its log says why");
                }
                _ => return self.warn("it has closed the connection"),
            },
            // It may be slow, and still there when it is needed.
            Readiness::TimedOut => self.warn(&format!("no answer within {}", humantime::format_duration(PATIENCE))),
            Readiness::Interrupted => {}
        }
        let stopping = socket.clone();
        supervisor.on_stop(move |signal| {
            let _ = send(&stopping, &Message::Stopping(signal));
        });
        self.socket = Some(socket);
    }

    /// The command has ended, or was not started.
    pub fn ended(&mut self, ending: &Ending) {
        self.report(&Message::Ended(ending.clone()));
    }

    /// All hooks have run.
    pub fn finished(&mut self) {
        self.report(&Message::Finished);
    }

    fn report(&mut self, message: &Message) {
        let Some(socket) = &self.socket else { return };
        if let Err(errno) = send(socket, message) {
            self.socket = None;
            self.warn(&strerror(errno));
        }
    }

    /// Warns once, whatever else goes wrong.
    fn warn(&mut self, why: &str) {
        if !self.warned {
            self.warned = true;
            let path = self.path.display();
            log::warn(format!("no witness at {path}: {why}; if this container is killed, its hooks may not run"));
        }
    }

    /// Whether no other container of the pod still runs. If that cannot be known, the hook runs.
    fn ask_whether_last(&mut self, hook: &Label, supervisor: &mut Supervisor) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let late = || format!("the witness has not answered within {}", humantime::format_duration(PATIENCE));
        self.report(&Message::IsLast);
        let answer = self.socket.as_ref().map_or(Err("there is no witness".into()), |socket| {
            loop {
                match supervisor.wait_for(Some(socket.as_fd()), deadline, StopPolicy::EndOnSecond) {
                    Readiness::Readable => match receive_reply(socket) {
                        Received::Message(Some(Reply::Last)) => break Ok(true),
                        Received::Message(Some(Reply::NotLast)) => break Ok(false),
                        // The late answer to the registration. Any number of them could be in the place of the answer.
                        Received::Message(Some(Reply::Registered)) | Received::Nothing => {
                            if Instant::now() >= deadline {
                                break Err(late());
                            }
                        }
                        _ => break Err("the witness has closed the connection".into()),
                    },
                    Readiness::TimedOut => break Err(late()),
                    // The hook will not run in any case.
                    Readiness::Interrupted => break Ok(true),
                }
            }
        });
        answer.unwrap_or_else(|why| {
            let line = log::Line::new(log::Level::Warn, format!("runs, in the last container or not: {why}"));
            line.about_hook(hook).write();
            true
        })
    }
}

impl hook::Share for Client {
    fn is_due(&mut self, _: usize, hook: &Label, settings: &hook::Settings, supervisor: &mut Supervisor) -> bool {
        if !settings.on_last {
            return true;
        }
        let is_last = match self.is_last {
            Some(is_last) => is_last,
            None => self.ask_whether_last(hook, supervisor),
        };
        self.is_last = Some(is_last);
        if !is_last {
            log::debug(|| format!("{} is left to the last container", hook.name));
        }
        is_last
    }

    fn succeeded(&mut self, hook: &Label) {
        self.report(&Message::Ran(hook.name.as_bytes()));
    }
}

/// Connects without waiting, again and again until the deadline while nobody listens. Native sidecars are started
/// before the container, but not long before.
fn connect_until(path: &Path, deadline: Instant, supervisor: &mut Supervisor) -> Result<OwnedFd, Errno> {
    let address = SocketAddrUnix::new(path)?;
    loop {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        match connect(&socket, &address) {
            Ok(()) => return Ok(socket),
            // No file; nobody listens; its queue is full.
            Err(errno @ (Errno::NOENT | Errno::CONNREFUSED | Errno::AGAIN)) => {
                let retry = deadline.min(Instant::now() + RETRY);
                let waited = supervisor.wait_for(None, retry, StopPolicy::EndOnFirst);
                if waited == Readiness::Interrupted || Instant::now() >= deadline {
                    return Err(errno);
                }
            }
            Err(errno) => return Err(errno),
        }
    }
}
