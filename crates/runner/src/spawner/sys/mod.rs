//! The system calls that have no safe form: the only unsafe code of the project.

#![expect(
    unsafe_code,
    reason = "starting a process cheaply and taking over descriptors has no safe interface"
)]

use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::marker::PhantomData;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::unistd::Pid;

use super::message::Step;
use crate::sandbox::confinement::Confinement;
use crate::sandbox::root::WRITABLE;

pub(crate) mod confine;
pub(crate) mod fork;
pub(crate) mod mounts;

/// A process to be started.
#[derive(Clone, Copy)]
pub(super) struct Launch<'a> {
    pub(super) program: &'a CStr,
    pub(super) arguments: &'a Arguments<'a>,
    /// The environment among them, for who looks for its program.
    pub(super) env: &'a [&'a CStr],
    pub(super) cwd: &'a CStr,
    pub(super) stdin: BorrowedFd<'a>,
    pub(super) stdout: BorrowedFd<'a>,
    pub(super) stderr: BorrowedFd<'a>,
    /// What it takes from itself before its program begins.
    pub(super) confinement: Option<&'a Confinement>,
}

/// What a program is given, as the kernel reads it.
pub(super) struct Arguments<'a> {
    /// Its arguments and its environment, each with a null pointer at its end.
    pointers: Vec<*const c_char>,
    /// Where the environment begins.
    env_at: usize,
    texts: PhantomData<&'a CStr>,
}

impl<'a> Arguments<'a> {
    pub(super) fn new(argv: &[&'a CStr], env: &[&'a CStr]) -> Self {
        let end = [std::ptr::null()];
        let mut pointers = Vec::with_capacity(argv.len() + env.len() + 2);
        for texts in [argv, env] {
            pointers.extend(texts.iter().map(|text| text.as_ptr()).chain(end));
        }
        Self { pointers, env_at: argv.len() + 1, texts: PhantomData }
    }
}

/// Memory that a child runs on between its birth and its program. Reused: only one child is there at a time.
pub(super) struct Stack(Box<[u128]>);

impl Stack {
    pub(super) fn new() -> Self {
        Stack(vec![0; 64 * 1024 / size_of::<u128>()].into_boxed_slice())
    }
}

/// What the child needs and what it leaves: it shares our memory until its program starts.
struct Shared<'a> {
    program: *const c_char,
    argv: *const *const c_char,
    env: *const *const c_char,
    cwd: *const c_char,
    fds: [RawFd; 3],
    parent: c_long,
    confinement: Option<&'a Confinement>,
    failed: Option<(Step, c_int)>,
}

/// Starts a process as the leader of a group of its own, which is killed when we die. It inherits nothing but the three
/// descriptors, our limits and our mask of file modes.
///
/// Our memory is shared instead of copied, and we are halted until the program runs or cannot: so the cost does not
/// depend on our size, and the reason of a failure is simply left in memory. To be called by a process of one thread,
/// with every signal blocked.
pub(super) fn spawn(launch: &Launch<'_>, stack: &mut Stack) -> Result<Pid, (Step, Errno)> {
    let Arguments { pointers, env_at, .. } = launch.arguments;
    let mut shared = Shared {
        program: launch.program.as_ptr(),
        argv: pointers.as_ptr(),
        env: pointers[*env_at..].as_ptr(),
        cwd: launch.cwd.as_ptr(),
        fds: [launch.stdin.as_raw_fd(), launch.stdout.as_raw_fd(), launch.stderr.as_raw_fd()],
        parent: c_long::from(std::process::id().cast_signed()),
        confinement: launch.confinement,
        failed: None,
    };
    let shared = &raw mut shared;
    // SAFETY: the stack is ours, aligned to 16 bytes, used by nobody else, and far larger than what `become_program`
    // needs. CLONE_VFORK halts us until the child has left our memory, so everything it is pointed to outlives its
    // use. `become_program` calls nothing but bare system calls, and ends in exec or exit.
    let pid = unsafe {
        let top = stack.0.as_mut_ptr().add(stack.0.len());
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        libc::clone(become_program, top.cast(), flags, shared.cast())
    };
    if pid < 0 {
        return Err((Step::Fork, Errno::last()));
    }
    let pid = Pid::from_raw(pid);
    // SAFETY: `shared` points to our own local; the child has left our memory. Read as volatile, as the compiler
    // does not know that somebody else wrote it.
    match unsafe { std::ptr::read_volatile(&raw const (*shared).failed) } {
        None => Ok(pid),
        Some((step, errno)) => {
            let _ = wait(pid, 0);
            Err((step, Errno::from_raw(errno)))
        }
    }
}

