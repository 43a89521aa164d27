//! What this host can run and how it can isolate, found out by looking and by trying.

use std::fs;
use std::path::Path;

use windlass_model::isolation::Level;

use crate::config::{ImageMode, Limits, SpawnerCommand};
use crate::engine::{self, EngineAddress};
use crate::host::{Host, Parts};
use crate::programs::{INTERPRETERS, find, host_path};
use crate::sandbox::network::obstacles;
use crate::sandbox::{Policy, SandboxConfig};

/// One property of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub property: String,
    /// Whether it is as it should be.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to change, if anything.
    pub advice: Option<String>,
}

/// Whether a property is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is.
    Good,
    /// Some packages will not run, or there is less isolation.
    Lacking,
    /// The runner will not work.
    Bad,
}

/// Free space below which a runner is likely to run out of it.
const LITTLE_SPACE: u64 = 1 << 30;

/// Looks at the host of a runner that works in `work_dir`, isolates its tasks by `sandbox` and runs container images by
/// `images`, and runs a task there that tries what tasks must not be able to do. Leaves nothing behind, except for a switch
/// of the host: where tasks are to have networks of their own, it forwards packets, as with a runner.
pub async fn doctor(
    work_dir: &Path,
    sandbox: &SandboxConfig,
    images: &ImageMode,
    spawner: SpawnerCommand,
) -> Vec<Check> {
    let mut checks = isolation(sandbox, images, spawner).await;
    checks.extend(firewall());
    checks.extend([cgroups(), user_namespaces(), strays(), dumps(), space(work_dir)]);
    checks.extend(INTERPRETERS.into_iter().chain(["go"]).map(interpreter));
    checks
}

fn check(property: &str, state: State, found: impl Into<String>, advice: Option<&str>) -> Check {
    Check { property: property.to_owned(), state, found: found.into(), advice: advice.map(str::to_owned) }
}

/// The level that tasks have, and what was found out about each property.
async fn isolation(sandbox: &SandboxConfig, images: &ImageMode, spawner: SpawnerCommand) -> Vec<Check> {
    let host = match look(sandbox, spawner).await {
        Ok(host) => host,
        Err(why) => return vec![check("isolation", State::Bad, why.to_string(), None)],
    };
    let level = host.isolation.at_least();
    let (state, advice) = match (sandbox.policy, level) {
        (Policy::Off, _) => {
            (State::Lacking, Some("off: set sandbox.policy to require, or run only code that you trust"))
        }
        (_, Level::CgroupsV1 | Level::CgroupsV2) => (State::Good, None),
        (_, Level::Namespaces) => (State::Lacking, Some("see below for what is missing")),
        (Policy::Require, Level::Process) => (State::Bad, Some("the runner does not start: see below")),
        (Policy::Degrade, Level::Process) => {
            (State::Lacking, Some("run only code that you trust with this host"))
        }
    };
    let found = match sandbox.policy {
        Policy::Off => format!("none; this host can `{level}`"),
        _ => format!("level `{level}`"),
    };
    let mut checks = vec![check("isolation", state, found, advice)];
    checks.extend_from_slice(host.checks());
    checks.extend(host.reach().map(|reach| check("network", State::Good, reach, None)));
    if !host.keeps_rules() {
        let advice = "use Linux 5.12 or later, or restart the runner whenever the firewall is loaded anew";
        let found = "whoever empties it (`nft flush ruleset`) takes the internet from tasks";
        checks.push(check("firewall rules", State::Lacking, found, Some(advice)));
    }
    checks.push(match (images, host.admits_images()) {
        (ImageMode::Off, _) => {
            check("images", State::Good, "off: runner.images says that none are run", None)
        }
        (ImageMode::Engine(address), _) => by_engine(address).await,
        (ImageMode::Native, Ok(())) => {
            check("images", State::Good, "native: in the sandbox, without an engine", None)
        }
        (ImageMode::Native, Err(why)) => check("images", State::Lacking, "cannot be run here", Some(&why)),
    });
    // What no task can find out.
    let told = |what: &&String| !host.checks().iter().any(|check| what.starts_with(&check.property));
    for what in host.isolation.missing.iter().filter(told) {
        let (property, found) = what.split_once(": ").unwrap_or(("isolation", what));
        checks.push(check(property, State::Lacking, found, None));
    }
    checks
}

/// Whether images can be run by the engine that is to run them.
async fn by_engine(address: &EngineAddress) -> Check {
    match engine::probe(address).await {
        Ok(found) => check("images", State::Good, found, None),
        Err(why) => {
            let advice = "the runner does not start: start the engine, or set runner.images to native";
            check("images", State::Bad, why, Some(advice))
        }
    }
}

