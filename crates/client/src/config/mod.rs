//! Where the server is and who asks: `iron.json` files and variables, as the existing clients read them.
//!
//! From weak to strong, each value by itself:
//!
//! 1. `~/.iron.json`
//! 2. `IRON_*` variables, then `IRON_WORKER_*`, then `WINDLASS_*`
//! 3. `./iron.json`
//! 4. the file that was named ([`Choice::file`])
//! 5. what was said outright ([`Choice`])
//!
//! Where none of these has a token, the credentials that a server on this machine left in its data directory
//! ([`Sources::local_server`]) are used as a whole.
//!
//! In a file, the object `iron_worker` is stronger than what stands beside it, and the object named by the
//! environment (`--env`, `IRON_ENV`) is stronger than both; a file without that object is passed over.

mod parts;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};
use windlass_model::trace::TraceParent;

use crate::Client;
use crate::failover::Failover;
use crate::transport::Http;
use parts::{Parts, invalid};

/// The world that a configuration is read from. Given, so that tests need not touch the process's own.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Environment variables.
    pub variables: BTreeMap<String, String>,
    /// Where `.iron.json` is.
    pub home: Option<PathBuf>,
    /// Where `iron.json` is.
    pub folder: PathBuf,
    /// The credentials file of a server on this machine, for whoever has no other.
    pub local_server: Option<PathBuf>,
}

impl Sources {
    /// The process's variables, home and current folder.
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self {
            variables: std::env::vars_os().filter_map(text).collect(),
            home: std::env::home_dir(),
            folder: PathBuf::from("."),
            local_server: None,
        }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|v| v.trim()).filter(|v| !v.is_empty())
    }
}

/// What was said outright, stronger than anything that is found.
#[derive(Clone, Default)]
pub struct Choice {
    /// A file to read; it must be there.
    pub file: Option<PathBuf>,
    /// Which environment's object of the files to read.
    pub env: Option<String>,
    /// The token.
    pub token: Option<String>,
    /// The project's id.
    pub project_id: Option<String>,
    /// The server, such as `http://127.0.0.1:8080`.
    pub url: Option<String>,
    /// A file of certificates to believe beside those that the system trusts.
    pub ca: Option<PathBuf>,
}

/// Why no configuration could be made of what was found.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{path} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },

    /// A value cannot be used.
    #[error("{from}: {problem}")]
    Invalid {
        /// Where it stands.
        from: String,
        /// What is wrong with it.
        problem: String,
    },

    /// No file has the environment that was asked for.
    #[error("no environment {env:?} in any of: {looked}")]
    NoEnvironment {
        /// The environment.
        env: String,
        /// The files that were read.
        looked: String,
    },

    /// There is no token.
    #[error(
        "no token: set \"token\" in iron.json, IRON_TOKEN in the environment, or --token; \
         a server's first start writes them to DATA/iron.json"
    )]
    NoToken,

    /// There is no project.
    #[error(
        "no project: set \"project_id\" in iron.json, IRON_PROJECT_ID in the environment, or --project-id"
    )]
    NoProject,
}

/// A value and where it came from.
#[derive(Clone, PartialEq, Eq)]
pub struct Found {
    /// The value.
    pub value: String,
    /// A file, a variable, or the words for neither.
    pub from: String,
}

/// Without the value, which may be a token.
impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {}", self.from)
    }
}

/// Where the server is and who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The token, if there is one.
    pub token: Option<Found>,
    /// The project's id, if there is one.
    pub project_id: Option<Found>,
    /// The server, without a trailing slash.
    pub url: Found,
    /// The trace that this process is part of: the variable `TRACEPARENT`, which workers have and which their clients
    /// pass on.
    pub trace: Option<TraceParent>,
    /// A PEM file of certificates to believe beside those that the system trusts, if there is one: of authorities, or
    /// of the server itself.
    pub ca: Option<Found>,
}

