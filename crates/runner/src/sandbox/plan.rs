//! What a slot is made from, and what is in force once it is made.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use windlass_model::isolation::Level;

use super::cgroup::{self, Gaps};
use super::network;
use super::root::{self, Entry, Extras, Names, ThisHost};

/// Whether tasks run in a sandbox, and what they see in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxConfig {
    /// Whether they do.
    pub policy: Policy,
    /// Folders and files of the host that tasks can read, beside the system's programs and libraries.
    pub binds: Vec<PathBuf>,
    /// The first of the users that tasks run as, one for each slot. Nothing else of the host may use them.
    pub first_uid: u32,
    /// What tasks reach.
    pub network: network::Settings,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        // Far above what systemd and containers give away.
        Self {
            policy: Policy::Require,
            binds: Vec::new(),
            first_uid: 1_900_000_000,
            network: network::Settings::default(),
        }
    }
}

/// What is done where a host cannot isolate as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Nothing is isolated, whatever the host can do.
    Off,
    /// Tasks run with what there is, and what is missing is said.
    Degrade,
    /// Tasks do not run.
    Require,
}

/// What a slot is made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// An empty folder, which the root is built over.
    pub(crate) base: PathBuf,
    /// What is in the root.
    pub(crate) root: Vec<Entry>,
    /// Where unpacked packages are.
    pub(crate) packages: PathBuf,
    /// The user and group of tasks; none: the spawner's own, in a user namespace.
    pub(crate) user: Option<u32>,
    /// The control groups; none: there are none to be had.
    pub(crate) groups: Option<cgroup::Slot>,
}

/// What really surrounds the tasks of a slot: told by the spawner after it has made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InForce {
    /// Tasks run as a user of their slot's own.
    pub(crate) own_user: bool,
    /// Tasks have the networks of their slot, not the host's.
    pub(crate) own_networks: bool,
    /// What the host remembers of a task's connections ends with it, or there is nothing to remember.
    pub(crate) forgets_connections: bool,
    /// The level of the control groups that tasks are in; none: they are in none.
    pub(crate) groups: Option<Level>,
    /// Why they are not in those that there are.
    pub(crate) without_groups: Option<String>,
    /// Limits that do not hold.
    pub(crate) gaps: Gaps,
    /// A task can see its package through what it writes, and need not get a copy of all of it.
    pub(crate) overlays: bool,
}

impl InForce {
    /// That tasks are in the host's network, unless they ask for none.
    pub(crate) const HOSTS_NETWORK: &str =
        "network: a task reaches whatever the host reaches, its loopback too";

    /// What holds in both of two slots.
    pub(crate) fn common(self, other: InForce) -> InForce {
        InForce {
            own_user: self.own_user && other.own_user,
            own_networks: self.own_networks && other.own_networks,
            forgets_connections: self.forgets_connections && other.forgets_connections,
            groups: self.groups.min(other.groups),
            without_groups: self.without_groups.or(other.without_groups),
            gaps: Gaps(self.gaps.0 | other.gaps.0),
            overlays: self.overlays && other.overlays,
        }
    }

    /// What was `promised` of every slot and does not hold in this one, in words.
    pub(crate) fn short_of(&self, promised: &InForce) -> Vec<&'static str> {
        let lost = [
            (promised.own_user && !self.own_user, "a user of its own"),
            (promised.own_networks && !self.own_networks, "a network of its own"),
            (promised.forgets_connections && !self.forgets_connections, "connections that end with the task"),
            (promised.groups > self.groups, "control groups"),
            (self.gaps.beside(promised.gaps) != Gaps::default(), "limits"),
            (promised.overlays && !self.overlays, "packages that shine through"),
        ];
        lost.into_iter().filter(|(is_lost, _)| *is_lost).map(|(_, what)| what).collect()
    }

    /// The best level that tasks can have with it: those above namespaces promise a network of its own, too.
    pub(crate) fn level(&self) -> Level {
        self.groups.filter(|_| self.own_networks).unwrap_or(Level::Namespaces)
    }

    /// What is known to be missing, in words.
    pub(crate) fn missing(&self) -> Vec<String> {
        let processor = self.gaps.words().filter(|_| self.gaps.0 & Gaps::CPU.0 != 0);
        let network = (!self.own_networks).then_some(Self::HOSTS_NETWORK);
        let connections = "connections: the host remembers those of the task before for a while, so that late answers \
                           to it may reach the next";
        let connections = (!self.forgets_connections).then_some(connections);
        network.into_iter().chain(connections).chain(processor).map(str::to_owned).collect()
    }
}

/// What all slots of a runner are made from.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    base: PathBuf,
    packages: PathBuf,
    binds: Vec<PathBuf>,
    aliases: Vec<(String, PathBuf)>,
    /// Files that tasks find somewhere else than the host has them: place and the host's path.
    files: Vec<(&'static str, PathBuf)>,
    first_uid: Option<u32>,
    names: Names,
    /// The host's control groups, and by what name ours are known among them.
    groups: Option<(cgroup::Groups, String)>,
}

