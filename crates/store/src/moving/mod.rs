//! Moving everything that is kept from the embedded store to another one.
//!
//! | module | holds |
//! |---|---|
//! | [`record`] | what moves, piece by piece |
//! | [`steps`] | [`copy`], which can be cut off and goes on where it was, and [`verify`], which reads both |
//!
//! Nobody else may use either store meanwhile: [`Sqlite`](crate::sqlite::Sqlite) has a lock for that, and a server refuses
//! a store that is [`Standing::Partial`]. Sessions of runners do not move, so what they held is given back before.

mod record;
mod steps;

use async_trait::async_trait;

pub use record::{Attempted, Mark, Record, UsedKey};
pub use steps::{Counted, copy, verify};

use windlass_model::time::Timestamp;

use crate::store::{Result, Store};

/// How far a move into a store has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There is nothing in it.
    Empty,
    /// A move was begun, and everything up to the mark is there.
    Partial(Mark),
    /// It is in use, or a move into it is complete.
    InUse,
}

/// A store that others can be moved into.
#[async_trait]
pub trait Import: Store {
    /// How far a move into it has come.
    async fn standing(&self) -> Result<Standing>;

    /// Keeps the records, all or none, if everything up to `from` is there and nothing else (`None`: if it is empty).
    /// Afterwards everything up to `to` is; `None`: that was all, and the store may be used. `false`: the move stands
    /// elsewhere, and nothing was kept.
    ///
    /// A queued task is claimable if it is due at `now`.
    async fn import(
        &self,
        records: Vec<Record>,
        from: Option<Mark>,
        to: Option<Mark>,
        now: Timestamp,
    ) -> Result<bool>;
}
