//! What can go wrong with a call, by what a caller can do about it.

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server could not be reached or fell silent. Whether it did what was asked is unknown.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// The server.
        url: String,
        /// Why, in the words of the network.
        reason: String,
    },

    /// The server is busy and kept nothing of the call: try again.
    #[error("the server is busy: {msg}")]
    Busy {
        /// The server's words.
        msg: String,
    },

    /// The server refused the call.
    #[error("{msg} (HTTP {status})")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The server's words.
        msg: String,
    },

    /// The answer is not what a Windlass server says.
    #[error("{url} does not answer like a Windlass server: {reason}")]
    Unexpected {
        /// What was asked.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
}

impl ClientError {
    /// The HTTP status, where the server answered with one.
    pub fn status(&self) -> Option<u16> {
        match self {
            ClientError::Refused { status, .. } => Some(*status),
            ClientError::Busy { .. } => Some(503),
            ClientError::Unreachable { .. } | ClientError::Unexpected { .. } => None,
        }
    }
}
