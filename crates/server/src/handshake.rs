//! From a connection to one that is encrypted, in bounded time. Who speaks plain HTTP is told so, in plain HTTP.

use std::io;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::stall::Stalling;
use crate::tls::Tls;

/// The type of the record that begins every handshake: no method of HTTP begins with it.
const HANDSHAKE: u8 = 0x16;

/// What of a plain request is read so that its client gets to see the answer.
const PLAIN_BYTES: u64 = 64 * 1024;

const PLAIN_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: application/json\r\nconnection: close\r\ncontent-length: 75\r\n\r\n\
    {\"msg\":\"this port speaks TLS: call it by https:// (\\\"scheme\\\": \\\"https\\\")\"}";

/// The encrypted connection. `None` if the client speaks plain HTTP, and was told.
///
/// # Errors
/// What the client did wrong, or that it took longer than `limit`.
pub(crate) async fn shake(
    stream: TcpStream,
    tls: &Tls,
    limit: Duration,
    patience: Duration,
) -> io::Result<Option<TlsStream<Stalling>>> {
    let hands = async {
        let mut first = [HANDSHAKE];
        stream.peek(&mut first).await?;
        if first != [HANDSHAKE] {
            return refuse(stream).await.map(|()| None);
        }
        let acceptor = TlsAcceptor::from(tls.config(Instant::now()));
        acceptor.accept(Stalling::new(stream, patience)).await.map(Some)
    };
    tokio::time::timeout(limit, hands).await.unwrap_or_else(|late| Err(late.into()))
}

/// Answers, then takes what the client still sends: closing on unread bytes would take the answer from it.
async fn refuse(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(PLAIN_ANSWER).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(PLAIN_BYTES), &mut tokio::io::sink()).await.map(drop)
}
