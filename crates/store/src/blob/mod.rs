//! Blobs: packages, long logs and results, each under the hash of its content.
//!
//! Packages are at `packages/<sha256>`. Logs and results are at `day/<partition>/<sha256>`, so that dropping a day
//! of tasks is dropping a folder of blobs. They are in a folder of this machine or in a [`Bucket`], by the same code.

mod bucket;
mod copy;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{
    MultipartUpload, ObjectStore, ObjectStoreExt as _, local::LocalFileSystem, path::Path as Key,
};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use windlass_model::code::BlobRef;

pub use self::bucket::Bucket;
pub use self::copy::Copied;
use crate::error::StoreError;
use crate::types::Partition;

/// Size of the pieces in which large blobs are written: the least that S3 takes is 5 MiB.
pub const PART_BYTES: usize = 8 * 1024 * 1024;

/// Where a blob belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// An uploaded package.
    Packages,
    /// Something of a task: it goes when its partition does.
    Tasks(Partition),
}

/// Keeps blobs in a folder or a bucket.
#[derive(Clone, Debug)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
}

impl Blobs {
    /// Blobs in the local folder `root`, which is made if it is not there.
    pub fn local(root: &Path) -> Result<Self, StoreError> {
        let unusable = |e: String| StoreError::Unusable { path: root.to_owned(), reason: e };
        std::fs::create_dir_all(root).map_err(|e| unusable(e.to_string()))?;
        let store = LocalFileSystem::new_with_prefix(root).map_err(|e| unusable(e.to_string()))?;
        Ok(Self { store: Arc::new(store.with_fsync(true)) })
    }

    /// Blobs in `bucket`, with the credentials that the process's `variables` have. After `Ok` it can be written and
    /// read.
    ///
    /// # Errors
    /// [`StoreError::NoBlobs`] with the reason.
    pub async fn bucket(
        bucket: &Bucket,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, StoreError> {
        let unusable = |reason| StoreError::NoBlobs { place: bucket.to_string(), reason };
        let blobs = Self { store: bucket.open(variables).map_err(unusable)? };
        blobs.try_out().await.map_err(|e| unusable(e.to_string()))?;
        Ok(blobs)
    }

    async fn try_out(&self) -> object_store::Result<()> {
        let key = Key::from("windlass");
        self.store
            .put(&key, Bytes::from_static(b"Windlass keeps packages, logs and results here.\n").into())
            .await?;
        self.store.get(&key).await?.bytes().await?;
        Ok(())
    }

    /// Keeps `content`, durable after `Ok`. The same content twice is kept once.
    pub async fn put(&self, area: Area, content: Bytes) -> Result<BlobRef, StoreError> {
        let blob =
            BlobRef { sha256: hex::encode(Sha256::digest(&content)), size_bytes: content.len() as u64 };
        self.put_stream(area, &blob, &mut content.as_ref()).await?;
        Ok(blob)
    }

    /// Keeps what `content` yields under the hash and length that the caller has found it to have; durable after
    /// `Ok`. Never holds more than [`PART_BYTES`] of it in memory.
    pub async fn put_stream(
        &self,
        area: Area,
        blob: &BlobRef,
        content: &mut (impl AsyncRead + Unpin + Send),
    ) -> Result<(), StoreError> {
        let key = key(area, &blob.sha256);
        match self.has(&key, blob.size_bytes).await {
            true => Ok(()),
            false => self.keep(&key, blob.size_bytes, content).await,
        }
    }

    async fn has(&self, key: &Key, size_bytes: u64) -> bool {
        self.store.head(key).await.is_ok_and(|meta| meta.size == size_bytes)
    }

    async fn keep(
        &self,
        key: &Key,
        size_bytes: u64,
        content: &mut (impl AsyncRead + Unpin + Send),
    ) -> Result<(), StoreError> {
        if size_bytes <= PART_BYTES as u64 {
            let mut whole = Vec::with_capacity(size_bytes as usize);
            content.read_to_end(&mut whole).await.map_err(|e| unread(&e))?;
            self.store.put(key, whole.into()).await.map_err(|e| failed(&e))?;
            return Ok(());
        }
        let mut upload = self.store.put_multipart(key).await.map_err(|e| failed(&e))?;
        match send_parts(upload.as_mut(), content).await {
            Ok(()) => Ok(()),
            Err(error) => {
                // Its pieces would stay until somebody cleans up; that this fails as well changes nothing.
                let _ = upload.abort().await;
                Err(error)
            }
        }
    }

    /// The length and the content of the blob, piece by piece; `None` if it is not there.
    pub async fn stream(
        &self,
        area: Area,
        sha256: &str,
    ) -> Result<Option<(u64, BoxStream<'static, Result<Bytes, StoreError>>)>, StoreError> {
        match self.store.get(&key(area, sha256)).await {
            Ok(found) => {
                let size = found.meta.size;
                Ok(Some((size, found.into_stream().map_err(|e| failed(&e)).boxed())))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(failed(&e)),
        }
    }

    /// The content of the blob; `None` if it is not there.
    pub async fn get(&self, area: Area, sha256: &str) -> Result<Option<Bytes>, StoreError> {
        match self.store.get(&key(area, sha256)).await {
            Ok(found) => found.bytes().await.map(Some).map_err(|e| failed(&e)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(failed(&e)),
        }
    }

    /// Deletes the blobs of every partition before `today` that is not in `kept`. Safe to repeat.
    pub async fn prune(&self, kept: &[Partition], today: Partition) -> Result<(), StoreError> {
        let days = self.store.list_with_delimiter(Some(&Key::from("day"))).await.map_err(|e| failed(&e))?;
        for day in days.common_prefixes {
            let number = day.filename().and_then(|name| name.parse::<i64>().ok()).map(Partition);
            if number.is_some_and(|n| n < today && !kept.contains(&n)) {
                let keys = self.store.list(Some(&day)).map_ok(|meta| meta.location).boxed();
                let deleted = self.store.delete_stream(keys).try_for_each(|_| async { Ok(()) });
                deleted.await.map_err(|e| failed(&e))?;
            }
        }
        Ok(())
    }
}

async fn send_parts(
    upload: &mut dyn MultipartUpload,
    content: &mut (impl AsyncRead + Unpin + Send),
) -> Result<(), StoreError> {
    loop {
        let mut part = Vec::with_capacity(PART_BYTES);
        content.take(PART_BYTES as u64).read_to_end(&mut part).await.map_err(|e| unread(&e))?;
        if part.is_empty() {
            upload.complete().await.map_err(|e| failed(&e))?;
            return Ok(());
        }
        upload.put_part(part.into()).await.map_err(|e| failed(&e))?;
    }
}

fn unread(error: &std::io::Error) -> StoreError {
    StoreError::Unavailable(format!("the content to keep cannot be read: {error}"))
}

fn key(area: Area, sha256: &str) -> Key {
    match area {
        Area::Packages => Key::from_iter(["packages", sha256]),
        Area::Tasks(partition) => Key::from_iter(["day", &partition.0.to_string(), sha256]),
    }
}

fn failed(error: &object_store::Error) -> StoreError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(e) = source {
        if e.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::StorageFull) {
            return StoreError::Full;
        }
        source = e.source();
    }
    StoreError::Unavailable(error.to_string())
}
