//! A web server for the site, for a demo or a test on one machine.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::Site;

/// Threads, and so requests at a time; the others wait in the listener's backlog.
const THREADS: usize = 8;
/// A request's head may have so many bytes …
const MAX_HEAD_BYTES: usize = 8 * 1024;
/// … and all of a request and its answer so much time.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running server; dropping it stops it.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    site: Site,
    /// How often each page was fetched: flaky pages depend on it.
    fetches: Mutex<HashMap<String, u32>>,
    is_stopping: AtomicBool,
}

/// Serves `/zones.txt` and `/forecasts/{zone}.txt` on a listener.
///
/// One request per connection: a worker fetches one page, and idle connections would hold the few threads.
///
/// # Errors
///
/// When the listener cannot be shared between threads or a thread cannot be started.
pub fn serve(listener: &TcpListener, site: Site) -> io::Result<Server> {
    let addr = listener.local_addr()?;
    let shared = Arc::new(Shared { site, fetches: Mutex::default(), is_stopping: AtomicBool::new(false) });
    let mut server = Server { addr, shared, threads: Vec::with_capacity(THREADS) };
    for nth in 0..THREADS {
        let (listener, shared) = (listener.try_clone()?, Arc::clone(&server.shared));
        let thread = thread::Builder::new().name(format!("site-{nth}"));
        server.threads.push(thread.spawn(move || shared.accept_all(&listener))?);
    }
    Ok(server)
}

impl Server {
    /// The site's address, to put into a payload: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The site that is served.
    pub fn site(&self) -> &Site {
        &self.shared.site
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        // Each thread may be waiting for a connection, so each gets one.
        for _ in &self.threads {
            let _ = TcpStream::connect_timeout(&self.addr, Duration::from_secs(1));
        }
        for thread in self.threads.drain(..) {
            // A panic there has been reported by its own thread.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn accept_all(&self, listener: &TcpListener) {
        while !self.is_stopping.load(Ordering::SeqCst) {
            match listener.accept() {
                // A client that hangs up or dawdles harms nobody but itself.
                Ok((stream, _)) => drop(self.answer(stream)),
                // Most likely there are no file descriptors left. Others need a moment to give theirs back.
                Err(_) => thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_write_timeout(Some(PATIENCE))?;
        let head = read_head(&mut stream)?;
        let (is_head, answer) = self.respond(&head);
        let Answer { status, content_type, body } = answer;
        let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
        let mut message = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{allow}Connection: close\r\n\r\n",
            body.len()
        )
        .into_bytes();
        if !is_head {
            message.extend(body);
        }
        stream.write_all(&message)?;
        stream.shutdown(std::net::Shutdown::Write)?;
        // Closing on unread bytes, such as the body of a POST, would reset the connection and lose the answer.
        let _ = stream.read(&mut [0; 1024]);
        Ok(())
    }

    fn respond(&self, head: &str) -> (bool, Answer) {
        let mut words = head.lines().next().unwrap_or_default().split(' ');
        let (Some(method), Some(path), Some("HTTP/1.1" | "HTTP/1.0"), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return (false, Answer::text("400 Bad Request", "not an HTTP request\n"));
        };
        let is_head = method == "HEAD";
        if !is_head && method != "GET" {
            return (false, Answer::text("405 Method Not Allowed", "only GET and HEAD here\n"));
        }
        let path = path.split('?').next().unwrap_or_default();
        let answer = if path == "/zones.txt" {
            Some(Answer::text("200 OK", self.site.index()))
        } else {
            let zone = path.strip_prefix("/forecasts/").and_then(|file| file.strip_suffix(".txt"));
            zone.and_then(|zone| self.page(zone, is_head)).map(|page| Answer::text("200 OK", page))
        };
        (is_head, answer.unwrap_or_else(|| Answer::text("404 Not Found", "no such page\n")))
    }

    fn page(&self, zone: &str, is_head: bool) -> Option<Vec<u8>> {
        self.site.forecast(zone)?;
        let fetch = {
            let mut fetches = self.fetches.lock().unwrap_or_else(PoisonError::into_inner);
            let fetches = fetches.entry(zone.to_owned()).or_default();
            // Asking for the head alone is not a fetch, but must tell the length of the next one.
            if is_head {
                *fetches + 1
            } else {
                *fetches += 1;
                *fetches
            }
        };
        self.site.page(zone, fetch)
    }
}

struct Answer {
    status: &'static str,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Answer {
    fn text(status: &'static str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let content_type = if body.starts_with(b"<!DOCTYPE") { "text/html" } else { "text/plain" };
        Self { status, content_type, body }
    }
}

fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || head.len() > MAX_HEAD_BYTES {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        let mut buffer = [0; 1024];
        match stream.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => head.extend_from_slice(&buffer[..read]),
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn site() -> Server {
        serve(&TcpListener::bind("127.0.0.1:0").unwrap(), Site::new(Timestamp::UNIX_EPOCH)).unwrap()
    }

    fn ask(server: &Server, request: &str) -> String {
        let mut stream = TcpStream::connect(server.addr).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[test]
    fn the_index_and_a_page_are_served_with_their_length() {
        let server = site();
        let zone = &server.site().zones()[0].id;
        let index = server.site().index();
        let answer = ask(&server, "GET /zones.txt HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(answer.contains(&format!("Content-Length: {}\r\n", index.len())));
        assert!(answer.ends_with(&index));
        let page = ask(&server, &format!("GET /forecasts/{zone}.txt HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert!(page.contains("\r\n\r\n000\n"));
    }

    #[test]
    fn head_has_the_length_and_no_body() {
        let answer = ask(&site(), "HEAD /zones.txt HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(answer.contains("Content-Length: ") && answer.ends_with("\r\n\r\n"));
        assert!(!answer.contains("Content-Length: 0"));
    }

    #[test]
    fn other_requests_are_refused() {
        let server = site();
        for (request, status) in [
            ("GET /forecasts/ANZ999.txt HTTP/1.1", "404"),
            ("GET /forecasts/../zones.txt HTTP/1.1", "404"),
            ("POST /zones.txt HTTP/1.1", "405"),
            ("hello", "400"),
        ] {
            let answer = ask(&server, &format!("{request}\r\n\r\n"));
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        }
    }

    #[test]
    fn a_flaky_page_gets_well() {
        let server = site();
        let (zone, flaky) = server.site().expected_retries()[0];
        let fetch = || ask(&server, &format!("GET /forecasts/{zone}.txt HTTP/1.1\r\n\r\n"));
        for _ in 0..flaky.bad_fetches {
            assert!(!fetch().trim_end().ends_with("$$"));
        }
        assert!(fetch().trim_end().ends_with("$$"));
    }
}
