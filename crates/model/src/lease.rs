//! Leases: a runner holds its tasks as long as it keeps saying so.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long a runner may be silent before its tasks are given to others.
pub const LEASE_TTL: Duration = Duration::from_secs(30);

/// How often a runner says that it is there: a third of the lease, so two calls may fail.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(10);

/// Times a task may lose its runner before it is given up as poison.
pub const MAX_LOSSES: u32 = 3;

/// Names one attempt of one task, for ever: no two claims of a store get the same. Whoever writes for an attempt
/// shows it, and the write is refused unless it is the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub i64);
