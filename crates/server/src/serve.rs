//! The server on a socket: bounded connections, no patience for slow heads, and a stop that loses nothing.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::Service;
use tower::util::MapRequest;

use crate::app::App;
use crate::handshake::shake;
use crate::loops;
use crate::router::{Front, router};
use crate::stall::Stalling;
use crate::tls::Tls;

/// Where a request comes from, as the connection has it; a proxy in front of us looks like all of its clients.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// How long to wait when the system has no more sockets to give.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Serves until `shutdown` resolves, by TLS if there is any, then stops in order: whoever waits is answered, no new
/// connection is taken, requests are finished (up to the configured time), the loops end, the store is closed.
///
/// After it returns, everything that was answered is kept.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    app: Arc<App>,
    shutdown: impl Future<Output = ()>,
) {
    let mut loops = loops::start(&app);
    let mut connections = JoinSet::new();
    let hang_up = CancellationToken::new();
    tokio::select! {
        () = shutdown => {}
        never = accept(&listener, tls.as_ref(), &app, &mut connections, &hang_up) => match never {},
    }
    drop(listener);
    // First those who wait, as their connections are busy until they are answered; then everybody.
    app.stopping.cancel();
    hang_up.cancel();
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(app.config.http.stop_timeout, all).await.is_err() {
        tracing::warn!("{} connections were still busy and are cut off", connections.len());
        connections.shutdown().await;
    }
    app.loops_end.cancel();
    while loops.join_next().await.is_some() {}
    app.store.close().await;
}

async fn accept(
    listener: &TcpListener,
    tls: Option<&Arc<Tls>>,
    app: &Arc<App>,
    connections: &mut JoinSet<()>,
    hang_up: &CancellationToken,
) -> Infallible {
    let service = router(app.clone());
    let free = Arc::new(Semaphore::new(app.config.http.connections));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(app.config.http.head_timeout);
    loop {
        let permit = free.clone().acquire_owned().await.expect("the semaphore is never closed");
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(e) => {
                    // Of one connection, or of the process for want of sockets: in both cases others come.
                    tracing::debug!(error = %e, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
        };
        let (http, service, app, hang_up) = (http.clone(), service.clone(), app.clone(), hang_up.clone());
        let tls = tls.cloned();
        connections.spawn(async move {
            app.metrics.connections.inc();
            meet(&http, stream, tls.as_deref(), service, &app, &hang_up).await;
            app.metrics.connections.dec();
            drop(permit);
        });
    }
}

/// One connection from its first byte to its last. It counts among the open ones all along, so that slow handshakes
/// are as bounded as slow requests, and keep nobody else from being accepted.
async fn meet(
    http: &http1::Builder,
    stream: TcpStream,
    tls: Option<&Tls>,
    service: Front,
    app: &App,
    hang_up: &CancellationToken,
) {
    // Answers are small and whole: there is nothing to gain from holding them back.
    let _ = stream.set_nodelay(true);
    let peer = stream.peer_addr().ok().map(|address| Peer(address.ip()));
    let service = MapRequest::new(service, move |mut request: Request<Incoming>| {
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        request
    });
    let limits = &app.config.http;
    let Some(tls) = tls else {
        return talk(http, Stalling::new(stream, limits.idle_timeout), service, hang_up).await;
    };
    let shaken = tokio::select! {
        shaken = shake(stream, tls, limits.handshake_timeout, limits.idle_timeout) => shaken,
        () = hang_up.cancelled() => return,
    };
    match shaken {
        Ok(Some(stream)) => talk(http, stream, MapRequest::new(service, encrypted), hang_up).await,
        Ok(None) => {}
        Err(e) => tracing::debug!(error = %e, "a handshake failed"),
    }
}

/// Says of a request what a proxy in front of us would: that it came by TLS.
fn encrypted(mut request: Request<Incoming>) -> Request<Incoming> {
    request.headers_mut().insert("x-forwarded-proto", HeaderValue::from_static("https"));
    request
}

async fn talk<S>(
    http: &http1::Builder,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    service: S,
    hang_up: &CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
{
    let connection = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(connection);
    tokio::select! {
        // What goes wrong on a connection is the client's to see.
        _ = connection.as_mut() => return,
        () = hang_up.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
