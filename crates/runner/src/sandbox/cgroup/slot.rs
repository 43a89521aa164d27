//! The groups of one slot, from their beginning to their end, and after a crash.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use windlass_model::isolation::Level;

use super::find::{Groups, Parents, enable};
use super::v1::V1;
use super::v2::{self, V2};
use super::{BETWEEN_LOOKS, Controls, PREFIX};

/// How long the kernel is given to bury what was killed.
const BURIAL: Duration = Duration::from_secs(2);

/// Tries to join groups that another runner at its start may take for left over, as they are empty until then.
const TRIES: usize = 10;

/// The groups of one slot. Survives as JSON the way from the runner to the slot's spawner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slot {
    /// By version 1: a group per controller that there is.
    V1 {
        /// Limits memory.
        memory: Option<PathBuf>,
        /// Limits processes.
        pids: Option<PathBuf>,
        /// Limits processor time.
        cpu: Option<PathBuf>,
    },
    /// By version 2: one group, which holds one for the spawner and one for its task.
    V2(PathBuf),
}

/// Names the place that a runner works in, on this host: no other runner has the same while it holds its lock there.
pub fn instance_of(work_dir: &Path) -> io::Result<String> {
    let about = fs::metadata(work_dir)?;
    Ok(format!("{:x}.{:x}", about.dev(), about.ino()))
}

impl Slot {
    /// The groups of slot `index` of the runner `instance`. They are made when the slot is joined.
    pub fn new(groups: &Groups, instance: &str, index: usize) -> Self {
        let name = format!("{PREFIX}{instance}-{index}");
        let below = |parent: &Option<PathBuf>| parent.as_ref().map(|parent| parent.join(&name));
        match &groups.parents {
            Parents::V1 { memory, pids, cpu } => {
                Slot::V1 { memory: below(memory), pids: below(pids), cpu: below(cpu) }
            }
            Parents::V2(parent) => Slot::V2(parent.join(name)),
        }
    }

    /// Makes the groups if they are not there, and moves the calling process, which must be the slot's spawner, into
    /// them. What a spawner before it left in them is still there: see [`Controls::clear_but`].
    pub fn join(&self) -> io::Result<()> {
        let mut tried = 0;
        loop {
            match self.make().and_then(|()| self.enter()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && tried < TRIES => tried += 1,
                done => return done,
            }
        }
    }

    /// Opens what the groups can do. After [`Slot::join`]; from then on the folders need not be in sight.
    pub fn controls(&self) -> io::Result<Box<dyn Controls>> {
        Ok(match self {
            Slot::V1 { memory, pids, cpu } => {
                Box::new(V1::open(memory.as_deref(), pids.as_deref(), cpu.as_deref())?)
            }
            Slot::V2(group) => Box::new(V2::open(group)?),
        })
    }

    /// The list of the processes in them, the spawner and its task's among them where there is one group for both.
    pub fn processes(&self) -> Option<PathBuf> {
        let group = match self {
            Slot::V1 { memory, pids, cpu } => pids.as_ref().or(memory.as_ref()).or(cpu.as_ref()).cloned(),
            Slot::V2(group) => Some(group.join(v2::TASK)),
        };
        group.map(|group| group.join("cgroup.procs"))
    }

    /// The level of isolation that they are good for.
    pub fn level(&self) -> Level {
        match self {
            Slot::V1 { .. } => Level::CgroupsV1,
            Slot::V2(_) => Level::CgroupsV2,
        }
    }

    /// Removes the groups. Whatever is in them is killed: nothing of ours lives without its spawner.
    pub fn remove(&self) {
        self.folders().into_iter().for_each(remove);
    }

    pub(super) fn make(&self) -> io::Result<()> {
        self.folders().into_iter().try_for_each(make)?;
        if let Slot::V2(group) = self {
            make(&group.join(v2::SPAWNER))?;
            make(&group.join(v2::TASK))?;
            enable(group)?;
        }
        Ok(())
    }

    fn enter(&self) -> io::Result<()> {
        let enter = |group: &Path| fs::write(group.join("cgroup.procs"), "0");
        match self {
            Slot::V1 { .. } => self.folders().into_iter().try_for_each(enter),
            Slot::V2(group) => enter(&group.join(v2::SPAWNER)),
        }
    }

    pub(super) fn folders(&self) -> Vec<&Path> {
        match self {
            Slot::V1 { memory, pids, cpu } => {
                [memory, pids, cpu].into_iter().flatten().map(PathBuf::as_path).collect()
            }
            Slot::V2(group) => vec![group],
        }
    }
}

/// Makes the folder of a group, unless it is there.
pub(super) fn make(group: &Path) -> io::Result<()> {
    match fs::create_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

/// Removes our groups below `parent` that are left over: of this `instance` all, as it is the only one that may have
/// any; of others those without a process, as every slot that is in use holds its spawner.
pub(super) fn sweep(parent: &Path, instance: &str) {
    let own = format!("{PREFIX}{instance}-");
    let me = std::process::id().to_string();
    for group in groups_below(parent) {
        let name = group.file_name().unwrap_or_default().to_string_lossy();
        let procs = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        if procs.lines().any(|pid| pid == me) {
            // The group that this runner moved to, when it starts a second time in one process.
        } else if name.starts_with(&own) {
            remove(&group);
        } else if name.starts_with(PREFIX) {
            remove_if_empty(&group);
        }
    }
}

/// Removes the group unless a process is in it or below it. Nobody is killed: a spawner may have come in just now.
fn remove_if_empty(group: &Path) {
    if members(group).is_empty() {
        for group in groups_below(group).into_iter().chain([group.to_owned()]) {
            // An error means that somebody is in it after all.
            let _ = fs::remove_dir(group);
        }
    }
}

/// Kills what is in the group and the groups below it, and removes them.
fn remove(group: &Path) {
    let deadline = Instant::now() + BURIAL;
    loop {
        let members = members(group);
        for &pid in &members {
            // An error means that it is gone.
            let _ = kill(pid, Signal::SIGKILL);
        }
        let below = groups_below(group);
        let removed = below.iter().map(fs::remove_dir).all(|removed| removed.is_ok());
        match fs::remove_dir(group) {
            Ok(()) => return,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                let is_busy = error.raw_os_error() == Some(Errno::EBUSY as i32) || !removed;
                if !is_busy || Instant::now() > deadline {
                    tracing::warn!("the control group {} is left over: {error}", group.display());
                    return;
                }
            }
        }
        std::thread::sleep(BETWEEN_LOOKS);
    }
}

/// The processes in the group and in those directly below it.
fn members(group: &Path) -> Vec<Pid> {
    let mut all = Vec::new();
    for group in groups_below(group).into_iter().chain([group.to_owned()]) {
        let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        let pids = text.lines().filter_map(|line| line.parse().ok()).map(Pid::from_raw);
        all.extend(pids.filter(|pid| pid.as_raw() > 0 && *pid != Pid::this()));
    }
    all
}

fn groups_below(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()).collect()
}
