//! Everything that one place keeps, into another.

use std::io;

use futures::TryStreamExt as _;
use object_store::{ObjectMeta, ObjectStoreExt as _};
use sha2::{Digest as _, Sha256};
use tokio_util::io::StreamReader;

use super::{Blobs, failed};
use crate::error::StoreError;

/// What was copied, or was there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Blobs {
    /// Keeps in `to` whatever is kept here. What is there already is left, so a copy that was cut off goes on. `tell` is
    /// told what was done so far.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] for a blob whose content is not what its name says.
    pub async fn copy_to(
        &self,
        to: &Blobs,
        mut tell: impl FnMut(Copied) + Send,
    ) -> Result<Copied, StoreError> {
        let mut all = self.store.list(None);
        let mut copied = Copied::default();
        while let Some(blob) = all.try_next().await.map_err(|e| failed(&e))? {
            let Some(sha256) = blob.location.filename().filter(|name| is_hash(name)) else { continue };
            if !to.has(&blob.location, blob.size).await {
                self.check(&blob, sha256).await?;
                let content = self.store.get(&blob.location).await.map_err(|e| failed(&e))?;
                let mut content = StreamReader::new(content.into_stream().map_err(io::Error::other));
                to.keep(&blob.location, blob.size, &mut content).await?;
            }
            copied.blobs += 1;
            copied.bytes += blob.size;
            tell(copied);
        }
        Ok(copied)
    }

    async fn check(&self, blob: &ObjectMeta, sha256: &str) -> Result<(), StoreError> {
        let mut content = self.store.get(&blob.location).await.map_err(|e| failed(&e))?.into_stream();
        let mut hash = Sha256::new();
        while let Some(piece) = content.try_next().await.map_err(|e| failed(&e))? {
            hash.update(&piece);
        }
        if hex::encode(hash.finalize()) == sha256 {
            return Ok(());
        }
        Err(StoreError::Damaged(format!(
            "the content of the blob {} is not what its name says",
            blob.location
        )))
    }
}

/// Whether it is the name of a blob. Whatever else somebody put there is not ours.
fn is_hash(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}
