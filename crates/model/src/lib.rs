//! Plain data and pure rules of Windlass. No I/O, no clock, no randomness: `now`, jitter and ids are arguments.
//!
//! | module | holds |
//! |---|---|
//! | [`id`], [`time`], [`bytes`] | ids, instants, bytes in JSON |
//! | [`project`] | projects, tokens, scopes |
//! | [`secret`] | values that nobody is shown |
//! | [`code`], [`difference`] | code packages and their revisions; what one changed against another |
//! | [`task`], [`log`] | tasks, attempts, logs |
//! | [`lifecycle`], [`exit`], [`retry`], [`lease`] | the life of a task: what may happen to it and what follows |
//! | [`schedule`] | when a schedule fires |
//! | [`image`] | what the documents of a container image say, and what follows from it |
//! | [`limits`], [`isolation`], [`size`] | what an attempt may take, how far it is separated; sizes in words |
//! | [`warm`] | workers that take one task after another |
//! | [`cluster`] | named sets of runners; how many slots one should have |
//! | [`runner`] | what runners and servers say to each other |
//! | [`usage`] | compute time, summed |
//! | [`trace`] | the trace that a task belongs to |
//! | [`wire`] | what clients and servers say to each other: the IronWorker API |

pub mod bytes;
pub mod cluster;
pub mod code;
pub mod difference;
pub mod exit;
pub mod id;
pub mod image;
pub mod isolation;
pub mod lease;
pub mod lifecycle;
pub mod limits;
pub mod log;
pub mod package;
pub mod project;
pub mod retry;
pub mod runner;
pub mod schedule;
pub mod secret;
pub mod size;
pub mod task;
pub mod time;
pub mod trace;
pub mod usage;
pub mod warm;
pub mod wire;
