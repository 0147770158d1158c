//! Supervisor: the messages between a wrapper and its witness, on a Unix socket that keeps them apart (SOCK_SEQPACKET).
//!
//! A message begins with a byte for its kind. The supervisor reads that, and numbers at fixed places. Names
//! and arguments are bytes that it keeps and compares; they are decoded in the sandbox of a hook.

use crate::{
    outcome::{Cause, CpuTime, Ending, Outcome, Usage},
    trace,
};
use rustix::{
    fd::{AsFd, OwnedFd},
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send as send_to},
};
use std::time::Duration;

/// Bytes of the name of a container, which Kubernetes allows.
pub const NAME_LIMIT: usize = 63;

/// Bytes of the arguments of a command; what is longer is cut.
pub const COMMAND_LIMIT: usize = 32 << 10;

/// Bytes of the longest message: `Register`.
pub const LIMIT: usize = 3 + NAME_LIMIT + trace::LIMIT + COMMAND_LIMIT;

/// A message of a wrapper.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// The first one: the name of its container, the trace of its command, and that one's arguments.
    Register { name: &'a [u8], trace: &'a [u8], command: &'a [u8] },
    /// It was asked to stop.
    Stopping(u8),
    /// The command has ended.
    Ended(Ending),
    /// The after-hook of this name has succeeded.
    Ran(&'a [u8]),
    /// Whether all other containers have ended. It is answered.
    IsLast,
    /// All after-hooks have run.
    Finished,
}

/// A message of the witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reply {
    Registered = b'+',
    Refused = b'-',
    Last = b'y',
    NotLast = b'n',
}

impl<'a> Message<'a> {
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Register { name, trace, command } => {
                let name = name.get(..NAME_LIMIT).unwrap_or(name);
                let trace = trace.get(..trace::LIMIT).unwrap_or(trace);
                let command = command.get(..COMMAND_LIMIT).unwrap_or(command);
                let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap_or(0);
                [&[b'r', length(name), length(trace)], name, trace, command].concat()
            }
            Self::Stopping(signal) => vec![b's', *signal],
            Self::Ended(ending) => encode(ending),
            Self::Ran(name) => [b"h", *name].concat(),
            Self::IsLast => vec![b'l'],
            Self::Finished => vec![b'f'],
        }
    }

    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        match *bytes {
            [b'r', of_name, of_trace, ref rest @ ..] => {
                let (name, rest) = rest.split_at_checked(of_name.into())?;
                let (trace, command) = rest.split_at_checked(of_trace.into())?;
                let fits = name.len() <= NAME_LIMIT && trace.len() <= trace::LIMIT;
                fits.then_some(Self::Register { name, trace, command })
            }
            [b's', signal] => Some(Self::Stopping(signal)),
            [b'e', ref ending @ ..] => decode(ending).map(Self::Ended),
            [b'h', ref name @ ..] => Some(Self::Ran(name)),
            [b'l'] => Some(Self::IsLast),
            [b'f'] => Some(Self::Finished),
            _ => None,
        }
    }
}

/// Unknown, among numbers.
const UNKNOWN: u64 = u64::MAX;

/// Six bytes, and four numbers of eight bytes each.
fn encode(ending: &Ending) -> Vec<u8> {
    let (how, number) = match ending.outcome {
        Outcome::Exited(status) => (b'e', status),
        Outcome::Killed { signal, core_dumped: false } => (b'k', signal),
        Outcome::Killed { signal, core_dumped: true } => (b'c', signal),
        Outcome::NotStarted { code, .. } => (b'n', code),
    };
    let cause = match ending.cause {
        None => b'-',
        Some(Cause::OutOfMemory) => b'm',
        Some(Cause::TimedOut) => b't',
    };
    let nanoseconds = |time: fn(&CpuTime) -> Duration| {
        ending.usage.cpu_time.as_ref().and_then(|cpu_time| u64::try_from(time(cpu_time).as_nanos()).ok())
    };
    let numbers = [
        ending.usage.peak_memory,
        nanoseconds(|time| time.user),
        nanoseconds(|time| time.system),
        ending.leftovers.map(u64::from),
    ];
    let mut bytes = vec![b'e', how, number, ending.exit_code, ending.succeeded.into(), cause];
    bytes.extend(numbers.iter().flat_map(|number| number.unwrap_or(UNKNOWN).to_le_bytes()));
    bytes
}

fn decode(bytes: &[u8]) -> Option<Ending> {
    let [how, number, exit_code, succeeded @ 0..=1, cause, ref numbers @ ..] = *bytes else { return None };
    let outcome = match how {
        b'e' => Outcome::Exited(number),
        b'k' | b'c' => Outcome::Killed { signal: number, core_dumped: how == b'c' },
        b'n' => Outcome::not_started("the log of its own wrapper says why", number),
        _ => return None,
    };
    let cause = match cause {
        b'-' => None,
        b'm' => Some(Cause::OutOfMemory),
        b't' => Some(Cause::TimedOut),
        _ => return None,
    };
    let (numbers, []) = numbers.as_chunks() else { return None };
    let [peak_memory, user, system, leftovers] = *numbers else { return None };
    let known = |number| Some(u64::from_le_bytes(number)).filter(|number| *number != UNKNOWN);
    let cpu_time = known(user)
        .zip(known(system))
        .map(|(user, system)| CpuTime { user: Duration::from_nanos(user), system: Duration::from_nanos(system) });
    let leftovers = known(leftovers).map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    let usage = Usage { peak_memory: known(peak_memory), cpu_time };
    Some(Ending { outcome, exit_code, succeeded: succeeded == 1, cause, usage, leftovers })
}

