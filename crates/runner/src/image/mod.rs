//! Container images on this host: what a task's root is made of, where it is not the host's own programs.
//!
//! | module | holds |
//! |---|---|
//! | [`folder`] | the files of an archive that was unpacked, read without leaving it |
//! | [`plan`] | what to start for a task in an image: pure |
//! | [`cache`] | images and their layers, fetched once and kept |

pub(crate) mod cache;
pub(crate) mod folder;
mod plan;

use std::sync::Arc;

use windlass_model::image::RunConfig;

use crate::package::Package;
use crate::sandbox::root::TASK;

pub(crate) use plan::plan;

/// An image whose layers are here. They stay where they are as long as somebody holds it.
#[derive(Debug)]
pub(crate) struct Image {
    /// How it is run where nobody says otherwise.
    pub(crate) config: RunConfig,
    /// The lowest first.
    layers: Vec<Arc<Package>>,
}

impl Image {
    /// The folder that a task with this package begins in: its own, if it brings files.
    pub(crate) fn cwd(&self, package: &Package) -> String {
        cwd(&self.config, package)
    }

    /// The folders of its layers among the packages, the highest first.
    pub(crate) fn layers(&self) -> Vec<String> {
        let name = |layer: &Arc<Package>| Some(layer.folder().file_name()?.to_str()?.to_owned());
        self.layers.iter().rev().filter_map(name).collect()
    }
}

/// The folder that a task with this package begins in, in an image with this configuration.
pub(crate) fn cwd(config: &RunConfig, package: &Package) -> String {
    match config.working_dir.as_str() {
        _ if !package.files().is_empty() => TASK.to_owned(),
        "" => "/".to_owned(),
        folder if folder.starts_with('/') => folder.to_owned(),
        folder => format!("/{folder}"),
    }
}
