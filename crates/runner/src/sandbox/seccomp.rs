//! Which system calls a task may make: a list of what is allowed, with the reason for each group.
//!
//! The list is what the C libraries, the JVM, Go, V8, the interpreters and ordinary tools use. A call that is not on
//! it is answered as a kernel would that lacks it, where programs then do without (`ENOSYS`), and with `EPERM` where
//! it is simply not theirs to make. Many calls on the list need a capability to do harm; a task has none.
//!
//! The filter is our own few instructions instead of those of the crate `seccompiler`, which compare with one number
//! after another: the kernel compiles the program each time that it is installed, and runs it for every number to find
//! those that are always allowed. Measured on x86-64, processor time of one installation: 47 µs for this search by
//! halves (208 instructions), 330 µs for a comparison with each number (563). Afterwards an allowed call costs the same
//! as without a filter, in either case.

use libc::sock_filter;
use nix::errno::Errno;

use crate::spawner::sys::confine;

/// What becomes of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Allow,
    /// Answered with an error; with none, the call seems to have been made.
    Answer(i32),
    /// Allowed or not by what it is called with.
    Check(Check),
}

/// A look at what a call is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// `clone`, `unshare`: whatever makes a namespace is refused. Each would give the task capabilities in it, and with
    /// them most of the ways into the kernel that are found each year.
    Namespaces,
    /// `socket`: local and internet, with the usual protocols, and questions about addresses and routes. Of the others
    /// some reach beyond the network namespace (vsock), and most load a module of the kernel that few have looked at.
    Socket,
    /// `socketpair`: local only.
    SocketPair,
    /// `ioctl`: not the two that type into a terminal.
    Ioctl,
    /// `personality`: only asking for it, and setting the usual one.
    Personality,
}

/// Calls that the library of names does not have everywhere. Their numbers are the same on every architecture.
mod later {
    pub(super) const CACHESTAT: i64 = 451;
    pub(super) const FCHMODAT2: i64 = 452;
    pub(super) const MAP_SHADOW_STACK: i64 = 453;
    pub(super) const FUTEX_WAKE: i64 = 454;
    pub(super) const FUTEX_WAIT: i64 = 455;
    pub(super) const FUTEX_REQUEUE: i64 = 456;
    pub(super) const MSEAL: i64 = 462;
}

