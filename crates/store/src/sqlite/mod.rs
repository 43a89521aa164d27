//! The embedded store: SQLite.
//!
//! The status of a task is which narrow table its key is in; what it asked for is written once. One thread writes and
//! commits in groups; readers have connections of their own. `examples/store_bench.rs` has the figures.
//!
//! | module | holds |
//! |---|---|
//! | `seam` | [`Sqlite`]: every operation of [`Store`](crate::Store), sent to the writer or read |
//! | `lock`, `schema`, `partition` | the data directory, the tables, the tables of one day |
//! | `writer`, `work` | the thread that writes; what an operation works with inside a group |
//! | `ops` | what the writer does, by kind |
//! | `usage` | sums of what ended |
//! | `state`, `catalog`, `counters`, [`window`] | what the writer knows without asking |
//! | `reader`, `reads` | connections that read; what they read |
//! | `rows` | between rows and the model |
//! | `fault`, `health` | what an error of SQLite means; whether writes go through |
//! | `audit` | whether a database is whole |

mod audit;
mod catalog;
mod counters;
mod fault;
mod health;
mod lock;
mod ops;
mod partition;
mod reader;
mod reads;
mod rows;
mod schema;
mod seam;
mod state;
mod usage;
pub mod window;
mod work;
mod writer;

pub use audit::audit;
pub use seam::{Options, Sqlite};
