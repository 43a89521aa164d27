//! The settings of server and runner, read from every layer and checked.
//!
//! | module | holds |
//! |---|---|
//! | [`blobs`] | where packages, long logs and results are kept |
//! | [`layers`] | which value is in effect, and where it was set |
//! | `limits` | what attempts may take |
//! | [`units`] | times and sizes as people write them |

pub(crate) mod blobs;
pub(crate) mod layers;
mod limits;
pub(crate) mod units;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use windlass_model::package::MAX_ENTRIES;
use windlass_model::wire::Limits;
use windlass_runner::sandbox::network;
use windlass_runner::{ImageMode, NoEngineAddress, Policy, SandboxConfig};

use windlass_store::postgres::Address;

use blobs::BlobSettings;
use layers::{BadSetting, Layers};

/// Flags that every command with settings has.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct SettingFlags {
    /// Where everything is kept [default: ./windlass-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,

    /// Settings file [default: DATA/windlass.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Any setting by its name, such as tasks.payload=1MiB; `windlass config` lists them
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,

    /// How much to log: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,

    /// How to log: text or json
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<String>,
}

/// How logs look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Everything that can be set, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where everything is kept.
    pub(crate) data: PathBuf,
    /// The PostgreSQL that tasks are kept in; none: the database in the data directory.
    pub(crate) store: Option<Address>,
    /// Where packages, long logs and results are kept.
    pub(crate) blobs: BlobSettings,
    /// Where the secret key is; none: in the data directory.
    pub(crate) secret_key_file: Option<PathBuf>,
    /// `HOST:PORT`.
    pub(crate) listen: String,
    /// The server's certificate; none: it speaks plain HTTP.
    pub(crate) tls: Option<TlsSettings>,
    /// A filter as `tracing-subscriber` reads it.
    pub(crate) log_level: String,
    /// How logs look.
    pub(crate) log_format: LogFormat,
    /// Of the values in requests.
    pub(crate) limits: Limits,
    /// Largest result of a task.
    pub(crate) result_bytes: usize,
    /// How long ended tasks are kept.
    pub(crate) retention: Duration,
    /// How long sums by the minute are kept.
    pub(crate) usage_minutes: Duration,
    /// How long sums by the day are kept.
    pub(crate) usage_days: Duration,
    /// Largest zip.
    pub(crate) zip_bytes: u64,
    /// Largest content of a zip.
    pub(crate) unpacked_bytes: u64,
    /// Most files in a zip.
    pub(crate) entries: usize,
    /// Largest body but for uploads.
    pub(crate) body_bytes: usize,
    /// Most open connections.
    pub(crate) connections: usize,
    /// How long a stop waits for requests.
    pub(crate) stop_limit: Duration,
    /// How long a silent runner keeps its tasks.
    pub(crate) lease_ttl: Duration,
    /// How often a runner must be heard.
    pub(crate) heartbeat: Duration,
    /// How registries of container images are called.
    pub(crate) registry: windlass_registry::Settings,
    /// The runner's own.
    pub(crate) runner: RunnerSettings,
}

/// The files of TLS.
#[derive(Clone, Debug)]
pub(crate) struct TlsSettings {
    /// The certificate and its chain.
    pub(crate) cert: PathBuf,
    /// Its key.
    pub(crate) key: PathBuf,
    /// What clients need beside the certificates that the system trusts.
    pub(crate) ca: Option<PathBuf>,
}

/// What a runner can be set to.
#[derive(Clone, Debug)]
pub(crate) struct RunnerSettings {
    /// What people call it.
    pub(crate) name: String,
    /// The tasks it takes.
    pub(crate) cluster: String,
    /// Tasks it runs at once; at least 1.
    pub(crate) slots: u32,
    /// Free text.
    pub(crate) labels: Vec<String>,
    /// Where it works.
    pub(crate) work: PathBuf,
    /// Time between asking a task to end and killing it.
    pub(crate) kill_grace: Duration,
    /// How long a stop waits for running tasks.
    pub(crate) drain_limit: Duration,
    /// The API's address for workers, if it is not the runner's own.
    pub(crate) api_url: Option<String>,
    /// How tasks are isolated.
    pub(crate) sandbox: SandboxConfig,
    /// By what container images are run.
    pub(crate) images: ImageMode,
}

