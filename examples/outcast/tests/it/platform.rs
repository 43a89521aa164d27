//! A stand-in for the platform: takes one request and gives a set answer; runs a worker as a task.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    process::{Command, Output},
    thread::{self, JoinHandle},
};

use jiff::Timestamp;
use outcast::site::{Server, Site, serve};
use serde_json::Value;

/// The practice site on a free port.
pub(crate) fn site() -> Server {
    let issued_at: Timestamp = "2026-11-24T21:15:00Z".parse().unwrap();
    serve(&TcpListener::bind("127.0.0.1:0").unwrap(), Site::new(issued_at)).unwrap()
}

/// A request as it was received.
pub(crate) struct Request {
    pub(crate) head: String,
    pub(crate) body: Value,
}

/// An API that takes one request.
pub(crate) struct Api {
    pub(crate) addr: SocketAddr,
    request: JoinHandle<Request>,
}

impl Api {
    /// Answers with a status, and a body made from the request's.
    pub(crate) fn start(status: &'static str, answer: fn(&Value) -> Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let request = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert_ne!(reader.read_line(&mut head).unwrap(), 0, "the request stops in its head");
            }
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                if name.eq_ignore_ascii_case("content-length") { value.parse().ok() } else { None }
            });
            let mut body = vec![0; length.unwrap()];
            reader.read_exact(&mut body).unwrap();
            let body = serde_json::from_slice(&body).unwrap();
            let text = answer(&body).to_string();
            let head_out = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                text.len()
            );
            reader.get_mut().write_all((head_out + &text).as_bytes()).unwrap();
            Request { head, body }
        });
        Self { addr, request }
    }

    /// The request, once it has come.
    pub(crate) fn request(self) -> Request {
        self.request.join().unwrap()
    }
}

/// How a task ended.
pub(crate) struct Ended {
    pub(crate) is_success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) result: Option<Value>,
}

/// Runs a program as the platform would: payload and result in files, the API in variables, nothing else.
pub(crate) fn run_task<S: AsRef<OsStr>>(command: &[S], payload: &str, api: Option<SocketAddr>) -> Ended {
    let dir = tempfile::tempdir().unwrap();
    let (payload_file, result_file) = (dir.path().join("payload"), dir.path().join("result"));
    fs::write(&payload_file, payload).unwrap();
    let mut process = Command::new(&command[0]);
    process.args(&command[1..]).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    process.env("PAYLOAD_FILE", &payload_file).env("RESULT_FILE", &result_file).env("TASK_ID", "5f0c0ffee");
    if let Some(api) = api {
        process.env("IRON_SCHEME", "http").env("IRON_HOST", api.ip().to_string());
        process.env("IRON_PORT", api.port().to_string());
        process.env("IRON_PROJECT_ID", "project1").env("IRON_TOKEN", "token1");
    }
    let Output { status, stdout, stderr } = process.output().unwrap();
    Ended {
        is_success: status.success(),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
        result: fs::read(&result_file).ok().map(|json| serde_json::from_slice(&json).unwrap()),
    }
}
