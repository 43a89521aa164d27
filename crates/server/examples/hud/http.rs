//! The least of HTTP that a viewer needs: one request after the other on a connection that is kept.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::Result;

/// A connection to the server.
pub(crate) struct Connection(BufReader<TcpStream>);

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The first part of its cookie, if it sets one.
    pub(crate) cookie: String,
    pub(crate) body: String,
}

impl Connection {
    pub(crate) async fn to(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a request with lines of head, each ended by a line break.
    pub(crate) async fn send(&mut self, line: &str, head: &str, body: &str) -> Result<()> {
        let request =
            format!("{line} HTTP/1.1\r\nHost: bench\r\n{head}Content-Length: {}\r\n\r\n{body}", body.len());
        Ok(self.0.get_mut().write_all(request.as_bytes()).await?)
    }

    /// Reads an answer.
    pub(crate) async fn answer(&mut self) -> Result<Answer> {
        let mut answer = Answer { status: 0, cookie: String::new(), body: String::new() };
        let (mut length, mut is_chunked) = (0, false);
        loop {
            let line = self.line().await?;
            if let Some(status) = line.strip_prefix("HTTP/1.1 ") {
                answer.status = status.get(..3).unwrap_or_default().parse()?;
            } else if let Some((name, value)) = line.split_once(':') {
                let value = value.trim();
                match name.to_ascii_lowercase().as_str() {
                    "content-length" => length = value.parse()?,
                    "transfer-encoding" => is_chunked = value == "chunked",
                    "set-cookie" => answer.cookie = value.split(';').next().unwrap_or_default().to_owned(),
                    _ => {}
                }
            } else {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        while is_chunked {
            let size = usize::from_str_radix(&self.line().await?, 16)?;
            let begin = body.len();
            body.resize(begin + size, 0);
            self.0.read_exact(&mut body[begin..]).await?;
            self.line().await?;
            is_chunked = size > 0;
        }
        answer.body = String::from_utf8(body)?;
        Ok(answer)
    }

    /// Reads a line, without its end.
    pub(crate) async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line).await? == 0 {
            return Err("the server hung up".into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn ask(&mut self, line: &str, head: &str, body: &str) -> Result<Answer> {
        self.send(line, head, body).await?;
        self.answer().await
    }

    /// Logs in; the line of head that every request of the session has.
    pub(crate) async fn log_in(&mut self, token: &str) -> Result<String> {
        let head = "Content-Type: application/x-www-form-urlencoded\r\n";
        let answer = self.ask("POST /login", head, &format!("token={token}")).await?;
        if answer.status != 303 {
            return Err(format!("the login was answered with {}", answer.status).into());
        }
        Ok(format!("Cookie: {}\r\n", answer.cookie))
    }
}
