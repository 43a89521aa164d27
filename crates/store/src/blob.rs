//! Blobs: packages, long logs and results, each under the hash of its content.
//!
//! Packages are at `packages/<sha256>`. Logs and results are at `day/<partition>/<sha256>`, so that dropping a day
//! of tasks is dropping a folder of blobs.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::{ObjectStore, ObjectStoreExt as _, local::LocalFileSystem, path::Path as Key};
use sha2::{Digest as _, Sha256};
use windlass_model::code::BlobRef;

use crate::error::StoreError;
use crate::types::Partition;

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

    /// Keeps `content`, durable after `Ok`. The same content twice is kept once.
    pub async fn put(&self, area: Area, content: Bytes) -> Result<BlobRef, StoreError> {
        let blob =
            BlobRef { sha256: hex::encode(Sha256::digest(&content)), size_bytes: content.len() as u64 };
        let key = key(area, &blob.sha256);
        match self.store.head(&key).await {
            Ok(meta) if meta.size == blob.size_bytes => {}
            _ => {
                self.store.put(&key, content.into()).await.map_err(|e| failed(&e))?;
            }
        }
        Ok(blob)
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
                let locations = self.store.list(Some(&day)).map_ok(|meta| meta.location);
                let keys: Vec<Key> = locations.try_collect().await.map_err(|e| failed(&e))?;
                for key in keys {
                    self.store.delete(&key).await.map_err(|e| failed(&e))?;
                }
            }
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_blob_is_found_by_its_hash_until_its_day_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::local(folder.path()).unwrap();
        let (old, new) = (Area::Tasks(Partition(1)), Area::Tasks(Partition(2)));
        let blob = blobs.put(old, Bytes::from_static(b"log")).await.unwrap();
        blobs.put(new, Bytes::from_static(b"log")).await.unwrap();
        blobs.put(Area::Packages, Bytes::from_static(b"log")).await.unwrap();
        assert_eq!(blobs.get(old, &blob.sha256).await.unwrap().unwrap(), "log");
        blobs.prune(&[Partition(2)], Partition(9)).await.unwrap();
        assert!(blobs.get(old, &blob.sha256).await.unwrap().is_none());
        assert!(blobs.get(new, &blob.sha256).await.unwrap().is_some());
        assert!(blobs.get(Area::Packages, &blob.sha256).await.unwrap().is_some());
    }
}
