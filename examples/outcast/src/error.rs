//! Why a worker could not do its work.

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::{forecast::ParseError, layout::ZoneIdError};

/// Why a worker could not do its work. All but the first two may pass, so a retry makes sense.
#[derive(Debug, Error)]
pub enum Error {
    /// The payload is not what this worker takes.
    #[error("bad payload")]
    Payload(#[source] serde_json::Error),
    /// A variable that the platform sets is missing.
    #[error("{0} is not set: run this as a task, or set it by hand")]
    Environment(&'static str),
    /// A file of the task cannot be read or written.
    #[error("{path}: cannot be {action}")]
    File {
        /// Which.
        path: PathBuf,
        /// `read` or `written`.
        action: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No answer, or half of one.
    #[error("no answer from {url}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// Why.
        #[source]
        source: Box<ureq::Error>,
    },
    /// An answer that says no.
    #[error("{url} answered {status}{}", if message.is_empty() { String::new() } else { format!(": {message}") })]
    Refused {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The `msg` of the answer, if it has one.
        message: String,
    },
    /// An answer that makes no sense.
    #[error("{url} answered something unexpected")]
    Answer {
        /// What was asked for.
        url: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The list of zones has something else in it.
    #[error("{url}: line {line}")]
    Index {
        /// The list.
        url: String,
        /// The line, from one.
        line: usize,
        /// What is wrong with it.
        #[source]
        source: ZoneIdError,
    },
    /// There is nothing to queue.
    #[error(
        "no zones: the site has no list, so the payload needs \"index\" (an address) or \"zones\" (a list)"
    )]
    NoZones,
    /// The page is not a forecast.
    #[error("{url}")]
    Page {
        /// The page.
        url: String,
        /// What is wrong with it.
        #[source]
        source: ParseError,
    },
    /// The page is a forecast for somewhere else.
    #[error("{url}: a forecast for {found} instead")]
    WrongZone {
        /// The page.
        url: String,
        /// The zone it is for.
        found: String,
    },
}
