//! A task has no capabilities, whatever it is and whatever it runs.

use nix::errno::Errno;

use crate::spawner::sys::confine;

/// Takes from this process, and from all that come from it, the hope of ever gaining a capability by running a program.
/// Those that it has stay. Needs the right to do so (`CAP_SETPCAP`); without, a process that is not root and that may
/// not gain privileges has nothing to hope for either.
pub(crate) fn empty_bounding_set() -> Result<(), Errno> {
    for capability in 0.. {
        match confine::drop_from_bounding_set(capability) {
            Ok(()) => {}
            // Past the last one that the kernel knows.
            Err(Errno::EINVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Takes from this process all that it has: the permitted, effective, inheritable and ambient sets are empty.
pub(crate) fn drop_all() -> Result<(), Errno> {
    confine::empty_capability_sets()
}