impl Config {
    /// The configuration by the rules of this module.
    pub fn load(sources: &Sources, choice: &Choice) -> Result<Self, ConfigError> {
        let env = choice.env.as_deref().or_else(|| {
            ["WINDLASS_ENV", "IRON_WORKER_ENV", "IRON_ENV"].iter().find_map(|name| sources.variable(name))
        });
        let mut files = Files { env, looked: Vec::new(), has_env: false };
        let mut parts = Parts::default();
        if let Some(home) = &sources.home {
            files.read(&mut parts, &home.join(".iron.json"), Need::May)?;
        }
        for prefix in ["IRON_", "IRON_WORKER_", "WINDLASS_"] {
            parts.take_variables(sources, prefix)?;
        }
        files.read(&mut parts, &sources.folder.join("iron.json"), Need::May)?;
        if let Some(path) = &choice.file {
            files.read(&mut parts, path, Need::Must)?;
        }
        if let Some(env) = env
            && !files.has_env
            && !files.looked.is_empty()
        {
            return Err(ConfigError::NoEnvironment { env: env.to_owned(), looked: files.looked.join(", ") });
        }
        parts.take("token", choice.token.as_deref(), "--token");
        parts.take("project_id", choice.project_id.as_deref(), "--project-id");
        parts.take("ca", choice.ca.as_deref().map(Path::to_string_lossy).as_deref(), "--ca");
        if let Some(url) = &choice.url {
            parts.take_url(url, "--url")?;
        }
        if let (None, Some(path)) = (parts.values.get("token"), &sources.local_server) {
            let mut local = Parts::default();
            Files { env: None, looked: Vec::new(), has_env: false }.read(&mut local, path, Need::May)?;
            // What was said about the server or the project still counts.
            local.values.extend(parts.values);
            parts = local;
        }
        let trace = sources.variable("TRACEPARENT").and_then(|text| text.parse().ok());
        Ok(Config { trace, ..parts.finish()? })
    }

    /// The token.
    ///
    /// # Errors
    /// [`ConfigError::NoToken`], whose message says where to put one.
    pub fn token(&self) -> Result<&str, ConfigError> {
        self.token.as_ref().map(|t| t.value.as_str()).ok_or(ConfigError::NoToken)
    }

    /// The project's id.
    ///
    /// # Errors
    /// [`ConfigError::NoProject`], whose message says where to put one.
    pub fn project_id(&self) -> Result<&str, ConfigError> {
        self.project_id.as_ref().map(|p| p.value.as_str()).ok_or(ConfigError::NoProject)
    }

    /// A client for the project.
    pub fn client(&self) -> Result<Client, ConfigError> {
        Ok(Client::new(self.transport()?, self.token()?, self.project_id()?).in_trace(self.trace))
    }

    /// A client for what lies outside of projects: runners, projects themselves. Its project is empty if none is set.
    pub fn client_without_project(&self) -> Result<Client, ConfigError> {
        let project = self.project_id.as_ref().map_or("", |p| p.value.as_str());
        Ok(Client::new(self.transport()?, self.token()?, project).in_trace(self.trace))
    }

    /// The same with further servers on the same store, `https://host:port`, for when the first does not answer.
    pub fn client_of_several(&self, others: &[String]) -> Result<Client, ConfigError> {
        let mut servers = vec![self.transport_to(&self.url)?];
        for url in others {
            let mut parts = Parts::default();
            parts.take_url(url, &self.url.from)?;
            servers.push(self.transport_to(&parts.finish()?.url)?);
        }
        let project = self.project_id.as_ref().map_or("", |p| p.value.as_str());
        Ok(Client::new(Arc::new(Failover::new(servers)), self.token()?, project).in_trace(self.trace))
    }

    fn transport(&self) -> Result<Arc<Http>, ConfigError> {
        self.transport_to(&self.url).map(Arc::new)
    }

    fn transport_to(&self, url: &Found) -> Result<Http, ConfigError> {
        match &self.ca {
            Some(ca) if url.value.starts_with("https:") => Http::trusting(&url.value, Path::new(&ca.value))
                .map_err(|e| invalid(&ca.from, format!("ca: {e}"))),
            _ => Http::new(&url.value).map_err(|e| invalid(&url.from, e.to_string())),
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Need {
    May,
    Must,
}

struct Files<'a> {
    env: Option<&'a str>,
    looked: Vec<String>,
    has_env: bool,
}

impl Files<'_> {
    fn read(&mut self, parts: &mut Parts, path: &Path, need: Need) -> Result<(), ConfigError> {
        let from = path.display().to_string();
        let unreadable = |reason: String| ConfigError::Unreadable { path: from.clone(), reason };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && need == Need::May => return Ok(()),
            Err(e) => return Err(unreadable(e.to_string())),
        };
        let top: Map<String, Value> = serde_json::from_str(&text).map_err(|e| unreadable(e.to_string()))?;
        self.looked.push(from.clone());
        let own = match self.env {
            None => None,
            Some(env) => match top.get(env) {
                Some(Value::Object(own)) => Some(own),
                _ => return Ok(()),
            },
        };
        self.has_env |= own.is_some();
        for object in [Some(&top), own].into_iter().flatten() {
            parts.take_object(object, path)?;
            if let Some(Value::Object(worker)) = object.get("iron_worker") {
                parts.take_object(worker, path)?;
            }
        }
        Ok(())
    }
}

