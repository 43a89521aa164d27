//! The store of many machines: PostgreSQL, 15 or later.
//!
//! The layout is that of the embedded store; what the writer's memory decides there is decided by statements here, as
//! other servers write at the same time. Requests of one kind share transactions ([`group`]), and a transaction sends
//! what it can together with its commit ([`tx`]). `examples/store_bench.rs` has the figures.
//!
//! | module | holds |
//! |---|---|
//! | `seam` | [`Postgres`]: every operation of [`Store`](crate::Store) |
//! | `connect`, `fault` | where the database is, connections and their settings; what its errors mean |
//! | `schema`, `partition` | migrations; the tables of one day |
//! | `state`, `catalog` | what the operations of one process share and know without asking |
//! | `tx`, `param`, `work` | one transaction; arguments; what an operation works with |
//! | `group` | how requests share transactions |
//! | `floor` | how far claims have come, where old snapshots keep dead keys |
//! | `poll` | what other servers did |
//! | `ops`, `reads` | what is written and read, by kind |
//! | `usage`, `rows` | sums of what ended; between rows and the model |
//! | `audit` | whether a database is whole |

mod audit;
mod catalog;
mod connect;
mod fault;
mod floor;
mod group;
mod ops;
mod param;
mod partition;
mod poll;
mod reads;
mod rows;
mod schema;
mod seam;
mod state;
mod tx;
mod usage;
mod work;

pub use audit::audit;
pub use connect::Address;
pub use schema::Standing;
pub use seam::Postgres;
