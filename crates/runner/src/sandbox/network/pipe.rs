//! Passing connections on, byte by byte.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Connections of one door at once; more wait to be accepted.
const CONNECTIONS: usize = 64;

/// Time to reach the other side.
pub(super) const CONNECT: Duration = Duration::from_secs(5);

/// Time for one direction after the other has ended: whoever ended it may never close the rest.
const LINGER: Duration = Duration::from_secs(60);

/// Time before accepting is tried again, after it failed: this process may have too many files open.
const RETRY: Duration = Duration::from_millis(100);

/// Passes every connection that `listener` accepts on to what `connect` opens, for ever.
pub(super) async fn serve<F>(listener: TcpListener, connect: impl Fn() -> F)
where
    F: Future<Output = io::Result<TcpStream>> + Send + 'static,
{
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = free.clone().acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((inner, _)) => {
                let outer = connect();
                tokio::spawn(async move {
                    // That it cannot be reached is told by closing the connection.
                    if let Ok(outer) = outer.await {
                        join(inner, outer).await;
                    }
                    drop(place);
                });
            }
            Err(_) => sleep(RETRY).await,
        }
    }
}

/// Passes on what each side says, until both have ended or one lingers.
async fn join(mut inner: TcpStream, mut outer: TcpStream) {
    // What is small is often waited for.
    let _ = (inner.set_nodelay(true), outer.set_nodelay(true));
    let ((mut from_inner, mut to_inner), (mut from_outer, mut to_outer)) = (inner.split(), outer.split());
    let mut out = std::pin::pin!(async {
        let _ = tokio::io::copy(&mut from_inner, &mut to_outer).await;
        let _ = to_outer.shutdown().await;
    });
    let mut back = std::pin::pin!(async {
        let _ = tokio::io::copy(&mut from_outer, &mut to_inner).await;
        let _ = to_inner.shutdown().await;
    });
    let _ = tokio::select! {
        () = &mut out => timeout(LINGER, back).await,
        () = &mut back => timeout(LINGER, out).await,
    };
}