/// Calls that are allowed on every architecture.
const ALLOWED: &[&[i64]] = &[
    // Its own life: start, threads, waiting, ending. `clone` by its flags, below.
    &[
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_wait4,
        libc::SYS_waitid,
        libc::SYS_set_tid_address,
        libc::SYS_set_robust_list,
        libc::SYS_get_robust_list,
        libc::SYS_rseq,
        libc::SYS_membarrier,
        libc::SYS_futex,
        libc::SYS_futex_waitv,
        later::FUTEX_WAKE,
        later::FUTEX_WAIT,
        later::FUTEX_REQUEUE,
        libc::SYS_restart_syscall,
        libc::SYS_prctl,
    ],
    // Who it is. Changing it needs a capability, or changes nothing.
    &[
        libc::SYS_getpid,
        libc::SYS_getppid,
        libc::SYS_gettid,
        libc::SYS_getuid,
        libc::SYS_geteuid,
        libc::SYS_getgid,
        libc::SYS_getegid,
        libc::SYS_getresuid,
        libc::SYS_getresgid,
        libc::SYS_getgroups,
        libc::SYS_getpgid,
        libc::SYS_getsid,
        libc::SYS_setpgid,
        libc::SYS_setsid,
        libc::SYS_setuid,
        libc::SYS_setgid,
        libc::SYS_setreuid,
        libc::SYS_setregid,
        libc::SYS_setresuid,
        libc::SYS_setresgid,
        libc::SYS_setfsuid,
        libc::SYS_setfsgid,
        libc::SYS_setgroups,
        libc::SYS_capget,
        libc::SYS_capset,
    ],
    // Memory of its own. What it may take is the cgroup's to say.
    &[
        libc::SYS_brk,
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_mprotect,
        libc::SYS_madvise,
        libc::SYS_mincore,
        libc::SYS_msync,
        libc::SYS_mlock,
        libc::SYS_mlock2,
        libc::SYS_mlockall,
        libc::SYS_munlock,
        libc::SYS_munlockall,
        libc::SYS_memfd_create,
        later::MSEAL,
        later::MAP_SHADOW_STACK,
        libc::SYS_pkey_alloc,
        libc::SYS_pkey_free,
        libc::SYS_pkey_mprotect,
    ],
    // Signals. They reach its own processes only: there are no others in its pid namespace but init, which Landlock
    // keeps from it.
    &[
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigpending,
        libc::SYS_rt_sigqueueinfo,
        libc::SYS_rt_tgsigqueueinfo,
        libc::SYS_rt_sigreturn,
        libc::SYS_rt_sigsuspend,
        libc::SYS_rt_sigtimedwait,
        libc::SYS_sigaltstack,
        libc::SYS_kill,
        libc::SYS_tkill,
        libc::SYS_tgkill,
        libc::SYS_pidfd_open,
        libc::SYS_pidfd_send_signal,
        libc::SYS_signalfd4,
    ],
    // Time: reading clocks, sleeping, timers.
    &[
        libc::SYS_clock_getres,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_nanosleep,
        libc::SYS_gettimeofday,
        libc::SYS_times,
        libc::SYS_getitimer,
        libc::SYS_setitimer,
        libc::SYS_timer_create,
        libc::SYS_timer_delete,
        libc::SYS_timer_getoverrun,
        libc::SYS_timer_gettime,
        libc::SYS_timer_settime,
        libc::SYS_timerfd_create,
        libc::SYS_timerfd_gettime,
        libc::SYS_timerfd_settime,
    ],
    // Its share of the machine. Runtimes ask how many processors they have; limits can only be lowered.
    &[
        libc::SYS_getcpu,
        libc::SYS_getpriority,
        libc::SYS_setpriority,
        libc::SYS_getrlimit,
        libc::SYS_setrlimit,
        libc::SYS_prlimit64,
        libc::SYS_getrusage,
        libc::SYS_ioprio_get,
        libc::SYS_ioprio_set,
        libc::SYS_sched_get_priority_max,
        libc::SYS_sched_get_priority_min,
        libc::SYS_sched_getaffinity,
        libc::SYS_sched_getattr,
        libc::SYS_sched_getparam,
        libc::SYS_sched_getscheduler,
        libc::SYS_sched_rr_get_interval,
        libc::SYS_sched_setaffinity,
        libc::SYS_sched_setattr,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setscheduler,
        libc::SYS_sched_yield,
        libc::SYS_sysinfo,
        libc::SYS_uname,
        libc::SYS_getrandom,
    ],
    // Reading and writing what is open.
    &[
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_readv,
        libc::SYS_writev,
        libc::SYS_pread64,
        libc::SYS_pwrite64,
        libc::SYS_preadv,
        libc::SYS_pwritev,
        libc::SYS_preadv2,
        libc::SYS_pwritev2,
        libc::SYS_lseek,
        libc::SYS_sendfile,
        libc::SYS_splice,
        libc::SYS_tee,
        libc::SYS_vmsplice,
        libc::SYS_copy_file_range,
        libc::SYS_readahead,
        later::CACHESTAT,
        libc::SYS_fadvise64,
        libc::SYS_fsync,
        libc::SYS_fdatasync,
        libc::SYS_sync_file_range,
        libc::SYS_close,
        libc::SYS_close_range,
        libc::SYS_dup,
        libc::SYS_dup3,
        libc::SYS_fcntl,
        libc::SYS_flock,
        libc::SYS_pipe2,
    ],
    // Files by name. Which there are is the mount namespace's to say, and what may be done with them Landlock's, too.
    // Device files need a capability to be made, so `mknodat` makes pipes and sockets.
    &[
        libc::SYS_openat,
        libc::SYS_openat2,
        libc::SYS_chdir,
        libc::SYS_fchdir,
        libc::SYS_getcwd,
        libc::SYS_getdents64,
        libc::SYS_mkdirat,
        libc::SYS_mknodat,
        libc::SYS_unlinkat,
        libc::SYS_symlinkat,
        libc::SYS_linkat,
        libc::SYS_readlinkat,
        libc::SYS_renameat,
        libc::SYS_renameat2,
        libc::SYS_faccessat,
        libc::SYS_faccessat2,
        libc::SYS_fchmod,
        libc::SYS_fchmodat,
        later::FCHMODAT2,
        libc::SYS_fchown,
        libc::SYS_fchownat,
        libc::SYS_fstat,
        libc::SYS_newfstatat,
        libc::SYS_statx,
        libc::SYS_statfs,
        libc::SYS_fstatfs,
        libc::SYS_truncate,
        libc::SYS_ftruncate,
        libc::SYS_fallocate,
        libc::SYS_utimensat,
        libc::SYS_umask,
        libc::SYS_getxattr,
        libc::SYS_lgetxattr,
        libc::SYS_fgetxattr,
        libc::SYS_setxattr,
        libc::SYS_lsetxattr,
        libc::SYS_fsetxattr,
        libc::SYS_listxattr,
        libc::SYS_llistxattr,
        libc::SYS_flistxattr,
        libc::SYS_removexattr,
        libc::SYS_lremovexattr,
        libc::SYS_fremovexattr,
        libc::SYS_inotify_init1,
        libc::SYS_inotify_add_watch,
        libc::SYS_inotify_rm_watch,
    ],
    // Waiting for several things at once.
    &[
        libc::SYS_epoll_create1,
        libc::SYS_epoll_ctl,
        libc::SYS_epoll_pwait,
        libc::SYS_epoll_pwait2,
        libc::SYS_eventfd2,
        libc::SYS_ppoll,
        libc::SYS_pselect6,
    ],
    // The network, once a socket is there: `socket` itself by its family, below. Whom it reaches is the network
    // namespace's to say.
    &[
        libc::SYS_accept,
        libc::SYS_accept4,
        libc::SYS_bind,
        libc::SYS_connect,
        libc::SYS_listen,
        libc::SYS_shutdown,
        libc::SYS_getpeername,
        libc::SYS_getsockname,
        libc::SYS_getsockopt,
        libc::SYS_setsockopt,
        libc::SYS_recvfrom,
        libc::SYS_recvmsg,
        libc::SYS_recvmmsg,
        libc::SYS_sendto,
        libc::SYS_sendmsg,
        libc::SYS_sendmmsg,
    ],
    // Shared memory, semaphores and queues between its own processes: the ipc namespace is its own.
    &[
        libc::SYS_shmat,
        libc::SYS_shmctl,
        libc::SYS_shmdt,
        libc::SYS_shmget,
        libc::SYS_semctl,
        libc::SYS_semget,
        libc::SYS_semop,
        libc::SYS_semtimedop,
        libc::SYS_msgctl,
        libc::SYS_msgget,
        libc::SYS_msgrcv,
        libc::SYS_msgsnd,
        libc::SYS_mq_getsetattr,
        libc::SYS_mq_notify,
        libc::SYS_mq_open,
        libc::SYS_mq_timedreceive,
        libc::SYS_mq_timedsend,
        libc::SYS_mq_unlink,
    ],
    // Confining itself further.
    &[
        libc::SYS_seccomp,
        libc::SYS_landlock_create_ruleset,
        libc::SYS_landlock_add_rule,
        libc::SYS_landlock_restrict_self,
    ],
];

