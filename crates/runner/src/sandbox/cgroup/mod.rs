//! Control groups: one of each kind per slot, made once, used for one task after another.
//!
//! | module | holds |
//! |---|---|
//! | `find` | which groups there are, and below which of them we may make ours |
//! | `slot` | the groups of a slot: made, joined, removed, swept after a crash |
//! | `v1`, `v2` | limits, what became of them, and ending everything, by either version |
//!
//! The runner calls [`Groups::find`] and [`Groups::prepare`] at its start and makes a [`Slot`] for each spawner, which
//! gets it as text. The spawner [joins](Slot::join) and opens the [`Controls`]; they work through descriptors, so also
//! when the host's files are out of its sight.
//!
//! With version 1 the spawner lives in the groups of its slot, and its tasks with it: so a start moves nobody between
//! groups, which takes locks that all of the machine shares. With version 2 it lives beside its tasks, which are born
//! into a group of their own.

mod find;
mod slot;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use windlass_model::limits::Limits;

pub use find::{Groups, Unusable, Version};
pub use slot::{Slot, instance_of};

/// How every group of ours begins: nothing else is ever swept.
const PREFIX: &str = "windlass-";

/// A processor's time is dealt out in periods of this length.
const CPU_PERIOD_US: u64 = 100_000;

/// The init of a task, which counts as one of its processes and is not its own doing.
const INIT: u64 = 1;

/// The time between two looks at a group that must become empty.
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);

/// What a slot's groups can do for its task. One task at a time.
pub trait Controls: Send {
    /// The folder of the group that a task is to be born into; none: it is born into the right one.
    fn task_group(&self) -> Option<BorrowedFd<'_>>;

    /// Sets the limits for the next task, as far as they differ from those of the last. Returns those that are not
    /// enforced.
    fn apply(&mut self, limits: &Limits) -> Gaps;

    /// Processes that were killed for want of memory since this was last called.
    fn oom_kills(&mut self) -> u64;

    /// The most memory that was used under the present limits. After a kill for want of memory that is what the task
    /// used; otherwise an earlier task with the same limits may have used it.
    fn peak_bytes(&self) -> u64;

    /// Whether nothing but `spared` is in the groups.
    fn is_empty_but(&self, spared: Pid) -> bool;

    /// Kills everything in the groups but `spared`, and lets nothing new begin until [`Controls::apply`].
    fn kill_all_but(&mut self, spared: Pid);

    /// Kills until nothing but `spared` is left; `false`: something still was after `patience`.
    fn clear_but(&mut self, spared: Pid, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while !self.is_empty_but(spared) {
            self.kill_all_but(spared);
            if Instant::now() > deadline {
                return self.is_empty_but(spared);
            }
            std::thread::sleep(BETWEEN_LOOKS);
        }
        true
    }
}

/// Limits that are not enforced, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gaps(pub u8);

impl Gaps {
    /// Memory.
    pub const MEMORY: Gaps = Gaps(1);
    /// Processor time.
    pub const CPU: Gaps = Gaps(2);
    /// Processes and threads.
    pub const PROCESSES: Gaps = Gaps(4);
    /// All that control groups are for.
    pub const ALL: Gaps = Gaps(7);

    /// Those of them that are not among `known`.
    #[must_use]
    pub fn beside(self, known: Gaps) -> Gaps {
        Gaps(self.0 & !known.0)
    }

    /// Each in words, as [`Isolation`](windlass_model::isolation::Isolation) lists what is missing.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        let all = [
            (Gaps::MEMORY, "limits: memory is not limited"),
            (Gaps::CPU, "limits: processor time is not limited"),
            (Gaps::PROCESSES, "limits: the number of processes is not limited"),
        ];
        all.into_iter().filter(move |(gap, _)| self.0 & gap.0 != 0).map(|(_, words)| words)
    }
}

/// What is set in the groups of a slot, and what of it could not be.
#[derive(Debug, Default)]
struct Applied {
    limits: Option<Limits>,
    gaps: Gaps,
    oom_kills: u64,
}