impl SettingFlags {
    /// The value of every setting with its origin: these flags and `more` of them (setting, value, name of the flag)
    /// over `variable` over the file over the default.
    pub(crate) fn layers(
        &self,
        variable: impl Fn(&str) -> Option<String>,
        more: &[(&str, Option<String>, &str)],
    ) -> Result<Layers, BadSetting> {
        let path = |p: &PathBuf| p.to_string_lossy().into_owned();
        let mut strong = Layers::defaults();
        strong.add_variables(&variable);
        self.add_flags(&mut strong, more)?;
        let data = self.data.as_ref().map_or_else(|| PathBuf::from(strong.text("data").0), PathBuf::clone);
        let (file, must_exist) = match &self.config {
            Some(file) => (file.clone(), true),
            None => (data.join("windlass.toml"), false),
        };
        let mut layers = Layers::defaults();
        match std::fs::read_to_string(&file) {
            Ok(text) => layers.add_file(&file, &text)?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !must_exist => {}
            Err(e) => return Err(BadSetting { problem: format!("{} cannot be read: {e}", file.display()) }),
        }
        let (named, origin) = layers.text("data");
        if !must_exist && matches!(origin, layers::Origin::File { .. }) && data != std::path::Path::new(named)
        {
            let problem = format!("{origin}: data: the file within a data directory cannot name another one");
            return Err(BadSetting { problem });
        }
        layers.add_variables(&variable);
        if let Some(data) = &self.data {
            layers.add_flag("data", path(data), "--data")?;
        }
        self.add_flags(&mut layers, more)?;
        Ok(layers)
    }

    fn add_flags(
        &self,
        layers: &mut Layers,
        more: &[(&str, Option<String>, &str)],
    ) -> Result<(), BadSetting> {
        for pair in &self.set {
            let (key, value) = pair.split_once('=').ok_or_else(|| BadSetting {
                problem: format!("--set {pair}: must be NAME=VALUE, such as --set tasks.payload=1MiB"),
            })?;
            layers.add_flag(key.trim(), value.trim().to_owned(), "--set")?;
        }
        let own = [
            ("log.level", self.log_level.clone(), "--log-level"),
            ("log.format", self.log_format.clone(), "--log-format"),
        ];
        for (key, value, flag) in own.iter().chain(more) {
            if let Some(value) = value {
                layers.add_flag(key, value.clone(), flag)?;
            }
        }
        Ok(())
    }
}

