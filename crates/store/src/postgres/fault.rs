//! What an error of PostgreSQL means to a caller of the store.

use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

use crate::error::StoreError;

/// Why an operation did not go through.
#[derive(Debug)]
pub(super) enum Stop {
    /// It wrote nothing and this is its answer.
    Refused(StoreError),
    /// The database said no, or is gone; nothing was written.
    Failed(tokio_postgres::Error),
    /// There is no connection to be had; nothing was written.
    Unreachable(String),
    /// The connection was lost while the end of the transaction was on its way: it may have been written.
    InDoubt(tokio_postgres::Error),
}

impl From<tokio_postgres::Error> for Stop {
    fn from(error: tokio_postgres::Error) -> Self {
        Stop::Failed(error)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Stop::Refused(error)
    }
}

impl From<PoolError> for Stop {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => Stop::Unreachable(in_full(&error)),
            PoolError::Timeout(_) => Stop::Unreachable("no connection was free in time".to_owned()),
            error => Stop::Unreachable(error.to_string()),
        }
    }
}

impl Stop {
    /// Whether the same may go through when it is tried again at once: it met another transaction, or the connection
    /// was lost before anything was written.
    pub(super) fn is_passing(&self) -> bool {
        let Stop::Failed(error) = self else { return false };
        match error.code() {
            Some(code) => {
                *code == SqlState::T_R_DEADLOCK_DETECTED
                    || *code == SqlState::T_R_SERIALIZATION_FAILURE
                    || *code == SqlState::LOCK_NOT_AVAILABLE
                    || is_shutdown(code)
            }
            None => is_lost(error),
        }
    }

    /// Whether tables of a day are not what was known of them: another server made or dropped them.
    pub(super) fn is_of_partitions(&self) -> bool {
        matches!(self, Stop::Failed(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE))
    }

    /// The same, where it says of a duty that this process does not lead.
    pub(super) fn of_the_fence(self, is_duty: bool) -> Self {
        match self {
            Stop::Failed(error) if is_duty && error.code() == Some(&SqlState::DIVISION_BY_ZERO) => {
                Stop::Refused(StoreError::NotLeading)
            }
            stop => stop,
        }
    }

    /// Whether the statement itself was at fault: others of its group may go through without it.
    pub(super) fn is_callers_fault(&self) -> bool {
        let Stop::Failed(error) = self else { return false };
        error.code().is_some_and(|code| code.code().starts_with("23"))
    }
}

/// Whether it tells of a connection, not of a statement.
pub(super) fn is_lost(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => is_shutdown(code),
        None => {
            error.is_closed()
                || std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
        }
    }
}

fn is_shutdown(code: &SqlState) -> bool {
    *code == SqlState::ADMIN_SHUTDOWN
        || *code == SqlState::CRASH_SHUTDOWN
        || *code == SqlState::CANNOT_CONNECT_NOW
}

impl From<Stop> for StoreError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Refused(error) => error,
            Stop::Unreachable(reason) => {
                StoreError::Unavailable(format!("the database cannot be reached: {reason}"))
            }
            Stop::InDoubt(error) => StoreError::Unavailable(format!(
                "the database was lost while it wrote, so whether it did is not known: {}",
                in_full(&error)
            )),
            Stop::Failed(error) => store_error(&error),
        }
    }
}

/// The error as callers see it.
pub(super) fn store_error(error: &tokio_postgres::Error) -> StoreError {
    match error.code() {
        Some(code) if *code == SqlState::DISK_FULL => StoreError::Full,
        Some(code) if *code == SqlState::DATA_CORRUPTED || *code == SqlState::INDEX_CORRUPTED => {
            StoreError::Damaged(format!("{}; restore a backup of the database", in_full(error)))
        }
        _ => StoreError::Unavailable(in_full(error)),
    }
}

/// A row that does not hold what it should.
pub(super) fn damaged(what: &str) -> Stop {
    Stop::Refused(StoreError::Damaged(format!("{what}; restore a backup of the database")))
}

/// The error with what is behind it: by itself it says `db error` only.
pub(super) fn in_full(error: &tokio_postgres::Error) -> String {
    if let Some(db) = error.as_db_error() {
        return format!("{} ({})", db.message(), db.code().code());
    }
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
