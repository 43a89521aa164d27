//! Answers that wait to be taken: all of them together have a budget. A log may be large and its reader slow, and many
//! such readers would otherwise hold as much memory as they like.

use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::app::BODY_UNIT;
use crate::error::ApiError;

/// The budget.
#[derive(Debug)]
pub(crate) struct Answers {
    room: Arc<Semaphore>,
    units: usize,
}

/// Bytes with their part of the budget, which is given back when the last of them has been sent.
struct Held {
    bytes: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Answers {
    /// A budget of so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let units = (bytes / BODY_UNIT).max(1);
        Self { room: Arc::new(Semaphore::new(units)), units }
    }

    /// The same bytes, which hold a part of the budget until they are sent. Small ones need none.
    ///
    /// # Errors
    /// 503 when too little is left: waiting with the answer in hand would be as bad.
    pub(crate) fn hold(&self, bytes: Bytes) -> Result<Bytes, ApiError> {
        if bytes.len() <= BODY_UNIT {
            return Ok(bytes);
        }
        // One that is larger than the budget has to have all of it.
        let units = bytes.len().div_ceil(BODY_UNIT).min(self.units);
        let permit = self.room.clone().try_acquire_many_owned(u32::try_from(units).unwrap_or(u32::MAX));
        let permit = permit.map_err(|_| ApiError::busy("too many large answers at once; try again"))?;
        Ok(Bytes::from_owner(Held { bytes, _permit: permit }))
    }

    /// The same for an answer that is whole. One that is made as it is sent holds its pieces itself.
    pub(crate) async fn hold_whole(&self, response: Response) -> Result<Response, ApiError> {
        let is_large = response.body().size_hint().exact().is_some_and(|size| size > BODY_UNIT as u64);
        if !is_large {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.map_err(|e| ApiError::internal(&e.to_string()))?.to_bytes();
        Ok(Response::from_parts(parts, Body::from(self.hold(bytes)?)))
    }
}
