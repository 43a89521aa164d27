//! What commands print: tables for people, tab-separated lines for pipes, JSON for programs.
//!
//! | module | holds |
//! |---|---|
//! | [`table`] | rows and columns |
//! | [`when`] | instants and times as people read them |
//! | [`progress`] | bars on standard error |

pub(crate) mod progress;
pub(crate) mod table;
pub(crate) mod when;

use std::io::{IsTerminal as _, Write as _};

use serde::Serialize;

use crate::failure::Failure;

/// How to print.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// The API's JSON instead of text.
    pub(crate) json: bool,
    /// Whether standard output is a terminal.
    pub(crate) terminal: bool,
}

impl Output {
    /// JSON if asked for; else by where standard output goes.
    pub(crate) fn new(json: bool) -> Self {
        Self { json, terminal: std::io::stdout().is_terminal() }
    }

    /// Prints `value` as JSON: indented on a terminal, one line otherwise.
    pub(crate) fn json(self, value: &impl Serialize) -> Result<(), Failure> {
        let text =
            if self.terminal { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
        self.line(&text.map_err(Failure::new)?)
    }

    /// Prints a line.
    pub(crate) fn line(self, text: &str) -> Result<(), Failure> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// Prints bytes as they are, now.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            // Whoever read us has seen enough, as `head` does.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
            result => result.map_err(|e| Failure::new(e).while_doing("write to standard output")),
        }
    }
}

/// Says something beside the result, on standard error.
pub(crate) fn note(text: impl std::fmt::Display) {
    // Nobody listening is no reason to fail.
    let _ = writeln!(std::io::stderr(), "{text}");
}
