//! How both databases write what they have no type for.

use serde::Serialize;
use windlass_model::id::{Id, Seq};
use windlass_model::task::{Priority, Status};

/// Bytes of an id.
pub(crate) const ID_BYTES: usize = 12;

/// An id in bytes that sort as the id does.
pub(crate) fn id_to_bytes(id: Id) -> [u8; ID_BYTES] {
    let mut bytes = [0; ID_BYTES];
    bytes[..8].copy_from_slice(&id.seq.0.to_be_bytes());
    bytes[8..].copy_from_slice(&id.tag.to_be_bytes());
    bytes
}

/// The id that the bytes were made of.
pub(crate) fn id_from_bytes(bytes: [u8; ID_BYTES]) -> Id {
    let [a, b, c, d, e, f, g, h, tag @ ..] = bytes;
    let seq = Seq(i64::from_be_bytes([a, b, c, d, e, f, g, h]));
    Id { seq, tag: u32::from_be_bytes(tag) }
}

/// `value` as JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("the model's types have string keys and no failing serializers")
}

/// A number of the model in a column: databases have no unsigned ones.
pub(crate) fn int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A status by its number.
pub(crate) fn status(n: usize) -> Status {
    Status::ALL.get(n).copied().unwrap_or(Status::Queued)
}

/// The place of a status in rows.
pub(crate) fn status_number(status: Status) -> u8 {
    status as u8
}

/// The final statuses in the order of their columns.
pub(crate) const FINAL: [Status; 5] =
    [Status::Complete, Status::Error, Status::Timeout, Status::Cancelled, Status::Killed];

/// What rows have as `prank`: one ascending scan gives the highest priority first.
pub(crate) fn prank(priority: Priority) -> u8 {
    2 - priority.get().min(2)
}
