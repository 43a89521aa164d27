//! The calls that are made of an engine, and what of their answers matters. Paths have no version: the engine's newest holds.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::try_unfold;
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use windlass_model::isolation::Level;

use super::address::EngineAddress;
use super::call::{CALL_LIMIT, CallError, begin, call, nothing, whole, within};
use super::container::{LABEL, State};

/// Longest time an engine may take for an image that it is handed.
const LOAD_LIMIT: Duration = Duration::from_secs(600);

/// Bytes of an archive that are read at once.
const PIECE: usize = 256 * 1024;

/// An engine's API.
pub(super) struct Api(EngineAddress);

/// What an engine says of itself.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct About {
    operating_system: String,
    server_version: String,
    security_options: Vec<String>,
    cgroup_version: String,
    memory_limit: bool,
    pids_limit: bool,
    init_binary: String,
}

impl About {
    /// Whether it works without root's privileges.
    pub(super) fn is_rootless(&self) -> bool {
        self.security_options.iter().any(|option| option == "name=rootless")
    }

    /// Whether it can put a first process into a container that passes signals on.
    pub(super) fn has_init(&self) -> bool {
        !self.init_binary.is_empty()
    }

    /// How far it separates containers.
    pub(super) fn level(&self) -> Level {
        match self.cgroup_version.as_str() {
            _ if self.is_rootless() || !self.memory_limit || !self.pids_limit => Level::Namespaces,
            "2" => Level::CgroupsV2,
            _ => Level::CgroupsV1,
        }
    }

    /// What a person knows it by.
    pub(super) fn name(&self) -> String {
        format!("an engine of version {} on {}", self.server_version, self.operating_system)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    state: State,
}

impl Api {
    pub(super) fn new(address: EngineAddress) -> Self {
        Self(address)
    }

    pub(super) async fn about(&self) -> Result<About, CallError> {
        self.read(Method::GET, "/info", None).await
    }

    /// The ids of all containers, running or not, that belong to this owner.
    pub(super) async fn owned(&self, owner: &str) -> Result<Vec<String>, CallError> {
        let filters = json!({ "label": [format!("{LABEL}={owner}")] }).to_string();
        let path = format!("/containers/json?all=1&filters={}", escaped(&filters));
        let found: Vec<Named> = self.read(Method::GET, &path, None).await?;
        Ok(found.into_iter().map(|container| container.id).collect())
    }

    /// Hands an archive of images over; the answer names what was in it.
    pub(super) async fn load(&self, archive: &Path) -> Result<Bytes, CallError> {
        let gone = |e: std::io::Error| CallError::Gone(self.0.clone(), e.to_string());
        let file = tokio::fs::File::open(archive).await.map_err(gone)?;
        let pieces = try_unfold(file, |mut file| async {
            let mut piece = Vec::with_capacity(PIECE);
            let read = file.read_buf(&mut piece).await?;
            Ok((read > 0).then(|| (Frame::data(Bytes::from(piece)), file)))
        });
        let body = StreamBody::new(pieces).boxed();
        within(&self.0, LOAD_LIMIT, async {
            let to = (Method::POST, "/images/load");
            let answer = begin(&self.0, to, ("application/x-tar", body)).await?;
            whole(&self.0, answer).await
        })
        .await
    }

    /// Makes a container; its id.
    pub(super) async fn create(&self, order: &Value) -> Result<String, CallError> {
        let made: Named = self.read(Method::POST, "/containers/create", Some(order)).await?;
        Ok(made.id)
    }

    /// The output of a container that was not started yet: both streams in one, until it ends or the engine does.
    pub(super) async fn attach(&self, id: &str) -> Result<Incoming, CallError> {
        let path = format!("/containers/{id}/attach?stream=1&stdout=1&stderr=1");
        let attached = begin(&self.0, (Method::POST, &path), ("application/json", nothing()));
        within(&self.0, CALL_LIMIT, attached).await
    }

    pub(super) async fn start(&self, id: &str) -> Result<(), CallError> {
        self.order(Method::POST, &format!("/containers/{id}/start")).await
    }

    /// Waits until it does not run, for as long as that takes.
    pub(super) async fn wait(&self, id: &str) -> Result<(), CallError> {
        let path = format!("/containers/{id}/wait");
        let answer = begin(&self.0, (Method::POST, &path), ("application/json", nothing())).await?;
        whole(&self.0, answer).await.map(drop)
    }

    /// How it is.
    pub(super) async fn state(&self, id: &str) -> Result<State, CallError> {
        let inspected: Inspected = self.read(Method::GET, &format!("/containers/{id}/json"), None).await?;
        Ok(inspected.state)
    }

    /// Sends a signal. One that has ended takes none, which is as good.
    pub(super) async fn kill(&self, id: &str, signal: &str) -> Result<(), CallError> {
        match self.order(Method::POST, &format!("/containers/{id}/kill?signal={signal}")).await {
            Err(CallError::Refused { status: StatusCode::CONFLICT | StatusCode::NOT_FOUND, .. }) => Ok(()),
            other => other,
        }
    }

    /// Ends it, if it runs, and removes it with all that it wrote. One that is not there is removed already.
    pub(super) async fn remove(&self, id: &str) -> Result<(), CallError> {
        match self.order(Method::DELETE, &format!("/containers/{id}?force=1&v=1")).await {
            Err(CallError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(()),
            other => other,
        }
    }

    async fn order(&self, method: Method, path: &str) -> Result<(), CallError> {
        call(&self.0, (method, path), None).await.map(drop)
    }

    async fn read<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, CallError> {
        let answer = call(&self.0, (method, path), body).await?;
        serde_json::from_slice(&answer)
            .map_err(|e| CallError::Gone(self.0.clone(), format!("it makes no sense: {e}")))
    }
}

/// A text as the value of a query.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
        escaped
    })
}
