//! Packages on this host: downloaded and unpacked once, kept by the hash of their zip, never changed. So are the layers of
//! images, by the hash of their file.

use std::collections::HashMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use futures::StreamExt as _;
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};
use tracing::{info, warn};
use windlass_client::Client;
use windlass_model::code::BlobRef;

use crate::config::PackageLimits;
use crate::imprint;
use crate::plan::Files;
use crate::unpack::apart::Unpacker;
use crate::unpack::{UnpackError, Unpacked};

/// Unusable packages that are remembered, so that each of a thousand tasks does not download one again.
const REMEMBERED: usize = 1_000;

/// Names in a message about a file that is not there.
const NAMES_SHOWN: usize = 8;

/// What the folder of a layer is called before its hash, so that it is no package. Layers are for the life of a runner:
/// what it finds at its start, it would have to look at file by file before it is believed.
const LAYER: &str = "layer-";

/// Why a package is not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackageError {
    /// It breaks a rule: the task's failure.
    #[error("{0}")]
    Unusable(String),
    /// Its registry does not give it: the task's failure, which may pass.
    #[error("{0}")]
    NotPulled(String),
    /// It could not be downloaded or written: ours.
    #[error("cannot fetch {what}: {reason}")]
    Unavailable {
        /// What, in words.
        what: String,
        /// Why.
        reason: String,
    },
}

/// An unpacked package. It stays where it is as long as somebody holds it.
#[derive(Debug)]
pub(crate) struct Package {
    folder: PathBuf,
    files: Vec<Unpacked>,
    size_bytes: u64,
    /// SHA-256 of its tar in hexadecimal, if it is the layer of an image.
    diff_id: String,
}

impl Package {
    /// Unpacks the zip at `zip` into the new folder `folder`.
    pub(crate) fn unpack(
        unpacker: &Unpacker,
        zip: &Path,
        folder: &Path,
        limit_bytes: u64,
    ) -> Result<Self, UnpackError> {
        let files = unpacker.unpack(fs::File::open(zip)?, folder, limit_bytes)?;
        Ok(Self::of(folder.to_owned(), files))
    }

    /// The package that is the folder `folder` as it is.
    pub(crate) fn in_folder(folder: &Path) -> std::io::Result<Self> {
        let mut files = Vec::new();
        list(folder, "", &mut files)?;
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self::of(folder.to_owned(), files))
    }

    /// Copies the folder `from` into the new folder `into`, as if it had been zipped and unpacked.
    pub(crate) fn copy(from: &Path, into: &Path) -> std::io::Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        let package = Self::in_folder(from)?;
        fs::create_dir(into)?;
        for file in &package.files {
            let target = into.join(&file.name);
            fs::create_dir_all(target.parent().unwrap_or(into))?;
            fs::copy(from.join(&file.name), &target)?;
            let mode = if file.may_run() { 0o755 } else { 0o644 };
            fs::set_permissions(&target, fs::Permissions::from_mode(mode))?;
        }
        Ok(Self { folder: into.to_owned(), ..package })
    }

    /// The hash of the file that it came in, if it is the layer of an image.
    pub(crate) fn layer_hex(&self) -> Option<&str> {
        self.folder.file_name()?.to_str()?.strip_prefix(LAYER)
    }

    /// A package without a file.
    pub(crate) fn empty() -> Self {
        Self::of(PathBuf::new(), Vec::new())
    }

    fn of(folder: PathBuf, files: Vec<Unpacked>) -> Self {
        let size_bytes = files.iter().map(|file| file.size_bytes).sum();
        Self { folder, files, size_bytes, diff_id: String::new() }
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Bytes of its files.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Its files, in the order of their names.
    pub(crate) fn files(&self) -> &[Unpacked] {
        &self.files
    }
}

impl Files for Package {
    fn is_executable(&self, name: &str) -> Option<bool> {
        let at = self.files.binary_search_by(|file| file.name.as_str().cmp(name)).ok()?;
        Some(self.files[at].is_executable)
    }

    fn some_names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.files.iter().take(NAMES_SHOWN).map(|file| file.name.clone()).collect();
        if self.files.len() > NAMES_SHOWN {
            names.push(format!("… ({} files)", self.files.len()));
        }
        names
    }
}

fn list(folder: &Path, prefix: &str, files: &mut Vec<Unpacked>) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let meta = fs::metadata(entry.path())?;
        if meta.is_dir() {
            list(&entry.path(), &format!("{name}/"), files)?;
        } else if meta.is_file() {
            let is_executable = meta.permissions().mode() & 0o111 != 0;
            files.push(Unpacked { name, size_bytes: meta.len(), is_executable });
        }
    }
    Ok(())
}

