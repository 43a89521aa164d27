//! The settings of a server. Every limit that a client can run into is here, with its default.

use std::path::PathBuf;
use std::time::Duration;

use windlass_model::lease::{HEARTBEAT_EVERY, LEASE_TTL};
use windlass_model::package;
use windlass_model::wire::Limits;
use windlass_registry::Registry;
use windlass_store::types::Retention;

/// The settings of a server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Shown at `/version`.
    pub version: String,
    /// Of the values in requests.
    pub limits: Limits,
    /// Of uploaded packages.
    pub packages: PackageLimits,
    /// Of connections and bodies.
    pub http: HttpLimits,
    /// How long things are kept.
    pub retention: Retention,
    /// How often old things are dropped.
    pub prune_every: Duration,
    /// How long a silent runner keeps its tasks.
    pub lease_ttl: Duration,
    /// Time after which a leading server that is lost is replaced, where there are several.
    pub leader_lease: Duration,
    /// Where other servers of the same store reach this one.
    pub url: Option<String>,
    /// How often a runner must be heard.
    pub heartbeat_every: Duration,
    /// Longest wait of a call that waits: `?wait=`, a claim, a heartbeat.
    pub max_wait: Duration,
    /// Largest result of a task; a larger one is left out, with a note in the log.
    pub result_bytes: usize,
    /// Logs and results up to this size are kept with their row, larger ones as blobs.
    pub inline_bytes: usize,
    /// Most tokens and most projects: all of them are in memory, as every request names one of each.
    pub accounts: usize,
    /// Where uploads are kept until they are checked.
    pub scratch: PathBuf,
    /// Asks registries what the name of an image means when it is uploaded; none: nobody is asked.
    pub registry: Option<Registry>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            limits: Limits::default(),
            packages: PackageLimits::default(),
            http: HttpLimits::default(),
            retention: Retention::default(),
            prune_every: Duration::from_secs(3600),
            lease_ttl: LEASE_TTL,
            leader_lease: Duration::from_secs(15),
            url: None,
            heartbeat_every: HEARTBEAT_EVERY,
            max_wait: Duration::from_secs(60),
            result_bytes: 1024 * 1024,
            inline_bytes: 32 * 1024,
            accounts: 100_000,
            scratch: std::env::temp_dir(),
            registry: None,
        }
    }
}

/// Limits of uploaded packages.
#[derive(Clone, Copy, Debug)]
pub struct PackageLimits {
    /// Of the zip.
    pub zip_bytes: u64,
    /// Of everything in it; runners count again when they unpack it.
    pub unpacked_bytes: u64,
    /// Files and folders in it; runners take [`package::MAX_ENTRIES`] whatever this says.
    pub entries: usize,
    /// Of the path of one.
    pub path_bytes: usize,
}

impl Default for PackageLimits {
    fn default() -> Self {
        Self {
            zip_bytes: 256 * 1024 * 1024,
            unpacked_bytes: package::DEFAULT_UNPACKED_BYTES,
            entries: package::MAX_ENTRIES,
            path_bytes: 1024,
        }
    }
}

/// Limits of connections and bodies.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// Of a body other than an upload.
    pub body_bytes: usize,
    /// Of all bodies above 64 KiB that are in memory at once; who comes later gets a 503.
    pub bodies_bytes: usize,
    /// Of all answers above 64 KiB that wait to be taken; who asks for more gets a 503.
    pub answers_bytes: usize,
    /// Open connections; further ones wait in the system's queue.
    pub connections: usize,
    /// Until a connection by TLS is encrypted.
    pub handshake_timeout: Duration,
    /// Until a request's head is there, from the end of the one before: so also how long an idle connection is kept.
    pub head_timeout: Duration,
    /// Between two pieces of a body.
    pub idle_timeout: Duration,
    /// Until a body other than an upload is there.
    pub body_timeout: Duration,
    /// Until an upload is there.
    pub upload_timeout: Duration,
    /// How long a stop waits for requests that are being answered.
    pub stop_timeout: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            body_bytes: 32 * 1024 * 1024,
            bodies_bytes: 256 * 1024 * 1024,
            answers_bytes: 256 * 1024 * 1024,
            connections: 4096,
            handshake_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(75),
            idle_timeout: Duration::from_secs(20),
            body_timeout: Duration::from_secs(60),
            upload_timeout: Duration::from_secs(900),
            stop_timeout: Duration::from_secs(10),
        }
    }
}
