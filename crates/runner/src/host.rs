//! What all attempts of a runner share.

use std::path::PathBuf;
use std::sync::Arc;

use tracing::warn;
use windlass_model::runner::Isolation;

use crate::config::{Limits, RunnerConfig, SpawnerCommand};
use crate::isolation;
use crate::package::Packages;
use crate::plan::{ApiAddress, Place, Plan, Program};
use crate::programs::{Programs, host_path};
use crate::spares::Spares;
use crate::spawner::{Child, Order, SpawnError, Spawner, handle};
use crate::workdir::{self, WorkDir};

/// Variables of the host that tasks get: language, time zone, certificates. Nothing else of it is passed on.
const HOST_VARIABLES: [&str; 9] = [
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_CTYPE",
    "LC_COLLATE",
    "LC_TIME",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// What all attempts of a runner share.
pub(crate) struct Host {
    pub(crate) limits: Limits,
    pub(crate) isolation: Isolation,
    spawner: Spawner,
    programs: Programs,
    attempts: PathBuf,
    pub(crate) spares: Arc<Spares>,
    variables: Vec<(String, String)>,
    api: ApiAddress,
}

/// Why a program was not started.
#[derive(Debug)]
pub(crate) enum NotStarted {
    /// The host lacks it.
    NoProgram(String),
    /// We could not.
    Spawn(SpawnError),
}

impl Host {
    /// Takes over `config.work_dir`: what a killed runner left running or lying there is ended and removed.
    pub(crate) fn open(config: &RunnerConfig, api_url: &str) -> std::io::Result<Self> {
        let api = (api_url, config.api_ca.clone());
        Self::in_dir(&config.work_dir, config.limits, config.spawner.clone(), config.slots, api)
    }

    /// The same from its parts.
    pub(crate) fn in_dir(
        work_dir: &std::path::Path,
        limits: Limits,
        spawner: SpawnerCommand,
        slots: usize,
        (api_url, api_ca): (&str, Option<String>),
    ) -> std::io::Result<Self> {
        std::fs::create_dir_all(work_dir)?;
        let work_dir = work_dir.canonicalize()?;
        if work_dir.to_str().is_none() {
            return Err(std::io::Error::other("the path of the work directory must be UTF-8"));
        }
        let attempts = work_dir.join("attempts");
        let mark = [b"TASK_DIR=", attempts.as_os_str().as_encoded_bytes(), b"/"].concat();
        handle::kill_marked(|entry| entry.starts_with(&mark));
        workdir::sweep(&attempts)?;
        let mut api = ApiAddress::parse(api_url)
            .ok_or_else(|| std::io::Error::other(format!("`{api_url}` is no URL of a server")))?;
        api.ca = api_ca.filter(|_| api.scheme == "https");
        Ok(Self {
            limits,
            isolation: isolation::current(),
            spawner: Spawner::new(spawner, slots),
            programs: Programs::new(&work_dir.join("shims"), &host_path())?,
            attempts,
            spares: Arc::new(Spares::open(work_dir.join("spares"))?),
            variables: HOST_VARIABLES
                .into_iter()
                .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
                .collect(),
            api,
        })
    }

    /// The directory of an attempt with this name.
    pub(crate) fn attempt_dir(&self, name: &str) -> PathBuf {
        self.attempts.join(name)
    }

    /// What a plan for an attempt in `task_dir` needs to know.
    pub(crate) fn place<'a>(&'a self, task_dir: &'a str) -> Place<'a> {
        Place { task_dir, path: self.programs.path(), host_env: &self.variables, api: &self.api }
    }

    /// Starts what the plan says, in `dir`.
    pub(crate) async fn start(&self, plan: &Plan, dir: &WorkDir) -> Result<Child, NotStarted> {
        let mut env: Vec<String> = plan.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cwd = dir.path().to_string_lossy();
        let binary =
            plan.words.as_ref().and_then(|words| Some((self.programs.find_binary(&words[0])?, words)));
        let (program, argv) = match (binary, &plan.program) {
            (Some((program, words)), _) => {
                // As the shell would.
                env.push(format!("PWD={cwd}"));
                (program, words)
            }
            (None, Program::Package(path)) => (path.clone(), &plan.argv),
            (None, Program::Host(name)) => {
                let program = self.programs.find(name).ok_or_else(|| {
                    NotStarted::NoProgram(format!("the interpreter `{name}` is not installed on this runner"))
                })?;
                (program, &plan.argv)
            }
        };
        let mark = format!("TASK_DIR={cwd}/");
        let order = Order { program: &program, argv, env: &env, cwd: &cwd, mark: &mark };
        self.spawner.spawn(&order).await.map_err(NotStarted::Spawn)
    }

    /// Looks after what an attempt leaves behind.
    pub(crate) fn clear(&self, dir: WorkDir, packages: Option<&Packages>) {
        if dir.has_changed_package()
            && let Some(packages) = packages
        {
            warn!("a task changed a file of its package; the package is fetched anew");
            packages.discard(dir.package());
        }
        drop(dir);
    }
}
