//! Which server, and as whom: the flags that every calling command has.

use std::path::PathBuf;

use clap::Args;
use windlass_client::Client;
use windlass_client::config::{Choice, Config, Found, Sources};
use windlass_runner::LocalApi;

use crate::failure::Failure;
use crate::output::Output;

/// Flags of every command that calls a server.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// The server, such as http://127.0.0.1:8080 [default: from iron.json and IRON_* variables]
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// The token; rather set IRON_TOKEN, which others on this machine cannot see
    #[arg(long)]
    token: Option<String>,

    /// The project's id
    #[arg(long, value_name = "ID")]
    project_id: Option<String>,

    /// Certificates to believe beside those that the system trusts (PEM) [env: WINDLASS_CA]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// A file like iron.json, stronger than the usual ones
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Which environment's object of iron.json to use [env: IRON_ENV]
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,

    /// Print the API's JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
}

impl Connection {
    /// How to print.
    pub(crate) fn output(&self) -> Output {
        Output::new(self.json)
    }

    /// What the flags, files and variables come to.
    pub(crate) fn resolve(&self) -> Result<Config, Failure> {
        let choice = Choice {
            file: self.config.clone(),
            env: self.environment.clone(),
            token: self.token.clone(),
            project_id: self.project_id.clone(),
            url: self.url.clone(),
            ca: self.ca.clone(),
        };
        Ok(Config::load(&sources(), &choice)?)
    }

    /// A client for the project.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Ok(self.resolve()?.client()?)
    }

    /// A client for what lies outside of projects.
    pub(crate) fn client_without_project(&self) -> Result<Client, Failure> {
        Ok(self.resolve()?.client_without_project()?)
    }
}

/// The process's world, with the credentials of the server whose data directory is the usual one.
pub(crate) fn sources() -> Sources {
    let mut sources = Sources::of_process();
    let data =
        sources.variables.get("WINDLASS_DATA").map_or_else(|| PathBuf::from("windlass-data"), PathBuf::from);
    sources.local_server = Some(data.join("iron.json"));
    sources
}

/// The whole path of the certificates that the configuration names, for workers, who are elsewhere.
pub(crate) fn ca(config: &Config) -> std::io::Result<Option<String>> {
    let whole = |ca: &Found| Ok(std::path::absolute(&ca.value)?.to_string_lossy().into_owned());
    config.ca.as_ref().map(whole).transpose()
}

/// The API that the process's files and variables name; none where they name no token.
pub(crate) fn api() -> Option<LocalApi> {
    let config = Config::load(&sources(), &Choice::default()).ok()?;
    let ca = ca(&config).ok()?;
    let project = config.project_id.and_then(|p| p.value.parse().ok());
    Some(LocalApi { url: config.url.value, ca, token: config.token?.value, project })
}
