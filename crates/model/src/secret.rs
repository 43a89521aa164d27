//! Values that nobody is shown.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Stands for a secret wherever it would be shown. Sent back in an upload, it means the value that is there.
pub const MASK: &str = "***";

/// A secret as it is kept: text that only the server with the right key can turn back. To everybody else it is opaque.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed(pub String);

/// Without the text: it says nothing, at length.
impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed")
    }
}

/// A secret in a request.
#[derive(Clone, PartialEq, Eq)]
pub enum Given<V> {
    /// This value.
    New(V),
    /// The one that is there: the request has [`MASK`].
    Kept,
}

impl Given<String> {
    /// What the text in a request means.
    pub fn of(text: &str) -> Self {
        if text == MASK { Given::Kept } else { Given::New(text.to_owned()) }
    }
}

/// Without the value.
impl<V> fmt::Debug for Given<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Given::New(_) => "New",
            Given::Kept => "Kept",
        })
    }
}
