//! What a process takes from itself on the way to the task's program, in the order in which it can.

use std::ffi::CStr;

use nix::errno::Errno;

use super::capabilities;
use super::landlock::Landlock;
use super::seccomp::Filter;
use crate::spawner::sys::confine::Ruleset;

/// What a task's process is confined by beside its namespaces, as far as this host has it.
pub struct Confinement {
    landlock: Option<Landlock>,
    filter: Option<Filter>,
}

impl Confinement {
    /// To be made once, by a spawner in the user namespace that its tasks will be in: what comes from it can gain no
    /// capability any more by running a program. It keeps its own.
    pub fn prepare() -> Result<Self, Errno> {
        match capabilities::empty_bounding_set() {
            // Without the right to do so, nothing could be gained either: tasks are not root, and may not gain any.
            Ok(()) | Err(Errno::EPERM) => {}
            Err(error) => return Err(error),
        }
        Ok(Self { landlock: Landlock::probe(), filter: Filter::for_tasks() })
    }

    /// The same for a process that unpacks zips, which needs far less.
    pub(crate) fn for_unpacking() -> Result<Self, Errno> {
        Ok(Self { filter: Filter::for_unpacking(), ..Self::prepare()? })
    }

    /// The same for a process that unpacks layers of images.
    pub(crate) fn for_unpacking_layers() -> Result<Self, Errno> {
        Ok(Self { filter: Filter::for_unpacking_layers(), ..Self::prepare()? })
    }

    /// Confines this process, for good: it has no capabilities and gains none, reads and runs what is below `readable`,
    /// writes below the folders `writable`, and makes the system calls that it may.
    ///
    /// To be called last, with the ids of the task: whatever comes afterwards must do with what a task has.
    pub fn apply(&self, readable: &CStr, writable: &[&CStr]) -> Result<(), Errno> {
        self.within(readable, writable)?.apply()
    }

    /// The same, ready for any number of processes that find these folders as they are now.
    pub(crate) fn within(&self, readable: &CStr, writable: &[&CStr]) -> Result<Walls<'_>, Errno> {
        let rules = self.landlock.map(|landlock| landlock.rules(readable, writable)).transpose()?;
        Ok(Walls { rules, filter: self.filter.as_ref() })
    }
}

/// A [`Confinement`] to certain folders.
pub(crate) struct Walls<'a> {
    rules: Option<Ruleset>,
    filter: Option<&'a Filter>,
}

impl Walls<'_> {
    /// As [`Confinement::apply`].
    fn apply(&self) -> Result<(), Errno> {
        self.apply_all_but_filter()?;
        self.apply_filter()
    }

    /// All of it but the filter of system calls. Makes system calls that the filter allows, and nothing else.
    pub(crate) fn apply_all_but_filter(&self) -> Result<(), Errno> {
        nix::sys::prctl::set_no_new_privs()?;
        if let Some(rules) = &self.rules {
            rules.restrict()?;
        }
        capabilities::drop_all()
    }

    /// The filter of system calls, for this process and all that come from it: the kernel compiles it each time, so it is
    /// cheaper for whoever starts many. No program that is run gives any privileges afterwards.
    pub(crate) fn apply_filter(&self) -> Result<(), Errno> {
        nix::sys::prctl::set_no_new_privs()?;
        self.filter.map_or(Ok(()), Filter::install)
    }

    /// Whether a descriptor of ours is needed to apply it.
    pub(crate) fn has_descriptor(&self) -> bool {
        self.rules.is_some()
    }
}
