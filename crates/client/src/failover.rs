//! Several servers on one store: calls go to one of them until it does not answer, then to the next.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use crate::transport::{Body, BoxError, Http, Transport, whole};

/// Calls one of several servers.
///
/// A server that cannot be connected to has done nothing of a call, so the next one is asked at once. One that broke
/// off, gave no answer before the caller lost patience, or says that it cannot serve now may have done something: the
/// caller learns that, and what he calls next goes to another.
#[derive(Debug)]
pub struct Failover {
    servers: Vec<Http>,
    current: AtomicUsize,
}

impl Failover {
    /// Calls the first of `servers` until it does not answer; there must be one.
    pub fn new(servers: Vec<Http>) -> Self {
        assert!(!servers.is_empty(), "a client needs a server");
        Self { servers, current: AtomicUsize::new(0) }
    }

    /// Whoever calls next does not ask the server `used`, if that is still the one to be asked.
    fn leave(&self, used: usize) {
        let next = (used + 1) % self.servers.len();
        // Another call may have left it already.
        let _ = self.current.compare_exchange(used, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[async_trait]
impl Transport for Failover {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let (parts, body) = request.into_parts();
        let is_whole = body.size_hint().exact().is_some();
        let (mut whole_body, mut streamed) = (None, None);
        if is_whole {
            whole_body = Some(body.collect().await?.to_bytes());
        } else {
            streamed = Some(body);
        }
        let mut tries = if is_whole { self.servers.len() } else { 1 };
        loop {
            let used = self.current.load(Ordering::Relaxed);
            let body = whole_body.clone().map(whole).or_else(|| streamed.take());
            let body = body.unwrap_or_else(|| whole(Vec::new()));
            let mut leaving = Leaving { of: self, used, is_answered: false };
            let answer = self.servers[used].send(Request::from_parts(parts.clone(), body)).await;
            tries -= 1;
            match answer {
                Ok(answer) => {
                    leaving.is_answered = !matches!(
                        answer.status(),
                        StatusCode::BAD_GATEWAY
                            | StatusCode::SERVICE_UNAVAILABLE
                            | StatusCode::GATEWAY_TIMEOUT
                    );
                    return Ok(answer);
                }
                Err(error) if tries > 0 && is_unconnected(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn url(&self) -> &str {
        self.servers[0].url()
    }
}

/// Leaves a server when dropped, unless that has answered: also when the caller has waited long enough.
struct Leaving<'a> {
    of: &'a Failover,
    used: usize,
    is_answered: bool,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.of.leave(self.used);
        }
    }
}

/// Whether the server certainly got nothing of the call.
fn is_unconnected(error: &BoxError) -> bool {
    error.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_connect)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// A server that answers every request with `status`, or hangs up on it. Counts them.
    async fn server(status: Option<u16>) -> (Http, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\nbody") {
                    let n = stream.read_buf(&mut head).await.unwrap();
                    assert_ne!(n, 0, "the whole request comes");
                }
                count.fetch_add(1, Ordering::Relaxed);
                if let Some(status) = status {
                    let answer =
                        format!("HTTP/1.1 {status} Said\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        (Http::new(url).unwrap(), asked)
    }

    /// Nobody listens there.
    async fn nobody() -> Http {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Http::new(format!("http://{}", listener.local_addr().unwrap())).unwrap()
    }

    async fn call(servers: &Failover) -> Result<u16, BoxError> {
        let request = Request::post("/x").body(whole("body")).unwrap();
        servers.send(request).await.map(|answer| answer.status().as_u16())
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_passed_over_in_the_same_call() {
        let ((good, asked), none) = (server(Some(200)).await, nobody().await);
        let servers = Failover::new(vec![none, good]);
        for _ in 0..3 {
            assert_eq!(call(&servers).await.unwrap(), 200);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 3);
        let nowhere = Failover::new(vec![nobody().await, nobody().await]);
        assert!(call(&nowhere).await.is_err());
    }

    #[tokio::test]
    async fn a_call_that_may_have_been_heard_is_not_made_twice() {
        for (status, first) in [(None, None), (Some(503), Some(503))] {
            let ((bad, asked_bad), (good, asked_good)) = (server(status).await, server(Some(200)).await);
            let servers = Failover::new(vec![bad, good]);
            assert_eq!(call(&servers).await.ok(), first);
            assert_eq!(asked_good.load(Ordering::Relaxed), 0);
            assert_eq!(call(&servers).await.unwrap(), 200);
            assert_eq!(call(&servers).await.unwrap(), 200);
            assert_eq!(asked_bad.load(Ordering::Relaxed), 1, "it was left");
        }
    }

    #[tokio::test]
    async fn a_refusal_is_an_answer() {
        let ((first, asked), (other, never)) = (server(Some(404)).await, server(Some(200)).await);
        let servers = Failover::new(vec![first, other]);
        for _ in 0..2 {
            assert_eq!(call(&servers).await.unwrap(), 404);
        }
        assert_eq!((asked.load(Ordering::Relaxed), never.load(Ordering::Relaxed)), (2, 0));
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_left_when_the_caller_loses_patience() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap());
        let (good, _) = server(Some(200)).await;
        let servers = Failover::new(vec![Http::new(url).unwrap(), good]);
        let heard = async { silent.accept().await.unwrap() };
        tokio::select! {
            answer = call(&servers) => panic!("it said nothing, and yet: {answer:?}"),
            _ = heard => {}
        }
        assert_eq!(call(&servers).await.unwrap(), 200);
    }
}
