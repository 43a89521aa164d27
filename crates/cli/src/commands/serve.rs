//! `windlass serve`.

use std::path::PathBuf;

use clap::Args;

use crate::failure::{Doing as _, Failure};
use crate::host::{logging, open_files, server, stop};
use crate::settings::{SettingFlags, Settings};

/// Starts a server without a runner: tasks wait until `windlass runner` is started somewhere. Prints one line when it
/// is ready. SIGTERM and SIGINT stop it without losing anything; a second one stops it at once.
#[derive(Args, Debug)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(super) flags: ServerFlags,
}

/// What every command that starts a server has.
#[derive(Args, Debug)]
pub(super) struct ServerFlags {
    /// Where to serve the API; port 0 takes any free port [default: 127.0.0.1:8080]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,

    /// Keep tasks in this PostgreSQL, with other servers; better as WINDLASS_STORE [default: a database in DATA]
    #[arg(long, value_name = "URL")]
    store: Option<String>,

    /// Keep packages, long logs and results there: a folder or s3://BUCKET/PREFIX [default: DATA/blobs]
    #[arg(long, value_name = "DIR|URL")]
    blobs: Option<String>,

    /// Serve by https with this certificate and its chain (PEM); needs --tls-key
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,

    /// The certificate's key (PEM)
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,

    /// Take a new secret key although the old one is lost; what was sealed with that stays unreadable
    #[arg(long)]
    pub(super) forget_secrets: bool,

    #[command(flatten)]
    settings: SettingFlags,
}

impl ServerFlags {
    /// The settings in effect, with `more` flags of the command (setting, value, name of the flag).
    pub(super) fn settings(&self, more: &[(&str, Option<String>, &str)]) -> Result<Settings, Failure> {
        let path = |p: &Option<PathBuf>| p.as_ref().map(|p| p.to_string_lossy().into_owned());
        let mut flags = vec![
            ("listen", self.listen.clone(), "--listen"),
            ("store", self.store.clone(), "--store"),
            ("blobs", self.blobs.clone(), "--blobs"),
            ("tls.cert", path(&self.tls_cert), "--tls-cert"),
            ("tls.key", path(&self.tls_key), "--tls-key"),
        ];
        flags.extend(more.iter().cloned());
        let layers = self.settings.layers(|name| std::env::var(name).ok(), &flags)?;
        Ok(Settings::new(&layers)?)
    }
}

/// Runs a server or runner to its end, on as many threads as there are processors.
pub(super) fn block_on(work: impl Future<Output = Result<u8, Failure>>) -> Result<u8, Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("windlass").build()?.block_on(work)
}

impl Serve {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        let settings = self.flags.settings(&[])?;
        logging::start(&settings)?;
        open_files::raise().doing("raise the limit of open files")?;
        block_on(async {
            let stop = stop::on_signal()?;
            let server = server::prepare(&settings, self.flags.forget_secrets).await?;
            server::announce(&server.address.url(), &settings.data)?;
            windlass_server::serve(server.listener, server.tls, server.app, stop.cancelled_owned()).await;
            Ok(0)
        })
    }
}
