//! Supervisor: the socket file of a witness.

use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{FileType, Mode, lstat, unlink},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with},
    process::umask,
};
use std::path::{Path, PathBuf};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// Bytes of the path of a socket, without the zero at its end (unix(7)).
pub const PATH_LIMIT: usize = 107;

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

/// A socket that listens; its file goes with it.
pub struct Listener {
    socket: OwnedFd,
    path: PathBuf,
}

impl Listener {
    /// Listens on a file that every user of the pod may connect to: the containers need not have the same. A socket
    /// that was left there is replaced, and nothing else.
    pub fn bind(path: &Path) -> Result<Self, Errno> {
        let address = SocketAddrUnix::new(path)?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, FLAGS, None)?;
        if lstat(path).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket) {
            unlink(path)?;
        }
        let mask = umask(Mode::from_raw_mode(0o111));
        let bound = bind(&socket, &address);
        umask(mask);
        bound?;
        let listener = Self { socket, path: path.into() };
        listen(&listener.socket, BACKLOG)?;
        Ok(listener)
    }

    /// The next connection, if there is one.
    pub fn accept(&self) -> Result<Option<OwnedFd>, Errno> {
        match accept_with(&self.socket, FLAGS) {
            Ok(socket) => Ok(Some(socket)),
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = unlink(&self.path);
    }
}
