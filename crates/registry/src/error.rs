//! Why there is no image.

use std::time::Duration;

/// Why a registry did not give what it was asked for. The texts are for whoever named the image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PullError {
    /// Nothing that will pass by itself: no such image, no access, or it makes no sense.
    #[error("the image {image} cannot be pulled: {why}")]
    Refused {
        /// Which.
        image: String,
        /// Why.
        why: String,
    },

    /// Something that may pass: the registry is not reached, or has too much to do.
    #[error("the image {image} cannot be pulled now: {why}")]
    Unavailable {
        /// Which.
        image: String,
        /// Why.
        why: String,
        /// How long to wait before trying again, if the registry says so.
        after: Option<Duration>,
    },

    /// What was pulled could not be written here.
    #[error("cannot write the image: {0}")]
    Io(String),
}
