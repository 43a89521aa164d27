//! From a data directory to a server that listens.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;
use windlass_registry::Registry;
use windlass_runner::ImageMode;
use windlass_server::config::{HttpLimits, PackageLimits};
use windlass_server::{App, Clock, Config, Tls, TlsError};
use windlass_store::blob::Blobs;
use windlass_store::postgres::{self, Postgres};
use windlass_store::sqlite::{Options, Sqlite};
use windlass_store::types::Retention;
use windlass_store::{Store, StoreError};

use super::address::Address;
use super::{credentials, secret_key};
use crate::failure::{Doing as _, Failure};
use crate::output::Output;
use crate::settings::Settings;
use crate::settings::blobs::BlobSettings;

/// A server that has everything but its loops and its first request.
pub(crate) struct Prepared {
    /// The server.
    pub(crate) app: Arc<App>,
    /// Its socket; whoever connects already waits.
    pub(crate) listener: TcpListener,
    /// What it shows to those who connect, if they are to use TLS.
    pub(crate) tls: Option<Arc<Tls>>,
    /// Where a client on this machine reaches it.
    pub(crate) address: Address,
}

/// Takes the address and the data directory, and makes what the first start makes.
/// With `forget_secrets`, the secret key need not be the one that the secrets there were sealed with.
pub(crate) async fn prepare(settings: &Settings, forget_secrets: bool) -> Result<Prepared, Failure> {
    let own = settings.tls.as_ref();
    let tls = own.map(|own| Tls::open(&own.cert, &own.key)).transpose()?.map(Arc::new);
    let listener = bind(&settings.listen).await?;
    let ca = own.and_then(|own| own.ca.clone());
    let address = Address::of(listener.local_addr()?, tls.as_deref(), ca)?;
    make_private(&settings.data)
        .doing(format_args!("make the data directory {}", settings.data.display()))?;
    let store = open_store(settings).await?;
    let key_file = settings.secret_key_file.as_deref();
    let seal = secret_key::open(&*store, &settings.data, key_file, forget_secrets).await?;
    let blobs = open_blobs(settings).await?;
    let scratch = settings.data.join("uploads");
    clear(&scratch).doing(format_args!("clear {}", scratch.display()))?;
    // A server that runs no images asks nobody what their names mean.
    let registry =
        (settings.runner.images != ImageMode::Off).then(|| Registry::new(&settings.registry)).transpose();
    let config = Config {
        limits: settings.limits,
        packages: PackageLimits {
            zip_bytes: settings.zip_bytes,
            unpacked_bytes: settings.unpacked_bytes,
            entries: settings.entries,
            ..PackageLimits::default()
        },
        http: HttpLimits {
            body_bytes: settings.body_bytes,
            connections: settings.connections,
            stop_timeout: settings.stop_limit,
            ..HttpLimits::default()
        },
        retention: Retention {
            tasks: settings.retention,
            usage_minutes: settings.usage_minutes,
            usage_days: settings.usage_days,
            ..Retention::default()
        },
        lease_ttl: settings.lease_ttl,
        heartbeat_every: settings.heartbeat,
        result_bytes: settings.result_bytes,
        scratch,
        registry: registry.map_err(Failure::usage)?,
        ..Config::default()
    };
    let app = App::open(store, blobs, Clock::System, config, seal).await?;
    credentials::ensure(&app, &settings.data, &address).await?;
    Ok(Prepared { app, listener, tls, address })
}

/// The database that is named, or the one in the data directory.
async fn open_store(settings: &Settings) -> Result<Arc<dyn Store>, Failure> {
    let Some(address) = &settings.store else {
        return Ok(Arc::new(Sqlite::open(&settings.data, Options::default())?));
    };
    match Postgres::open(address).await {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) => Err(without_database(address, &error)),
    }
}

/// The database cannot be used.
pub(crate) fn without_database(address: &postgres::Address, error: &StoreError) -> Failure {
    Failure::new(format_args!("open the database {address}: {error}")).fix(
        "see that it runs, that its name, user and password in --store or WINDLASS_STORE are right, and that the user \
         may make tables in it: `createdb -O USER DATABASE`",
    )
}

/// Where packages, long logs and results are kept.
pub(crate) async fn open_blobs(settings: &Settings) -> Result<Blobs, Failure> {
    match &settings.blobs {
        BlobSettings::Folder(folder) => Ok(Blobs::local(folder)?),
        BlobSettings::Bucket(bucket) => Blobs::bucket(bucket, variables()).await.map_err(without_bucket),
    }
}

/// Makes the folder for its owner alone; one that is there is left as it is.
fn make_private(folder: &Path) -> Result<(), Failure> {
    Ok(std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?)
}

/// The one line that scripts wait for.
pub(crate) fn announce(url: &str, data: &Path) -> Result<(), Failure> {
    Output::new(false).line(&format!("windlass ready at {url} (data in {})", data.display()))
}

async fn bind(listen: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(listen).await.map_err(|e| {
        let fix = match e.kind() {
            std::io::ErrorKind::AddrInUse => {
                "stop whoever has it, or choose another with --listen, such as 127.0.0.1:0"
            }
            std::io::ErrorKind::PermissionDenied => "choose a port above 1023 with --listen",
            _ => "name an address of this machine with --listen, such as 127.0.0.1:8080",
        };
        Failure::new(format_args!("listen on {listen}: {e}")).fix(fix)
    })
}

/// The process's variables that are text.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn without_bucket(error: StoreError) -> Failure {
    Failure::new(error).fix(
        "look at --blobs, the settings s3.endpoint and s3.region, and the credentials in AWS_ACCESS_KEY_ID and \
         AWS_SECRET_ACCESS_KEY; the bucket must be there",
    )
}

/// What an upload that a crash cut off left behind is of no use.
fn clear(folder: &Path) -> Result<(), Failure> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
        _ => {}
    }
    Ok(std::fs::create_dir_all(folder)?)
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        let fix = match &error {
            TlsError::Unreadable { .. } => {
                "name files that this user may read with --tls-cert and --tls-key, or leave both out and serve plain HTTP"
            }
            TlsError::Empty { .. } => {
                "--tls-cert takes the certificate and what follows it in its chain, --tls-key its private key; \
                 a key with a password is decrypted by `openssl pkey -in KEY -out PLAIN`"
            }
            TlsError::Mismatch { .. } => {
                "name the key that the certificate was made with; the server's own certificate comes first in its file"
            }
            TlsError::Unusable { .. } => {
                "`openssl x509 -in CERT -text` and `openssl pkey -in KEY` show what is there"
            }
        };
        Failure::new(error).fix(fix)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::new(error)
    }
}