async fn look(sandbox: &SandboxConfig, spawner: SpawnerCommand) -> std::io::Result<Host> {
    let folder = tempfile::Builder::new().prefix("windlass-doctor-").tempdir()?;
    std::fs::create_dir(folder.path().join("packages"))?;
    let parts = Parts {
        work_dir: folder.path(),
        limits: Limits::default(),
        spawner,
        slots: 1,
        // Whatever is set: what there could be is the question.
        sandbox: &SandboxConfig { policy: Policy::Degrade, ..sandbox.clone() },
        api_url: "http://127.0.0.1:0",
        api_ca: None,
    };
    let mut host = Host::from_parts(parts)?;
    host.prepare().await?;
    Ok(host)
}

/// What keeps packets of tasks from leaving the host; nothing where only root can tell.
fn firewall() -> Vec<Check> {
    let Ok(obstacles) = obstacles() else { return Vec::new() };
    if obstacles.is_empty() {
        return vec![check("firewall", State::Good, "none that is in the way of tasks", None)];
    }
    let told = obstacles
        .iter()
        .map(|obstacle| check("firewall", State::Lacking, obstacle.to_string(), Some(&obstacle.remedy())));
    told.collect()
}

fn interpreter(name: &str) -> Check {
    let path = host_path();
    match (find(name, &path), find("python3", &path)) {
        (Some(program), _) => check(name, State::Good, program.display().to_string(), None),
        (None, Some(python3)) if name == "python" => {
            let found = format!("{}, which workers also find as `python`", python3.display());
            check(name, State::Good, found, None)
        }
        _ if name == "sh" => {
            check(name, State::Bad, "not on PATH", Some("install a shell: every command is run by it"))
        }
        _ => {
            let advice = format!("install it if packages with the runtime `{name}` are to run here");
            check(name, State::Lacking, "not on PATH", Some(&advice))
        }
    }
}

fn cgroups() -> Check {
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").ok();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let has_v1 = mounts.lines().any(|line| line.split(' ').nth(2) == Some("cgroup"));
    match controllers {
        Some(list) if list.contains("memory") => {
            check("cgroups", State::Good, format!("version 2: {}", list.trim()), None)
        }
        _ if has_v1 => check("cgroups", State::Good, "version 1", None),
        _ => check(
            "cgroups",
            State::Lacking,
            "none",
            Some("mount cgroup v2, so that memory and processor can be limited"),
        ),
    }
}

fn user_namespaces() -> Check {
    let number = |file: &str| fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let most = number("/proc/sys/user/max_user_namespaces").unwrap_or(0);
    let is_allowed = number("/proc/sys/kernel/unprivileged_userns_clone") != Some(0);
    if most > 0 && is_allowed && Path::new("/proc/self/ns/user").exists() {
        check("user namespaces", State::Good, "allowed", None)
    } else {
        let advice = "set user.max_user_namespaces above 0 and kernel.unprivileged_userns_clone to 1";
        check("user namespaces", State::Lacking, "not allowed", Some(advice))
    }
}

fn strays() -> Check {
    if Path::new("/proc/thread-self/children").exists() {
        check("stray processes", State::Good, "found and ended", None)
    } else {
        let advice = "use a kernel with CONFIG_PROC_CHILDREN: a task's daemons may outlive it";
        check("stray processes", State::Lacking, "not found", Some(advice))
    }
}

/// Whether what is in the memory of a task that crashes stays with it.
fn dumps() -> Check {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    let most = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_CORE);
    let is_piped = pattern.starts_with('|') && most.is_ok_and(|(_, hard)| hard == 0);
    if is_piped || pattern.starts_with('@') {
        let found =
            format!("the host hands those of tasks to {}", pattern.trim().trim_start_matches(['|', '@']));
        let advice = "set kernel.core_pattern to a file's name, or let the runner's limit of core dumps be 1 (LimitCORE=1)";
        return check("core dumps", State::Lacking, found, Some(advice));
    }
    check("core dumps", State::Good, "none of tasks", None)
}

fn space(work_dir: &Path) -> Check {
    // The nearest folder that is there: the work directory may not have been made yet.
    let there = work_dir.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let property = format!("free space in {}", there.display());
    match nix::sys::statvfs::statvfs(there) {
        Ok(stat) => {
            let free = stat.blocks_available() * stat.fragment_size();
            let found = format!("{} MiB", free >> 20);
            let advice = "packages and tasks need room; free some or choose another work directory";
            match free {
                0..LITTLE_SPACE => check(&property, State::Lacking, found, Some(advice)),
                _ => check(&property, State::Good, found, None),
            }
        }
        Err(error) => check(&property, State::Bad, error.to_string(), Some("choose another work directory")),
    }
}