impl Settings {
    /// The settings in effect, or the first that cannot be used with where it was set.
    pub(crate) fn new(layers: &Layers) -> Result<Self, BadSetting> {
        let duration = |key| layers.read(key, units::duration);
        let seconds = |key| {
            layers.read(key, |text| {
                let whole = units::duration(text)?.as_secs();
                u32::try_from(whole).map_err(|_| format!("{text:?} is too long"))
            })
        };
        let size = |key| layers.read(key, units::bytes);
        let memory = |key| layers.read(key, |text| units::bytes(text).map(|n| n as usize));
        let count = |key| {
            layers.read(key, |text| {
                text.parse::<usize>().map_err(|_| format!("{text:?} is not a whole number"))
            })
        };
        let text = |key| layers.text(key).0.trim().to_owned();
        let list = |key| -> Vec<String> {
            let words = layers.text(key).0.split(',').map(|word| word.trim().to_owned());
            words.filter(|word| !word.is_empty()).collect()
        };
        let data = PathBuf::from(text("data"));
        let work = text("runner.work");
        let lease_ttl = duration("lease.ttl")?;
        Ok(Self {
            store: layers.read("store", store)?,
            blobs: blobs::blobs(layers, &data)?,
            secret_key_file: path(layers, "secret_key_file"),
            listen: layers.read("listen", listen)?,
            tls: tls(layers)?,
            log_level: text("log.level"),
            log_format: layers.read("log.format", |text| match text {
                "text" => Ok(LogFormat::Text),
                "json" => Ok(LogFormat::Json),
                other => Err(format!("{other:?} is neither text nor json")),
            })?,
            limits: Limits {
                payload_bytes: memory("tasks.payload")?,
                default_timeout_s: seconds("tasks.timeout_default")?,
                max_timeout_s: seconds("tasks.timeout_max")?,
                max_delay_s: seconds("tasks.delay_max")?,
                tasks_per_request: count("tasks.per_request")?,
                schedules_per_project: count("schedules.per_project")?,
                attempts: limits::policy(layers)?,
                ..Limits::default()
            },
            result_bytes: memory("tasks.result")?,
            retention: duration("tasks.retention")?,
            usage_minutes: duration("usage.minutes")?,
            usage_days: duration("usage.days")?,
            zip_bytes: size("packages.size")?,
            unpacked_bytes: size("packages.unpacked")?,
            entries: layers.read("packages.entries", |text| match text.parse::<usize>() {
                Ok(entries) if entries <= MAX_ENTRIES => Ok(entries),
                Ok(_) => Err(format!("{text} is more than runners take, which is {MAX_ENTRIES}")),
                Err(_) => Err(format!("{text:?} is not a whole number")),
            })?,
            body_bytes: memory("http.body")?,
            connections: count("http.connections")?,
            stop_limit: duration("http.stop_limit")?,
            lease_ttl,
            heartbeat: layers.read("lease.heartbeat", |text| match units::duration(text)? {
                heartbeat if heartbeat < lease_ttl => Ok(heartbeat),
                _ => Err(format!("{text} must be less than lease.ttl, or every task is lost")),
            })?,
            registry: windlass_registry::Settings {
                plain_http: list("registry.plain_http"),
                ..windlass_registry::Settings::default()
            },
            runner: RunnerSettings {
                name: match text("runner.name") {
                    name if name.is_empty() => host_name(),
                    name => name,
                },
                cluster: text("runner.cluster"),
                slots: layers.read("runner.slots", |text| match text.parse::<u32>() {
                    Ok(0) => Ok(std::thread::available_parallelism().map_or(1, |n| n.get() as u32)),
                    Ok(slots) => Ok(slots),
                    Err(_) => Err(format!("{text:?} is not a whole number")),
                })?,
                labels: list("runner.labels"),
                work: if work.is_empty() { data.join("runner") } else { PathBuf::from(work) },
                kill_grace: duration("runner.kill_grace")?,
                drain_limit: duration("runner.drain_limit")?,
                api_url: Some(text("runner.api_url")).filter(|url| !url.is_empty()),
                images: layers.read("runner.images", |mode| images(mode, &text("runner.engine")))?,
                sandbox: SandboxConfig {
                    policy: layers.read("sandbox.policy", policy)?,
                    binds: layers.read("sandbox.binds", |_| folders(list("sandbox.binds")))?,
                    first_uid: layers.read("sandbox.first_uid", |text| match text.parse::<u32>() {
                        Ok(uid) if uid > 0 => Ok(uid),
                        _ => Err(format!("{text:?} is not the number of a user other than root")),
                    })?,
                    network: network::Settings {
                        range: layers.read("network.range", str::parse)?,
                        deny: layers.read("network.deny", |_| ranges(&list("network.deny")))?,
                        allow: layers.read("network.allow", |_| ranges(&list("network.allow")))?,
                        host: layers.read("network.host", units::boolean)?,
                    },
                },
            },
            data,
        })
    }
}

/// The path that is set; none for an empty one.
fn path(layers: &Layers, key: &str) -> Option<PathBuf> {
    Some(PathBuf::from(layers.text(key).0)).filter(|path| !path.as_os_str().is_empty())
}

fn ranges<T: std::str::FromStr>(texts: &[String]) -> Result<Vec<T>, T::Err> {
    texts.iter().map(|text| text.parse()).collect()
}

fn tls(layers: &Layers) -> Result<Option<TlsSettings>, BadSetting> {
    let without = |set: &str, lacking: &str, flag: &str| {
        let (file, origin) = layers.text(set);
        let problem =
            format!("{origin}: {set} is {file}, but there is no {lacking}; TLS needs both: set {flag}");
        Err(BadSetting { problem })
    };
    match (path(layers, "tls.cert"), path(layers, "tls.key")) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => Ok(Some(TlsSettings { cert, key, ca: path(layers, "tls.ca") })),
        (Some(_), None) => without("tls.cert", "tls.key", "--tls-key"),
        (None, Some(_)) => without("tls.key", "tls.cert", "--tls-cert"),
    }
}

/// The database that is named; none is the one in the data directory.
fn store(text: &str) -> Result<Option<Address>, String> {
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|e| format!("{e}")),
    }
}

fn listen(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is not HOST:PORT, such as 127.0.0.1:8080")),
    }
}

