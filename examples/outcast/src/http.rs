//! HTTP as these workers need it: one page, or one request with an answer.

use std::time::Duration;

use ureq::{Agent, Body, http::Response};

use crate::error::Error;

/// For all of a request. Longer makes no sense: the task is retried, and the next run is ten minutes away.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Real pages have some kilobytes.
const MAX_BODY_BYTES: u64 = 1024 * 1024;

/// Fetches what is at an address.
///
/// # Errors
///
/// [`Error::Unreachable`], and [`Error::Refused`] for any status but 200.
pub(crate) fn fetch(url: &str) -> Result<Vec<u8>, Error> {
    read(url, agent().get(url).call())
}

/// Posts JSON and reads the answer.
///
/// # Errors
///
/// As [`fetch`]. After [`Error::Unreachable`] the server may have done what was asked.
pub(crate) fn post(url: &str, authorization: &str, key: Option<&str>, json: &[u8]) -> Result<Vec<u8>, Error> {
    let mut request =
        agent().post(url).header("Authorization", authorization).header("Content-Type", "application/json");
    if let Some(key) = key {
        request = request.header("Idempotency-Key", key);
    }
    read(url, request.send(json))
}

fn agent() -> Agent {
    Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        // The text of an error answer says more than its status.
        .http_status_as_error(false)
        .user_agent(concat!("outcast/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

fn read(url: &str, answer: Result<Response<Body>, ureq::Error>) -> Result<Vec<u8>, Error> {
    let lost = |source| Error::Unreachable { url: url.to_owned(), source: Box::new(source) };
    let mut answer = answer.map_err(lost)?;
    let body = answer.body_mut().with_config().limit(MAX_BODY_BYTES).read_to_vec().map_err(lost)?;
    match answer.status().as_u16() {
        200 => Ok(body),
        status => Err(Error::Refused { url: url.to_owned(), status, message: message_of(&body) }),
    }
}

/// The `msg` of the platform's error answers.
fn message_of(body: &[u8]) -> String {
    let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    json["msg"].as_str().unwrap_or_default().to_owned()
}
