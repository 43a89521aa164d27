//! Over a real socket: what only shows there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use windlass_server::{Config, Tls, serve};

use crate::server::TestServer;

/// A server that listens.
struct Live {
    server: TestServer,
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Live {
    async fn start(config: Config) -> Self {
        Self::start_with(config, None).await
    }

    async fn start_with(config: Config, tls: Option<Arc<Tls>>) -> Self {
        let server = TestServer::with(config).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let app = Arc::clone(&server.app);
        let served = tokio::spawn(serve(listener, tls, app, async {
            let _ = stopped.await;
        }));
        Self { server, address, stop, served }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes on a connection of its own and reads until the server closes it.
    async fn exchange(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        read_all(&mut stream).await
    }

    fn head(&self, method: &str, target: &str) -> String {
        format!("{method} {target} HTTP/1.1\r\nHost: x\r\nAuthorization: OAuth {}\r\n", self.server.admin)
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(10), self.served).await.unwrap().unwrap();
    }
}

async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    read.expect("the server closes the connection").unwrap();
    String::from_utf8(answer).unwrap()
}

/// Reads one answer with a content length, and leaves the connection open.
async fn read_one(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|l| l.strip_prefix("content-length: "))
                .map(|n| n.parse::<usize>().unwrap());
            if body.len() >= length.unwrap_or(0) {
                return text.into_owned();
            }
        }
        let mut piece = [0; 4096];
        let n =
            tokio::time::timeout(Duration::from_secs(10), stream.read(&mut piece)).await.unwrap().unwrap();
        assert_ne!(n, 0, "closed after {answer:?}");
        answer.extend_from_slice(&piece[..n]);
    }
}

