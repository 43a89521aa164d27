//! A log is a sequence of numbered chunks; kept whole, it is one byte string of framed chunks.

use serde::{Deserialize, Serialize};

use crate::bytes::Bytes;

/// Which of the task's outputs a chunk came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output: the only part of `outlog`.
    Stdout,
    /// Standard error.
    Stderr,
    /// A line of the platform's own, such as the note that output was left out.
    System,
}

/// Some bytes of a task's output, as they were read, in the order they were read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogChunk {
    /// Place in the log of its attempt, from 1 and without gaps. Writing the same number twice writes once.
    pub n: u32,
    /// Where it came from.
    pub stream: Stream,
    /// Milliseconds since the attempt started.
    pub at_ms: u32,
    /// Exactly the bytes written; a chunk may end within a line or a character.
    pub data: Bytes,
}

const HEADER: usize = 13;

/// The chunks as one byte string: per chunk number (4 bytes), milliseconds (4), stream (1), length (4), then the
/// bytes; numbers are big-endian.
pub fn encode(chunks: &[LogChunk]) -> Vec<u8> {
    let size = chunks.iter().map(|c| HEADER + c.data.0.len()).sum();
    let mut out = Vec::with_capacity(size);
    for chunk in chunks {
        out.extend_from_slice(&chunk.n.to_be_bytes());
        out.extend_from_slice(&chunk.at_ms.to_be_bytes());
        out.push(match chunk.stream {
            Stream::Stdout => 1,
            Stream::Stderr => 2,
            Stream::System => 3,
        });
        out.extend_from_slice(&u32::try_from(chunk.data.0.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(&chunk.data.0);
    }
    out
}

/// The bytes are not what [`encode`] made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log frame is damaged at byte {at}")]
pub struct DamagedLog {
    /// Offset of the frame that could not be read.
    pub at: usize,
}

/// The chunks that [`encode`] made `bytes` from.
pub fn decode(bytes: &[u8]) -> Result<Vec<LogChunk>, DamagedLog> {
    let mut chunks = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let damaged = DamagedLog { at };
        let word = |from: usize| -> Result<u32, DamagedLog> {
            let four = bytes.get(from..from + 4).and_then(|b| <[u8; 4]>::try_from(b).ok()).ok_or(damaged)?;
            Ok(u32::from_be_bytes(four))
        };
        let (n, at_ms, length) = (word(at)?, word(at + 4)?, word(at + 9)? as usize);
        let stream = match bytes[at + 8] {
            1 => Stream::Stdout,
            2 => Stream::Stderr,
            3 => Stream::System,
            _ => return Err(damaged),
        };
        let data = bytes.get(at + HEADER..at + HEADER + length).ok_or(damaged)?;
        chunks.push(LogChunk { n, stream, at_ms, data: Bytes(data.to_vec()) });
        at += HEADER + length;
    }
    Ok(chunks)
}

/// The plain text of a log: every byte written, in order; of one stream only when `only` names it.
pub fn text(chunks: &[LogChunk], only: Option<Stream>) -> Vec<u8> {
    let wanted = chunks.iter().filter(|c| only.is_none_or(|s| s == c.stream));
    wanted.flat_map(|c| c.data.0.iter().copied()).collect()
}

/// Bytes of output in the chunks.
pub fn size_bytes(chunks: &[LogChunk]) -> u64 {
    chunks.iter().map(|c| c.data.0.len() as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunk() -> impl Strategy<Value = LogChunk> {
        let stream = prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr), Just(Stream::System)];
        (any::<u32>(), stream, any::<u32>(), any::<Vec<u8>>()).prop_map(|(n, stream, at_ms, data)| LogChunk {
            n,
            stream,
            at_ms,
            data: Bytes(data),
        })
    }

    proptest! {
        #[test]
        fn decode_undoes_encode(chunks in proptest::collection::vec(chunk(), 0..8)) {
            prop_assert_eq!(decode(&encode(&chunks)).unwrap(), chunks);
        }

        #[test]
        fn damage_is_an_error_not_a_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }
    }
}
