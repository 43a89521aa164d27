//! The runner's way to a server in the same process: the router is called, no socket is between.

use async_trait::async_trait;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;
use windlass_client::transport::{Body, BoxError, Transport};
use windlass_server::Front;

/// Calls a router.
#[derive(Clone, Debug)]
pub(crate) struct InProcess {
    router: Front,
    url: String,
}

impl InProcess {
    /// Calls `router`, which is also served at `url`.
    pub(crate) fn new(router: Front, url: String) -> Self {
        Self { router, url }
    }
}

#[async_trait]
impl Transport for InProcess {
    async fn send(&self, request: http::Request<Body>) -> Result<http::Response<Body>, BoxError> {
        let answer = self.router.clone().oneshot(request.map(axum::body::Body::new)).await;
        let answer = answer.unwrap_or_else(|never| match never {});
        Ok(answer.map(|body| body.map_err(BoxError::from).boxed_unsync()))
    }

    fn url(&self) -> &str {
        &self.url
    }
}
