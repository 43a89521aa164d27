//! A Chromium without a window, driven by its DevTools protocol over a pair of pipes: JSON with a zero byte after each.
//!
//! Pipes need no port, no driver and no library, and a browser ends of itself when whoever held them is gone.

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::windlass::LIMIT;

/// A browser with a profile of its own. It is ended when this is dropped.
pub(crate) struct Chromium {
    child: Child,
    wire: RefCell<Wire>,
    profile: TempDir,
}

struct Wire {
    to: ChildStdin,
    from: Receiver<Value>,
    last_id: u64,
    /// What happened and was not looked at yet.
    events: Vec<Value>,
}

/// A command and its parameters.
pub(crate) type Ask<'a> = (&'a str, Value);

impl Chromium {
    pub(crate) fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(profile.path().join("chromium.log")).unwrap();
        // The pipes are its files 3 and 4, which only a shell can arrange without unsafe code.
        let mut child = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 0</dev/null 1>&2"#, "chromium", "--headless"])
            .args(["--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-quic", "--disable-sync", "--disable-component-update"])
            .args(["--disable-background-networking", "--disable-extensions", "--lang=en-US"])
            .args(["--disable-renderer-backgrounding", "--disable-background-timer-throttling"])
            .arg(format!("--user-data-dir={}", profile.path().join("profile").display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let (to, mut out) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let (heard, from) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while out.read_until(0, &mut message).is_ok_and(|n| n > 0) {
                message.pop();
                let Ok(value) = serde_json::from_slice(&message) else { return };
                if heard.send(value).is_err() {
                    return;
                }
                message.clear();
            }
        });
        let wire = RefCell::new(Wire { to, from, last_id: 0, events: Vec::new() });
        Self { child, wire, profile }
    }

    /// Sends commands to one tab, or to the browser if `session` is empty, one after another without waiting between
    /// them, and returns the last one's answer.
    pub(crate) fn call(&self, session: &str, asks: &[Ask<'_>]) -> Result<Value, String> {
        let mut wire = self.wire.borrow_mut();
        for (method, params) in asks {
            wire.last_id += 1;
            let mut message = json!({"id": wire.last_id, "method": method, "params": params});
            if !session.is_empty() {
                message["sessionId"] = json!(session);
            }
            let bytes = [message.to_string().as_bytes(), b"\0"].concat();
            wire.to.write_all(&bytes).map_err(|e| format!("{method}: {e}: {}", self.log()))?;
        }
        let end = Instant::now() + LIMIT;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let message =
                wire.from.recv_timeout(left).map_err(|e| format!("{}: {e}: {}", asks[0].0, self.log()))?;
            if message["id"] == wire.last_id {
                return match message.get("error") {
                    Some(error) => Err(format!("{}: {error}", asks[asks.len() - 1].0)),
                    None => Ok(message["result"].clone()),
                };
            }
            wire.keep(message);
        }
    }

    /// Waits until something happens, for `at_most` that long.
    pub(crate) fn listen(&self, at_most: Duration) {
        let mut wire = self.wire.borrow_mut();
        if let Ok(message) = wire.from.recv_timeout(at_most) {
            wire.keep(message);
        }
    }

    /// What happened in a tab since this was called last.
    pub(crate) fn events(&self, session: &str) -> Vec<Value> {
        let mut wire = self.wire.borrow_mut();
        while let Ok(message) = wire.from.try_recv() {
            wire.keep(message);
        }
        let (ours, others) = wire.events.drain(..).partition(|event| event["sessionId"] == session);
        wire.events = others;
        ours
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.profile.path().join("chromium.log")).unwrap_or_default()
    }
}

impl Wire {
    fn keep(&mut self, message: Value) {
        if message.get("method").is_some() {
            self.events.push(message);
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.call("", &[("Browser.close", json!({}))]);
        let end = Instant::now() + Duration::from_secs(5);
        while self.child.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
