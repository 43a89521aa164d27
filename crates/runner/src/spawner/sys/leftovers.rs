//! What of a task may be left where its processes are not: names in folders, attributes, messages.

use std::ffi::{CStr, CString, c_int, c_void};
use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::errno::Errno;

/// Some of the names in a folder: all if they are few, but for the folder itself and the one above it.
pub(crate) fn names(folder: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    /// Where a record holds its length, and where its name, which ends in a zero byte.
    const LENGTH_AT: usize = 16;
    const NAME_AT: usize = 19;
    let mut buffer = [0_u8; 4096];
    // SAFETY: the kernel writes no more than the length that is told, into our own local.
    let read = unsafe {
        libc::lseek(folder.as_raw_fd(), 0, libc::SEEK_SET);
        libc::syscall(libc::SYS_getdents64, folder.as_raw_fd(), buffer.as_mut_ptr(), buffer.len())
    };
    let mut rest = buffer.get(..usize::try_from(read).map_err(|_| Errno::last())?).unwrap_or_default();
    let mut names = Vec::new();
    while let Some(&[low, high]) = rest.get(LENGTH_AT..LENGTH_AT + 2).and_then(|length| length.first_chunk())
    {
        let (record, after) =
            rest.split_at_checked(u16::from_ne_bytes([low, high]).into()).ok_or(Errno::EIO)?;
        let name =
            CStr::from_bytes_until_nul(record.get(NAME_AT..).unwrap_or_default()).map_err(|_| Errno::EIO)?;
        if name != c"." && name != c".." {
            names.push(name.to_owned());
        }
        rest = after;
    }
    Ok(names)
}

/// Whether a file or folder has any attributes beside the usual ones, access lists too.
pub(crate) fn has_attributes(file: BorrowedFd<'_>) -> bool {
    // SAFETY: no room is given, so the kernel writes nothing and answers with the room that it needs.
    unsafe { libc::flistxattr(file.as_raw_fd(), std::ptr::null_mut(), 0) > 0 }
}

/// How many of shared memory, semaphores and queues, in their older form, are in the namespace of this process.
pub(crate) fn messages() -> Result<c_int, Errno> {
    const MSG_INFO: c_int = 12;
    const SHM_INFO: c_int = 14;
    const SEM_INFO: c_int = 19;
    /// Where in what the kernel tells of semaphores their number is; with the others it comes first.
    const SETS_AT: usize = 7;
    // SAFETY: these calls fill a structure of plain numbers, which is smaller than the room that `count` gives.
    unsafe {
        let memory = count(|room| libc::shmctl(0, SHM_INFO, room.cast()), 0)?;
        let queues = count(|room| libc::msgctl(0, MSG_INFO, room.cast()), 0)?;
        let semaphores = count(|room| libc::semctl(0, 0, SEM_INFO, room), SETS_AT)?;
        Ok(memory + queues + semaphores)
    }
}

/// The number at `at` of what `ask` fills.
fn count(ask: impl FnOnce(*mut c_void) -> c_int, at: usize) -> Result<c_int, Errno> {
    #[repr(C, align(16))]
    struct Room([c_int; 64]);
    let mut room = Room([0; 64]);
    Errno::result(ask((&raw mut room).cast()))?;
    Ok(room.0[at])
}