#[tokio::test]
async fn who_asks_to_close_is_told_and_closed() {
    let live = Live::start(Config::default()).await;
    let answer = live.exchange("GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    live.stop().await;
}

#[tokio::test]
async fn a_connection_is_used_again_after_chunked_and_unwanted_bodies() {
    let live = Live::start(Config::default()).await;
    live.server.code("w", json!({})).await;
    let mut stream = live.connect().await;
    let body = r#"{"tasks":[{"code_name":"w","payload":"hello"}]}"#;
    let (first, second) = body.split_at(20);
    let head = live.head("POST", &live.server.path("tasks"));
    let chunked = format!(
        "{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n",
        first.len()
    );
    stream.write_all(chunked.as_bytes()).await.unwrap();
    stream.write_all(format!("{:x}\r\n{second}\r\n0\r\n\r\n", second.len()).as_bytes()).await.unwrap();
    assert!(read_one(&mut stream).await.contains("Queued up"));
    // GET with a body, as iron_go3 sends it, here even a little later than its head.
    let get = format!(
        "{}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n",
        live.head("GET", &live.server.path("tasks"))
    );
    stream.write_all(get.as_bytes()).await.unwrap();
    tokio::task::yield_now().await;
    stream.write_all(b"{}").await.unwrap();
    assert!(read_one(&mut stream).await.contains("\"payload\":\"hello\""));
    let absolute = live.head("GET", &format!("http://{}{}", live.address, live.server.path("codes")));
    stream.write_all(format!("{absolute}\r\n").as_bytes()).await.unwrap();
    assert!(read_one(&mut stream).await.contains("\"name\":\"w\""), "a target in absolute form");
    live.stop().await;
}

#[tokio::test]
async fn a_client_that_waits_for_100_continue_gets_it() {
    let live = Live::start(Config::default()).await;
    let mut stream = live.connect().await;
    let body = r#"{"name":"w","image":"i"}"#;
    let head = live.head("POST", &live.server.path("codes"));
    let head = format!(
        "{head}Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(read_one(&mut stream).await.starts_with("HTTP/1.1 100 Continue\r\n\r\n"));
    stream.write_all(body.as_bytes()).await.unwrap();
    assert!(read_one(&mut stream).await.contains("Upload successful."));
    live.stop().await;
}

#[tokio::test]
async fn slow_clients_are_answered_or_cut_off() {
    let mut config = Config::default();
    config.http.head_timeout = Duration::from_millis(100);
    config.http.idle_timeout = Duration::from_millis(100);
    let live = Live::start(config).await;
    let mut slow_head = live.connect().await;
    slow_head.write_all(b"GET /version HT").await.unwrap();
    let answer = read_all(&mut slow_head).await;
    assert!(answer.is_empty() || answer.contains(" 408 "), "{answer}");
    let head = live.head("POST", &live.server.path("tasks"));
    let answer = live
        .exchange(&format!("{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"))
        .await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("too slowly"), "{answer}");
    live.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_cut_off() {
    let mut config = Config::default();
    config.http.idle_timeout = Duration::from_millis(100);
    let live = Live::start(config).await;
    live.server.code("w", json!({})).await;
    let payload = "x".repeat(250_000);
    let tasks: Vec<_> = (0..60).map(|_| json!({ "code_name": "w", "payload": payload })).collect();
    assert_eq!(live.server.post("tasks", json!({ "tasks": tasks })).await.status, 200);
    let mut stream = live.connect().await;
    let head = live.head("GET", &live.server.path("tasks?per_page=60"));
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    let open = || live.server.app.metrics.connections.get();
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut was_open = false;
    while !was_open || open() > 0 {
        was_open |= open() > 0;
        assert!(Instant::now() < deadline, "it is still connected");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    live.stop().await;
}

#[tokio::test]
async fn a_half_sent_upload_keeps_nothing() {
    let live = Live::start(Config::default()).await;
    let mut stream = live.connect().await;
    let head = live.head("POST", &live.server.path("codes"));
    let head = format!("{head}Content-Type: multipart/form-data; boundary=X\r\nContent-Length: 5000\r\n\r\n");
    let part = "--X\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nPK";
    stream.write_all(format!("{head}{part}").as_bytes()).await.unwrap();
    drop(stream);
    assert_eq!(live.server.get("codes").await.json()["codes"], json!([]));
    live.stop().await;
}

#[tokio::test]
async fn an_oversize_upload_is_answered_although_the_client_still_sends() {
    let mut config = Config::default();
    config.packages.zip_bytes = 100_000;
    let live = Live::start(config).await;
    let content = "x".repeat(2_000_000);
    let body = format!("--X\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n{content}\r\n--X--\r\n");
    let head = live.head("POST", &live.server.path("codes"));
    let head = format!(
        "{head}Content-Type: multipart/form-data; boundary=X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let answer = live.exchange(&(head + &body)).await;
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("the limit of 100000 bytes"), "{answer}");
    live.stop().await;
}

#[tokio::test]
async fn garbage_does_not_hurt() {
    let live = Live::start(Config::default()).await;
    for garbage in ["\x16\x03\x01\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"] {
        let answer = live.exchange(garbage).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{garbage:?}: {answer}");
    }
    let version = live.exchange("GET /version HTTP/1.0\r\n\r\n").await;
    assert!(version.contains("windlass"), "and HTTP/1.0 is spoken");
    live.stop().await;
}

#[tokio::test]
async fn a_stop_finishes_what_was_begun_and_answers_who_waits() {
    let live = Live::start(Config::default()).await;
    live.server.code("w", json!({})).await;
    let id = live.server.queue(json!({ "code_name": "w" })).await;
    let target = live.server.path(&format!("tasks/{id}?wait=60"));
    let mut waiting = live.connect().await;
    waiting.write_all(format!("{}\r\n", live.head("GET", &target)).as_bytes()).await.unwrap();
    let mut sending = live.connect().await;
    let body = r#"{"tasks":[{"code_name":"w"}]}"#;
    let head = live.head("POST", &live.server.path("tasks"));
    let head = format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    sending.write_all(head.as_bytes()).await.unwrap();
    let idle = live.connect().await;
    // Both requests have been taken up when their connections count.
    let deadline = Instant::now() + Duration::from_secs(10);
    while live.server.app.metrics.connections.get() < 3 {
        assert!(Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let started = Instant::now();
    let (address, server) = (live.address, live.server);
    live.stop.send(()).unwrap();
    assert!(read_all(&mut waiting).await.contains("\"status\":\"queued\""));
    sending.write_all(body.as_bytes()).await.unwrap();
    assert!(read_all(&mut sending).await.contains("Queued up"));
    tokio::time::timeout(Duration::from_secs(10), live.served).await.unwrap().unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "nobody had to be cut off");
    assert!(TcpStream::connect(address).await.is_err(), "and nobody new is taken");
    drop((idle, server));
}

#[tokio::test]
async fn the_loops_run_while_the_server_does() {
    let live = Live::start(Config::default()).await;
    live.server.code("w", json!({})).await;
    let made = live.server.post("schedules", json!({ "schedules": [{ "code_name": "w" }] })).await.json();
    let id = made["schedules"][0]["id"].as_str().unwrap().to_owned();
    let deadline = Instant::now() + Duration::from_secs(10);
    while live.server.get(&format!("schedules/{id}")).await.json()["status"] != "complete" {
        assert!(Instant::now() < deadline, "the scheduler was not woken");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    live.stop().await;
}

/// A certificate for 127.0.0.1, and a client that believes it.
fn certificate() -> (Arc<Tls>, TlsConnector) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    (Arc::new(Tls::open(cert, key).unwrap()), TlsConnector::from(Arc::new(config)))
}

#[tokio::test]
async fn who_speaks_plain_http_to_tls_is_told_and_closed() {
    let (tls, connector) = certificate();
    let live = Live::start_with(Config::default(), Some(tls)).await;
    let answer = live.exchange(&format!("{}\r\n", live.head("GET", "/version"))).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert!(body["msg"].as_str().unwrap().contains("https"), "{answer}");
    let mut stream = connector.connect(live.address.ip().into(), live.connect().await).await.unwrap();
    stream.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    assert!(read_all(&mut stream).await.starts_with("HTTP/1.1 200 OK\r\n"));
    live.stop().await;
}

#[tokio::test]
async fn a_browser_that_came_by_tls_keeps_its_cookie_to_that() {
    let (tls, connector) = certificate();
    let live = Live::start_with(Config::default(), Some(tls)).await;
    let form = format!("token={}", live.server.admin);
    let head = "POST /login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded";
    let login = format!("{head}\r\nContent-Length: {}\r\n\r\n{form}", form.len());
    let mut stream = connector.connect(live.address.ip().into(), live.connect().await).await.unwrap();
    stream.write_all(login.as_bytes()).await.unwrap();
    let answer = read_all(&mut stream).await;
    let cookie = answer.lines().find(|line| line.starts_with("set-cookie: "));
    assert!(cookie.is_some_and(|cookie| cookie.contains("; Secure")), "{answer}");
    live.stop().await;
}

#[tokio::test]
async fn slow_handshakes_are_cut_off_and_keep_nobody_waiting() {
    let mut config = Config::default();
    config.http.handshake_timeout = Duration::from_millis(300);
    let (tls, connector) = certificate();
    let live = Live::start_with(config, Some(tls)).await;
    let mut silent = live.connect().await;
    let mut halting = live.connect().await;
    halting.write_all(&[0x16, 3, 1]).await.unwrap();
    let mut stream = connector.connect(live.address.ip().into(), live.connect().await).await.unwrap();
    stream.write_all(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(stream.read(&mut [0; 100]).await.unwrap() > 0, "others are served meanwhile");
    assert_eq!(read_all(&mut silent).await, "");
    assert_eq!(read_all(&mut halting).await, "");
    // One in the middle of it does not hold up a stop.
    let _halting = live.connect().await;
    live.stop().await;
}

#[tokio::test]
async fn a_client_by_tls_that_does_not_take_its_answer_is_cut_off() {
    let mut config = Config::default();
    config.http.idle_timeout = Duration::from_millis(100);
    let (tls, connector) = certificate();
    let live = Live::start_with(config, Some(tls)).await;
    live.server.code("w", json!({})).await;
    let payload = "x".repeat(250_000);
    let tasks: Vec<_> = (0..60).map(|_| json!({ "code_name": "w", "payload": payload })).collect();
    assert_eq!(live.server.post("tasks", json!({ "tasks": tasks })).await.status, 200);
    let mut stream = connector.connect(live.address.ip().into(), live.connect().await).await.unwrap();
    let head = live.head("GET", &live.server.path("tasks?per_page=60"));
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    let open = || live.server.app.metrics.connections.get();
    let deadline = Instant::now() + Duration::from_secs(10);
    while open() > 0 {
        assert!(Instant::now() < deadline, "it is still connected");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    live.stop().await;
}

#[tokio::test]
async fn whoever_sends_far_too_much_before_reading_still_reads_why_not() {
    let live = Live::start(Config::default()).await;
    let target = live.server.path("tasks");
    let stranger = format!("POST {target} HTTP/1.1\r\nHost: x\r\n");
    let size = 70 * 1024 * 1024;
    for (head, status) in [(live.head("POST", &target), "413"), (stranger, "401")] {
        let mut request =
            format!("{head}Content-Type: application/json\r\nContent-Length: {size}\r\n\r\n").into_bytes();
        request.resize(request.len() + size, b'x');
        let mut stream = live.connect().await;
        stream.write_all(&request).await.unwrap();
        let answer = read_one(&mut stream).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains("\"msg\":"),
            "{answer}"
        );
    }
    live.stop().await;
}