impl Applied {
    /// Sets what differs from what is set, and what could not be set before: bytes of memory, processes besides our
    /// own, microseconds of each period (none: all there are).
    fn apply(
        &mut self,
        limits: &Limits,
        memory: impl FnOnce(u64) -> io::Result<()>,
        processes: impl FnOnce(u64) -> io::Result<()>,
        quota: impl FnOnce(Option<u64>) -> io::Result<()>,
    ) -> Gaps {
        let set = self.limits.replace(*limits);
        let failed = self.gaps;
        let is_due = |gap: Gaps, of: fn(&Limits) -> u64| {
            failed.0 & gap.0 != 0 || set.is_none_or(|set| of(&set) != of(limits))
        };
        let gaps = &mut self.gaps;
        let mut note = |gap: Gaps, done: io::Result<()>| {
            gaps.0 = if done.is_ok() { gaps.0 & !gap.0 } else { gaps.0 | gap.0 };
        };
        if is_due(Gaps::MEMORY, |l| l.memory_bytes) {
            note(Gaps::MEMORY, memory(limits.memory_bytes));
        }
        if is_due(Gaps::PROCESSES, |l| l.processes.into()) {
            note(Gaps::PROCESSES, processes(limits.processes.into()));
        }
        if is_due(Gaps::CPU, |l| l.cpu_millis.into()) {
            note(Gaps::CPU, quota(cpu_quota_us(limits.cpu_millis)));
        }
        self.gaps
    }

    /// How many more kills `all` are than were known.
    fn new_oom_kills(&mut self, all: Option<u64>) -> u64 {
        let all = all.unwrap_or(self.oom_kills);
        all.saturating_sub(std::mem::replace(&mut self.oom_kills, all))
    }
}

/// More than what a file holds that lists some numbers.
const SHORT: usize = 1024;

/// One file of a group, held open.
#[derive(Debug)]
struct Knob(File);

impl Knob {
    fn open(group: &Path, name: &str) -> io::Result<Self> {
        // Some can only be read, some only be written.
        let path = group.join(name);
        let both = OpenOptions::new().read(true).write(true).open(&path);
        let file = both
            .or_else(|_| OpenOptions::new().read(true).open(&path))
            .or_else(|_| OpenOptions::new().write(true).open(&path))?;
        Ok(Self(file))
    }

    /// The file, if the group has it.
    fn find(group: &Path, name: &str) -> Option<Self> {
        Self::open(group, name).ok()
    }

    /// The file, or the error of setting one that is not there.
    fn of(knob: Option<&Knob>) -> io::Result<&Knob> {
        knob.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn set(&self, value: u64) -> io::Result<()> {
        self.write(&value.to_string())
    }

    fn write(&self, text: &str) -> io::Result<()> {
        self.0.write_all_at(text.as_bytes(), 0)
    }

    fn text(&self) -> String {
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = self.0.read_at(&mut buffer, text.len() as u64) {
            text.extend_from_slice(&buffer[..read]);
        }
        String::from_utf8(text).unwrap_or_default()
    }

    /// The number that is the file's content.
    fn number(&self) -> Option<u64> {
        self.short(&mut [0; SHORT])?.trim().parse().ok()
    }

    /// The number after `name` on a line of its own.
    fn entry(&self, name: &str) -> Option<u64> {
        let mut buffer = [0; SHORT];
        let mut lines = self.short(&mut buffer)?.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.trim().parse().ok())
    }

    /// The content of a file that holds some numbers: without memory of its own, as this is read for every task.
    fn short<'a>(&self, buffer: &'a mut [u8; SHORT]) -> Option<&'a str> {
        let read = self.0.read_at(buffer, 0).ok()?;
        std::str::from_utf8(&buffer[..read]).ok()
    }
}

/// What of a period a task may run; none: as much as there is.
fn cpu_quota_us(cpu_millis: u32) -> Option<u64> {
    let there_is = std::thread::available_parallelism().map_or(1, usize::from) as u64 * 1000;
    (u64::from(cpu_millis) < there_is).then(|| u64::from(cpu_millis) * CPU_PERIOD_US / 1000)
}
