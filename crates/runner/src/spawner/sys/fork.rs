//! A copy of the spawner that becomes the first process of a task's namespaces.

use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI32, AtomicU64};

use nix::errno::Errno;
use nix::unistd::Pid;

use super::{call, own};

/// Where the copy of a process goes on.
pub(crate) enum Forked {
    /// Here is the process itself, and this its copy.
    Parent(Pid),
    /// Here is the copy.
    Child,
}

/// As the kernel has it; that of `libc` is too narrow for it.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// Copies this process into new namespaces, `flags` say which, and into a control group of version 2, if one is named.
///
/// To be called by a process of one thread: the copy has no other, and what another holds would never be released.
pub(crate) fn fork_into(flags: c_int, group: Option<BorrowedFd<'_>>) -> Result<Forked, Errno> {
    // SAFETY: plain numbers, for which all zeroes is a value.
    let mut how: libc::clone_args = unsafe { std::mem::zeroed() };
    how.flags = u64::from(flags.cast_unsigned());
    how.exit_signal = libc::SIGCHLD as u64;
    if let Some(group) = group {
        how.flags |= CLONE_INTO_CGROUP;
        how.cgroup = group.as_raw_fd() as u64;
    }
    // SAFETY: the structure is ours, and its size is told. Without CLONE_VM and without a stack of its own the child is
    // a copy, as after `fork`. There is one thread, so every lock of the copy is free.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const how, size_of::<libc::clone_args>()) };
    match pid {
        ..0 => Err(Errno::last()),
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(Pid::from_raw(pid as i32))),
    }
}

/// Ends this process without a word to the C library, whose exit belongs to the process that it is a copy of.
pub(crate) fn exit(code: c_int) -> ! {
    // SAFETY: ends this process and nothing else.
    unsafe { libc::_exit(code) }
}

/// Lets this process be killed when its parent ends. A change of the user takes it back.
pub(crate) fn die_with_parent() -> Result<(), Errno> {
    // SAFETY: plain numbers.
    let result = unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) };
    call(result).map_err(Errno::from_raw)
}

/// Hides this process' memory from others of the same user: no tracing, no reading.
pub(crate) fn hide() -> Result<(), Errno> {
    // SAFETY: plain numbers.
    call(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_DUMPABLE, 0, 0, 0, 0) })
        .map_err(Errno::from_raw)
}

/// Becomes the user and the group, and of no other group, for good.
///
/// By system calls: the C library would have every thread do it, and believes in those of the process that this is a
/// copy of.
pub(crate) fn become_user(uid: u32, gid: u32) -> Result<(), Errno> {
    // SAFETY: plain numbers; the list of groups is empty, so no pointer is read.
    unsafe {
        call(libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<c_void>())).map_err(Errno::from_raw)?;
        call(libc::syscall(libc::SYS_setresgid, gid, gid, gid)).map_err(Errno::from_raw)?;
        call(libc::syscall(libc::SYS_setresuid, uid, uid, uid)).map_err(Errno::from_raw)
    }
}

/// This process as others may wait for its end.
pub(crate) fn own_handle() -> Result<OwnedFd, Errno> {
    // SAFETY: plain numbers; the call makes a descriptor that is closed on exec.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0) };
    if fd < 0 { Err(Errno::last()) } else { Ok(own(fd as c_int)) }
}

/// A signal that came, and whether from outside of our namespace.
pub(crate) struct Signalled {
    pub(crate) signal: c_int,
    pub(crate) is_from_outside: bool,
}

/// Waits for any of the signals, which must be blocked.
pub(crate) fn wait_for_signal(signals: &nix::sys::signal::SigSet) -> Result<Signalled, Errno> {
    // SAFETY: plain numbers, for which all zeroes is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let set: *const libc::sigset_t = signals.as_ref();
    let forever = std::ptr::null::<c_void>();
    // SAFETY: the set is larger than the 8 bytes that the kernel reads; the information is our own local.
    let signal =
        unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, set, &raw mut info, forever, size_of::<u64>()) };
    if signal < 0 {
        return Err(Errno::last());
    }
    // SAFETY: the kernel fills in the sender of every signal that a process sent.
    let sender = unsafe { info.si_pid() };
    Ok(Signalled { signal: signal as c_int, is_from_outside: sender == 0 })
}

/// Processor time and peak memory of all children that were waited for.
pub(crate) fn children_usage() -> (u64, u64, u64) {
    // SAFETY: plain numbers, for which all zeroes is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to our own local; the call cannot fail with it.
    unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) };
    let micros = |t: libc::timeval| t.tv_sec.cast_unsigned() * 1_000_000 + t.tv_usec.cast_unsigned();
    (micros(usage.ru_utime), micros(usage.ru_stime), usage.ru_maxrss.cast_unsigned() * 1024)
}

/// What the copy tells the process that it is a copy of: in memory of both, so that telling costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Where it failed, plus one; zero: nowhere.
    pub(crate) step: AtomicI32,
    /// Why it failed.
    pub(crate) errno: AtomicI32,
    /// Whether the task's main process has ended.
    pub(crate) has_ended: AtomicI32,
    /// How, as `wait` has it.
    pub(crate) status: AtomicI32,
    /// What came of the task's result: zero if it left none, [`Told::SENT`], or why it cannot be read.
    pub(crate) result: AtomicI32,
    pub(crate) user_us: AtomicU64,
    pub(crate) system_us: AtomicU64,
    pub(crate) peak_memory_bytes: AtomicU64,
}

impl Told {
    /// The descriptor of the result was sent.
    pub(crate) const SENT: i32 = -1;

    /// Where and why starting the task failed, if it did: the number of the step and of the error.
    pub(crate) fn failure(&self) -> Option<(usize, c_int)> {
        let step = usize::try_from(self.step.load(Relaxed)).ok()?.checked_sub(1)?;
        Some((step, self.errno.load(Relaxed)))
    }

    /// How the main process ended, if its end was seen.
    pub(crate) fn ending(&self) -> Option<Ending> {
        (self.has_ended.load(Relaxed) != 0).then(|| Ending {
            status: self.status.load(Relaxed),
            result: self.result.load(Relaxed),
            user_us: self.user_us.load(Relaxed),
            system_us: self.system_us.load(Relaxed),
            peak_memory_bytes: self.peak_memory_bytes.load(Relaxed),
        })
    }

    /// Forgets what was told of the task before.
    pub(crate) fn forget(&self) {
        let Told { step, errno, has_ended, status, result, .. } = self;
        for field in [step, errno, has_ended, status, result] {
            field.store(0, Relaxed);
        }
    }
}

/// How a task's main process ended.
pub(crate) struct Ending {
    /// As `wait` has it.
    pub(crate) status: c_int,
    /// As [`Told::result`].
    pub(crate) result: c_int,
    pub(crate) user_us: u64,
    pub(crate) system_us: u64,
    pub(crate) peak_memory_bytes: u64,
}

/// A [`Told`] that stays one and the same in copies of this process.
pub(crate) fn share() -> Result<&'static Told, Errno> {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping that the kernel places.
    let memory = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<Told>(), protection, flags, -1, 0) };
    if memory == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    // SAFETY: the mapping is aligned to a page, large enough, zeroed, which is a value of each field, and never undone.
    // What copies of this process change are atomics.
    Ok(unsafe { &*memory.cast::<Told>() })
}
