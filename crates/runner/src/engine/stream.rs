//! The output of a container as the API sends it: pieces of both streams, each after a head of eight bytes. Pure.

use windlass_model::log::Stream;

/// Bytes of a head: the stream, three zeros, and the length of what follows.
const HEAD: usize = 8;

/// Takes output apart as it comes, wherever it is cut.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    head: Vec<u8>,
    /// Of the piece that has begun: its stream, and how much of it is to come.
    piece: Option<(Stream, usize)>,
}

impl Pieces {
    /// Hands out what is in the next bytes. Nothing is kept but the part of a head.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut take: impl FnMut(Stream, &[u8])) {
        while !bytes.is_empty() {
            match self.piece {
                Some((stream, left)) => {
                    let (now, later) = bytes.split_at(left.min(bytes.len()));
                    take(stream, now);
                    bytes = later;
                    self.piece = (left > now.len()).then_some((stream, left - now.len()));
                }
                None => {
                    let (now, later) = bytes.split_at((HEAD - self.head.len()).min(bytes.len()));
                    self.head.extend_from_slice(now);
                    bytes = later;
                    if let [stream, _, _, _, a, b, c, d] = self.head[..] {
                        let length = u32::from_be_bytes([a, b, c, d]) as usize;
                        let stream = if stream == 2 { Stream::Stderr } else { Stream::Stdout };
                        self.piece = (length > 0).then_some((stream, length));
                        self.head.clear();
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(stream: u8, text: &str) -> Vec<u8> {
        let mut bytes = vec![stream, 0, 0, 0];
        bytes.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }

    #[test]
    fn output_is_the_same_wherever_it_is_cut() {
        let sent = [piece(1, "one "), piece(2, "oops"), piece(1, ""), piece(1, "two")].concat();
        for cut in 1..sent.len() {
            let (mut pieces, mut out, mut err) = (Pieces::default(), Vec::new(), Vec::new());
            for part in sent.chunks(cut) {
                pieces.push(part, |stream, bytes| match stream {
                    Stream::Stderr => err.extend_from_slice(bytes),
                    _ => out.extend_from_slice(bytes),
                });
            }
            assert_eq!((out.as_slice(), err.as_slice()), (&b"one two"[..], &b"oops"[..]), "cut at {cut}");
        }
    }
}