impl Plan {
    /// A plan for a runner that unpacks into `packages` and has the empty folder `base`.
    pub(crate) fn new(config: &SandboxConfig, base: &Path, packages: &Path) -> Self {
        Self {
            base: base.to_owned(),
            packages: packages.to_owned(),
            binds: config.binds.clone(),
            aliases: Vec::new(),
            files: Vec::new(),
            names: Names::of_host(),
            groups: None,
            first_uid: nix::unistd::geteuid().is_root().then_some(config.first_uid),
        }
    }

    /// Puts slots into control groups, after what an earlier runner in `work_dir` left of them was removed.
    pub(crate) fn use_groups(&mut self, work_dir: &Path) -> io::Result<()> {
        let groups = cgroup::Groups::find().map_err(io::Error::other)?;
        let instance = cgroup::instance_of(work_dir)?;
        groups.prepare(&instance).map_err(io::Error::other)?;
        self.groups = Some((groups, instance));
        Ok(())
    }

    /// The control groups of a slot.
    pub(crate) fn groups(&self, slot: usize) -> Option<cgroup::Slot> {
        self.groups.as_ref().map(|(groups, instance)| cgroup::Slot::new(groups, instance, slot))
    }

    /// Lets tasks find names by this, where they are not in the host's network.
    pub(crate) fn name(&mut self, names: Names) {
        self.names = names;
    }

    /// Lets tasks see what is at `path`, if it is absolute and there.
    pub(crate) fn bind(&mut self, path: PathBuf) {
        if path.is_absolute() && !root::shows(&self.root(), &path) {
            self.binds.push(path);
        }
    }

    /// Lets tasks find a copy of the host's file `from` at `at`, whatever its mode; returns `at`.
    pub(crate) fn take(&mut self, at: &'static str, from: PathBuf) -> String {
        self.files.push((at, from));
        at.to_owned()
    }

    /// Lets tasks find the host's program `path` by the name `name`, too.
    pub(crate) fn alias(&mut self, name: &str, path: &Path) {
        self.aliases.push((name.to_owned(), path.to_owned()));
    }

    /// What is in the root, but for names of its own.
    pub(crate) fn root(&self) -> Vec<Entry> {
        self.setup(0).root
    }

    /// What the slot `slot` is made from, as the host is now.
    pub(crate) fn setup(&self, slot: usize) -> Setup {
        let user = self.first_uid.map(|first| first + slot as u32);
        let extras = Extras {
            binds: &self.binds,
            aliases: &self.aliases,
            uid: user.unwrap_or_else(|| nix::unistd::geteuid().as_raw()),
            gid: user.unwrap_or_else(|| nix::unistd::getegid().as_raw()),
            names: self.names.clone(),
            host_names: Names::of_host(),
        };
        let mut root = root::root(&ThisHost, &extras);
        root.extend(self.files.iter().map(|(at, from)| Entry::File {
            at: at.into(),
            content: std::fs::read_to_string(from).unwrap_or_default(),
        }));
        Setup {
            base: self.base.clone(),
            root,
            packages: self.packages.clone(),
            user,
            groups: self.groups(slot),
        }
    }
}

impl Names {
    /// Where this host asks; of the names that it knows itself, only its own.
    fn of_host() -> Self {
        Self {
            hosts: "127.0.0.1 localhost task\n::1 localhost\n".to_owned(),
            resolv: std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> InForce {
        InForce {
            own_user: true,
            own_networks: true,
            forgets_connections: true,
            groups: Some(Level::CgroupsV1),
            without_groups: None,
            gaps: Gaps::CPU,
            overlays: true,
        }
    }

    #[test]
    fn a_level_is_what_all_of_it_is_there_for() {
        assert_eq!(all().level(), Level::CgroupsV1);
        for lacking in [InForce { groups: None, ..all() }, InForce { own_networks: false, ..all() }] {
            assert_eq!(lacking.level(), Level::Namespaces);
        }
    }

    #[test]
    fn a_slot_that_is_worse_than_was_promised_says_in_what() {
        assert_eq!(all().short_of(&all()), [""; 0]);
        let better = InForce { groups: Some(Level::CgroupsV2), gaps: Gaps::default(), ..all() };
        assert_eq!(better.short_of(&all()), [""; 0], "better is good enough");
        let without_groups = InForce { groups: None, gaps: Gaps::ALL, ..all() };
        assert_eq!(without_groups.short_of(&all()), ["control groups", "limits"]);
        let in_the_hosts_network = InForce { own_networks: false, ..all() };
        assert_eq!(in_the_hosts_network.short_of(&all()), ["a network of its own"]);
        for slot in [better, without_groups, in_the_hosts_network] {
            let promised = all().common(slot.clone());
            assert_eq!((all().short_of(&promised), slot.short_of(&promised)), (vec![], vec![]));
        }
    }
}
