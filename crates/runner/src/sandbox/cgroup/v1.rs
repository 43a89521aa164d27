//! Version 1: a hierarchy per controller. The spawner lives in the groups of its slot.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use nix::fcntl::{OFlag, openat};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::Pid;
use windlass_model::limits::Limits;

use super::{Applied, CPU_PERIOD_US, Controls, Gaps, INIT, Knob};

/// The spawner, which is in the group with its task.
const SPAWNER: u64 = 1;

/// The controls of a slot by version 1. A controller that is not there is a gap.
#[derive(Debug)]
pub(super) struct V1 {
    memory: Option<Memory>,
    pids: Option<Knob>,
    quota: Option<Knob>,
    /// How many processes and threads are in the slot.
    count: Option<Knob>,
    /// The folder of one of the groups.
    folder: File,
    applied: Applied,
}

#[derive(Debug)]
struct Memory {
    limit: Knob,
    with_swap: Option<Knob>,
    peak: Option<Knob>,
    oom: Option<Knob>,
}

impl V1 {
    /// The controls of the groups in these folders.
    pub(super) fn open(memory: Option<&Path>, pids: Option<&Path>, cpu: Option<&Path>) -> io::Result<Self> {
        let any = pids.or(memory).or(cpu).ok_or(io::ErrorKind::NotFound)?;
        let memory = memory.map(Memory::open).transpose()?;
        if let Some(cpu) = cpu {
            Knob::open(cpu, "cpu.cfs_period_us")?.set(CPU_PERIOD_US)?;
        }
        let mut controls = Self {
            memory,
            pids: pids.and_then(|group| Knob::find(group, "pids.max")),
            quota: cpu.and_then(|group| Knob::find(group, "cpu.cfs_quota_us")),
            count: pids.and_then(|group| Knob::find(group, "pids.current")),
            folder: File::open(any)?,
            applied: Applied::default(),
        };
        // What a spawner before us counted is not ours.
        controls.oom_kills();
        Ok(controls)
    }

    fn others(&self, spared: Pid) -> Vec<Pid> {
        // Opened anew each time: a second look through the same descriptor shows what the first one saw.
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let procs = openat(&self.folder, "cgroup.procs", flags, Mode::empty());
        let text = procs.map(|procs| Knob(procs.into()).text()).unwrap_or_default();
        let pids = text.lines().filter_map(|line| line.parse().ok()).map(Pid::from_raw);
        pids.filter(|&pid| pid != spared && pid.as_raw() > 0).collect()
    }
}

impl Controls for V1 {
    fn task_group(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn apply(&mut self, limits: &Limits) -> Gaps {
        let Self { memory, pids, quota, applied, .. } = self;
        applied.apply(
            limits,
            |bytes| memory.as_ref().ok_or(io::ErrorKind::NotFound)?.set(bytes),
            |most| Knob::of(pids.as_ref())?.set(most + INIT + SPAWNER),
            |us| Knob::of(quota.as_ref())?.write(&us.map_or_else(|| "-1".to_owned(), |us| us.to_string())),
        )
    }

    fn oom_kills(&mut self) -> u64 {
        let oom = self.memory.as_ref().and_then(|memory| memory.oom.as_ref());
        self.applied.new_oom_kills(oom.and_then(|oom| oom.entry("oom_kill")))
    }

    fn peak_bytes(&self) -> u64 {
        let peak = self.memory.as_ref().and_then(|memory| memory.peak.as_ref());
        peak.and_then(Knob::number).unwrap_or(0)
    }

    fn is_empty_but(&self, spared: Pid) -> bool {
        // Usually the count of one says it: the spawner has one thread.
        self.count.as_ref().and_then(Knob::number) == Some(1) || self.others(spared).is_empty()
    }

    fn kill_all_but(&mut self, spared: Pid) {
        // First, so that nobody is faster at being born than we are at killing.
        self.applied.limits = None;
        if let Some(pids) = &self.pids {
            let _ = pids.set(0);
        }
        for pid in self.others(spared) {
            // An error means that it is gone.
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

impl Memory {
    fn open(group: &Path) -> io::Result<Self> {
        let with_swap = Knob::find(group, "memory.memsw.limit_in_bytes");
        if with_swap.is_none()
            && let Some(swappiness) = Knob::find(group, "memory.swappiness")
        {
            // The next best where swap is not counted: as little of it as there can be.
            let _ = swappiness.set(0);
        }
        Ok(Self {
            limit: Knob::open(group, "memory.limit_in_bytes")?,
            with_swap,
            peak: Knob::find(group, "memory.max_usage_in_bytes"),
            oom: Knob::find(group, "memory.oom_control"),
        })
    }

    /// Sets the limit of memory and of memory with swap: so there is no swap. The latter may at no time be less than
    /// the former.
    fn set(&self, bytes: u64) -> io::Result<()> {
        let swap = || self.with_swap.as_ref().map_or(Ok(()), |knob| knob.set(bytes));
        self.limit.set(bytes).or_else(|_| swap().and_then(|()| self.limit.set(bytes)))?;
        swap()?;
        // From now on it counts what is used under this limit.
        self.peak.as_ref().map_or(Ok(()), |peak| peak.set(0))
    }
}