/// Older forms of calls above that this architecture has kept, and what only it needs.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[i64] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_arch_prctl,
    libc::SYS_getpgrp,
    libc::SYS_alarm,
    libc::SYS_pause,
    libc::SYS_time,
    libc::SYS_signalfd,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_open,
    libc::SYS_creat,
    libc::SYS_getdents,
    libc::SYS_mkdir,
    libc::SYS_mknod,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_symlink,
    libc::SYS_link,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_access,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_inotify_init,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_poll,
    libc::SYS_select,
];

#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_HERE: &[i64] = &[];

/// Calls that are answered in a way of their own. All others up to [`NEWEST`] are `EPERM`: among them whatever mounts,
/// loads modules or programs into the kernel, looks into other processes or sets the host's clocks and names.
const SPECIAL: &[(i64, Action)] = &[
    (libc::SYS_clone, Action::Check(Check::Namespaces)),
    (libc::SYS_unshare, Action::Check(Check::Namespaces)),
    (libc::SYS_socket, Action::Check(Check::Socket)),
    (libc::SYS_socketpair, Action::Check(Check::SocketPair)),
    (libc::SYS_ioctl, Action::Check(Check::Ioctl)),
    (libc::SYS_personality, Action::Check(Check::Personality)),
    // Its flags are in memory, where a filter cannot look: libraries then use `clone`.
    (libc::SYS_clone3, Action::Answer(libc::ENOSYS)),
    // A second way to make most calls, past every filter; and everybody can do without.
    (libc::SYS_io_uring_setup, Action::Answer(libc::ENOSYS)),
    (libc::SYS_io_uring_enter, Action::Answer(libc::ENOSYS)),
    (libc::SYS_io_uring_register, Action::Answer(libc::ENOSYS)),
    // Takes from a number that all of the host shares.
    (libc::SYS_io_setup, Action::Answer(libc::ENOSYS)),
    // Makes races in the kernel easy to win.
    (libc::SYS_userfaultfd, Action::Answer(libc::ENOSYS)),
    // Keys of the kernel know no namespaces.
    (libc::SYS_add_key, Action::Answer(libc::ENOSYS)),
    (libc::SYS_request_key, Action::Answer(libc::ENOSYS)),
    (libc::SYS_keyctl, Action::Answer(libc::ENOSYS)),
    // Where memory lies on the machine: libraries take the answer for a machine where that makes no difference.
    (libc::SYS_get_mempolicy, Action::Answer(libc::ENOSYS)),
    (libc::SYS_set_mempolicy, Action::Answer(libc::ENOSYS)),
    (libc::SYS_mbind, Action::Answer(libc::ENOSYS)),
    (libc::SYS_memfd_secret, Action::Answer(libc::ENOSYS)),
    // All that a task writes is in memory, so there is nothing to write out, but for the whole host to wait.
    (libc::SYS_sync, Action::Answer(0)),
    (libc::SYS_syncfs, Action::Answer(0)),
];

