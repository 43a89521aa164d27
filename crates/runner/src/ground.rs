//! Where an attempt works: a directory of the host's, or one inside its sandbox.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use windlass_model::limits::{Limits, Network};

use crate::image::Image;
use crate::package::Package;
use crate::plan::{Plan, RESULT_FILE};
use crate::spares::Spares;
use crate::spawner::{Child, Contents};
use crate::workdir::{WorkDir, keep, unreadable};

/// A package up to this size, and of no more files, is copied into the task's directory; of a larger one the task sees
/// the files themselves, and copies of what it changes.
const COPY_BYTES: u64 = 64 * 1024;
const COPY_FILES: usize = 8;

/// Where an attempt works.
#[derive(Debug)]
pub(crate) enum Ground {
    /// In a directory of the host's.
    Folder(WorkDir),
    /// In its sandbox.
    Sandbox(Inside),
}

/// What an attempt finds in its sandbox.
#[derive(Debug)]
pub(crate) struct Inside {
    /// Held, so that it stays where it is.
    package: Arc<Package>,
    /// What its root is, and where it begins there; none: it sees the host's programs.
    image: Option<Seen>,
    /// The package's files with their modes, if they are copied.
    copy: Option<Vec<(String, u32)>>,
    executable: Option<String>,
    files: Vec<(&'static str, Vec<u8>)>,
    network: Network,
    limits: Limits,
}

/// An image as a task sees it.
#[derive(Debug)]
struct Seen {
    /// Held, so that its layers stay where they are.
    _image: Arc<Image>,
    layers: Vec<String>,
    cwd: String,
}

impl Ground {
    /// Makes the directory `path` of the host, and fills it.
    pub(crate) async fn folder(
        spares: Arc<Spares>,
        path: PathBuf,
        package: Arc<Package>,
        plan: &mut Plan,
    ) -> io::Result<Self> {
        WorkDir::create(spares, path, package, plan).await.map(Ground::Folder)
    }

    /// Leaves it to the sandbox, which is made when the attempt starts; whether the sandbox `overlays` packages.
    pub(crate) fn sandbox(
        package: Arc<Package>,
        plan: &mut Plan,
        (network, limits): (Network, Limits),
        overlays: bool,
    ) -> Self {
        let files = std::mem::take(&mut plan.files);
        let executable = plan.executable.take();
        let (packed, size) = (package.files(), package.size_bytes());
        let is_small = packed.len() <= COPY_FILES && size <= COPY_BYTES;
        let copy = (is_small || !overlays).then(|| {
            // A package that brings something by these names, a folder even, must not be in the way.
            let is_taken = |name: &str| name == RESULT_FILE || files.iter().any(|(taken, _)| *taken == name);
            let kept =
                packed.iter().filter(|file| !is_taken(file.name.split('/').next().unwrap_or_default()));
            let mode = |file: &crate::unpack::Unpacked| {
                if file.may_run() || executable.as_ref() == Some(&file.name) { 0o755 } else { 0o644 }
            };
            kept.map(|file| (file.name.clone(), mode(file))).collect()
        });
        Ground::Sandbox(Inside { package, image: None, copy, executable, files, network, limits })
    }

    /// Puts the attempt into an image, in which it begins in the folder `cwd`. Only for one that works in a sandbox.
    #[must_use]
    pub(crate) fn in_image(self, image: Arc<Image>, cwd: String) -> Self {
        match self {
            Ground::Sandbox(inside) => {
                let layers = image.layers();
                Ground::Sandbox(Inside { image: Some(Seen { _image: image, layers, cwd }), ..inside })
            }
            folder => folder,
        }
    }

    /// The path of the directory, as the task sees it.
    pub(crate) fn task_dir(&self) -> String {
        match self {
            Ground::Folder(dir) => dir.path().to_string_lossy().into_owned(),
            Ground::Sandbox(_) => crate::sandbox::root::TASK.to_owned(),
        }
    }

    /// The path of the folder that the attempt begins in, as the task sees it.
    pub(crate) fn cwd(&self) -> String {
        match self {
            Ground::Sandbox(Inside { image: Some(seen), .. }) => seen.cwd.clone(),
            ground => ground.task_dir(),
        }
    }

    /// What is to be in the sandbox, if it is there that the attempt works.
    pub(crate) fn contents(&self) -> Option<Contents<'_>> {
        let Ground::Sandbox(Inside { package, image, copy, executable, files, network, limits }) = self
        else {
            return None;
        };
        let name = package.folder().file_name().and_then(|name| name.to_str()).unwrap_or_default();
        Some(Contents {
            package: name,
            image: image.as_ref().map_or(&[], |seen| &seen.layers),
            copy: copy.as_deref(),
            executable: executable.as_deref(),
            files,
            network: *network,
            limits,
        })
    }

    /// What the worker left in its result file. `Err` holds why it is not kept, in words.
    ///
    /// More than `limit` is not kept at all: half a result is worth nothing, and may look like a whole one.
    pub(crate) fn result(&mut self, child: &mut Child, limit: usize) -> Result<Option<Vec<u8>>, String> {
        match self {
            Ground::Folder(dir) => dir.result(limit),
            Ground::Sandbox(_) => match child.result() {
                None => Ok(None),
                Some(Ok(file)) => keep(&File::from(file), limit).map(Some),
                Some(Err(errno)) => Err(unreadable(&errno.into())),
            },
        }
    }

    /// The attempt ended by itself: its directory may serve another if nothing but ours is left in it.
    pub(crate) fn ended_by_itself(&mut self) {
        if let Ground::Folder(dir) = self {
            dir.ended_by_itself();
        }
    }
}
