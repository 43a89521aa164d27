//! Images and their layers on this host: fetched once and kept, under the same roof as packages.
//!
//! A layer is kept by the digest of the file that it came in, which this process checks itself; so images share what
//! they have in common, and who unpacks one layer cannot be taken for another. Of an image it is kept which layers it
//! has. Layers are dropped as packages are; an image that lost one is fetched anew.

use std::collections::HashMap;
use std::io::{Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::info;
use windlass_client::Client;
use windlass_model::code::BlobRef;
use windlass_model::image::archive;
use windlass_model::image::{Platform, Reference, RunConfig};
use windlass_model::runner::Login;
use windlass_registry::{PullError, Registry};

use super::Image;
use super::folder::{Folder, digest_of};
use crate::package::{Package, PackageError, Packages, is_hash, unusable_image};

/// Images that are remembered.
const REMEMBERED: usize = 1_000;

/// The images of a runner.
#[derive(Debug)]
pub(crate) struct Images {
    packages: Arc<Packages>,
    /// None: nothing is pulled.
    registry: Option<Registry>,
    known: Mutex<HashMap<String, State>>,
}

/// What is known of an image; locked while it is being fetched.
type State = Arc<tokio::sync::Mutex<Option<Known>>>;

#[derive(Clone, Debug)]
enum Known {
    Usable(Arc<Record>),
    Unusable(String),
}

/// What an image is made of.
#[derive(Debug)]
struct Record {
    config: RunConfig,
    /// Digests of the files of its layers in hexadecimal, the lowest first.
    layers: Vec<String>,
}

impl Images {
    /// The images whose layers are among `packages`, and that may be pulled by `registry`.
    pub(crate) fn new(packages: Arc<Packages>, registry: Option<Registry>) -> Self {
        Self { packages, registry, known: Mutex::default() }
    }

    /// The image `image`, from its registry if it is not here. What is here by the name `key` is taken to be it: so the
    /// key must say for whom it was pulled, as others may not have the right to it.
    pub(crate) async fn of_registry(
        &self,
        key: &str,
        image: &Reference,
        login: Option<&Login>,
    ) -> Result<Arc<Image>, PackageError> {
        let Some(registry) = &self.registry else {
            return Err(PackageError::NotPulled("this runner pulls no images".to_owned()));
        };
        self.get(key, async {
            let place = self.packages.half_done()?;
            let layout = place.path().join("layout");
            let limit = self.packages.limit_bytes();
            match registry.pull(image, login, &Platform::own(), &layout, limit).await {
                Ok(()) => self.unpack(layout, place).await,
                Err(PullError::Io(why)) => Err(ours(std::io::Error::other(why))),
                Err(error) => Err(PackageError::NotPulled(error.to_string())),
            }
        })
        .await
    }

    /// The image in the archive `blob`, from `client` if it is not here. However many ask for it at once, it is fetched
    /// once.
    pub(crate) async fn of_archive(
        &self,
        blob: &BlobRef,
        client: &Client,
    ) -> Result<Arc<Image>, PackageError> {
        if !is_hash(&blob.sha256) {
            return Err(ours(std::io::Error::other("the server names no SHA-256")));
        }
        self.get(&blob.sha256, async {
            let place = self.packages.half_done()?;
            let tar = place.path().join("image.tar");
            self.packages.download(blob, client, &tar).await?;
            self.unpack(tar, place).await
        })
        .await
    }

    /// The image in the archive, or the OCI layout, at `path`.
    pub(crate) async fn local(&self, path: &Path) -> Result<Arc<Image>, PackageError> {
        self.get("local", async { self.unpack(path.to_owned(), self.packages.half_done()?).await }).await
    }

    async fn get(
        &self,
        key: &str,
        fetch: impl Future<Output = Result<Image, PackageError>>,
    ) -> Result<Arc<Image>, PackageError> {
        let state = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= REMEMBERED {
                known.retain(|_, state| Arc::strong_count(state) > 1);
            }
            known.entry(key.to_owned()).or_default().clone()
        };
        let mut state = state.lock().await;
        match state.as_ref() {
            Some(Known::Unusable(why)) => return Err(PackageError::Unusable(why.clone())),
            Some(Known::Usable(record)) => {
                let layers = record.layers.iter().map(|hex| self.packages.layer_here(hex));
                if let Some(layers) = layers.collect() {
                    return Ok(Arc::new(Image { config: record.config.clone(), layers }));
                }
            }
            None => {}
        }
        match fetch.await {
            Ok(image) => {
                let layers = image.layers.iter().filter_map(|layer| layer.layer_hex().map(str::to_owned));
                let record = Record { config: image.config.clone(), layers: layers.collect() };
                *state = Some(Known::Usable(Arc::new(record)));
                Ok(Arc::new(image))
            }
            Err(PackageError::Unusable(why)) => {
                *state = Some(Known::Unusable(why.clone()));
                Err(PackageError::Unusable(why))
            }
            Err(error) => Err(error),
        }
    }

    /// Unpacks the image in an archive, or in a folder that is a layout.
    async fn unpack(&self, archive: PathBuf, place: tempfile::TempDir) -> Result<Image, PackageError> {
        let is_folder = archive.is_dir();
        let folder = if is_folder { archive.clone() } else { place.path().join("archive") };
        if !is_folder {
            let (packages, into) = (self.packages.clone(), folder.clone());
            blocking(move || packages.unpack_tar(&archive, &into)).await??;
        }
        let unusable = |why: String| unusable_image(&why);
        let files = Folder::open(&folder).map_err(ours)?;
        let found = archive::find(&files, Some(&Platform::own())).map_err(unusable)?;
        let mut layers: Vec<Arc<Package>> = Vec::with_capacity(found.layers.len());
        for archive::Layer { path, digest, diff_id } in found.layers {
            let file = files.file(&path).map_err(unusable)?;
            let file = file.ok_or_else(|| unusable(format!("its layer {path} is not in it")))?;
            let (own, mut file) =
                blocking(move || digest_of(&file).map(|digest| (digest, file))).await?.map_err(ours)?;
            if digest.is_some_and(|said| said != own) {
                return Err(unusable(format!("its layer {path} is something else than its digest says")));
            }
            file.seek(SeekFrom::Start(0)).map_err(ours)?;
            let so_far = layers.iter().map(|layer| layer.size_bytes()).sum();
            layers.push(self.packages.layer(own.hex(), file, diff_id.hex(), so_far).await?);
        }
        info!("unpacked image {} of {} layers", found.id, layers.len());
        Ok(Image { config: found.config.config, layers })
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, PackageError> {
    tokio::task::spawn_blocking(work).await.map_err(|e| ours(std::io::Error::other(e)))
}

#[expect(clippy::needless_pass_by_value, reason = "it is mapped over errors")]
fn ours(error: std::io::Error) -> PackageError {
    PackageError::Unavailable { what: "an image".to_owned(), reason: error.to_string() }
}