/// The newest call that was looked at. Later ones are answered `ENOSYS`: programs that know them can do without. So are
/// the x32 forms of x86-64 calls, whose numbers are greater than all.
const NEWEST: i64 = later::MSEAL;

/// What the kernel calls this architecture in a filter's data.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: Option<u32> = Some(0xc000_003e);
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: Option<u32> = Some(0xc000_00b7);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ARCHITECTURE: Option<u32> = None;

/// A filter of system calls, ready to be installed any number of times.
pub(crate) struct Filter(Vec<sock_filter>);

impl Filter {
    /// The filter for tasks; `None` on an architecture that it was not made for.
    pub(crate) fn for_tasks() -> Option<Self> {
        let architecture = ARCHITECTURE?;
        let tree = search(&ranges());
        let mut program = vec![
            load(ARCH_AT),
            jump(libc::BPF_JEQ, architecture, 1, 0),
            answer(libc::SECCOMP_RET_KILL_PROCESS),
            load(NR_AT),
        ];
        program.extend(tree);
        Some(Self(program))
    }

    /// Filters the calls of this process from now on, and of all that come from it. Cannot be undone; it must not be
    /// able to gain privileges any more.
    pub(crate) fn install(&self) -> Result<(), Errno> {
        confine::filter_calls(&self.0)
    }
}

/// Every number belongs to one range, which begins where the one before ends.
fn ranges() -> Vec<(u32, Action)> {
    let number = |call: i64| u32::try_from(call).expect("numbers of calls are small");
    let mut calls: Vec<(u32, Action)> = ALLOWED
        .iter()
        .copied()
        .chain([ALLOWED_HERE])
        .flatten()
        .map(|&call| (number(call), Action::Allow))
        .chain(SPECIAL.iter().map(|&(call, action)| (number(call), action)))
        .collect();
    calls.sort_unstable_by_key(|&(number, _)| number);
    let mut ranges = vec![(0, Action::Answer(libc::EPERM))];
    for (number, action) in calls {
        ranges.extend([(number, action), (number + 1, Action::Answer(libc::EPERM))]);
    }
    ranges.push((number(NEWEST) + 1, Action::Answer(libc::ENOSYS)));
    // Of two that begin at one place the first is empty.
    ranges.reverse();
    ranges.dedup_by_key(|&mut (start, _)| start);
    ranges.reverse();
    ranges.dedup_by(|next, before| next.1 == before.1);
    ranges
}

