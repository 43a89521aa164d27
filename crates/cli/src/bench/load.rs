//! A closed-loop HTTP load: every connection sends its next request when it has the answer to the one before.
//!
//! Requests are whole byte strings and answers are read no further than their length: the load must cost as little as
//! it can, as it shares the machine with what it measures.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::stats::Sample;

/// What a load came to.
#[derive(Debug)]
pub(super) struct Load {
    /// Requests answered with 200 per second, over all connections.
    pub(super) per_second: f64,
    /// Time from writing a request to having its answer.
    pub(super) latency: Sample,
}

/// A `POST` with a JSON body, as bytes.
pub(super) fn post(path: &str, token: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: OAuth {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Sends `request` from `connections` connections for `time` and counts the answers.
pub(super) async fn closed_loop(
    address: SocketAddr,
    connections: usize,
    request: &[u8],
    time: Duration,
) -> Result<Load> {
    let start = Instant::now();
    let workers: Vec<_> = (0..connections)
        .map(|_| {
            let request = request.to_vec();
            tokio::spawn(async move { one_connection(address, &request, start + time).await })
        })
        .collect();
    let mut latencies = Vec::new();
    for worker in workers {
        latencies.extend(worker.await.context("a connection of the load panicked")??);
    }
    let per_second = latencies.len() as f64 / start.elapsed().as_secs_f64();
    Ok(Load { per_second, latency: Sample::new(latencies) })
}

/// A connection to a server under load.
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.context("cannot connect to the server under load")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(64 * 1024) })
    }

    /// Sends a whole request and waits for its answer, which must be 200.
    pub(super) async fn send(&mut self, request: &[u8]) -> Result<()> {
        self.stream.write_all(request).await?;
        read_answer(&mut self.stream, &mut self.buffer).await
    }
}

async fn one_connection(address: SocketAddr, request: &[u8], until: Instant) -> Result<Vec<Duration>> {
    let mut connection = Connection::open(address).await?;
    let mut latencies = Vec::new();
    while Instant::now() < until {
        let sent = Instant::now();
        connection.send(request).await?;
        latencies.push(sent.elapsed());
    }
    Ok(latencies)
}

async fn read_answer(connection: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<()> {
    buffer.clear();
    loop {
        let read = connection.read_buf(buffer).await?;
        ensure!(read > 0, "the server closed the connection");
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = std::str::from_utf8(&buffer[..end]).context("the answer's head is not text")?;
            if !head.starts_with("HTTP/1.1 200") {
                bail!("the server answered {}", String::from_utf8_lossy(buffer));
            }
            let length = content_length(head).context("the answer has no length")?;
            while buffer.len() < end + 4 + length {
                ensure!(connection.read_buf(buffer).await? > 0, "the server closed the connection");
            }
            return Ok(());
        }
    }
}

fn content_length(head: &str) -> Option<usize> {
    let value = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    };
    head.lines().find_map(value)
}
