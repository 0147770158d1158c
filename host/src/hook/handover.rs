//! Handing an open file from one process of ours to another, over a socket that only these two have.

use rustix::{
    fd::{AsFd, OwnedFd},
    io::{Errno, IoSlice, IoSliceMut},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
    },
};
use std::{fs::File, mem::MaybeUninit};

/// A message has to have a byte.
const FILE: [u8; 1] = [b'='];

/// A socket to receive from and one to send to, on which messages stay apart.
pub fn pair() -> Result<(OwnedFd, OwnedFd), nix::errno::Errno> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|errno| nix::errno::Errno::from_raw(errno.raw_os_error()))
}

pub fn send(socket: &OwnedFd, file: &File) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let files = [file.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&files));
    sendmsg(socket, &[IoSlice::new(&FILE)], &mut ancillary, SendFlags::empty()).map(drop)
}

/// The file that was sent, if one was by now.
pub fn receive(socket: &OwnedFd) -> Option<File> {
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
