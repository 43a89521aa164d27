//! Archives of images, handed to the engine once and without the names that they claim.
//!
//! An engine that loads an archive believes the names in it: whoever may upload one could put another image in the place
//! of any that this host has. So what it gets is written anew, with the layers and the configuration of the one image
//! that is meant, and no name; it is known by its id.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tracing::info;
use windlass_client::Client;
use windlass_model::code::BlobRef;
use windlass_model::image::archive::{self, Files as _};
use windlass_model::image::{Digest, Platform, RunConfig};

use super::api::Api;
use super::call::CallError;
use crate::image::folder::{Folder, digest_of};
use crate::package::{PackageError, Packages, is_hash, unusable_image};

/// Images that are remembered.
const REMEMBERED: usize = 1_000;

/// An image that the engine has.
#[derive(Debug)]
pub(super) struct Loaded {
    /// What the engine knows it by.
    pub(super) id: String,
    /// How it is run where nobody says otherwise.
    pub(super) config: RunConfig,
}

/// What is known of an archive; locked while it is handed over.
type Known = Arc<tokio::sync::Mutex<Option<Result<Arc<Loaded>, String>>>>;

/// The images that the engine was handed.
pub(super) struct Images {
    packages: Arc<Packages>,
    known: Mutex<HashMap<String, Known>>,
}

impl Images {
    pub(super) fn new(packages: Arc<Packages>) -> Self {
        Self { packages, known: Mutex::default() }
    }

    /// The image in the archive `blob`. However many ask for it at once, it is fetched and handed over once.
    pub(super) async fn of_archive(
        &self,
        blob: &BlobRef,
        client: &Client,
        api: &Api,
    ) -> Result<Arc<Loaded>, PackageError> {
        if !is_hash(&blob.sha256) {
            return Err(ours("the server names no SHA-256".to_owned()));
        }
        let known = {
            let mut known = self.lock();
            if known.len() >= REMEMBERED {
                known.retain(|_, state| Arc::strong_count(state) > 1);
            }
            known.entry(blob.sha256.clone()).or_default().clone()
        };
        let mut known = known.lock().await;
        if let Some(known) = known.as_ref() {
            return known.clone().map_err(PackageError::Unusable);
        }
        match self.load(blob, client, api).await {
            Ok(loaded) => Ok(known.insert(Ok(Arc::new(loaded))).clone().expect("it was just put there")),
            Err(PackageError::Unusable(why)) => {
                *known = Some(Err(why.clone()));
                Err(PackageError::Unusable(why))
            }
            Err(error) => Err(error),
        }
    }

    /// The engine has lost it, or somebody removed it there: it is handed over again when it is next needed.
    pub(super) fn forget(&self, blob: &BlobRef) {
        self.lock().remove(&blob.sha256);
    }

    async fn load(&self, blob: &BlobRef, client: &Client, api: &Api) -> Result<Loaded, PackageError> {
        let place = self.packages.half_done()?;
        let tar = place.path().join("image.tar");
        self.packages.download(blob, client, &tar).await?;
        let (packages, folder, clean) =
            (self.packages.clone(), place.path().join("archive"), place.path().join("clean.tar"));
        let to = clean.clone();
        let work = move || {
            packages.unpack_tar(&tar, &folder)?;
            rewrite(&folder, &to)
        };
        let written = tokio::task::spawn_blocking(work).await.map_err(|e| ours(e.to_string()))?;
        let found = written?;
        let answer = api.load(&clean).await.map_err(|error| match error {
            CallError::Refused { status, message } if status.is_client_error() => unusable_image(&message),
            error => ours(error.to_string()),
        })?;
        let id = loaded(&String::from_utf8_lossy(&answer)).unwrap_or_else(|| found.id.to_string());
        info!("the engine has image {id} of {} layers", found.layers.len());
        Ok(Loaded { id, config: found.config.config })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the one image in an archive, which was unpacked to `folder`, as a new archive without names.
fn rewrite(folder: &Path, to: &Path) -> Result<archive::Found, PackageError> {
    let failed = |e: io::Error| ours(e.to_string());
    let files = Folder::open(folder).map_err(failed)?;
    let found = archive::find(&files, Some(&Platform::own())).map_err(|why| unusable_image(&why))?;
    let config = configuration(&files, &found.id).map_err(|why| unusable_image(&why))?;
    let mut tar = tar::Builder::new(File::create_new(to).map_err(failed)?);
    let mut names = Vec::with_capacity(found.layers.len());
    for (n, layer) in found.layers.iter().enumerate() {
        let file = files.file(&layer.path).map_err(|why| unusable_image(&why))?;
        let mut file =
            file.ok_or_else(|| unusable_image(&format!("its layer {} is not in it", layer.path)))?;
        if let Some(said) = &layer.digest
            && digest_of(&file).map_err(failed)? != *said
        {
            let why = format!("its layer {} is something else than its digest says", layer.path);
            return Err(unusable_image(&why));
        }
        file.rewind().map_err(failed)?;
        let name = format!("{n}.tar");
        let size = file.metadata().map_err(failed)?.len();
        tar.append_data(&mut header(size), &name, &file).map_err(failed)?;
        names.push(name);
    }
    tar.append_data(&mut header(config.len() as u64), "config.json", config.as_slice()).map_err(failed)?;
    let list = json!([{ "Config": "config.json", "RepoTags": Value::Null, "Layers": names }]).to_string();
    tar.append_data(&mut header(list.len() as u64), "manifest.json", list.as_bytes()).map_err(failed)?;
    tar.into_inner().and_then(|mut file| io::Write::flush(&mut file)).map_err(failed)?;
    Ok(found)
}

/// The bytes of the configuration with this digest.
fn configuration(files: &Folder, id: &Digest) -> Result<Vec<u8>, String> {
    if let Some(bytes) = files.document(&archive::blob_path(id))? {
        return Ok(bytes);
    }
    // What `docker save` wrote says where it is.
    let list = files.document("manifest.json")?.ok_or("its configuration is not in it")?;
    let list: Value = serde_json::from_slice(&list).map_err(|e| e.to_string())?;
    let name = list[0]["Config"].as_str().ok_or("its manifest.json names no configuration")?;
    let bytes = files.document(name)?.ok_or("its configuration is not in it")?;
    if files.digest(&bytes) == *id { Ok(bytes) } else { Err("its configuration is another".to_owned()) }
}

fn header(size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(size);
    header
}

/// The id of the image that an engine says it has loaded, where it says so.
fn loaded(answer: &str) -> Option<String> {
    let at = answer.rfind("sha256:")?;
    let id = answer[at..].get(.."sha256:".len() + 64)?;
    is_hash(&id["sha256:".len()..]).then(|| id.to_owned())
}

fn ours(reason: String) -> PackageError {
    PackageError::Unavailable { what: "an image".to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_says_what_it_has_loaded() {
        let id = format!("sha256:{}", "0a".repeat(32));
        for said in ["Loaded image: ", "Loaded image ID: "] {
            assert_eq!(loaded(&format!("{{\"stream\":\"{said}{id}\\n\"}}")), Some(id.clone()));
        }
        assert_eq!(loaded("{\"stream\":\"Loaded image: made:1\"}"), None);
        assert_eq!(loaded("sha256:ab"), None);
    }
}
