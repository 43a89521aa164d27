//! The runner: claims tasks from a server and executes them.
//!
//! It knows no database and holds no credential but its token: it talks to a server through the client only.
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | settings |
//! | [`runner`], `session` | the whole: sessions with a server; claims, reports, heartbeats |
//! | `slots`, `rest` | how many processes run at once; fewer while something is wrong here |
//! | `run` | the way of one attempt: package, plan, directory, process, report |
//! | [`plan`] | what to start for a task: a pure function |
//! | `package`, [`unpack`] | packages, by hash, unpacked under strict rules |
//! | `ground` | where an attempt works: in its sandbox, or in a directory of the host's |
//! | `workdir`, `spares` | the directory of an attempt; empty ones that wait for the next |
//! | [`spawner`], `supervise`, `outlet` | starting processes; following one to its end; reading its output |
//! | `warm` | workers that take one task after another |
//! | `engine` | images that a container engine runs |
//! | `deaths` | spawners that died under a task |
//! | `load` | how busy the host is |
//! | [`sandbox`] | what keeps a task in its slot |
//! | [`capture`], `logs`, `spool` | output as bounded, numbered chunks; its way to the server; where it waits for that |
//! | `selftest`, [`isolation`], [`mod@doctor`] | what is isolated and what is missing |
//! | [`local`] | one package, once, without a server |

pub mod capture;
pub mod config;
mod deaths;
pub mod doctor;
mod engine;
mod ground;
mod host;
mod image;
mod imprint;
mod instance;
pub mod isolation;
mod load;
pub mod local;
mod logs;
mod outlet;
mod package;
pub mod plan;
mod programs;
mod rest;
mod run;
pub mod runner;
pub mod sandbox;
mod selftest;
mod session;
mod slots;
mod spares;
pub mod spawner;
mod spool;
mod supervise;
pub mod unpack;
mod warm;
mod workdir;

pub use config::{ImageMode, Limits, PackageLimits, RunnerConfig, SpawnerCommand};
pub use doctor::{Check, State, doctor};
pub use engine::{EngineAddress, NoEngineAddress};
pub use local::{LocalApi, LocalEnd, LocalRun, run_local};
pub use runner::{Runner, StartError};
pub use sandbox::{Policy, SandboxConfig};
pub use warm::PYTHON_CLIENT;
