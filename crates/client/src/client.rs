//! A server, a token and a project.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, header};
use http_body_util::BodyExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use windlass_model::trace::TraceParent;
use windlass_model::wire::Msg;

use crate::error::ClientError;
use crate::transport::{Body, BoxError, Transport, whole};

/// Calls a Windlass server. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    token: Arc<str>,
    project: Arc<str>,
    trace: Option<TraceParent>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({}, project {})", self.transport.url(), self.project)
    }
}

impl Client {
    /// A client for the project with the id `project`, which may be empty where only routes without one are called.
    pub fn new(
        transport: Arc<dyn Transport>,
        token: impl Into<Arc<str>>,
        project: impl Into<Arc<str>>,
    ) -> Self {
        Self { transport, token: token.into(), project: project.into(), trace: None }
    }

    /// The same client as part of a trace: it tells the server with every request, so that tasks it queues belong to it.
    #[must_use]
    pub fn in_trace(mut self, trace: Option<TraceParent>) -> Self {
        self.trace = trace;
        self
    }

    /// Where the server is.
    pub fn url(&self) -> &str {
        self.transport.url()
    }

    /// The id of the project.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// The path of `rest` within the project: `/2/projects/{id}/{rest}`.
    pub fn in_project(&self, rest: &str) -> String {
        format!("/2/projects/{}/{rest}", self.project)
    }

    /// Sends `body` with its content type and returns the answer as it comes, if it is a success.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, Body)>,
    ) -> Result<Response<Body>, ClientError> {
        self.send_with(method, path, &[], body).await
    }

    /// The same with further headers.
    pub(crate) async fn send_with(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<(&str, Body)>,
    ) -> Result<Response<Body>, ClientError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("OAuth {}", self.token))
            .header(header::ACCEPT, "*/*");
        if let Some(trace) = self.trace {
            request = request.header("traceparent", trace.to_string());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some((content_type, body)) => {
                request = request.header(header::CONTENT_TYPE, content_type);
                body
            }
            None => whole(Bytes::new()),
        };
        let request = request.body(body).map_err(|e| self.unexpected(path, e.to_string()))?;
        let answer = self.transport.send(request).await.map_err(|e| self.unreachable(&e))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status().as_u16();
        let text = self.collect(answer).await?;
        let msg = match serde_json::from_slice::<Msg>(&text) {
            Ok(answer) => answer.msg,
            Err(_) => String::from_utf8_lossy(&text).trim().to_owned(),
        };
        Err(if status == 503 { ClientError::Busy { msg } } else { ClientError::Refused { status, msg } })
    }

    /// The whole body of an answer.
    pub async fn collect(&self, answer: Response<Body>) -> Result<Bytes, ClientError> {
        answer
            .into_body()
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes)
            .map_err(|e| self.unreachable(&e))
    }

    /// `GET path`, answered in JSON.
    pub async fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, ClientError> {
        self.json(Method::GET, path, None::<&()>).await
    }

    /// `POST path` with `body` in JSON, answered in JSON.
    pub async fn post<A: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<A, ClientError> {
        self.json(Method::POST, path, Some(body)).await
    }

    /// A call in JSON, answered in JSON.
    pub async fn json<A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<A, ClientError> {
        let body = match body {
            Some(body) => {
                let json = serde_json::to_vec(body).map_err(|e| self.unexpected(path, e.to_string()))?;
                Some(("application/json", whole(json)))
            }
            None => None,
        };
        self.answer(method, path, body).await
    }

    /// A call with any body, answered in JSON.
    pub(crate) async fn answer<A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, Body)>,
    ) -> Result<A, ClientError> {
        let answer = self.send(method, path, body).await?;
        self.read(path, answer).await
    }

    /// The JSON that an answer to `path` carries.
    pub(crate) async fn read<A: DeserializeOwned>(
        &self,
        path: &str,
        answer: Response<Body>,
    ) -> Result<A, ClientError> {
        let text = self.collect(answer).await?;
        serde_json::from_slice(&text).map_err(|e| self.unexpected(path, e.to_string()))
    }

    /// `POST` without a body to `rest` within the project; returns what the server says.
    pub(crate) async fn command(&self, rest: &str) -> Result<String, ClientError> {
        let answer: Msg = self.json(Method::POST, &self.in_project(rest), None::<&()>).await?;
        Ok(answer.msg)
    }

    pub(crate) fn unreachable(&self, error: &BoxError) -> ClientError {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            reason = cause.to_string();
            source = cause.source();
        }
        ClientError::Unreachable { url: self.url().to_owned(), reason }
    }

    pub(crate) fn unexpected(&self, path: &str, reason: String) -> ClientError {
        ClientError::Unexpected { url: format!("{}{path}", self.url()), reason }
    }
}
