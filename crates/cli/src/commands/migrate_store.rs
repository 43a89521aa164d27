//! `windlass migrate-store`.

use clap::Args;
use windlass_store::blob::Blobs;
use windlass_store::moving::{self, Counted};
use windlass_store::postgres::Postgres;
use windlass_store::sqlite::{Options, Sqlite};

use super::serve::block_on;
use crate::failure::Failure;
use crate::host::server;
use crate::output::{Output, progress};
use crate::settings::blobs::BlobSettings;
use crate::settings::{SettingFlags, Settings};

/// Moves everything from the embedded store of a data directory to PostgreSQL: projects, tokens, packages with their
/// revisions, tasks with attempts and results, schedules, sums; and packages, logs and results to --blobs, if that names
/// another place. Then reads it back from both and compares. The server must be stopped meanwhile; what was running is
/// queued again. A move that was cut off goes on when it is started again. The embedded store stays as it is.
#[derive(Args, Debug)]
pub(crate) struct MigrateStore {
    /// Where to move tasks to: an empty database; better as WINDLASS_STORE
    #[arg(long, value_name = "URL")]
    store: Option<String>,

    /// Where to move packages, long logs and results to: a folder or s3://BUCKET/PREFIX [default: they stay in DATA/blobs]
    #[arg(long, value_name = "DIR|URL")]
    blobs: Option<String>,

    #[command(flatten)]
    settings: SettingFlags,
}

impl MigrateStore {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        let flags = [("store", self.store, "--store"), ("blobs", self.blobs, "--blobs")];
        let layers = self.settings.layers(|name| std::env::var(name).ok(), &flags)?;
        let settings = Settings::new(&layers)?;
        block_on(migrate(&settings))
    }
}

async fn migrate(settings: &Settings) -> Result<u8, Failure> {
    let out = Output::new(false);
    let Some(address) = &settings.store else {
        let fix = "name one with --store or WINDLASS_STORE, such as postgres://windlass@db.example/windlass";
        return Err(Failure::new("there is no database to move to").fix(fix));
    };
    if !settings.data.join("windlass.db").exists() {
        let what = format_args!("there is no embedded store in {}", settings.data.display());
        return Err(Failure::new(what).fix("name the data directory of the server with --data"));
    }
    let from = Sqlite::open(&settings.data, Options::default())?;
    let to = Postgres::open_to_import(address).await.map_err(|e| server::without_database(address, &e))?;
    let now = windlass_server::Clock::System.now();

    copy_blobs(settings, &out).await?;
    let bar = progress::line();
    let tell = |what: &'static str| {
        let bar = bar.clone();
        move |done: Counted| bar.set_message(format!("{what} {} tasks", done.tasks))
    };
    moving::copy(&from, &to, now, tell("moving:")).await?;
    let all = moving::verify(&from, &to, now, tell("comparing:")).await?;
    bar.finish_and_clear();
    out.line(&format!(
        "moved, read back and compared: {} projects, {} tokens, {} packages, {} schedules, {} tasks, {} sums and others",
        all.projects, all.tokens, all.codes, all.schedules, all.tasks, all.others
    ))?;
    out.line(&format!(
        "\nStart servers with --store (or WINDLASS_STORE){} and the same secret key:\n  copy {} to each, or set WINDLASS_SECRET_KEY",
        if matches!(&settings.blobs, BlobSettings::Bucket(_)) { ", --blobs" } else { "" },
        settings.data.join("secret.key").display()
    ))?;
    Ok(0)
}

/// Copies packages, logs and results, unless they stay where they are.
async fn copy_blobs(settings: &Settings, out: &Output) -> Result<(), Failure> {
    let here = settings.data.join("blobs");
    if matches!(&settings.blobs, BlobSettings::Folder(folder) if *folder == here) {
        return Ok(());
    }
    let (from, to) = (Blobs::local(&here)?, server::open_blobs(settings).await?);
    let bar = progress::line();
    let tell = bar.clone();
    let copied = from.copy_to(&to, move |done| tell.set_message(format!("{} blobs", done.blobs))).await?;
    bar.finish_and_clear();
    out.line(&format!("copied {} packages, logs and results ({} bytes)", copied.blobs, copied.bytes))
}
