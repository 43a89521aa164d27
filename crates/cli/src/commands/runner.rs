//! `windlass runner`.

use std::path::PathBuf;

use clap::Args;
use windlass_client::Client;
use windlass_client::config::{Choice, Config};
use windlass_runner::{Limits, PackageLimits, Runner as Running, RunnerConfig, SpawnerCommand, StartError};

use super::serve::block_on;
use crate::connection;
use crate::failure::{Doing as _, Failure};
use crate::host::{logging, open_files, stop};
use crate::output::Output;
use crate::settings::{SettingFlags, Settings};

/// Starts a runner that takes tasks from a server, on this machine or another one. Needs a token with the scope
/// `runner`: `windlass token create --everywhere --scope runner`.
#[derive(Args, Debug)]
pub(crate) struct Runner {
    /// The server, such as <https://windlass.example>, or several that share a store, separated by commas: if one does
    /// not answer, the next is asked [default: from iron.json and IRON_* variables]
    #[arg(long, value_name = "URL[,URL...]", value_delimiter = ',')]
    server: Vec<String>,

    /// The runner's token; rather set IRON_TOKEN, which others on this machine cannot see
    #[arg(long)]
    token: Option<String>,

    /// Certificates to believe beside those that the system trusts (PEM) [env: WINDLASS_CA]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    #[command(flatten)]
    runner: RunnerFlags,

    #[command(flatten)]
    settings: SettingFlags,
}

/// What every command that starts a runner has.
#[derive(Args, Debug)]
pub(super) struct RunnerFlags {
    /// Tasks to run at once [default: as many as there are processors]
    #[arg(long, value_name = "N")]
    slots: Option<u32>,

    /// Take the tasks that are queued for this cluster [default: default]
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,

    /// Free text shown with the runner, such as zone=a; may be given several times
    #[arg(long = "label", value_name = "TEXT")]
    labels: Vec<String>,
}

impl RunnerFlags {
    /// As settings with the names of their flags.
    pub(super) fn more(&self) -> Vec<(&'static str, Option<String>, &'static str)> {
        vec![
            ("runner.slots", self.slots.map(|n| n.to_string()), "--slots"),
            ("runner.cluster", self.cluster.clone(), "--cluster"),
            ("runner.labels", Some(self.labels.join(",")).filter(|all| !all.is_empty()), "--label"),
        ]
    }
}

impl Runner {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        let layers = self.settings.layers(|name| std::env::var(name).ok(), &self.runner.more())?;
        let settings = Settings::new(&layers)?;
        logging::start(&settings)?;
        let mut servers =
            self.server.into_iter().map(|url| url.trim().to_owned()).filter(|url| !url.is_empty());
        let choice = Choice { token: self.token, url: servers.next(), ca: self.ca, ..Choice::default() };
        let config = Config::load(&connection::sources(), &choice)?;
        let others: Vec<String> = servers.collect();
        let client = match others.as_slice() {
            [] => config.client_without_project()?,
            others => config.client_of_several(others)?,
        };
        let ca = connection::ca(&config)?;
        let open_files = open_files::raise().doing("raise the limit of open files")?;
        block_on(async {
            let stop = stop::on_signal()?;
            let url = client.url().to_owned();
            let runner = start(&settings, client, ca, open_files)?;
            let slots = settings.runner.slots;
            let ready = format!(
                "windlass runner ready: {slots} slots for {url} (work in {})",
                settings.runner.work.display()
            );
            Output::new(false).line(&ready)?;
            stop.cancelled().await;
            runner.shutdown();
            runner.wait().await;
            Ok(0)
        })
    }
}

/// A runner that calls through `client`; its tasks are told of the certificates in `ca`, and have `open_files` as their
/// soft limit of open files.
pub(super) fn start(
    settings: &Settings,
    client: Client,
    ca: Option<String>,
    open_files: u64,
) -> Result<Running, Failure> {
    let own = &settings.runner;
    let mut spawner = SpawnerCommand::own().doing("find the windlass program")?;
    spawner.args.push(open_files.to_string());
    // Our allocator asks for large pages, of which a small process uses little; and a copy of it is made for each task.
    spawner.env.push(("MIMALLOC_ARENA_EAGER_COMMIT".to_owned(), "0".to_owned()));
    let config = RunnerConfig {
        name: own.name.clone(),
        cluster: own.cluster.clone(),
        slots: own.slots as usize,
        labels: own.labels.clone(),
        work_dir: own.work.clone(),
        limits: Limits {
            most: settings.limits.attempts.maxima,
            result_bytes: settings.result_bytes,
            grace: own.kill_grace,
        },
        packages: PackageLimits { package_bytes: settings.unpacked_bytes, ..PackageLimits::default() },
        drain: own.drain_limit,
        api_url: own.api_url.clone(),
        api_ca: ca,
        sandbox: own.sandbox.clone(),
        images: own.images.clone(),
        registry: settings.registry.clone(),
        spawner,
    };
    Running::start(config, client).map_err(|e| {
        let fix = match e {
            StartError::Sandbox(_) => {
                "`windlass doctor` tells what this host lacks; --set sandbox.policy=degrade does without it"
            }
            StartError::Engine(_) => {
                "`windlass doctor` tells what it says; --set runner.images=native runs images without one"
            }
            _ => "choose another work directory with --set runner.work=DIR, or stop the runner that has it",
        };
        Failure::new(e).fix(fix)
    })
}
