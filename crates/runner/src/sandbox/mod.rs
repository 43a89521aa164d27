//! The sandbox: what surrounds a task.
//!
//! The spawner of a slot *lives in* the slot: it gives itself a mount namespace with a read-only root of chosen parts of
//! the host, and whoever it starts inherits that. A task gets of its own only what must be fresh: namespaces for mounts,
//! processes and messages, and a file system in memory for what it writes.
//!
//! | module | holds |
//! |---|---|
//! | [`root`] | what a task sees of the host: a pure list |
//! | [`plan`] | what a slot is made from, and what is in force once it is made |
//! | `spawner::slot` | making it, in the spawner |
//! | `spawner::init` | the first process of a task's namespaces |
//! | [`confinement`] | what a process takes from itself on the way to the task's program |
//! | [`seccomp`] | which system calls a task may make |
//! | [`landlock`] | where it may read and write, whom it may signal |
//! | [`capabilities`] | that it has none |
//! | [`network`] | what it reaches |
//! | [`cgroup`] | what it may take of memory, processors and processes |

pub(crate) mod capabilities;
pub mod cgroup;
pub mod confinement;
pub(crate) mod landlock;
pub mod network;
pub(crate) mod plan;
pub(crate) mod probe;
pub(crate) mod root;
pub(crate) mod seccomp;

pub(crate) use plan::{InForce, Plan, Setup};
pub use plan::{Policy, SandboxConfig};
