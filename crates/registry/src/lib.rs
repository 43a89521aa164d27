//! Images from a registry, by the distribution protocol: what a name means now, and the files that an image is made of.
//!
//! | module | holds |
//! |---|---|
//! | [`registry`] | the calls: manifests and blobs, retried and checked |
//! | [`challenge`] | what a registry wants of who calls it, and how that is given |
//! | [`error`] | why there is no image, in words for its owner |
//!
//! Our own few calls instead of the crate `oci-client`: of its 80 crates most would be new here, and what they do for us
//! (two kinds of request, one header to answer) is less than this crate.

mod challenge;
mod error;
mod registry;

pub use error::PullError;
pub use registry::{Registry, Settings};