/// The child, from its birth to its program.
extern "C" fn become_program(shared: *mut c_void) -> c_int {
    // SAFETY: `spawn` passes its `Shared`, and is halted while this runs, so nobody else touches it.
    let shared = unsafe { &mut *shared.cast::<Shared<'_>>() };
    let Err(failed) = prepare(shared);
    shared.failed = Some(failed);
    // SAFETY: ends this process and nothing else.
    unsafe { libc::_exit(127) }
}

/// Returns only if the program could not be run.
///
/// Bare system calls only: those of the C library that change the ids or the mask of a process talk to threads that
/// are not there in the child.
fn prepare(shared: &Shared<'_>) -> Result<std::convert::Infallible, (Step, c_int)> {
    let none: u64 = 0;
    let at = |step: Step| move |errno: c_int| (step, errno);
    // SAFETY: each call gets descriptors of ours, pointers to zero-ended strings and arrays that `spawn` keeps alive,
    // or plain numbers. They change nothing but this process.
    unsafe {
        let setup = at(Step::Prepare);
        call(libc::syscall(libc::SYS_setpgid, 0, 0)).map_err(setup)?;
        call(libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL)).map_err(setup)?;
        // Whoever dies between the two calls above and here would never be noticed.
        if libc::syscall(libc::SYS_getppid) != shared.parent {
            return Err((Step::Prepare, libc::ESRCH));
        }
        for (target, &fd) in shared.fds.iter().enumerate() {
            call(libc::syscall(libc::SYS_dup3, fd, target, 0)).map_err(setup)?;
        }
        call(libc::syscall(libc::SYS_close_range, 3, c_int::MAX, 0)).map_err(setup)?;
        call(libc::syscall(libc::SYS_chdir, shared.cwd)).map_err(at(Step::Enter))?;
        let mask = (&raw const none).cast::<c_void>();
        let unset = std::ptr::null_mut::<c_void>();
        call(libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, mask, unset, 8)).map_err(setup)?;
    }
    if let Some(confinement) = shared.confinement {
        confinement.apply(c"/", &WRITABLE).map_err(|errno| (Step::Confine, errno as c_int))?;
    }
    // SAFETY: as above.
    unsafe {
        call(libc::syscall(libc::SYS_execve, shared.program, shared.argv, shared.env))
            .map_err(at(Step::Exec))?;
    }
    Err((Step::Exec, libc::EINVAL))
}

fn call(result: c_long) -> Result<(), c_int> {
    if result == -1 { Err(Errno::last_raw()) } else { Ok(()) }
}

/// How a child ended and what it and its own children used.
pub(super) struct Waited {
    pub(super) status: i32,
    pub(super) user_us: u64,
    pub(super) system_us: u64,
    pub(super) peak_memory_bytes: u64,
}

/// Takes a dead child off the process table; `None` if it is not dead, or not ours.
pub(super) fn wait(pid: Pid, options: c_int) -> Option<Waited> {
    let mut status = 0;
    // SAFETY: `rusage` is plain numbers, for which all zeroes is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to our own locals.
    let waited = unsafe { libc::wait4(pid.as_raw(), &raw mut status, options, &raw mut usage) };
    let micros = |t: libc::timeval| t.tv_sec.cast_unsigned() * 1_000_000 + t.tv_usec.cast_unsigned();
    (waited == pid.as_raw()).then(|| Waited {
        status,
        user_us: micros(usage.ru_utime),
        system_us: micros(usage.ru_stime),
        peak_memory_bytes: usage.ru_maxrss.cast_unsigned() * 1024,
    })
}

/// Takes any dead child off the process table; `None` if none is dead.
pub(super) fn wait_any(options: c_int) -> Option<(Pid, i32)> {
    let mut status = 0;
    // SAFETY: the pointer is to our own local.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, options) };
    (pid > 0).then(|| (Pid::from_raw(pid), status))
}

/// Sets every signal to what it does by itself, so that a program finds it so.
pub(super) fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: no handler is installed, only removed. Fails for those that cannot be changed, which is as good.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Takes over a descriptor that came with a message.
pub(crate) fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel made the descriptor for the message that it came with, so nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
