//! Starting processes through small processes that do nothing else.
//!
//! Forking costs time in proportion to the memory of the process that forks: 20 ms at 200 MB. So the runner never
//! forks. It starts a spawner for each slot that is in use (the same binary, a hidden subcommand) and asks it over a
//! socket: it sends the write ends of the task's pipes along, and gets back how the task ended and what it used. The
//! spawner adopts what its task leaves behind, ends it before it says that the task is over, then starts the next; and
//! it ends everything when the runner's side of the socket closes, however that came about.
//!
//! | module | holds |
//! |---|---|
//! | [`message`] | what the two say to each other |
//! | [`handle`] | the runner's side |
//! | [`process`] | the spawner's side |
//! | [`slot`] | the sandbox around the spawner, which its tasks inherit |
//! | [`image`] | the root of a container image, for tasks that have one |
//! | [`init`] | the first process of a task in a sandbox |
//! | [`sys`] | the system calls: the only unsafe code of the project |

pub(crate) mod handle;
mod image;
mod init;
mod message;
mod process;
mod slot;
pub(crate) mod sys;

pub(crate) use handle::{Child, Order, Reserved, SpawnError, Spawner};
pub(crate) use message::{Contents, End, Exited, Step};

use crate::unpack::apart;

/// The spawner process: serves the runner on standard input, which is a socket, until it closes.
///
/// To be called before anything else is started, threads above all: the process must stay small and single. Its last
/// arguments may make it a process that unpacks a package instead.
pub fn main() -> std::process::ExitCode {
    if let Some(code) = apart::run(&std::env::args().collect::<Vec<_>>()) {
        return code;
    }
    match process::serve() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(_) => std::process::ExitCode::FAILURE,
    }
}