/// Without the token.
impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Choice")
            .field("file", &self.file)
            .field("env", &self.env)
            .field("project_id", &self.project_id)
            .field("url", &self.url)
            .field("ca", &self.ca)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        root: tempfile::TempDir,
        sources: Sources,
    }

    impl World {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let (home, folder) = (root.path().join("home"), root.path().join("here"));
            std::fs::create_dir_all(&home).unwrap();
            std::fs::create_dir_all(&folder).unwrap();
            let sources = Sources { home: Some(home), folder, ..Sources::default() };
            Self { root, sources }
        }

        fn file(&self, name: &str, text: &str) -> PathBuf {
            let path = self.root.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        }

        fn var(&mut self, name: &str, value: &str) {
            self.sources.variables.insert(name.to_owned(), value.to_owned());
        }

        fn load(&self, choice: &Choice) -> Result<Config, ConfigError> {
            Config::load(&self.sources, choice)
        }

        fn token(&self, choice: &Choice) -> String {
            self.load(choice).unwrap().token.map_or_else(String::new, |t| t.value)
        }

        fn url(&self) -> String {
            self.load(&Choice::default()).unwrap().url.value
        }
    }

    #[test]
    fn each_source_is_stronger_than_the_one_before() {
        let mut world = World::new();
        let named = world.file("named.json", r#"{"token":"5 named"}"#);
        assert_eq!(world.token(&Choice::default()), "");
        world.file("home/.iron.json", r#"{"token":"0 home"}"#);
        assert_eq!(world.token(&Choice::default()), "0 home");
        for (name, value) in
            [("IRON_TOKEN", "1 iron"), ("IRON_WORKER_TOKEN", "2 worker"), ("WINDLASS_TOKEN", "3 windlass")]
        {
            world.var(name, value);
            assert_eq!(world.token(&Choice::default()), value);
        }
        world.file("here/iron.json", r#"{"token":"4 here"}"#);
        assert_eq!(world.token(&Choice::default()), "4 here");
        let mut choice = Choice { file: Some(named), ..Choice::default() };
        assert_eq!(world.token(&choice), "5 named");
        choice.token = Some("6 flag".to_owned());
        assert_eq!(world.token(&choice), "6 flag");
    }

    #[test]
    fn each_value_is_found_by_itself_and_says_where() {
        let mut world = World::new();
        world.file("home/.iron.json", r#"{"token":"t","project_id":"home","host":"h.example","port":8080}"#);
        world.var("IRON_PROJECT_ID", "var");
        world.var("IRON_PORT", "99");
        let config = world.load(&Choice::default()).unwrap();
        assert_eq!(config.project_id.as_ref().unwrap().value, "var");
        assert_eq!(config.project_id.unwrap().from, "IRON_PROJECT_ID");
        assert!(config.token.unwrap().from.ends_with("home/.iron.json"));
        assert_eq!(config.url.value, "https://h.example:99");
    }

    #[test]
    fn an_environment_has_its_own_object() {
        let mut world = World::new();
        world.file(
            "here/iron.json",
            r#"{"token":"top","project_id":"shared","iron_worker":{"token":"worker"},
                "staging":{"token":"staging","iron_worker":{"project_id":"deep"}}}"#,
        );
        assert_eq!(world.token(&Choice::default()), "worker");
        let staging = Choice { env: Some("staging".to_owned()), ..Choice::default() };
        let config = world.load(&staging).unwrap();
        assert_eq!((config.token().unwrap(), config.project_id().unwrap()), ("staging", "deep"));
        world.var("IRON_ENV", "production");
        let problem = world.load(&Choice::default()).unwrap_err().to_string();
        assert!(problem.starts_with(r#"no environment "production" in any of: "#), "{problem}");
        assert_eq!(world.token(&staging), "staging");
    }

    #[test]
    fn a_server_is_named_by_parts_or_by_a_url() {
        let mut world = World::new();
        assert_eq!(world.url(), "http://127.0.0.1:8080");
        world.file("home/.iron.json", r#"{"host":"h","protocol":"http","port":"81"}"#);
        assert_eq!(world.url(), "http://h:81");
        world.var("IRON_CLOUD", "https://cloud.example/jobs/");
        assert_eq!(world.url(), "https://cloud.example:443/jobs");
        world.var("IRON_WORKER_SCHEME", "http");
        world.var("IRON_WORKER_PORT", "8080");
        assert_eq!(world.url(), "http://cloud.example:8080/jobs");
        world.var("WINDLASS_URL", "127.0.0.1:9");
        assert_eq!(world.url(), "http://127.0.0.1:9");
        world.var("WINDLASS_PORT", "many");
        let problem = world.load(&Choice::default()).unwrap_err().to_string();
        assert_eq!(problem, r#"WINDLASS_PORT: port: "many" is not a port number"#);
    }

    #[test]
    fn a_file_of_certificates_is_found_from_where_it_is_named() {
        let mut world = World::new();
        let ca = |world: &World, choice| {
            let found = world.load(&choice).unwrap().ca.unwrap().value;
            found.replace(world.root.path().to_str().unwrap(), "")
        };
        world.file("here/iron.json", r#"{"token":"t","project_id":"p","ca":"ca.pem"}"#);
        assert_eq!(ca(&world, Choice::default()), "/here/ca.pem");
        world.file("here/iron.json", r#"{"token":"t","project_id":"p","ca":"/etc/ca.pem"}"#);
        assert_eq!(ca(&world, Choice::default()), "/etc/ca.pem");
        world.file("here/iron.json", r#"{"token":"t","project_id":"p","ca":""}"#);
        world.var("WINDLASS_CA", "ca.pem");
        assert_eq!(ca(&world, Choice::default()), "ca.pem");
        let named = Choice { ca: Some("other.pem".into()), ..Choice::default() };
        assert_eq!(ca(&world, named), "other.pem");
        let plain = world.load(&Choice::default()).unwrap();
        assert!(plain.client().is_ok(), "nobody needs certificates for plain HTTP");
        world.var("WINDLASS_HOST", "h.example");
        let problem = world.load(&Choice::default()).unwrap().client().unwrap_err().to_string();
        assert!(problem.starts_with("WINDLASS_CA: ca: ca.pem cannot be read: "), "{problem}");
    }

    #[test]
    fn a_local_server_serves_whoever_has_no_token() {
        let mut world = World::new();
        let local = world.file(
            "local.json",
            r#"{"token":"local","project_id":"p","scheme":"http","protocol":"http","host":"127.0.0.1","port":4711,"api_version":"2"}"#,
        );
        world.sources.local_server = Some(local);
        assert_eq!(world.token(&Choice::default()), "local");
        assert_eq!(world.url(), "http://127.0.0.1:4711");
        world.var("IRON_PROJECT_ID", "other");
        assert_eq!(world.load(&Choice::default()).unwrap().project_id().unwrap(), "other");
        world.var("IRON_TOKEN", "mine");
        assert_eq!(world.url(), "http://127.0.0.1:8080");
    }

    #[test]
    fn what_is_missing_or_broken_is_named_with_its_fix() {
        let world = World::new();
        let config = world.load(&Choice::default()).unwrap();
        assert!(config.token().unwrap_err().to_string().contains("IRON_TOKEN"));
        assert!(config.project_id().unwrap_err().to_string().contains("IRON_PROJECT_ID"));
        let missing = Choice { file: Some("nowhere.json".into()), ..Choice::default() };
        assert!(world.load(&missing).unwrap_err().to_string().starts_with("nowhere.json cannot be read"));
        world.file("here/iron.json", "{\"token\":\n oops}");
        let problem = world.load(&Choice::default()).unwrap_err().to_string();
        assert!(problem.contains("iron.json cannot be read") && problem.contains("line 2"), "{problem}");
    }

    #[test]
    fn a_process_in_a_trace_says_so_and_one_that_is_not_does_not() {
        let mut world = World::new();
        assert_eq!(world.load(&Choice::default()).unwrap().trace, None);
        world.var("TRACEPARENT", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        assert!(world.load(&Choice::default()).unwrap().trace.is_some());
        world.var("TRACEPARENT", "nonsense");
        assert_eq!(world.load(&Choice::default()).unwrap().trace, None);
    }

    #[test]
    fn a_token_is_not_shown_in_debug_output() {
        let world = World::new();
        world.file("here/iron.json", r#"{"token":"hush"}"#);
        let choice = Choice { token: Some("hush".to_owned()), ..Choice::default() };
        let shown = format!("{choice:?} {:?}", world.load(&choice).unwrap());
        assert!(!shown.contains("hush"), "{shown}");
    }
}