fn images(mode: &str, engine: &str) -> Result<ImageMode, String> {
    match mode {
        "native" => Ok(ImageMode::Native),
        "off" => Ok(ImageMode::Off),
        "engine" => match engine.parse() {
            Ok(address) => Ok(ImageMode::Engine(address)),
            Err(NoEngineAddress) => Err(format!("engine needs runner.engine, which {NoEngineAddress}")),
        },
        _ => Err(format!("{mode:?} is none of native, engine and off")),
    }
}

fn policy(text: &str) -> Result<Policy, String> {
    match text {
        "off" => Ok(Policy::Off),
        "degrade" => Ok(Policy::Degrade),
        "require" => Ok(Policy::Require),
        _ => Err(format!("{text:?} is neither off, degrade nor require")),
    }
}

/// Paths that must be absolute.
fn folders(texts: Vec<String>) -> Result<Vec<PathBuf>, String> {
    let absolute = |text: String| match PathBuf::from(&text) {
        path if path.is_absolute() => Ok(path),
        _ => Err(format!("{text:?} does not begin with a slash")),
    };
    texts.into_iter().map(absolute).collect()
}

fn host_name() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "runner".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(flags: &SettingFlags, variables: &[(&str, &str)]) -> Result<Settings, String> {
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        let layers = flags.layers(variable, &[]).map_err(|e| e.problem)?;
        Settings::new(&layers).map_err(|e| e.problem)
    }

    #[test]
    fn the_embedded_default_is_what_the_library_defaults_to() {
        let settings = settings(&SettingFlags::default(), &[]).unwrap();
        assert_eq!(settings.limits, Limits::default());
        assert_eq!(settings.runner.work, PathBuf::from("./windlass-data/runner"));
        assert!(settings.runner.slots >= 1);
        assert_eq!(settings.runner.sandbox, SandboxConfig::default());
    }

    #[test]
    fn the_file_is_the_data_directorys_own_or_the_named_one() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("windlass.toml"), "[tasks]\npayload = \"1KiB\"\n").unwrap();
        let data = dir.path().to_str().unwrap();
        let by_variable = settings(&SettingFlags::default(), &[("WINDLASS_DATA", data)]).unwrap();
        assert_eq!(by_variable.limits.payload_bytes, 1024);
        let mut flags = SettingFlags { data: Some(dir.path().into()), ..SettingFlags::default() };
        assert_eq!(settings(&flags, &[]).unwrap().limits.payload_bytes, 1024);
        let stronger = settings(&flags, &[("WINDLASS_TASKS_PAYLOAD", "2KiB")]).unwrap();
        assert_eq!(stronger.limits.payload_bytes, 2048);
        flags.set = vec!["tasks.payload=3KiB".to_owned()];
        assert_eq!(
            settings(&flags, &[("WINDLASS_TASKS_PAYLOAD", "2KiB")]).unwrap().limits.payload_bytes,
            3072
        );
        flags.config = Some(dir.path().join("other.toml"));
        assert!(settings(&flags, &[]).unwrap_err().contains("other.toml cannot be read"));
        std::fs::write(dir.path().join("windlass.toml"), "data = \"/elsewhere\"").unwrap();
        flags.config = None;
        assert!(settings(&flags, &[]).unwrap_err().contains("windlass.toml:1: data: the file within"));
    }

    #[test]
    fn a_value_that_cannot_be_used_is_named_with_where_it_was_set() {
        let with = |pair: &str| {
            let flags = SettingFlags { set: vec![pair.to_owned()], ..SettingFlags::default() };
            settings(&flags, &[]).unwrap_err()
        };
        assert_eq!(with("listen=8080"), "--set: listen: \"8080\" is not HOST:PORT, such as 127.0.0.1:8080");
        assert_eq!(
            with("lease.heartbeat=1h"),
            "--set: lease.heartbeat: 1h must be less than lease.ttl, or every task is lost"
        );
        assert_eq!(with("log.format=xml"), "--set: log.format: \"xml\" is neither text nor json");
        let variable =
            settings(&SettingFlags::default(), &[("WINDLASS_TASKS_RETENTION", "soon")]).unwrap_err();
        assert_eq!(
            variable,
            "WINDLASS_TASKS_RETENTION: tasks.retention: \"soon\" is not a time such as 90s, 1h30m or 7d"
        );
    }
}
