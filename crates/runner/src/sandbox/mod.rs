//! What keeps a task in its slot.
//!
//! | module | holds |
//! |---|---|
//! | [`confinement`] | what a process takes from itself on the way to the task's program |
//! | [`seccomp`] | which system calls a task may make |
//! | [`landlock`] | where it may read and write, whom it may signal |
//! | [`capabilities`] | that it has none |
//! | [`network`] | what it reaches |

pub(crate) mod capabilities;
pub mod confinement;
pub(crate) mod landlock;
pub mod network;
pub(crate) mod seccomp;
