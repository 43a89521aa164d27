//! The runner protocol: what a runner says to a server.

use http::{Method, Response};
use windlass_model::id::RunnerId;
use windlass_model::runner::{
    Claim, ClaimRequest, Finish, FinishAnswer, Heartbeat, HeartbeatAnswer, LogAnswer, LogUpload, Register,
    Registered, Release,
};

use crate::client::Client;
use crate::error::ClientError;
use crate::transport::Body;

/// One session of a runner. Cheap to clone.
///
/// Every call fails with [`SessionError::Over`] once the session is unknown to the server or over: what it held is
/// lost, and the runner registers again. After any other failure the server may or may not have done what was asked.
#[derive(Clone, Debug)]
pub struct RunnerSession {
    client: Client,
    base: String,
}

/// Why a call of a session failed.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The session is over. The attempts it held belong to others.
    #[error("the server has ended this session")]
    Over,
    /// The call failed.
    #[error(transparent)]
    Call(#[from] ClientError),
}

impl Client {
    /// Registers a runner and opens a session. Sessions of the same instance are over afterwards.
    pub async fn register_runner(
        &self,
        about: &Register,
    ) -> Result<(RunnerSession, Registered), ClientError> {
        let registered: Registered = self.post("/2/runners", about).await?;
        Ok((RunnerSession::new(self.clone(), registered.runner), registered))
    }

    /// The package whose zip has this SHA-256, as it comes. The bytes are not verified.
    pub async fn runner_package(&self, sha256: &str) -> Result<Response<Body>, ClientError> {
        self.send(Method::GET, &format!("/2/runners/packages/{sha256}"), None).await
    }
}

impl RunnerSession {
    /// The session `runner`, which was opened before.
    pub fn new(client: Client, runner: RunnerId) -> Self {
        Self { client, base: format!("/2/runners/{runner}") }
    }

    /// The server and the token it calls with.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Takes tasks. An answer without any means that nothing was due for as long as was asked to wait.
    ///
    /// Not to be dropped before it answers: the server may have handed out tasks already.
    pub async fn claim(&self, request: &ClaimRequest) -> Result<Claim, SessionError> {
        self.call("claim", request).await
    }

    /// Extends the lease of everything the session holds.
    pub async fn heartbeat(&self, heartbeat: &Heartbeat) -> Result<HeartbeatAnswer, SessionError> {
        self.call("heartbeat", heartbeat).await
    }

    /// Adds to the logs of running attempts. Safe to repeat: chunks are numbered.
    pub async fn log(&self, upload: &LogUpload) -> Result<LogAnswer, SessionError> {
        self.call("log", upload).await
    }

    /// Reports ended attempts and may claim the next. Safe to repeat: a report that was taken before is answered as
    /// lost.
    pub async fn finish(&self, finish: &Finish) -> Result<FinishAnswer, SessionError> {
        self.call("finish", finish).await
    }

    /// Gives attempts back unfinished. Safe to repeat.
    pub async fn release(&self, release: &Release) -> Result<(), SessionError> {
        let answer: Result<serde::de::IgnoredAny, _> = self.call("release", release).await;
        answer.map(drop)
    }

    async fn call<A: serde::de::DeserializeOwned>(
        &self,
        verb: &str,
        body: &impl serde::Serialize,
    ) -> Result<A, SessionError> {
        self.client.post(&format!("{}/{verb}", self.base), body).await.map_err(|error| match error.status() {
            Some(404) => SessionError::Over,
            _ => SessionError::Call(error),
        })
    }
}
