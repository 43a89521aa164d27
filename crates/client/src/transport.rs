//! How a request reaches a server.
//!
//! `windlass up` runs server and runner in one process; they speak the same protocol as over the network, only the
//! transport differs. So there is one code path, tested once.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header;
use http_body::Body as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use rustls::pki_types::CertificateDer;

use crate::trust;

/// Any error of a body or a connection.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request or response body: whole or streamed.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// The body that is `bytes`.
pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body up to this length is handed to the network in one piece; a longer one as its parts come.
const AT_ONCE_BYTES: u64 = 1024 * 1024;

/// Longest time to connect. Shorter than a runner's lease, so that it can try elsewhere.
const CONNECT: Duration = Duration::from_secs(5);

/// A connection on which nothing was heard for this long is tried: a host that is gone, or a network that was cut, sends no
/// word of it, and a call may wait for much longer than this. After three times this long it is given up.
const SILENCE: Duration = Duration::from_secs(5);

/// Carries a request to a server and its answer back.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// The answer to `request`, whose URI is a path with a query. An error means that no answer came.
    async fn send(&self, request: http::Request<Body>) -> Result<http::Response<Body>, BoxError>;

    /// Where the server is, for messages: `http://host:port`.
    fn url(&self) -> &str;
}

/// Over HTTP or HTTPS. Certificates are verified: who issued them, for whom, for when. A body whose length is known is sent with it, any other in chunks.
#[derive(Clone, Debug)]
pub struct Http {
    base: String,
    client: reqwest::Client,
}

impl Http {
    /// A transport to `base`, such as `http://127.0.0.1:8080`, that believes the certificates which the system trusts.
    pub fn new(base: impl Into<String>) -> Result<Self, BoxError> {
        Self::build(&base.into(), Vec::new())
    }

    /// The same that believes the certificates in the PEM file `ca` as well: of authorities, or of the server itself.
    ///
    /// # Errors
    /// What is wrong with the file, beginning with its name.
    pub fn trusting(base: impl Into<String>, ca: &Path) -> Result<Self, BoxError> {
        Self::build(&base.into(), trust::certificates(ca)?)
    }

    fn build(base: &str, named: Vec<CertificateDer<'static>>) -> Result<Self, BoxError> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(trust::config(named)?)
            .user_agent(concat!("windlass/", env!("CARGO_PKG_VERSION")))
            .tcp_nodelay(true)
            .connect_timeout(CONNECT)
            .tcp_keepalive(SILENCE)
            .tcp_keepalive_interval(SILENCE)
            .tcp_keepalive_retries(2)
            .tcp_user_timeout(SILENCE * 3)
            .build()?;
        Ok(Self { base: base.trim_end_matches('/').to_owned(), client })
    }
}

#[async_trait]
impl Transport for Http {
    async fn send(&self, request: http::Request<Body>) -> Result<http::Response<Body>, BoxError> {
        let (mut parts, body) = request.into_parts();
        let body = match body.size_hint().exact() {
            Some(length) if length <= AT_ONCE_BYTES => body.collect().await?.to_bytes().into(),
            Some(length) => {
                parts.headers.insert(header::CONTENT_LENGTH, length.into());
                reqwest::Body::wrap_stream(body.into_data_stream())
            }
            None => reqwest::Body::wrap_stream(body.into_data_stream()),
        };
        let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
        let call = self
            .client
            .request(parts.method, format!("{}{path}", self.base))
            .headers(parts.headers)
            .body(body);
        let answer: http::Response<reqwest::Body> = call.send().await?.into();
        Ok(answer.map(|body| body.map_err(BoxError::from).boxed_unsync()))
    }

    fn url(&self) -> &str {
        &self.base
    }
}
