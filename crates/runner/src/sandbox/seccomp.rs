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

mod calls;

use libc::sock_filter;
use nix::errno::Errno;

use calls::{ALLOWED, ALLOWED_HERE, NEWEST, SPECIAL, UNPACKING, UNPACKING_LAYERS};

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
    /// `socket`: local and internet, with the usual types and protocols, and questions about addresses and routes. A
    /// protocol of 0 means the usual one of the type, so the type must be one of the two that programs use. Of the others
    /// some reach beyond the network namespace (vsock), and most load a module of the kernel that few have looked at.
    Socket,
    /// `socketpair`: local only.
    SocketPair,
    /// `ioctl`: not the two that type into a terminal.
    Ioctl,
    /// `personality`: only asking for it, and setting the usual one.
    Personality,
}

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
        let allowed = ALLOWED.iter().copied().chain([ALLOWED_HERE]).flatten();
        let allowed = allowed.map(|&call| (call, Action::Allow));
        Self::of(allowed.chain(SPECIAL.iter().copied()))
    }

    /// The filter for unpacking a zip.
    pub(crate) fn for_unpacking() -> Option<Self> {
        Self::of(UNPACKING.iter().map(|&call| (call, Action::Allow)))
    }

    /// The filter for unpacking a layer of an image.
    pub(crate) fn for_unpacking_layers() -> Option<Self> {
        Self::of(UNPACKING.iter().chain(UNPACKING_LAYERS).map(|&call| (call, Action::Allow)))
    }

    /// What is not among `calls` is refused.
    fn of(calls: impl Iterator<Item = (i64, Action)>) -> Option<Self> {
        let architecture = ARCHITECTURE?;
        let tree = search(&ranges(calls));
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
fn ranges(calls: impl Iterator<Item = (i64, Action)>) -> Vec<(u32, Action)> {
    let number = |call: i64| u32::try_from(call).expect("numbers of calls are small");
    let mut calls: Vec<(u32, Action)> = calls.map(|(call, action)| (number(call), action)).collect();
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
    /// What of a socket's type is not a flag.
    const TYPES: u32 = 0xf;
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
            same(libc::AF_UNIX, 18, 0),
            same(libc::AF_INET, 5, 0),
            same(libc::AF_INET6, 4, 0),
            same(libc::AF_NETLINK, 0, 2),
            load(argument_at(2)),
            same(libc::NETLINK_ROUTE, 13, 14),
            refuse(libc::EAFNOSUPPORT),
            load(argument_at(1)),
            and(TYPES),
            same(libc::SOCK_STREAM, 2, 0),
            same(libc::SOCK_DGRAM, 1, 0),
            refuse(libc::EPERM),
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

/// Keeps of what was loaded the bits of `k`.
const fn and(k: u32) -> sock_filter {
    sock_filter { code: (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16, jt: 0, jf: 0, k }
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
