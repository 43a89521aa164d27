//! The Windlass server: the IronWorker v2 API, the runner protocol, and the loops that keep time.
//!
//! | module | holds |
//! |---|---|
//! | [`app`] | what every request shares: store, blobs, clock, ids, caches |
//! | [`mod@router`] | every route, once, with its method, path, access and entry in the API document |
//! | [`route`], [`openapi`], [`explorer`] | what a route is, and the document and the page made of them |
//! | [`auth`], [`tokens`], [`attempt_token`] | who asks, and whether they may |
//! | [`body`], [`query`], [`path`], [`error`] | reading what clients really send; answering in one form |
//! | `answers` | large answers, which have a budget |
//! | [`upload`] | code packages: multipart, the zip and what is checked of it |
//! | [`api`] | the handlers, a file per thing |
//! | [`seal`] | secrets, which the store keeps and cannot read |
//! | [`hud`] | the web page: rendered here, live by one small module |
//! | [`clusters`] | clusters of runners, and how each has been doing |
//! | [`finish`], [`sessions`] | the server's side of a runner's session |
//! | [`loops`] | leader, scheduler, promoter, rescuer, pruner: each a `run_once(now)` and a wait for the next deadline |
//! | [`mod@serve`] | sockets, slow clients, and a stop that loses nothing |
//! | [`tls`] | the certificate, and when it is read again |

mod answers;
pub mod api;
pub mod app;
pub mod attempt_token;
pub mod auth;
pub mod body;
pub mod clock;
pub mod clusters;
pub mod config;
pub mod error;
pub mod explorer;
pub mod finish;
mod handshake;
pub mod hud;
pub mod ids;
pub mod loops;
pub mod metrics;
pub mod openapi;
pub mod path;
pub mod query;
pub mod route;
pub mod router;
pub mod seal;
pub mod serve;
pub mod sessions;
mod stall;
pub mod tls;
pub mod tokens;
pub mod upload;

pub use app::App;
pub use clock::Clock;
pub use config::Config;
pub use router::{Front, router};
pub use seal::{Seal, SealError};
pub use serve::serve;
pub use tls::{Tls, TlsError};
