//! Whether the store can be written to: by what the last write came to, and, when that was an error, by trying.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;

use crate::error::StoreError;

/// Room that a store needs to be called well again after a write failed.
const ROOM_BYTES: usize = 1024 * 1024;

/// What the last write came to. Each change is logged, and nothing else: a full disk refuses many writes.
#[derive(Debug, Default)]
pub(super) struct Health {
    is_bad: AtomicBool,
}

impl Health {
    /// A group of writes failed.
    pub(super) fn went_wrong(&self, error: &rusqlite::Error) {
        match self.is_bad.swap(true, Ordering::Relaxed) {
            false => tracing::error!(error = %error, "the store cannot be written to: {error}"),
            true => tracing::debug!(error = %error, "the store still cannot be written to: {error}"),
        }
    }

    /// A group of writes is on the disk.
    pub(super) fn went_well(&self) {
        if self.is_bad.load(Ordering::Relaxed) {
            self.is_bad.store(false, Ordering::Relaxed);
            tracing::info!("the store can be written to again");
        }
    }

    /// Whether the last write failed.
    pub(super) fn is_bad(&self) -> bool {
        self.is_bad.load(Ordering::Relaxed)
    }
}

/// Whether a file in `dir` may grow.
pub(super) fn has_room(dir: &Path) -> Result<(), StoreError> {
    let path = dir.join("room");
    let write = || -> io::Result<()> {
        let mut file = File::create(&path)?;
        file.write_all(&vec![1; ROOM_BYTES])?;
        file.sync_data()
    };
    let written = write();
    let _ = std::fs::remove_file(&path);
    written.map_err(|e| match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
        _ => StoreError::Unavailable(e.to_string()),
    })
}

/// Whether the database may grow, which a limit of its own may forbid.
pub(super) fn may_grow(conn: &Connection) -> rusqlite::Result<bool> {
    let pragma = |name: &str| conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, u64>(0));
    let free = (pragma("max_page_count")? + pragma("freelist_count")?).saturating_sub(pragma("page_count")?);
    Ok(free * pragma("page_size")? >= ROOM_BYTES as u64)
}
