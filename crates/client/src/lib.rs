//! The Rust client of Windlass, also used by its own runner and command line.
//!
//! ```no_run
//! use windlass_client::config::{Choice, Config, Sources};
//! use windlass_model::wire::tasks::TaskRequest;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Config::load(&Sources::of_process(), &Choice::default())?.client()?;
//! let task = TaskRequest { code_name: "report".into(), payload: "{}".into(), ..TaskRequest::default() };
//! let ids = client.queue(vec![task], None).await?;
//! let ended = client.wait(ids[0], None).await?;
//! println!("{}", ended.status);
//! # Ok(())
//! # }
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | where the server is and who asks: `iron.json` and variables |
//! | [`client`] | [`Client`]: a server, a token and a project |
//! | [`package`] | the zip that an upload carries |
//! | [`codes`], [`tasks`], [`schedules`], [`usage`], [`projects`], [`clusters`], [`runners`] | its calls, a file per thing |
//! | [`runner_api`] | the calls of a runner |
//! | [`logs`] | logs, whole or as they are written |
//! | [`transport`] | how a request reaches a server: over HTTP, or by a call within the process |
//! | [`failover`] | the same with several servers, if one does not answer |
//! | [`error`] | what can go wrong, by what a caller can do about it |

pub mod client;
pub mod clusters;
pub mod codes;
pub mod config;
pub mod error;
pub mod failover;
pub mod logs;
mod multipart;
pub mod package;
pub mod projects;
mod query;
pub mod runner_api;
pub mod runners;
pub mod schedules;
mod sse;
pub mod tasks;
pub mod transport;
mod trust;
pub mod usage;

pub use client::Client;
pub use codes::{Paging, Uploads};
pub use config::Config;
pub use error::ClientError;
pub use multipart::OnProgress;
pub use package::Package;
pub use runner_api::{RunnerSession, SessionError};
pub use tasks::TaskFilter;