/// Offsets in what a filter is given.
const NR_AT: u32 = 0;
const ARCH_AT: u32 = 4;

/// Where the lower half of an argument is. The kernel, too, takes no more of those that are looked at.
const fn argument_at(n: u32) -> u32 {
    16 + 8 * n + if cfg!(target_endian = "big") { 4 } else { 0 }
}

const ALLOW: sock_filter = answer(libc::SECCOMP_RET_ALLOW);

/// Finds the range of the number that was loaded, by halves.
fn search(ranges: &[(u32, Action)]) -> Vec<sock_filter> {
    let (left, right) = match ranges {
        [(_, action)] => return act(*action),
        ranges => ranges.split_at(ranges.len() / 2),
    };
    let (start, left, right) = (right[0].0, search(left), search(right));
    let past = u8::try_from(left.len()).expect("half of a filter is short");
    [vec![jump(libc::BPF_JGE, start, past, 0)], left, right].concat()
}

fn act(action: Action) -> Vec<sock_filter> {
    match action {
        Action::Allow => vec![ALLOW],
        Action::Answer(errno) => vec![refuse(errno)],
        Action::Check(check) => look(check),
    }
}

fn look(check: Check) -> Vec<sock_filter> {
    /// `CLONE_NEWTIME`, which in `clone` is a bit of the signal that tells of the end, and never set.
    const TIME: i32 = 0x80;
    const NAMESPACES: i32 = libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | TIME;
    const MPTCP: i32 = 262;
    let same = |value: i32, yes: u8, no: u8| jump(libc::BPF_JEQ, value.cast_unsigned(), yes, no);
    match check {
        Check::Namespaces => vec![
            load(argument_at(0)),
            jump(libc::BPF_JSET, NAMESPACES.cast_unsigned(), 0, 1),
            refuse(libc::EPERM),
            ALLOW,
        ],
        Check::Socket => vec![
            load(argument_at(0)),
            same(libc::AF_UNIX, 13, 0),
            same(libc::AF_INET, 5, 0),
            same(libc::AF_INET6, 4, 0),
            same(libc::AF_NETLINK, 0, 2),
            load(argument_at(2)),
            same(libc::NETLINK_ROUTE, 8, 9),
            refuse(libc::EAFNOSUPPORT),
            load(argument_at(2)),
            same(libc::IPPROTO_IP, 5, 0),
            same(libc::IPPROTO_TCP, 4, 0),
            same(libc::IPPROTO_UDP, 3, 0),
            same(libc::IPPROTO_ICMP, 2, 0),
            same(libc::IPPROTO_ICMPV6, 1, 0),
            same(MPTCP, 0, 1),
            ALLOW,
            refuse(libc::EPROTONOSUPPORT),
        ],
        Check::SocketPair => {
            vec![load(argument_at(0)), same(libc::AF_UNIX, 1, 0), refuse(libc::EAFNOSUPPORT), ALLOW]
        }
        Check::Ioctl => vec![
            load(argument_at(1)),
            jump(libc::BPF_JEQ, libc::TIOCSTI as u32, 1, 0),
            jump(libc::BPF_JEQ, libc::TIOCLINUX as u32, 0, 1),
            refuse(libc::EPERM),
            ALLOW,
        ],
        Check::Personality => vec![
            load(argument_at(0)),
            jump(libc::BPF_JEQ, 0, 2, 0),
            jump(libc::BPF_JEQ, u32::MAX, 1, 0),
            refuse(libc::EPERM),
            ALLOW,
        ],
    }
}

const fn load(at: u32) -> sock_filter {
    sock_filter { code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, jt: 0, jf: 0, k: at }
}

/// Skips so many instructions if what was loaded compares so to `k`, and so many if not.
const fn jump(how: u32, k: u32, yes: u8, no: u8) -> sock_filter {
    sock_filter { code: (libc::BPF_JMP | how | libc::BPF_K) as u16, jt: yes, jf: no, k }
}

const fn answer(what: u32) -> sock_filter {
    sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: what }
}

const fn refuse(errno: i32) -> sock_filter {
    answer(libc::SECCOMP_RET_ERRNO | errno.cast_unsigned())
}

#[cfg(test)]
mod tests;
