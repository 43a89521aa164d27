//! What an error of SQLite means to a caller of the store.

use rusqlite::ErrorCode;

use crate::error::StoreError;

/// The error as callers see it.
pub(super) fn store_error(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => damaged(&error.to_string()),
        _ => match error {
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..) => damaged(&error.to_string()),
            _ => StoreError::Unavailable(error.to_string()),
        },
    }
}

/// Something in the database is not as it was written.
pub(super) fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(format!(
        "{what}; stop the server, then put a backup of windlass.db in place, or move windlass.db and its -wal and -shm \
         files away to start empty; `sqlite3 windlass.db .recover` saves what can still be read"
    ))
}

/// Whether the statement itself was at fault, not the disk: the rest of its group can go on without it.
pub(super) fn is_callers_fault(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
}
