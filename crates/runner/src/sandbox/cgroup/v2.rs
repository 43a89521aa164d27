//! Version 2: one hierarchy. The spawner and its task live in groups beside each other.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use windlass_model::limits::Limits;

use super::{Applied, CPU_PERIOD_US, Controls, Gaps, INIT, Knob};

/// The group of the task in the group of its slot.
pub(super) const TASK: &str = "task";
/// The group of the spawner beside it: a group that has limits for its members cannot have members itself.
pub(super) const SPAWNER: &str = "spawner";
/// What is asked for in the groups above.
pub(super) const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];

/// The controls of a slot by version 2. A controller that is not there is a gap.
#[derive(Debug)]
pub(super) struct V2 {
    folder: File,
    memory: Option<Knob>,
    peak: Option<Knob>,
    memory_events: Option<Knob>,
    pids: Option<Knob>,
    cpu: Option<Knob>,
    events: Knob,
    procs: Knob,
    kill: Option<Knob>,
    applied: Applied,
}

impl V2 {
    /// The controls of the task's group in `slot`.
    pub(super) fn open(slot: &Path) -> io::Result<Self> {
        let task = slot.join(TASK);
        for (name, value) in [("memory.swap.max", 0), ("memory.oom.group", 1)] {
            // Where there is no swap there is no file for it.
            if let Some(knob) = Knob::find(&task, name) {
                knob.set(value)?;
            }
        }
        let mut controls = Self {
            folder: File::open(&task)?,
            memory: Knob::find(&task, "memory.max"),
            peak: Knob::find(&task, "memory.peak"),
            memory_events: Knob::find(&task, "memory.events"),
            pids: Knob::find(&task, "pids.max"),
            cpu: Knob::find(&task, "cpu.max"),
            events: Knob::open(&task, "cgroup.events")?,
            procs: Knob::open(&task, "cgroup.procs")?,
            kill: Knob::find(&task, "cgroup.kill"),
            applied: Applied::default(),
        };
        // What a spawner before us counted is not ours.
        controls.oom_kills();
        Ok(controls)
    }
}

impl Controls for V2 {
    fn task_group(&self) -> Option<BorrowedFd<'_>> {
        Some(self.folder.as_fd())
    }

    fn apply(&mut self, limits: &Limits) -> Gaps {
        let Self { memory, pids, cpu, applied, .. } = self;
        applied.apply(
            limits,
            |bytes| Knob::of(memory.as_ref())?.set(bytes),
            |most| Knob::of(pids.as_ref())?.set(most + INIT),
            |us| {
                let quota = us.map_or_else(|| "max".to_owned(), |us| us.to_string());
                Knob::of(cpu.as_ref())?.write(&format!("{quota} {CPU_PERIOD_US}"))
            },
        )
    }

    fn oom_kills(&mut self) -> u64 {
        let events = self.memory_events.as_ref();
        self.applied.new_oom_kills(events.and_then(|events| events.entry("oom_kill")))
    }

    fn peak_bytes(&self) -> u64 {
        let peak = self.peak.as_ref().and_then(Knob::number).unwrap_or(0);
        // It counts from the group's beginning, so a task with a higher limit may have been before.
        self.applied.limits.map_or(peak, |set| peak.min(set.memory_bytes))
    }

    fn is_empty_but(&self, _spared: Pid) -> bool {
        self.events.entry("populated") == Some(0)
    }

    fn kill_all_but(&mut self, spared: Pid) {
        if self.kill.as_ref().is_some_and(|kill| kill.set(1).is_ok()) {
            return;
        }
        // An older kernel.
        self.applied.limits = None;
        if let Some(pids) = &self.pids {
            let _ = pids.set(0);
        }
        for pid in self.procs.text().lines().filter_map(|line| line.parse().ok()).map(Pid::from_raw) {
            if pid != spared && pid.as_raw() > 0 {
                // An error means that it is gone.
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
    }
}
