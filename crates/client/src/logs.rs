//! Logs, whole or as they are written.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt as _;
use serde::Deserialize;
use windlass_model::id::TaskId;
use windlass_model::log::LogChunk;
use windlass_model::task::Status;

use crate::query::Query;
use crate::sse::{Event, Parser};
use crate::transport::{Body, BoxError};
use crate::{Client, ClientError};

/// Something that happened to a log that is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEvent {
    /// More output, in the order it was written, none missing and none twice.
    Chunk(LogChunk),
    /// The attempt has ended and all its output was told. Nothing follows.
    End {
        /// Where the task stood then: not final if it is to run again.
        status: Status,
    },
}

#[derive(Deserialize)]
struct End {
    status: Status,
}

/// Tries to reach the server again after a stream broke off, before that counts as a failure.
const TRIES: u32 = 8;

/// Wait before the first of those; doubled for each further one.
const FIRST_WAIT: Duration = Duration::from_millis(100);

impl Client {
    /// The log of attempt `attempt`, of the newest that has one if none is named: standard output and error, to the
    /// byte, as far as it was written. `None`: nothing was written yet.
    pub async fn log(&self, id: TaskId, attempt: Option<u32>) -> Result<Option<Bytes>, ClientError> {
        let path = Query::default().with_some("attempt", attempt).on(&self.of_task(id, "/log"));
        match self.send(Method::GET, &path, None).await {
            Ok(answer) => self.collect(answer).await.map(Some),
            // A task that is not there has no log either, but that is worth an error.
            Err(e) if e.status() == Some(404) => self.task(id).await.map(|_| None),
            Err(e) => Err(e),
        }
    }

    /// Follows the log of one attempt, from its start, also one that is yet to begin.
    pub fn follow_log(&self, id: TaskId, attempt: u32) -> Follow {
        Follow {
            client: self.clone(),
            id,
            attempt,
            after: 0,
            stream: None,
            parser: Parser::default(),
            told: Vec::new().into_iter(),
            failures: 0,
            is_over: false,
        }
    }
}

/// A log that is followed. A broken connection is made again where it broke off.
pub struct Follow {
    client: Client,
    id: TaskId,
    attempt: u32,
    after: u32,
    stream: Option<Body>,
    parser: Parser,
    told: std::vec::IntoIter<Event>,
    failures: u32,
    is_over: bool,
}

impl std::fmt::Debug for Follow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Follow(task {}, attempt {}, after {})", self.id, self.attempt, self.after)
    }
}

impl Follow {
    /// What happens next; `None` after the end.
    ///
    /// # Errors
    /// What the server refuses, at once; [`ClientError::Unreachable`] after several tries, about half a minute apart
    /// from first to last. Calling again goes on where it was.
    pub async fn next(&mut self) -> Result<Option<LogEvent>, ClientError> {
        while !self.is_over {
            while let Some(event) = self.told.next() {
                if let Some(event) = self.understand(&event)? {
                    return Ok(Some(event));
                }
            }
            match self.more().await {
                Ok(()) => {}
                Err(e @ (ClientError::Unreachable { .. } | ClientError::Busy { .. })) => {
                    self.stream = None;
                    self.failures += 1;
                    if self.failures > TRIES {
                        self.failures = 0;
                        return Err(e);
                    }
                    tokio::time::sleep(FIRST_WAIT * 2u32.pow(self.failures - 1)).await;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }

    /// Reads a piece of the stream, opening it if there is none.
    async fn more(&mut self) -> Result<(), ClientError> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let query = Query::default().with("follow", 1).with("attempt", self.attempt);
                let path = query.on(&self.client.of_task(self.id, "/log"));
                let after = self.after.to_string();
                let headers = [("last-event-id", after.as_str())];
                let answer = self.client.send_with(Method::GET, &path, &headers, None).await?;
                self.parser = Parser::default();
                self.stream.insert(answer.into_body())
            }
        };
        match stream.frame().await {
            Some(Ok(frame)) => {
                if let Some(piece) = frame.data_ref() {
                    self.told = self.parser.feed(piece).into_iter();
                }
                Ok(())
            }
            Some(Err(e)) => Err(self.client.unreachable(&e)),
            None => Err(self.client.unreachable(&BoxError::from("the server ended the stream"))),
        }
    }

    fn understand(&mut self, event: &Event) -> Result<Option<LogEvent>, ClientError> {
        let wrong = |e: serde_json::Error| {
            self.client.unexpected(&self.client.of_task(self.id, "/log"), e.to_string())
        };
        match event.kind.as_str() {
            "end" => {
                let End { status } = serde_json::from_str(&event.data).map_err(wrong)?;
                self.is_over = true;
                Ok(Some(LogEvent::End { status }))
            }
            "" => {
                let chunk: LogChunk = serde_json::from_str(&event.data).map_err(wrong)?;
                self.failures = 0;
                if chunk.n <= self.after {
                    return Ok(None);
                }
                self.after = chunk.n;
                Ok(Some(LogEvent::Chunk(chunk)))
            }
            // What a newer server may tell.
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Transport;
    use async_trait::async_trait;
    use std::sync::{Arc, Mutex};

    /// Answers each request with the next of the streams, and keeps what was asked.
    struct Script {
        streams: Mutex<Vec<&'static str>>,
        asked: Mutex<Vec<String>>,
    }

    #[async_trait]
    impl Transport for Script {
        async fn send(&self, request: http::Request<Body>) -> Result<http::Response<Body>, BoxError> {
            let after = request.headers()["last-event-id"].to_str().unwrap();
            self.asked.lock().unwrap().push(format!("{} after {after}", request.uri()));
            let text = self.streams.lock().unwrap().remove(0);
            if text.is_empty() {
                return Err("refused".into());
            }
            Ok(http::Response::new(crate::transport::whole(text)))
        }

        fn url(&self) -> &str {
            "script"
        }
    }

    #[tokio::test]
    async fn a_broken_stream_goes_on_where_it_broke_off() {
        let chunk = |n| format!("{{\"n\":{n},\"stream\":\"stdout\",\"at_ms\":0,\"data\":\"{n}\"}}");
        let first: &'static str =
            format!(": following\n\nid: 1\ndata: {}\n\nid: 2\ndata: half", chunk(1)).leak();
        let last: &'static str = format!(
            "id: 1\ndata: {}\n\nid: 2\ndata: {}\n\nevent: end\ndata: {{\"attempt\":3,\"status\":\"complete\"}}\n\n",
            chunk(1),
            chunk(2)
        )
        .leak();
        let script = Arc::new(Script { streams: Mutex::new(vec![first, "", last]), asked: Mutex::default() });
        let client = Client::new(script.clone(), "t", "p");
        let id: TaskId = "000000000000000000000001".parse().unwrap();
        let mut follow = client.follow_log(id, 3);
        let mut told = Vec::new();
        while let Some(event) = follow.next().await.unwrap() {
            told.push(match event {
                LogEvent::Chunk(chunk) => String::from_utf8(chunk.data.0).unwrap(),
                LogEvent::End { status } => status.to_string(),
            });
        }
        assert_eq!(told, ["1", "2", "complete"]);
        let path = format!("/2/projects/p/tasks/{id}/log?follow=1&attempt=3");
        let asked: Vec<String> = [0, 1, 1].iter().map(|n| format!("{path} after {n}")).collect();
        assert_eq!(*script.asked.lock().unwrap(), asked);
    }
}
