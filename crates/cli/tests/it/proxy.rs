//! A network between two processes that can be cut: a port that passes bytes on to another one.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, Weak};

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// They are passed on.
    Open,
    /// They go nowhere, and nobody is told.
    Silent,
    /// Connections are ended, and new ones at once.
    Closed,
}

struct State {
    target: SocketAddr,
    mode: Mode,
    /// Those whose threads are at work.
    streams: Vec<Weak<TcpStream>>,
}

/// The port. Its threads end with the test's process.
pub(crate) struct Proxy {
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    shared: Arc<(Mutex<State>, Condvar)>,
}

fn address(url: &str) -> SocketAddr {
    url.split("://").nth(1).unwrap().parse().unwrap()
}

impl Proxy {
    /// A way to the server at `url`.
    pub(crate) fn to(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = format!("http://{}", listener.local_addr().unwrap());
        let state = State { target: address(url), mode: Mode::Open, streams: Vec::new() };
        let shared = Arc::new((Mutex::new(state), Condvar::new()));
        let of_thread = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(near) = stream else { return };
                join(&of_thread, near);
            }
        });
        Self { url: own, shared }
    }

    /// Leads to another server from now on, and is open.
    pub(crate) fn lead_to(&self, url: &str) {
        self.shared.0.lock().unwrap().target = address(url);
        self.set(Mode::Open);
    }

    /// Passes bytes on.
    pub(crate) fn open(&self) {
        self.set(Mode::Open);
    }

    /// Loses everything from now on without a word.
    pub(crate) fn silence(&self) {
        self.set(Mode::Silent);
    }

    /// Ends every connection, and refuses new ones.
    pub(crate) fn close(&self) {
        self.set(Mode::Closed);
    }

    fn set(&self, mode: Mode) {
        let mut state = self.shared.0.lock().unwrap();
        state.mode = mode;
        if mode == Mode::Closed {
            for stream in state.streams.drain(..).filter_map(|stream| stream.upgrade()) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        self.shared.1.notify_all();
    }
}

/// Passes on what comes from `near`, and what is answered.
fn join(shared: &Arc<(Mutex<State>, Condvar)>, near: TcpStream) {
    let mut state = shared.0.lock().unwrap();
    let far = match state.mode {
        Mode::Closed => None,
        _ => TcpStream::connect(state.target).ok(),
    };
    let Some(far) = far else {
        let _ = near.shutdown(Shutdown::Both);
        return;
    };
    let (near, far) = (Arc::new(near), Arc::new(far));
    state.streams.retain(|stream| stream.strong_count() > 0);
    for stream in [&near, &far] {
        let _ = stream.set_nodelay(true);
        state.streams.push(Arc::downgrade(stream));
    }
    drop(state);
    for (from, to) in [(near.clone(), far.clone()), (far, near)] {
        let shared = shared.clone();
        std::thread::spawn(move || pass(&shared, &from, &to));
    }
}

fn pass(shared: &(Mutex<State>, Condvar), from: &TcpStream, to: &TcpStream) {
    let (mut reader, mut writer) = (from, to);
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = reader.read(&mut bytes) {
        let mut state = shared.0.lock().unwrap();
        while state.mode == Mode::Silent {
            state = shared.1.wait(state).unwrap();
        }
        drop(state);
        if writer.write_all(&bytes[..n]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
