//! What all attempts of a runner share.

use std::io::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::JoinSet;
use tracing::{error, warn};
use windlass_model::exit::Exit;
use windlass_model::isolation::{Isolation, Level};
use windlass_model::limits::{Limits as TaskLimits, Network as TaskNetwork};

use crate::config::{ImageMode, Limits, RunnerConfig, SpawnerCommand};
use crate::doctor::Check;
use crate::ground::Ground;
use crate::isolation;
use crate::package::{Package, Packages};
use crate::plan::{ApiAddress, Place, Plan, Program};
use crate::programs::{Programs, host_path};
use crate::sandbox::InForce;
use crate::sandbox::cgroup::Gaps;
use crate::sandbox::network::{self, Network, Resolvers};
use crate::sandbox::probe::{self, Seen};
use crate::sandbox::root::{Names, TASK};
use crate::sandbox::{self, Policy, SandboxConfig};
use crate::selftest;
use crate::spares::Spares;
use crate::spawner::{Child, Order, Reserved, SpawnError, Spawner, handle};
use crate::warm::Door;
use crate::workdir;

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
    checks: Vec<Check>,
    policy: Policy,
    in_sandbox: bool,
    overlays: bool,
    images: ImageMode,
    gaps: Gaps,
    network: network::Settings,
    slots: usize,
    spawner: Spawner,
    programs: Programs,
    attempts: PathBuf,
    spares: Arc<Spares>,
    variables: Vec<(String, String)>,
    api: ApiAddress,
    /// Where tasks in their slot's own network reach the API, if there are such networks.
    api_inside: Option<ApiAddress>,
    /// Whether tasks in those networks reach addresses of version 6; none: there are no such networks.
    reach: Option<bool>,
    /// Whether nobody else can remove the rules of those networks.
    keeps_rules: bool,
    /// Serves the API and a resolver in those networks, for as long as this lives.
    serving: JoinSet<()>,
}

