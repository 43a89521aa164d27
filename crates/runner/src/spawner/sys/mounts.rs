//! Mounts by descriptors: the calls that the C library and `nix` have no form for.

use std::ffi::{CStr, c_long};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::own;

/// What a mount does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Denied(u64);

impl Denied {
    /// Writing, set-user-id bits, devices.
    pub(crate) const WRITES: Denied = Denied(libc::MOUNT_ATTR_RDONLY | Denied::DEVICES.0);
    /// Set-user-id bits, devices.
    pub(crate) const DEVICES: Denied = Denied(libc::MOUNT_ATTR_NODEV | Denied::SETUID.0);
    /// Set-user-id bits.
    pub(crate) const SETUID: Denied = Denied(libc::MOUNT_ATTR_NOSUID);
}

/// A copy of the mounts at and below `path`, relative to `folder`, that is attached nowhere yet.
pub(crate) fn copy_tree(folder: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = libc::OPEN_TREE_CLONE | libc::O_CLOEXEC as u32 | libc::AT_RECURSIVE as u32;
    // SAFETY: the path ends in a zero byte; the call makes a descriptor, and nothing else.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, folder.as_raw_fd(), path.as_ptr(), flags) };
    let fd = checked(fd)?;
    Ok(own(fd as i32))
}

/// Denies something to all mounts of a tree.
pub(crate) fn deny(tree: BorrowedFd<'_>, denied: Denied) -> Result<(), Errno> {
    set(tree, libc::mount_attr { attr_set: denied.0, attr_clr: 0, propagation: 0, userns_fd: 0 })
}

/// Shows the files of a tree that is attached nowhere as those of another user: as the namespace maps the users.
pub(crate) fn map_users(tree: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> Result<(), Errno> {
    let userns_fd = namespace.as_raw_fd() as u64;
    set(tree, libc::mount_attr { attr_set: libc::MOUNT_ATTR_IDMAP, attr_clr: 0, propagation: 0, userns_fd })
}

fn set(tree: BorrowedFd<'_>, attr: libc::mount_attr) -> Result<(), Errno> {
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the structure is ours, and its size is told.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    };
    checked(result).map(drop)
}

/// Attaches a tree of [`copy_tree`] at `path`, relative to `folder`.
pub(crate) fn attach(tree: BorrowedFd<'_>, folder: BorrowedFd<'_>, path: &CStr) -> Result<(), Errno> {
    const EMPTY_PATH: u32 = 4;
    // SAFETY: both paths end in a zero byte.
    let result = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            folder.as_raw_fd(),
            path.as_ptr(),
            EMPTY_PATH,
        )
    };
    checked(result).map(drop)
}

/// Marks a folder as one that hides whatever has its path in the layers below it.
pub(crate) fn make_opaque(folder: BorrowedFd<'_>) -> Result<(), Errno> {
    let (name, value) = (c"user.overlay.opaque", c"y");
    // SAFETY: the name ends in a zero byte, and as many bytes of the value are there as is said.
    let result = unsafe { libc::fsetxattr(folder.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), 1, 0) };
    checked(result.into()).map(drop)
}

fn checked(result: c_long) -> Result<c_long, Errno> {
    if result < 0 { Err(Errno::last()) } else { Ok(result) }
}
