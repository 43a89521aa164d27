//! Code packages and their revisions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{CodeId, ProjectId, RevisionId};
use crate::retry::RetryPolicy;
use crate::task::Priority;
use crate::time::Timestamp;

/// A blob by the SHA-256 of its content, 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlobRef {
    /// SHA-256 of the content in hexadecimal.
    pub sha256: String,
    /// Length of the content.
    pub size_bytes: u64,
}

/// How a worker is started. An empty string means "not given", as clients send it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Launch {
    /// Old-style interpreter name: `sh`, `ruby`, `python`, `php`, `node`, `perl`, `java`, `mono`, `go`, `binary`.
    pub runtime: String,
    /// The file in the package that the interpreter runs.
    pub file_name: String,
    /// A command line run by a shell in the unpacked package.
    pub command: String,
    /// A container image.
    pub image: String,
    /// Deprecated language stack; kept and shown, never used.
    pub stack: String,
}

/// One immutable revision of a code package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// Its id (IronWorker's "history id").
    pub id: RevisionId,
    /// The package it belongs to.
    pub code: CodeId,
    /// 1 for the first, one more for each upload.
    pub rev: u32,
    /// The uploaded zip; none for a bare image.
    pub package: Option<BlobRef>,
    /// MD5 of the zip in hexadecimal, which clients show as the checksum; empty without a zip.
    pub checksum: String,
    /// How it is started.
    pub launch: Launch,
    /// Given to the worker as a file; at most 64 KiB.
    pub config: Option<String>,
    /// Environment of the worker.
    pub env_vars: BTreeMap<String, String>,
    /// Whether and when a failed task of it runs again.
    pub retry: RetryPolicy,
    /// Priority of its tasks where they name none.
    pub default_priority: Priority,
    /// When it was uploaded.
    pub created_at: Timestamp,
}

/// A code package: what stays the same over its revisions, and the newest of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// Its id.
    pub id: CodeId,
    /// Who owns it.
    pub project: ProjectId,
    /// Unique in the project among packages that are not deleted.
    pub name: String,
    /// Most tasks of it that may run at once; none: no limit.
    pub max_concurrency: Option<u32>,
    /// Whether its tasks are kept from starting.
    pub is_paused: bool,
    /// When it was first uploaded.
    pub created_at: Timestamp,
    /// When it was last changed in any way.
    pub updated_at: Timestamp,
    /// When it was deleted; a deleted package stays readable for the tasks it ran.
    pub deleted_at: Option<Timestamp>,
    /// The newest revision: the one that new tasks run.
    pub latest: Revision,
}
