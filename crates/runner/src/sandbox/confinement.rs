//! What a process takes from itself on the way to the task's program, in the order in which it can.

use std::ffi::CStr;

use nix::errno::Errno;

use super::capabilities;
use super::landlock::Landlock;
use super::seccomp::Filter;

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
        nix::sys::prctl::set_no_new_privs()?;
        if let Some(landlock) = self.landlock {
            landlock.restrict(readable, writable)?;
        }
        capabilities::drop_all()?;
        match &self.filter {
            Some(filter) => filter.install(),
            None => Ok(()),
        }
    }
}
