//! Supervisor and compiler: what passes between them: a message for each hook, its code as an open file, and turns.

use crate::{memfd, supervise::nix_errno, text::truncate};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{FlockOperation, fcntl_lock},
    io::{Errno, IoSlice, IoSliceMut, read, write},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
    },
};
use std::{borrow::Cow, fs::File, io, mem::MaybeUninit, os::fd::AsRawFd};

/// A message of the compiler, one byte each.
#[derive(Clone, Copy)]
#[repr(u8)]
pub enum Message {
    /// The hook can be run.
    Valid = b'+',
    Invalid = b'-',
    /// With its code, in a file.
    Compiled = b'=',
}

/// A socket to receive from and one to send to, on which messages stay apart.
pub fn pair() -> Result<(OwnedFd, OwnedFd), nix::errno::Errno> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).map_err(nix_errno)
}

/// A message without a file.
pub fn send(socket: &OwnedFd, message: Message) {
    let _ = write(socket, &[message as u8]);
}

/// The most bytes of a report.
const REPORT_LIMIT: usize = 32 << 10;

/// The last line of a report whose other lines have no room.
const TRUNCATED: &str = "truncated\tyes\n";

/// A message with what `--check` or `--inspect` asks for: lines, the last of which are left out if they are too long.
pub fn send_report(socket: &OwnedFd, message: Message, report: &str) {
    let bytes: Vec<u8> = [message as u8].into_iter().chain(fitting(report).bytes()).collect();
    let _ = write(socket, &bytes);
}

fn fitting(report: &str) -> Cow<'_, str> {
    if report.len() <= REPORT_LIMIT {
        return report.into();
    }
    let start = truncate(report, REPORT_LIMIT - TRUNCATED.len());
    let lines = start.rsplit_once('\n').map_or("", |(lines, _)| lines);
    format!("{lines}\n{TRUNCATED}").into()
}

/// The same, received. Its text is shown, and nothing else depends on it.
pub fn receive_report(socket: &OwnedFd) -> Option<(Message, String)> {
    let mut bytes = vec![0; 1 + REPORT_LIMIT];
    let length = read(socket, &mut bytes).ok()?;
    let (message, report) = bytes.get(..length)?.split_first()?;
    let message = if *message == Message::Valid as u8 { Message::Valid } else { Message::Invalid };
    Some((message, String::from_utf8_lossy(report).into_owned()))
}

/// The message before the file, if there is one: any unknown byte is Invalid.
pub fn receive(socket: &OwnedFd) -> Option<Message> {
    let mut byte = [0];
    let length = read(socket, &mut byte).ok()?;
    let valid = byte == [Message::Valid as u8];
    (length == 1).then_some(if valid { Message::Valid } else { Message::Invalid })
}

pub fn send_file(socket: &OwnedFd, file: &File) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let files = [file.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&files));
    sendmsg(socket, &[IoSlice::new(&[Message::Compiled as u8])], &mut ancillary, SendFlags::empty()).map(drop)
}

/// The file that was sent, if one was by now.
pub fn receive_file(socket: &OwnedFd) -> Option<File> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, flags).ok()?;
    let files = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => Some(files),
        _ => None,
    });
    files.flatten().next().map(File::from)
}

/// A lock that lets only one compiler work at a time, so that ten hooks need no more memory than one. It is a file
/// lock, which the kernel releases when the process exits.
pub struct Turn(File);

impl Turn {
    pub fn new() -> io::Result<Self> {
        let file = memfd::create("turn")?;
        // No process can store anything in it.
        memfd::seal(&file)?;
        Ok(Self(file))
    }

    /// Waits for the lock. The process holds it until it exits.
    pub fn wait(&self) {
        let _ = fcntl_lock(&self.0, FlockOperation::LockExclusive);
    }

    pub fn descriptor(&self) -> i32 {
        self.0.as_raw_fd()
    }
}
