//! Settings of a runner.

use std::path::PathBuf;
use std::time::Duration;

use windlass_model::limits;
use windlass_model::package::DEFAULT_UNPACKED_BYTES;

use crate::engine::EngineAddress;
use crate::sandbox::SandboxConfig;

/// How the spawner process is started: the program must call [`crate::spawner::main`] before anything else.
#[derive(Clone, Debug)]
pub struct SpawnerCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// What it has in its environment beside ours. Tasks do not get it.
    pub env: Vec<(String, String)>,
}

impl SpawnerCommand {
    /// The running program with the hidden subcommand `spawner`.
    pub fn own() -> std::io::Result<Self> {
        // The name that the kernel keeps works also after the file was replaced by a newer one.
        let own = PathBuf::from("/proc/self/exe");
        let program = if own.exists() { own } else { std::env::current_exe()? };
        Ok(Self { program, args: vec!["spawner".to_owned()], env: Vec::new() })
    }
}

/// What one attempt may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most that is given, whatever the task is to have.
    pub most: limits::Limits,
    /// Bytes of the result.
    pub result_bytes: usize,
    /// Time between asking an attempt to end and ending it.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { most: limits::Limits::MAX, result_bytes: 1024 * 1024, grace: Duration::from_secs(5) }
    }
}

/// What the packages on a runner may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackageLimits {
    /// Bytes of one package, unpacked.
    pub package_bytes: u64,
    /// Bytes that unpacked packages may take before those that are not in use are dropped, least recently used first.
    pub cache_bytes: u64,
}

impl Default for PackageLimits {
    fn default() -> Self {
        Self { package_bytes: DEFAULT_UNPACKED_BYTES, cache_bytes: 8 << 30 }
    }
}

/// By what a runner runs container images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageMode {
    /// By its own sandbox, without an engine.
    Native,
    /// By a container engine.
    Engine(EngineAddress),
    /// By nothing: tasks of images fail and say so.
    Off,
}

/// Settings of a runner.
#[derive(Clone, Debug)]
pub struct RunnerConfig {
    /// What people call it.
    pub name: String,
    /// The tasks it takes.
    pub cluster: String,
    /// Tasks it runs at once.
    pub slots: usize,
    /// Free text, `key=value` by habit.
    pub labels: Vec<String>,
    /// Where it keeps packages and the directories of attempts. One runner at a time.
    pub work_dir: PathBuf,
    /// What one attempt may take.
    pub limits: Limits,
    /// What the packages may take.
    pub packages: PackageLimits,
    /// How long running attempts may go on after the runner was told to stop; then they are given back.
    pub drain: Duration,
    /// Where workers reach the API, `http://host:port`. None: where the runner itself reaches it.
    pub api_url: Option<String>,
    /// File of certificates that workers need for it, beside those that the system trusts.
    pub api_ca: Option<String>,
    /// Whether and how tasks are isolated.
    pub sandbox: SandboxConfig,
    /// By what container images are run.
    pub images: ImageMode,
    /// How registries of container images are called.
    pub registry: windlass_registry::Settings,
    /// How its spawner is started.
    pub spawner: SpawnerCommand,
}

impl RunnerConfig {
    /// Settings for a runner that works in `work_dir`: the host's name, the cluster `default`, a slot per core.
    pub fn new(work_dir: impl Into<PathBuf>) -> std::io::Result<Self> {
        let name = nix::unistd::gethostname()?.to_string_lossy().into_owned();
        Ok(Self {
            name,
            cluster: "default".to_owned(),
            slots: std::thread::available_parallelism().map_or(1, usize::from),
            labels: Vec::new(),
            work_dir: work_dir.into(),
            limits: Limits::default(),
            packages: PackageLimits::default(),
            drain: Duration::from_secs(30),
            api_url: None,
            api_ca: None,
            sandbox: SandboxConfig::default(),
            images: ImageMode::Native,
            registry: windlass_registry::Settings::default(),
            spawner: SpawnerCommand::own()?,
        })
    }
}
