//! Which control groups this process is in, and below which of them it may make its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::slot::{make, sweep};
use super::{Gaps, PREFIX, v2};

/// The group that a runner moves to, below the one it was started in, so that this one can have limits for others.
const RUNNER: &str = "-runner";

/// A version of control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy per controller, perhaps with an empty one of version 2 beside them.
    V1,
    /// One hierarchy.
    V2,
}

/// Groups that ours are made below: those that the runner was started in, so limits on the runner hold for its tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    pub(super) parents: Parents,
}

/// Where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parents {
    V1 { memory: Option<PathBuf>, pids: Option<PathBuf>, cpu: Option<PathBuf> },
    V2(PathBuf),
}

/// Why no groups can be made, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("control groups cannot be used: {0}")]
pub struct Unusable(String);

impl Groups {
    /// The groups that this process is in.
    pub fn find() -> Result<Self, Unusable> {
        let read = |path: &str| {
            fs::read_to_string(path).map_err(|error| Unusable(format!("{path} cannot be read: {error}")))
        };
        Self::among(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?)
    }

    /// The same from the texts that the kernel gives.
    pub(super) fn among(own: &str, mounts: &str) -> Result<Self, Unusable> {
        let v2 = folder(own, mounts, None).map(without_runner);
        let has = |group: &PathBuf| {
            let there = fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
            ["memory", "pids"].iter().all(|name| there.split_whitespace().any(|there| there == *name))
        };
        if let Some(group) = v2.filter(has) {
            return Ok(Self { parents: Parents::V2(group) });
        }
        let [memory, pids, cpu] = v2::CONTROLLERS.map(|name| folder(own, mounts, Some(name)));
        if memory.is_none() && pids.is_none() {
            return Err(Unusable(
                "neither memory nor pids is there to be controlled; run the runner as a service with `Delegate=yes`, or \
                 mount the controllers"
                    .to_owned(),
            ));
        }
        Ok(Self { parents: Parents::V1 { memory, pids, cpu } })
    }

    /// Which version they are of.
    pub fn version(&self) -> Version {
        match self.parents {
            Parents::V1 { .. } => Version::V1,
            Parents::V2(_) => Version::V2,
        }
    }

    /// Limits that cannot be enforced, as their controllers are not there.
    pub fn gaps(&self) -> Gaps {
        let gap = |is_there: bool, gap: Gaps| if is_there { 0 } else { gap.0 };
        match &self.parents {
            Parents::V1 { memory, pids, cpu } => Gaps(
                gap(memory.is_some(), Gaps::MEMORY)
                    | gap(pids.is_some(), Gaps::PROCESSES)
                    | gap(cpu.is_some(), Gaps::CPU),
            ),
            Parents::V2(group) => {
                let there = fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
                Gaps(gap(there.split_whitespace().any(|name| name == "cpu"), Gaps::CPU))
            }
        }
    }

    /// Makes the groups ready to have slots below them. Called once by a runner, before it starts any process.
    ///
    /// What an earlier runner of the same `instance` left is ended and removed, and of others whatever is empty. With
    /// version 2 the runner moves to a group of its own, as a group that limits others cannot have members.
    pub fn prepare(&self, instance: &str) -> Result<(), Unusable> {
        for parent in self.folders() {
            sweep(parent, instance);
        }
        match &self.parents {
            Parents::V1 { .. } => Ok(()),
            Parents::V2(group) => delegate(group, instance),
        }
    }

    pub(super) fn folders(&self) -> Vec<&Path> {
        match &self.parents {
            Parents::V1 { memory, pids, cpu } => {
                [memory, pids, cpu].into_iter().flatten().map(PathBuf::as_path).collect()
            }
            Parents::V2(group) => vec![group],
        }
    }
}

/// Lets the groups below `group` have limits.
fn delegate(group: &Path, instance: &str) -> Result<(), Unusable> {
    let failed = |what: &str, error: io::Error| {
        Unusable(format!(
            "{what} {}: {error}; run the runner as root, or as a service with `Delegate=yes`",
            group.display()
        ))
    };
    match enable(group) {
        Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) => {}
        done => return done.map_err(|error| failed("controllers are not delegated by", error)),
    }
    let members = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let me = std::process::id().to_string();
    if members.lines().any(|pid| pid != me) {
        return Err(Unusable(format!(
            "other processes are in {}, too, so that it cannot limit tasks; run the runner as a service with `Delegate=yes`",
            group.display()
        )));
    }
    let own = group.join(format!("{PREFIX}{instance}{RUNNER}"));
    make(&own)
        .and_then(|()| fs::write(own.join("cgroup.procs"), "0"))
        .and_then(|()| enable(group))
        .map_err(|error| failed("the runner cannot move to a group below", error))
}

/// Has `group` hand the controllers that there are down to the groups below it.
pub(super) fn enable(group: &Path) -> io::Result<()> {
    let there = fs::read_to_string(group.join("cgroup.controllers"))?;
    let control = group.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&control)?;
    let has = |text: &str, name: &str| text.split_whitespace().any(|word| word == name);
    let wanted = v2::CONTROLLERS.into_iter().filter(|name| has(&there, name) && !has(&enabled, name));
    let wanted: Vec<String> = wanted.map(|name| format!("+{name}")).collect();
    if wanted.is_empty() { Ok(()) } else { fs::write(control, wanted.join(" ")) }
}

/// The folder of the group that this process is in: of a controller, or of version 2.
pub(super) fn folder(own: &str, mounts: &str, controller: Option<&str>) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let is_it = match controller {
            Some(name) => controllers.split(',').any(|there| there == name),
            None => controllers.is_empty(),
        };
        is_it.then_some(path)
    })?;
    // `36 35 98:0 ROOT MOUNT options shared:1 - TYPE source super,options`
    mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut kind = kind.split(' ');
        let (name, options) = (kind.next()?, kind.nth(1)?);
        let is_it = match controller {
            Some(controller) => name == "cgroup" && options.split(',').any(|there| there == controller),
            None => name == "cgroup2",
        };
        if !is_it {
            return None;
        }
        let mut place = place.split(' ').skip(3);
        let (root, mount) = (place.next()?, place.next()?);
        // In a container, what is mounted may be a part of the hierarchy.
        let below = Path::new(path).strip_prefix(root).ok()?;
        let folder = Path::new(mount).join(below);
        (!path.contains("..") && folder.is_dir()).then_some(folder)
    })
}

/// The group that the runner was started in, where it has moved since.
fn without_runner(group: PathBuf) -> PathBuf {
    let name = group.file_name().unwrap_or_default().to_string_lossy();
    match group.parent() {
        Some(parent) if name.starts_with(PREFIX) && name.ends_with(RUNNER) => parent.to_owned(),
        _ => group,
    }
}
