//! `windlass migrate`.

use clap::Args;
use windlass_store::postgres::{Postgres, Standing};

use super::serve::block_on;
use crate::failure::Failure;
use crate::host::server;
use crate::output::Output;
use crate::settings::{SettingFlags, Settings};

/// Brings the tables in PostgreSQL up to date with this binary, as the start of a server does: for those who want it done
/// before, by another user or at another time. Servers of the version before may run meanwhile and afterwards.
#[derive(Args, Debug)]
pub(crate) struct Migrate {
    /// The database; better as WINDLASS_STORE
    #[arg(long, value_name = "URL")]
    store: Option<String>,

    /// Change nothing; say what there is to do. Exits with 0 if nothing, 2 if migrations are missing, 1 if this binary is
    /// too old for the database or cannot reach it
    #[arg(long)]
    check: bool,

    #[command(flatten)]
    settings: SettingFlags,
}

/// What a script gets that asks with `--check` where there is something to do.
const TO_DO: u8 = 2;

impl Migrate {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        let flags = [("store", self.store, "--store")];
        let layers = self.settings.layers(|name| std::env::var(name).ok(), &flags)?;
        let settings = Settings::new(&layers)?;
        block_on(migrate(&settings, self.check))
    }
}

async fn migrate(settings: &Settings, is_check: bool) -> Result<u8, Failure> {
    let out = Output::new(false);
    let Some(address) = &settings.store else {
        let fix = "name one with --store or WINDLASS_STORE, such as postgres://windlass@db.example/windlass; the embedded \
                   store is brought up to date by each start";
        return Err(Failure::new("there is no database to migrate").fix(fix));
    };
    let unreachable = |error| server::without_database(address, &error);
    let before = Postgres::standing(address).await.map_err(unreachable)?;
    if !before.fits() {
        return Err(Failure::new(too_old(&before)).fix("use a newer windlass"));
    }
    out.line(&said(&before))?;
    if is_check || before.missing() == 0 {
        return Ok(if before.missing() == 0 { 0 } else { TO_DO });
    }
    Postgres::migrate(address).await.map_err(unreachable)?;
    out.line(&format!("now the database has schema {}", before.known))?;
    Ok(0)
}

fn too_old(standing: &Standing) -> String {
    let Standing { schema, known, compatible } = standing;
    format!(
        "the database has schema {schema}, which works with windlass of schema {compatible} and later; this one knows {known}"
    )
}

fn said(standing: &Standing) -> String {
    let Standing { schema, known, .. } = standing;
    match (schema, standing.missing()) {
        (0, n) => format!("the database is empty: {n} migrations make schema {known}"),
        (_, 0) if schema == known => format!("the database has schema {schema}: nothing is to be done"),
        (_, 0) => format!(
            "the database has schema {schema}, which works with this one's {known}: nothing is to be done"
        ),
        (_, 1) => format!("the database has schema {schema}: one migration leads to {known}"),
        (_, n) => format!("the database has schema {schema}: {n} migrations lead to {known}"),
    }
}
