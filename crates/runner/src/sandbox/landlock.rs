//! Where a task may read and write, and whom it may signal: a second wall behind the mount and pid namespaces.
//!
//! A hole in one of those (a descriptor that was left open, a mount that was forgotten, init's signals) leads nowhere
//! as long as this one holds. Made by bare system calls: the crate of that name is for programs that choose at run time
//! what they need.

use std::ffi::CStr;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::spawner::sys::confine::{self, Ruleset};

/// What is done with a file or folder.
mod access {
    const EXECUTE: u64 = 1;
    const WRITE_FILE: u64 = 1 << 1;
    const READ_FILE: u64 = 1 << 2;
    const READ_DIR: u64 = 1 << 3;
    const REMOVE_DIR: u64 = 1 << 4;
    const REMOVE_FILE: u64 = 1 << 5;
    const MAKE_CHAR: u64 = 1 << 6;
    const MAKE_DIR: u64 = 1 << 7;
    const MAKE_REG: u64 = 1 << 8;
    const MAKE_SOCK: u64 = 1 << 9;
    const MAKE_FIFO: u64 = 1 << 10;
    const MAKE_BLOCK: u64 = 1 << 11;
    const MAKE_SYM: u64 = 1 << 12;
    /// Moving between folders; from version 2 on.
    const REFER: u64 = 1 << 13;
    /// From version 3 on.
    const TRUNCATE: u64 = 1 << 14;
    /// Device files; from version 5 on.
    const IOCTL_DEV: u64 = 1 << 15;

    pub(super) const READ: u64 = EXECUTE | READ_FILE | READ_DIR;
    pub(super) const WRITE: u64 = WRITE_FILE
        | REMOVE_DIR
        | REMOVE_FILE
        | MAKE_DIR
        | MAKE_REG
        | MAKE_SOCK
        | MAKE_FIFO
        | MAKE_SYM
        | REFER
        | TRUNCATE
        | IOCTL_DEV;
    /// Nobody makes device files.
    pub(super) const ALL: u64 = READ | WRITE | MAKE_CHAR | MAKE_BLOCK;

    /// What `version` of Landlock knows of them.
    pub(super) const fn known(version: i64) -> u64 {
        match version {
            ..=1 => ALL & !(REFER | TRUNCATE | IOCTL_DEV),
            2 => ALL & !(TRUNCATE | IOCTL_DEV),
            3 | 4 => ALL & !IOCTL_DEV,
            _ => ALL,
        }
    }
}

/// Sockets without a file and signals, to those outside; from version 6 on.
const SCOPES: u64 = 1 | 1 << 1;

/// What the kernel offers of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Landlock {
    version: i64,
}

impl Landlock {
    /// What there is; `None`: the kernel has no Landlock.
    pub(crate) fn probe() -> Option<Self> {
        confine::landlock_version().map(|version| Self { version })
    }

    /// Whether it keeps signals and sockets without a file in.
    fn has_scopes(self) -> bool {
        self.version >= 6
    }

    /// From now on this process, and all that come from it, may read and run what is below `readable` as it is now,
    /// write below the folders `writable`, and do nothing to whoever is not restricted with it. Cannot
    /// be undone; it must not be able to gain privileges any more.
    pub(crate) fn restrict(self, readable: &CStr, writable: &[&CStr]) -> Result<(), Errno> {
        let known = access::known(self.version);
        let rules = Ruleset::new(known, if self.has_scopes() { SCOPES } else { 0 })?;
        let allow = |folder: &CStr, access: u64| {
            let folder = open(folder, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
            rules.allow(&folder, access & known)
        };
        allow(readable, access::READ)?;
        for folder in writable {
            allow(folder, access::WRITE)?;
        }
        rules.restrict()
    }
}