/// Keeps packages in a folder, up to a size; what is in use is never dropped.
#[derive(Debug)]
pub(crate) struct Packages {
    folder: PathBuf,
    limits: PackageLimits,
    unpacker: Unpacker,
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_hash: HashMap<String, Entry>,
    uses: u64,
}

#[derive(Debug, Default)]
struct Entry {
    /// Held while the package is being fetched; what came of it.
    state: Arc<tokio::sync::Mutex<Option<Fetched>>>,
    /// The same once it is there, to be had without waiting.
    package: Option<Arc<Package>>,
    /// One that was there before us, not looked at yet.
    unchecked: Option<Arc<Package>>,
    last_use: u64,
}

impl Entry {
    /// What it takes room for.
    fn there(&self) -> Option<&Arc<Package>> {
        self.package.as_ref().or(self.unchecked.as_ref())
    }
}

#[derive(Clone, Debug)]
enum Fetched {
    There(Arc<Package>),
    Unusable(String),
}

impl Packages {
    /// The packages in `folder`. What a killed runner left half done there is removed, and so is everything if the
    /// host was started since: unpacking does not wait for the disk, so a power failure may have left holes.
    pub(crate) fn open(folder: PathBuf, limits: PackageLimits, unpacker: Unpacker) -> std::io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let is_same_boot = fs::read_to_string(folder.join("boot_id")).is_ok_and(|known| known == boot);
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_package = name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
            let of_package = imprint::package_of(&name);
            if name == "boot_id" || is_same_boot && of_package.is_some_and(|of| folder.join(of).is_dir()) {
            } else if is_same_boot && is_package {
                let used = entry.metadata()?.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                found.push((used, name));
            } else {
                remove(&entry.path());
            }
        }
        fs::write(folder.join("boot_id"), boot)?;
        found.sort();
        let mut entries = Entries::default();
        for (_, name) in found {
            let package = Arc::new(Package::in_folder(&folder.join(&name))?);
            entries.uses += 1;
            let entry = Entry { unchecked: Some(package), last_use: entries.uses, ..Entry::default() };
            entries.by_hash.insert(name, entry);
        }
        Ok(Self { folder, limits, unpacker, entries: Mutex::new(entries) })
    }

    /// The package `blob`, from `client` if it is not here. However many ask for it at once, it is fetched once.
    pub(crate) async fn get(&self, blob: &BlobRef, client: &Client) -> Result<Arc<Package>, PackageError> {
        self.keep(&blob.sha256, self.fetch(blob, client)).await
    }

    /// The layer of an image that came in a file with this hash, if it is here.
    pub(crate) fn layer_here(&self, hex: &str) -> Option<Arc<Package>> {
        let mut entries = self.lock();
        entries.uses += 1;
        let now = entries.uses;
        let entry = entries.by_hash.get_mut(&format!("{LAYER}{hex}"))?;
        entry.last_use = now;
        entry.package.clone()
    }

    /// The same, unpacked from `file` if it is not here. `diff_id` is what the hash of its tar must be, in hexadecimal;
    /// `so_far` the bytes of the layers below it, as the limit is for all of an image.
    pub(crate) async fn layer(
        &self,
        hex: &str,
        file: fs::File,
        diff_id: &str,
        so_far: u64,
    ) -> Result<Arc<Package>, PackageError> {
        let name = format!("{LAYER}{hex}");
        let layer = self.keep(&name, async {
            let failed = |reason: String| unavailable(&name, reason);
            let half_done = self.half_done()?;
            let (target, limit) = (self.folder.join(&name), self.limits.package_bytes);
            let unpacker = self.unpacker.clone();
            let unpacked = tokio::task::spawn_blocking(move || {
                let folder = half_done.path().join("layer");
                let (size_bytes, diff_id) =
                    unpacker.unpack_layer(file, &folder, limit.saturating_sub(so_far))?;
                fs::rename(&folder, &target)?;
                Ok(Package { folder: target, files: Vec::new(), size_bytes, diff_id })
            });
            match unpacked.await.map_err(|e| failed(e.to_string()))? {
                Ok(layer) => Ok(Fetched::There(Arc::new(layer))),
                // Not remembered: the limit is that of the image, not of the layer, which others may share.
                Err(UnpackError::Unusable(why)) => Err(unusable_image(&why)),
                Err(UnpackError::Io(e)) => Err(failed(e.to_string())),
            }
        });
        let layer = layer.await?;
        if layer.diff_id != diff_id {
            let own = &layer.diff_id;
            return Err(unusable_image(&format!("a layer is sha256:{own}, and should be sha256:{diff_id}")));
        }
        match layer.size_bytes.checked_add(so_far) {
            Some(total) if total <= self.limits.package_bytes => Ok(layer),
            _ => {
                let limit = self.limits.package_bytes >> 20;
                Err(unusable_image(&format!("unpacked it is larger than {limit} MiB, which is the limit")))
            }
        }
    }

    /// A folder for what is being fetched, which is gone when this is dropped.
    pub(crate) fn half_done(&self) -> Result<tempfile::TempDir, PackageError> {
        let folder = tempfile::Builder::new().prefix("tmp-").tempdir_in(&self.folder);
        folder.map_err(|e| unavailable("an image or package", e.to_string()))
    }

    /// Downloads a blob to the file `path`. After `Ok` its bytes are those that the hash names.
    pub(crate) async fn download(
        &self,
        blob: &BlobRef,
        client: &Client,
        path: &Path,
    ) -> Result<(), PackageError> {
        if !is_hash(&blob.sha256) {
            return Err(unavailable("a package", "the server names no SHA-256".to_owned()));
        }
        download(client, blob, path).await.map_err(|reason| unavailable(&blob.sha256, reason))
    }

    /// Unpacks a tar into the new folder `into`.
    pub(crate) fn unpack_tar(&self, tar: &Path, into: &Path) -> Result<(), PackageError> {
        let failed = |e: std::io::Error| unavailable("an image", e.to_string());
        let tar = fs::File::open(tar).map_err(failed)?;
        match self.unpacker.unpack_layer(tar, into, self.limits.package_bytes) {
            Ok(_) => Ok(()),
            Err(UnpackError::Unusable(why)) => Err(unusable_image(&why)),
            Err(UnpackError::Io(e)) => Err(failed(e)),
        }
    }

    /// What is kept by this name, from `fetch` if it is not here. However many ask for it at once, it is fetched once.
    async fn keep(
        &self,
        name: &str,
        fetch: impl Future<Output = Result<Fetched, PackageError>>,
    ) -> Result<Arc<Package>, PackageError> {
        let state = {
            let mut entries = self.lock();
            entries.uses += 1;
            let now = entries.uses;
            let entry = entries.by_hash.entry(name.to_owned()).or_default();
            entry.last_use = now;
            match &entry.package {
                Some(package) => return Ok(package.clone()),
                None => entry.state.clone(),
            }
        };
        let mut state = state.lock().await;
        let fetched = match state.clone() {
            Some(fetched) => fetched,
            None => {
                let fetched = fetch.await?;
                *state = Some(fetched.clone());
                fetched
            }
        };
        match fetched {
            Fetched::There(package) => {
                if let Some(entry) = self.lock().by_hash.get_mut(name) {
                    entry.package = Some(package.clone());
                }
                self.evict();
                Ok(package)
            }
            Fetched::Unusable(why) => Err(PackageError::Unusable(why)),
        }
    }

    /// Bytes that a package or an image may have.
    pub(crate) fn limit_bytes(&self) -> u64 {
        self.limits.package_bytes
    }

    /// Drops a package that is no longer what was unpacked. Who holds it goes on with what there is.
    pub(crate) fn discard(&self, package: &Package) {
        let Some(name) = package.folder.file_name().and_then(|name| name.to_str()) else { return };
        if self.lock().by_hash.remove(name).is_some() {
            self.remove_soon(name);
        }
    }

    /// The package that was there when we started, if it still is what was unpacked; otherwise it is removed. Looked at
    /// when it is first needed, so that a start takes no longer with a full cache.
    async fn checked(&self, name: &str) -> Option<Arc<Package>> {
        let package = self.lock().by_hash.get_mut(name)?.unchecked.take()?;
        let (of, imprint) = (package.clone(), self.folder.join(imprint::file_of(name)));
        let is_whole = tokio::task::spawn_blocking(move || {
            fs::read_to_string(imprint)
                .is_ok_and(|then| imprint::take(&of.folder, &of.files).is_ok_and(|now| now == then))
        });
        if is_whole.await.unwrap_or(false) {
            return Some(package);
        }
        warn!("package {name} is not what was unpacked; it is fetched anew");
        self.remove_soon(name);
        None
    }

    async fn fetch(&self, blob: &BlobRef, client: &Client) -> Result<Fetched, PackageError> {
        if let Some(package) = self.checked(&blob.sha256).await {
            return Ok(Fetched::There(package));
        }
        let failed = |reason: String| unavailable(&blob.sha256, reason);
        let half_done = self.half_done()?;
        let zip = half_done.path().join("package.zip");
        self.download(blob, client, &zip).await?;
        let (target, limit) = (self.folder.join(&blob.sha256), self.limits.package_bytes);
        let (unpacker, hash) = (self.unpacker.clone(), blob.sha256.clone());
        let unpacked = tokio::task::spawn_blocking(move || {
            let folder = half_done.path().join("files");
            let mut package = Package::unpack(&unpacker, &zip, &folder, limit)?;
            let imprint = imprint::take(&folder, &package.files)?;
            fs::write(target.with_file_name(imprint::file_of(&hash)), imprint)?;
            fs::rename(&folder, &target)?;
            package.folder = target;
            Ok(package)
        });
        match unpacked.await.map_err(|e| failed(e.to_string()))? {
            Ok(package) => {
                info!("unpacked package {} of {} files", blob.sha256, package.files.len());
                Ok(Fetched::There(Arc::new(package)))
            }
            Err(UnpackError::Unusable(why)) => Ok(Fetched::Unusable(UnpackError::Unusable(why).to_string())),
            Err(UnpackError::Io(e)) => Err(failed(e.to_string())),
        }
    }

    /// Drops what was not used for longest until the rest fits.
    fn evict(&self) {
        let mut entries = self.lock();
        let mut total: u64 = entries.by_hash.values().filter_map(Entry::there).map(|p| p.size_bytes).sum();
        while total > self.limits.cache_bytes || entries.by_hash.len() > REMEMBERED {
            // Three hold what nobody uses: the entry twice, and nobody else may be asking.
            let idle = entries.by_hash.iter().filter(|(_, entry)| match &entry.package {
                Some(package) => Arc::strong_count(package) == 2 && Arc::strong_count(&entry.state) == 1,
                // Nobody has it, as nobody has looked at it; or it was never there.
                None => Arc::strong_count(&entry.state) == 1,
            });
            let Some(name) = idle.min_by_key(|(_, e)| e.last_use).map(|(name, _)| name.clone()) else {
                return;
            };
            if let Some(package) = entries.by_hash.remove(&name).and_then(|entry| entry.there().cloned()) {
                total -= package.size_bytes;
                self.remove_soon(&name);
            }
        }
    }

    /// Takes the folder out of the way at once, so that it may be fetched anew, and removes it behind our back.
    fn remove_soon(&self, name: &str) {
        static REMOVALS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let n = REMOVALS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        // First: a package without an imprint is one that is not trusted.
        let _ = fs::remove_file(self.folder.join(imprint::file_of(name)));
        let trash = self.folder.join(format!("trash-{}-{n}", std::process::id()));
        match fs::rename(self.folder.join(name), &trash) {
            Ok(()) => drop(tokio::task::spawn_blocking(move || remove(&trash))),
            Err(error) => warn!("cannot drop package {name}: {error}"),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an image is told to be by its owner's fault.
pub(crate) fn unusable_image(why: &str) -> PackageError {
    PackageError::Unusable(format!("the image cannot be used: {why}"))
}

fn unavailable(what: &str, reason: String) -> PackageError {
    let what = if is_hash(what) { format!("package {what}") } else { what.to_owned() };
    PackageError::Unavailable { what, reason }
}

pub(crate) fn is_hash(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Downloads the zip to `path`. After `Ok` its bytes are those that the hash names.
async fn download(client: &Client, blob: &BlobRef, path: &Path) -> Result<(), String> {
    let mut body = match client.runner_package(&blob.sha256).await {
        Ok(answer) => answer.into_body().into_data_stream(),
        // Nobody deletes a package that has tasks: a disk of the server's is gone, and may come back.
        Err(error) if error.status() == Some(404) => return Err("the server does not have it".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    let mut file = fs::File::create_new(path).map_err(|e| e.to_string())?;
    let (mut hash, mut size) = (Sha256::new(), 0);
    while let Some(bytes) = body.next().await {
        let bytes = bytes.map_err(|e| e.to_string())?;
        size += bytes.len() as u64;
        if size > blob.size_bytes {
            break;
        }
        hash.update(&bytes);
        file.write_all(&bytes).map_err(|e| e.to_string())?;
    }
    if size == blob.size_bytes && hex::encode(hash.finalize()) == blob.sha256 {
        Ok(())
    } else {
        Err("the server sent something else".to_owned())
    }
}

/// Removes a file, or a folder with all that is in it.
fn remove(path: &Path) {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    if let Err(error) = removed {
        warn!("cannot remove {}: {error}", path.display());
    }
}