impl Reply {
    fn decode(byte: u8) -> Option<Self> {
        [Self::Registered, Self::Refused, Self::Last, Self::NotLast].into_iter().find(|reply| *reply as u8 == byte)
    }
}

/// What came over a socket.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<T> {
    Message(T),
    /// Nothing so far.
    Nothing,
    /// The other side has closed its socket, or was killed.
    End,
}

/// Sends a message, or fails if the socket is full or closed.
pub fn send(socket: &OwnedFd, message: &Message) -> Result<(), Errno> {
    send_bytes(socket, &message.encode())
}

pub fn reply(socket: &OwnedFd, reply: Reply) {
    // Who does not read its replies goes without.
    let _ = send_bytes(socket, &[reply as u8]);
}

fn send_bytes(socket: &OwnedFd, bytes: &[u8]) -> Result<(), Errno> {
    send_to(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).map(drop)
}

/// Reads the next message into the buffer, which has room for `LIMIT` bytes. One that is longer comes as empty, which
/// is no message.
pub fn receive(socket: impl AsFd, buffer: &mut Vec<u8>) -> Received<()> {
    loop {
        buffer.clear();
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        match recv(&socket, rustix::buffer::spare_capacity(buffer), flags) {
            Ok((0, 0)) => return Received::End,
            Ok((read, length)) => {
                if length > read {
                    buffer.clear();
                }
                return Received::Message(());
            }
            // The other side has closed its socket without reading all replies: reported once, before the messages that
            // it has left.
            Err(Errno::CONNRESET | Errno::INTR) => {}
            Err(Errno::AGAIN) => return Received::Nothing,
            Err(_) => return Received::End,
        }
    }
}

pub fn receive_reply(socket: impl AsFd) -> Received<Option<Reply>> {
    let mut buffer = Vec::with_capacity(1);
    match receive(socket, &mut buffer) {
        Received::Message(()) => Received::Message(buffer.first().and_then(|byte| Reply::decode(*byte))),
        Received::Nothing => Received::Nothing,
        Received::End => Received::End,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_decoded_as_it_was_encoded() {
        for message in [
            Message::Register { name: b"", trace: b"", command: b"" },
            Message::Register { name: b"my-job", trace: b"00-\xff", command: b"sh\0-c\0\xff\0" },
            Message::Stopping(15),
            Message::Ended(Outcome::Exited(3).into()),
            Message::Ended(Outcome::Killed { signal: 11, core_dumped: true }.into()),
            Message::Ended(Ending {
                outcome: Outcome::Killed { signal: 9, core_dumped: false },
                exit_code: 42,
                succeeded: true,
                cause: Some(Cause::OutOfMemory),
                usage: Usage {
                    peak_memory: Some(64 << 30),
                    cpu_time: Some(CpuTime { user: Duration::from_nanos(1), system: Duration::from_secs(100_000) }),
                },
                leftovers: Some(3),
            }),
            Message::Ran(b"istio-quit"),
            Message::IsLast,
            Message::Finished,
        ] {
            assert_eq!(Message::decode(&message.encode()), Some(message));
        }
        let ended = Message::Ended(Outcome::not_started("a secret", 127).into()).encode();
        let Some(Message::Ended(ending)) = Message::decode(&ended) else { panic!() };
        assert_eq!(ending.outcome, Outcome::not_started("the log of its own wrapper says why", 127));
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let message = Message::Register { name: &[b'n'; 100], trace: &[b't'; 200], command: &[b'c'; 100_000] }.encode();
        assert_eq!(message.len(), LIMIT);
        let cut = Message::Register {
            name: &[b'n'; NAME_LIMIT],
            trace: &[b't'; trace::LIMIT],
            command: &[b'c'; COMMAND_LIMIT],
        };
        assert_eq!(Message::decode(&message), Some(cut));
    }

    #[test]
    fn anything_else_is_no_message() {
        for bytes in [
            &b""[..],
            b"r",
            b"r\x05\0abc",
            b"r\0\x05abc",
            b"s",
            b"s\x0f\x0f",
            b"e",
            b"ee\x00",
            b"ll",
            b"f\0",
            b"GET / HTTP/1.1",
        ] {
            assert_eq!(Message::decode(bytes), None, "{bytes:?}");
        }
        let ended = Message::Ended(Outcome::Exited(0).into()).encode();
        for (place, byte) in [(1, b'x'), (4, 2), (5, b'x')] {
            let mut ended = ended.clone();
            ended[place] = byte;
            assert_eq!(Message::decode(&ended), None, "{ended:?}");
        }
        assert_eq!(Message::decode(&ended[..ended.len() - 1]), None);
        assert_eq!(Message::decode(&[&ended[..], b"\0"].concat()), None);
        let long_name = [&[b'r', 64, 0][..], &[b'n'; 64]].concat();
        let long_trace = [&[b'r', 0, 111][..], &[b't'; 111]].concat();
        assert_eq!((Message::decode(&long_name), Message::decode(&long_trace)), (None, None));
    }
}
