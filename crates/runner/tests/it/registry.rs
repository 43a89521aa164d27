//! A registry of images: the distribution protocol as far as pulling needs it, with the moods that registries have.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::image::{Image, digest};

/// What the registry makes of whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Anybody gets anything.
    Open,
    /// A token is wanted, which is given to `user` with `password`.
    Token,
    /// Name and password are wanted with each call.
    Basic,
    /// It has answered too often, and says for how long, in seconds.
    Busy(u32),
    /// Blobs end in the middle.
    Half,
    /// Blobs are something else.
    Wrong,
    /// It accepts and says nothing.
    Silent,
}

#[derive(Debug)]
struct State {
    mood: Mood,
    /// By path: content type and content.
    files: HashMap<String, (String, Vec<u8>)>,
    asked: Vec<String>,
}

/// A registry on a free port of this host. It is there until the tests end.
#[derive(Clone)]
pub(crate) struct Registry {
    pub(crate) address: String,
    state: Arc<Mutex<State>>,
}

impl Registry {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state =
            Arc::new(Mutex::new(State { mood: Mood::Open, files: HashMap::new(), asked: Vec::new() }));
        let registry = Self { address, state };
        let serving = registry.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let registry = serving.clone();
                std::thread::spawn(move || registry.serve(stream));
            }
        });
        registry
    }

    pub(crate) fn be(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    /// The paths that were asked for since this was last called.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    /// Takes in an image; returns its digest.
    pub(crate) fn push(&self, repository: &str, tag: &str, image: &Image) -> String {
        let mut state = self.state.lock().unwrap();
        let layout = image.layout();
        let (_, index) = layout.iter().find(|(path, _)| path == "index.json").unwrap();
        let index: serde_json::Value = serde_json::from_slice(index).unwrap();
        let manifest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
        for (path, content) in layout {
            let Some(hex) = path.strip_prefix("blobs/sha256/") else { continue };
            let digest = format!("sha256:{hex}");
            if digest == manifest {
                let kind = "application/vnd.oci.image.manifest.v1+json".to_owned();
                for version in [tag, &digest] {
                    let path = format!("/v2/{repository}/manifests/{version}");
                    state.files.insert(path, (kind.clone(), content.clone()));
                }
            } else {
                let kind = "application/octet-stream".to_owned();
                state.files.insert(format!("/v2/{repository}/blobs/{digest}"), (kind, content));
            }
        }
        manifest
    }

    /// Takes in a list of images that are there, for these architectures.
    pub(crate) fn push_index(&self, repository: &str, tag: &str, images: &[(&str, &str)]) {
        let manifests: Vec<_> = images
            .iter()
            .map(|(architecture, digest)| {
                serde_json::json!({ "digest": digest, "platform": { "os": "linux", "architecture": architecture } })
            })
            .collect();
        let content =
            serde_json::json!({ "schemaVersion": 2, "manifests": manifests }).to_string().into_bytes();
        let kind = "application/vnd.oci.image.index.v1+json".to_owned();
        let mut state = self.state.lock().unwrap();
        for version in [tag, &digest(&content)] {
            let path = format!("/v2/{repository}/manifests/{version}");
            state.files.insert(path, (kind.clone(), content.clone()));
        }
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        loop {
            let mut head = Vec::new();
            loop {
                let mut line = String::new();
                match reader.read_line(&mut line) {
                    Ok(read) if read > 0 => {}
                    _ => return,
                }
                if line.trim().is_empty() {
                    break;
                }
                head.push(line.trim().to_owned());
            }
            let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)).map(str::to_owned) else {
                return;
            };
            let shown = head.iter().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("authorization").then(|| value.trim().to_owned())
            });
            self.state.lock().unwrap().asked.push(path.clone());
            if !self.answer(&mut stream, &path, shown.as_deref()) {
                return;
            }
        }
    }

    /// Whether the connection goes on.
    fn answer(&self, stream: &mut TcpStream, path: &str, shown: Option<&str>) -> bool {
        // `user:password`, as base64.
        const LOGIN: &str = "Basic dXNlcjpwYXNzd29yZA==";
        let (mood, file) = {
            let state = self.state.lock().unwrap();
            (state.mood, state.files.get(path).cloned())
        };
        let mut say = |status: &str, headers: &str, length: usize, body: &[u8]| {
            let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
            body.len() == length
        };
        match mood {
            Mood::Silent => {
                std::thread::park_timeout(std::time::Duration::from_secs(60));
                return false;
            }
            Mood::Busy(seconds) => {
                return say("429 Too Many Requests", &format!("Retry-After: {seconds}\r\n"), 0, b"");
            }
            Mood::Token if path.starts_with("/token") => {
                return match shown {
                    Some(LOGIN) => say("200 OK", "", 32, br#"{"token":"t","access_token":"t"}"#),
                    _ => say("401 Unauthorized", "", 0, b""),
                };
            }
            Mood::Token if shown != Some("Bearer t") => {
                let realm = format!("http://{}/token", self.address);
                let wants = format!(
                    "WWW-Authenticate: Bearer realm=\"{realm}\",service=\"test\",scope=\"repository:a:pull\"\r\n"
                );
                return say("401 Unauthorized", &wants, 0, b"");
            }
            Mood::Basic if shown != Some(LOGIN) => {
                return say("401 Unauthorized", "WWW-Authenticate: Basic realm=\"test\"\r\n", 0, b"");
            }
            _ => {}
        }
        let Some((kind, mut content)) = file else { return say("404 Not Found", "", 0, b"") };
        let (length, is_blob) = (content.len(), path.contains("/blobs/"));
        match mood {
            Mood::Half if is_blob => content.truncate(length / 2),
            Mood::Wrong if is_blob => content[0] ^= 1,
            _ => {}
        }
        say("200 OK", &format!("Content-Type: {kind}\r\n"), length, &content)
    }
}
