//! Taking from this process what a task must not have. Nothing here can make it more powerful.

use std::ffi::{c_int, c_void};
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};

use libc::{c_long, c_ulong, sock_filter};
use nix::errno::Errno;

/// Filters the system calls of this process by `program`. It must not be able to gain privileges any more.
pub(crate) fn filter_calls(program: &[sock_filter]) -> Result<(), Errno> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::E2BIG)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies `len` instructions from `filter`, which is that long, and writes nothing there.
    let done = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0 as c_ulong, &raw const program)
    };
    checked(done)
}

/// The version of Landlock that the kernel offers; `None`: it has none.
pub(crate) fn landlock_version() -> Option<i64> {
    const VERSION: c_int = 1;
    // SAFETY: asks for the version only; no pointer is read.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<c_void>(), 0, VERSION) };
    (version > 0).then_some(version)
}

/// What this process is to be allowed, as it is being put together.
pub(crate) struct Ruleset(OwnedFd);

impl Ruleset {
    /// Nothing is allowed of `access` to files, nor of `scopes` across the border, unless a rule says so.
    pub(crate) fn new(access: u64, scopes: u64) -> Result<Self, Errno> {
        /// As the kernel has it since version 6. Older ones take the longer form if the rest of it is zero.
        #[repr(C)]
        struct Attributes {
            access_fs: u64,
            access_net: u64,
            scoped: u64,
        }
        let attributes = Attributes { access_fs: access, access_net: 0, scoped: scopes };
        // SAFETY: the kernel reads as many bytes as it is told, which are those of our own local.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_landlock_create_ruleset,
                &raw const attributes,
                size_of::<Attributes>(),
                0 as c_ulong,
            )
        };
        checked(fd)?;
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd as c_int) }))
    }

    /// Allows `access` below `folder`.
    pub(crate) fn allow(&self, folder: &impl AsFd, access: u64) -> Result<(), Errno> {
        const PATH_BENEATH: c_int = 1;
        #[repr(C, packed)]
        struct Attributes {
            access: u64,
            folder: c_int,
        }
        let attributes = Attributes { access, folder: folder.as_fd().as_raw_fd() };
        // SAFETY: the kernel reads a structure of this kind, which is our own local.
        let done = unsafe {
            libc::syscall(
                libc::SYS_landlock_add_rule,
                self.0.as_raw_fd(),
                PATH_BENEATH,
                &raw const attributes,
                0 as c_ulong,
            )
        };
        checked(done)
    }

    /// Restricts this process to what the rules allow. It must not be able to gain privileges any more.
    pub(crate) fn restrict(&self) -> Result<(), Errno> {
        // SAFETY: a descriptor of ours and a number; no memory is touched.
        let done =
            unsafe { libc::syscall(libc::SYS_landlock_restrict_self, self.0.as_raw_fd(), 0 as c_ulong) };
        checked(done)
    }
}

/// Takes one capability out of those that a program may ever give this process.
pub(crate) fn drop_from_bounding_set(capability: u32) -> Result<(), Errno> {
    // SAFETY: two numbers; no memory is touched.
    let done =
        unsafe { libc::syscall(libc::SYS_prctl, libc::PR_CAPBSET_DROP, c_ulong::from(capability), 0, 0, 0) };
    checked(done)
}

/// Empties the permitted, effective, inheritable and ambient capability sets of this process.
pub(crate) fn empty_capability_sets() -> Result<(), Errno> {
    /// Two words for each set, the newest form.
    const VERSION: u32 = 0x2008_0522;
    #[repr(C)]
    struct Header {
        version: u32,
        pid: c_int,
    }
    let header = Header { version: VERSION, pid: 0 };
    let none = [0_u32; 6];
    // SAFETY: numbers only; no memory is touched.
    let done = unsafe {
        libc::syscall(
            libc::SYS_prctl,
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL as c_ulong,
            0,
            0,
            0,
        )
    };
    checked(done)?;
    // SAFETY: the kernel reads a header and, by its version, six words; both are our own locals.
    let done = unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) };
    checked(done)
}

fn checked(result: c_long) -> Result<(), Errno> {
    if result < 0 { Err(Errno::last()) } else { Ok(()) }
}