/// What a [`Host`] is made from.
pub(crate) struct Parts<'a> {
    pub(crate) work_dir: &'a std::path::Path,
    pub(crate) limits: Limits,
    pub(crate) spawner: SpawnerCommand,
    pub(crate) slots: usize,
    pub(crate) sandbox: &'a SandboxConfig,
    pub(crate) api_url: &'a str,
    /// File of certificates that workers need for it.
    pub(crate) api_ca: Option<String>,
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
        let parts = Parts {
            work_dir: &config.work_dir,
            limits: config.limits,
            spawner: config.spawner.clone(),
            slots: config.slots,
            sandbox: &config.sandbox,
            api_url,
            api_ca: config.api_ca.clone(),
        };
        Ok(Self { images: config.images.clone(), ..Self::from_parts(parts)? })
    }

    /// The same from its parts.
    pub(crate) fn from_parts(parts: Parts<'_>) -> std::io::Result<Self> {
        let Parts { work_dir, limits, spawner, slots, sandbox, api_url, api_ca } = parts;
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
        let shims = work_dir.join("shims");
        let (plan, programs) = match sandbox.policy {
            Policy::Off => (None, Programs::of_host(&shims, &host_path())?),
            Policy::Degrade | Policy::Require => {
                sandbox::root::check_binds(&sandbox.binds).map_err(std::io::Error::other)?;
                let mut plan = sandbox::Plan::new(sandbox, &attempts, &work_dir.join("packages"));
                // Certificates that are somewhere else are needed there, too.
                let certificates = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().filter_map(std::env::var_os);
                certificates.for_each(|path| plan.bind(path.into()));
                api.ca = api.ca.map(|file| plan.take("/windlass/api-ca.pem", file.into()));
                let programs = Programs::of_sandbox(&mut plan, &host_path());
                (Some(plan), programs)
            }
        };
        let in_sandbox = plan.is_some();
        Ok(Self {
            limits,
            isolation: isolation::bare(),
            checks: Vec::new(),
            policy: sandbox.policy,
            in_sandbox,
            images: ImageMode::Native,
            overlays: false,
            gaps: Gaps::default(),
            network: sandbox.network.clone(),
            slots,
            spawner: Spawner::new(spawner, slots, plan),
            programs,
            attempts,
            spares: Arc::new(Spares::open(work_dir.join("spares"))?),
            variables: HOST_VARIABLES
                .into_iter()
                .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
                .collect(),
            api,
            api_inside: None,
            reach: None,
            keeps_rules: true,
            serving: JoinSet::new(),
        })
    }

    /// Makes the sandboxes, and finds out what they are worth by running a task in one. To be called before anything
    /// else is started.
    ///
    /// An error says why tasks cannot be isolated as they must be, and what helps.
    pub(crate) async fn prepare(&mut self) -> std::io::Result<()> {
        if self.in_sandbox
            && let Err(why) = self.spawner.use_groups(self.attempts.parent().unwrap_or(&self.attempts))
        {
            warn!("tasks are in no control groups, so limits do not hold: {why}");
        }
        let prepared = match self.open_networks() {
            Ok(()) => self.spawner.prepare().await,
            Err(why) => Err(why),
        };
        match prepared {
            Ok(Some(in_force)) => {
                if let Some(why) = &in_force.without_groups {
                    warn!("tasks are in no control groups, so limits do not hold: {why}");
                }
                (self.overlays, self.gaps) = (in_force.overlays, in_force.gaps);
                self.judge(&in_force).await
            }
            Ok(None) => Ok(()),
            Err(why) if self.policy == Policy::Require => Err(Error::other(probe::refusal(&why.to_string()))),
            Err(why) => {
                warn!("tasks run without a sandbox: {why}");
                self.isolation.missing.insert(0, format!("sandbox: {why}"));
                self.checks = vec![probe::no_sandbox(&why.to_string())];
                self.in_sandbox = false;
                (self.api_inside, self.reach, self.serving) = (None, None, JoinSet::new());
                self.spawner.leave_sandbox();
                self.programs = Programs::of_host(&self.attempts.with_file_name("shims"), &host_path())?;
                Ok(())
            }
        }
    }

    /// Finds out what the sandboxes are worth.
    async fn judge(&mut self, in_force: &InForce) -> std::io::Result<()> {
        let seen = selftest::look(self).await.unwrap_or_else(|why| {
            warn!("the task that finds out about the isolation did not run: {why}");
            Seen { exit: Exit::NotStarted(why.to_string()), words: String::new() }
        });
        let own_uid = nix::unistd::geteuid().as_raw();
        (self.isolation, self.checks) = probe::judge(&seen, own_uid, in_force.level());
        self.isolation.missing.extend(in_force.missing());
        if self.policy == Policy::Require && self.isolation.at_least() < Level::Namespaces {
            return Err(Error::other(probe::refusal(&self.isolation.missing.join("; "))));
        }
        Ok(())
    }

    /// How a task was isolated that had this network and these limits that did not hold.
    pub(crate) fn isolation_of(&self, network: TaskNetwork, gaps: Gaps) -> Isolation {
        let mut isolation = self.isolation.clone();
        if self.in_sandbox {
            // A network of nothing is to be had without any rights: there it lacks what others lack.
            if network == TaskNetwork::None {
                isolation.missing.retain(|what| what != InForce::HOSTS_NETWORK);
            }
            // Beside those that hold for none.
            isolation.missing.extend(gaps.beside(self.gaps).words().map(str::to_owned));
        }
        isolation
    }

    /// What was found out about the sandbox, property by property.
    pub(crate) fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// What a task reaches from the network of its slot, in words; none: slots have no networks.
    pub(crate) fn reach(&self) -> Option<&'static str> {
        self.reach.map(|with_v6| match with_v6 {
            true => "a task reaches the internet and the API, and not the host, private ranges or other tasks",
            false => {
                "a task reaches the internet (IPv4 only, as this host does not forward IPv6) and the API, and not the \
                 host, private ranges or other tasks"
            }
        })
    }

    /// Whether tasks keep their network whatever is done to the host's firewall.
    pub(crate) fn keeps_rules(&self) -> bool {
        self.keeps_rules
    }

    /// Something of the host that a task in a sandbox must not find.
    pub(crate) fn canary(&self) -> &Path {
        &self.attempts
    }

    /// Makes the networks of the slots, where that can be, and serves what is reached in them.
    fn open_networks(&mut self) -> std::io::Result<()> {
        // Without the rights of root there are none.
        if !self.in_sandbox || !nix::unistd::geteuid().is_root() {
            return Ok(());
        }
        let (networks, services) = match Network::open(&self.network, self.slots, &self.api) {
            Ok(made) => made,
            Err(error) if self.policy == Policy::Require => return Err(Error::other(error)),
            Err(error) => {
                warn!("tasks have the host's network: {error}");
                return Ok(());
            }
        };
        self.serving.spawn(async move {
            if let Err(error) = services.run(Resolvers::of_host()).await {
                error!("tasks reach neither the API nor a resolver: {error}");
            }
        });
        let names = Names { hosts: network::hosts(&self.api), resolv: network::resolv_conf() };
        self.reach = Some(networks.has_v6());
        self.keeps_rules = networks.keeps_its_rules();
        self.spawner.use_networks(networks, names);
        self.api_inside = Some(network::api_inside(&self.api));
        Ok(())
    }

    /// Whether attempts run in sandboxes.
    pub(crate) fn is_sandboxed(&self) -> bool {
        self.in_sandbox
    }

    /// The directory of an attempt with this name, as the attempt sees it.
    pub(crate) fn attempt_dir(&self, name: &str) -> PathBuf {
        if self.in_sandbox { TASK.into() } else { self.attempts.join(name) }
    }

    /// Makes ready what an attempt in `dir`, which [`Host::attempt_dir`] gave, finds there: the package and the plan's
    /// files; and what it is permitted in a sandbox.
    pub(crate) async fn ground(
        &self,
        dir: PathBuf,
        package: Arc<Package>,
        plan: &mut Plan,
        permits: (TaskNetwork, TaskLimits),
    ) -> std::io::Result<Ground> {
        if self.in_sandbox {
            Ok(Ground::sandbox(package, plan, permits, self.overlays))
        } else {
            Ground::folder(self.spares.clone(), dir, package, plan).await
        }
    }

    /// Whether a task may have the network that its package asks for; if not, why, for the package's owner.
    pub(crate) fn admits(&self, network: TaskNetwork) -> Result<(), String> {
        if network == TaskNetwork::Host && self.api_inside.is_some() && !self.network.host {
            return Err(
                "the package asks for the host's network, which this runner does not give: its setting \
                        network.host is false"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Whether the configuration lets packages ask for the host's own network.
    pub(crate) fn gives_own_network(&self) -> bool {
        self.network.host
    }

    /// Whether tasks can have container images; if not, why, for the package's owner.
    pub(crate) fn admits_images(&self) -> Result<(), String> {
        if self.images == ImageMode::Off {
            return Err("the package is a container image, and this runner runs none: its setting runner.images is off"
                .to_owned());
        }
        if let ImageMode::Engine(_) = self.images {
            return Err("the package names a container image, and the engine of this runner is handed archives: upload it \
                        with --image-archive"
                .to_owned());
        }
        if !self.in_sandbox {
            return Err("the package is a container image, and this runner runs tasks without a sandbox, which images \
                        need: see its setting sandbox.policy"
                .to_owned());
        }
        if !self.overlays {
            return Err("the package is a container image, and the file system of this runner's work directory cannot \
                        show its layers as a task's: it needs one such as ext4, XFS or btrfs"
                .to_owned());
        }
        Ok(())
    }

    /// What a plan for an attempt in `task_dir` needs to know.
    pub(crate) fn place<'a>(&'a self, task_dir: &'a str, network: TaskNetwork) -> Place<'a> {
        let api = self.api_inside.as_ref().filter(|_| network != TaskNetwork::Host).unwrap_or(&self.api);
        Place { task_dir, path: self.programs.path(), host_env: &self.variables, api }
    }

    /// Whether tasks have networks of their slot's own.
    pub(crate) fn has_networks(&self) -> bool {
        self.api_inside.is_some()
    }

    /// Starts what the plan says, where it is to work.
    pub(crate) async fn start(&self, plan: &Plan, ground: &Ground) -> Result<Child, NotStarted> {
        self.spawn(plan, ground, None).await
    }

    /// Waits for a slot that nothing runs in, and keeps it for one worker. May be dropped.
    pub(crate) async fn reserve(&self) -> Result<Reserved, NotStarted> {
        self.spawner.reserve().await.map_err(NotStarted::Spawn)
    }

    /// Starts what the plan says in a slot that it has to itself; it finds its runner at this door.
    pub(crate) async fn start_kept(
        &self,
        plan: &Plan,
        ground: &Ground,
        (reserved, door): (Reserved, &Door),
    ) -> Result<Child, NotStarted> {
        self.spawn(plan, ground, Some((reserved, door))).await
    }

    async fn spawn(
        &self,
        plan: &Plan,
        ground: &Ground,
        keep: Option<(Reserved, &Door)>,
    ) -> Result<Child, NotStarted> {
        let mut env: Vec<String> = plan.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cwd = ground.cwd();
        let binary =
            plan.words.as_ref().and_then(|words| Some((self.programs.find_binary(&words[0])?, words)));
        let (program, argv) = match (binary, &plan.program) {
            (Some((program, words)), _) => {
                // As the shell would.
                env.push(format!("PWD={cwd}"));
                (program, words)
            }
            (None, Program::Package(path) | Program::Image(path)) => (path.clone(), &plan.argv),
            (None, Program::Host(name)) => {
                let program = self.programs.find(name).ok_or_else(|| {
                    NotStarted::NoProgram(format!("the interpreter `{name}` is not installed on this runner"))
                })?;
                (program, &plan.argv)
            }
        };
        // In a sandbox nothing outlives its first process, so nothing need be found again.
        let mark = if self.in_sandbox { String::new() } else { format!("TASK_DIR={cwd}/") };
        let contents = ground.contents();
        let order = Order { program: &program, argv, env: &env, cwd: &cwd, mark: &mark, contents };
        let started = match keep {
            None => self.spawner.spawn(&order).await,
            Some((reserved, door)) => self.spawner.spawn_kept(reserved, &order, door).await,
        };
        started.map_err(NotStarted::Spawn)
    }

    /// Looks after what an attempt leaves behind.
    pub(crate) fn clear(&self, ground: Ground, packages: Option<&Packages>) {
        if let Ground::Folder(dir) = &ground
            && dir.has_changed_package()
            && let Some(packages) = packages
        {
            warn!("a task changed a file of its package; the package is fetched anew");
            packages.discard(dir.package());
        }
        drop(ground);
    }
}
