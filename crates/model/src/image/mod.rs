//! Container images: what their documents say, and what follows from it. Pure; whoever has the bytes hands them in.
//!
//! | module | holds |
//! |---|---|
//! | [`digest`] | the name of content by its hash |
//! | [`mod@reference`] | the name of an image in a registry |
//! | [`platform`] | the machines that an image is for |
//! | [`documents`] | index, manifest and configuration, as registries and archives have them |
//! | [`archive`] | where in an archive the image is: an OCI layout, or what `docker save` writes |
//! | [`command`] | what is started in an image |

pub mod archive;
pub mod command;
pub mod digest;
pub mod documents;
pub mod platform;
pub mod reference;

pub use digest::Digest;
pub use documents::{Config, Descriptor, Index, Manifest, RunConfig};
pub use platform::Platform;
pub use reference::Reference;

/// Most layers of an image: what the file system that joins them takes, and what builders make.
pub const MAX_LAYERS: usize = 127;

/// Most bytes of a document of an image. Registries refuse larger manifests, too.
pub const MAX_DOCUMENT: u64 = 4 << 20;
