//! The first process of a task's namespaces, from outside: it may outlive its task, to start the next in its place.
//!
//! Making namespaces, and what is in them, costs as much as starting a program. So those of a task that ended by itself
//! and left nothing there are for the next task, if that is of the same revision of the same package: whoever could
//! come upon anything that was overlooked has the same owner and runs the same code. In any other case they end with
//! their task, as they do whenever their first process is killed.

use std::ffi::CString;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg,
    socketpair,
};
use nix::unistd::Pid;
use windlass_model::limits::{Limits, Network};

use super::message::{Inside, View};
use super::sys;

/// Most bytes of a request that are sent on to a first process; for a larger one there is a new one, which has a copy
/// of it already.
pub(super) const MAX_REQUEST: usize = 64 * 1024;

/// A first process that lives.
pub(super) struct Init {
    pub(super) pid: Pid,
    socket: OwnedFd,
    terms: Terms,
}

/// What its namespaces were made by.
#[derive(Debug, PartialEq)]
pub(super) struct Terms {
    /// Whose they are; empty: nobody may have them after their first task.
    kin: CString,
    is_copy: bool,
    network: Network,
    limits: Limits,
}

impl Terms {
    pub(super) fn of(inside: &Inside<'_>) -> Self {
        Self {
            kin: inside.kin.to_owned(),
            is_copy: matches!(inside.view, View::Copy(_)),
            network: inside.network,
            limits: inside.limits,
        }
    }
}

/// The sockets of a first process: ours, and its own.
pub(super) fn sockets() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
}

impl Init {
    pub(super) fn new(pid: Pid, socket: OwnedFd, terms: Terms) -> Self {
        Self { pid, socket, terms }
    }

    /// Hands it a task, with the ends of its pipes, if it was made for such; `false`: it must not have it, or cannot.
    pub(super) fn takes(&self, terms: &Terms, request: &[u8], output: &[BorrowedFd<'_>; 2]) -> bool {
        let fds = output.map(|fd| fd.as_raw_fd());
        let (parts, rights) = ([IoSlice::new(request)], [ControlMessage::ScmRights(&fds)]);
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        self.terms == *terms
            && !terms.kin.is_empty()
            && request.len() <= MAX_REQUEST
            && sendmsg::<()>(self.socket.as_raw_fd(), &parts, &rights, flags, None).is_ok()
    }

    /// The descriptor of a result that it has sent.
    pub(super) fn take_result(&self) -> Option<OwnedFd> {
        let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
        let mut byte = [0];
        let mut buffer = [IoSliceMut::new(&mut byte)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<()>(self.socket.as_raw_fd(), &mut buffer, Some(&mut space), flags).ok()?;
        message.cmsgs().ok()?.find_map(|control| match control {
            ControlMessageOwned::ScmRights(fds) => fds.first().copied().map(sys::own),
            _ => None,
        })
    }

    /// Ends it, and its namespaces with it.
    pub(super) fn end(self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = sys::wait(self.pid, 0);
    }
}

impl AsFd for Init {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
