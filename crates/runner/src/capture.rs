//! The output of an attempt as numbered chunks, bounded whatever the task writes.
//!
//! Up to the cap everything is kept. Beyond it, three quarters of the cap are from the start and a quarter is from the
//! end, where errors are, with a note of the platform's between them that says how much was left out. The start is
//! handed out as it comes, so it can be shown live; the end when the task has ended.
//!
//! A chunk costs more than its bytes: a task that writes a byte here and a byte there would fill the memory with them.
//! So each counts as some bytes more against the cap, once there are more than a few.
//!
//! The order between the two streams is the order of reading, which is close to that of writing but no proof of it.

use std::collections::VecDeque;

use windlass_model::bytes::Bytes;
use windlass_model::log::{LogChunk, Stream};

/// Most bytes of a chunk.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// A pause in the output after which a new chunk begins, so that its time is right.
const PAUSE_MS: u32 = 50;

/// Most bytes of the end of standard error that go with a report.
const STDERR_TAIL_BYTES: usize = 4096;

/// What a chunk takes of memory beside its bytes: its own fields, and what an allocation costs.
const CHUNK_COST: usize = 96;

/// Chunks that count as nothing but their bytes, so that a small cap is exact for ordinary output.
const FREE_CHUNKS: usize = 64;

/// Collects the output of one attempt. Holds what was not taken yet, and at most the cap; what its chunks take beside
/// their bytes is within the cap.
#[derive(Debug)]
pub struct Capture {
    head_cap: usize,
    head_bytes: usize,
    /// Something did not fit: what follows is not of the start, however short it is.
    head_is_full: bool,
    tail_cap: usize,
    next: u32,
    ready: Vec<LogChunk>,
    ready_bytes: usize,
    tail: VecDeque<(Stream, u32, Vec<u8>)>,
    tail_bytes: usize,
    left_out: u64,
    stderr_tail: VecDeque<u8>,
    stderr_bytes: u64,
}

impl Capture {
    /// A capture that keeps `cap` bytes.
    pub fn new(cap: usize) -> Self {
        let tail_cap = cap / 4;
        Self {
            head_cap: cap - tail_cap,
            head_bytes: 0,
            head_is_full: false,
            tail_cap,
            next: 1,
            ready: Vec::new(),
            ready_bytes: 0,
            tail: VecDeque::new(),
            tail_bytes: 0,
            left_out: 0,
            stderr_tail: VecDeque::new(),
            stderr_bytes: 0,
        }
    }

    /// Takes in what was read from `stream`, `at_ms` after the start of the attempt.
    pub fn push(&mut self, stream: Stream, at_ms: u32, bytes: &[u8]) {
        if stream == Stream::Stderr {
            self.stderr_bytes += bytes.len() as u64;
            let end = &bytes[bytes.len().saturating_sub(STDERR_TAIL_BYTES)..];
            let excess = (self.stderr_tail.len() + end.len()).saturating_sub(STDERR_TAIL_BYTES);
            self.stderr_tail.drain(..excess);
            self.stderr_tail.extend(end);
        }
        let (head, tail) = bytes.split_at(bytes.len().min(self.head_room(stream, at_ms)));
        self.head_bytes += head.len();
        self.head_is_full |= !tail.is_empty();
        self.emit(stream, at_ms, head);
        self.push_tail(stream, at_ms, tail);
    }

    /// Bytes of this kind that the start still has room for.
    fn head_room(&self, stream: Stream, at_ms: u32) -> usize {
        let chunks = self.next as usize - usize::from(self.goes_on(stream, at_ms));
        match self.head_is_full {
            true => 0,
            false => self.head_cap.saturating_sub(self.head_bytes + cost(chunks)),
        }
    }

    /// Bytes that can be taken.
    pub fn ready_bytes(&self) -> usize {
        self.ready_bytes
    }

    /// The chunks since the last call, numbered on from those.
    pub fn take(&mut self) -> Vec<LogChunk> {
        self.ready_bytes = 0;
        std::mem::take(&mut self.ready)
    }

    /// Ends the output: returns what was not taken yet, with the end that was kept and the note of what was left out.
    /// `notes` are lines of the platform's own that follow.
    pub fn finish(mut self, at_ms: u32, notes: &[String]) -> Captured {
        if self.left_out > 0 {
            let note = format!("\n[windlass: {} bytes of output left out here]\n", self.left_out);
            self.emit(Stream::System, at_ms, note.as_bytes());
        }
        for (stream, at_ms, bytes) in std::mem::take(&mut self.tail) {
            self.emit(stream, at_ms, &bytes);
        }
        for note in notes {
            self.emit(Stream::System, at_ms, format!("[windlass: {note}]\n").as_bytes());
        }
        let stderr_tail = self.stderr_tail.make_contiguous();
        let is_cut = self.stderr_bytes > stderr_tail.len() as u64;
        let stderr_tail = if is_cut { whole_lines(stderr_tail) } else { stderr_tail };
        Captured { stderr_tail: stderr_tail.to_vec(), chunks: self.ready }
    }

    /// Whether such bytes belong into the last chunk, if it has room.
    fn goes_on(&self, stream: Stream, at_ms: u32) -> bool {
        let last = self.ready.last();
        last.is_some_and(|last| last.stream == stream && at_ms.saturating_sub(last.at_ms) < PAUSE_MS)
    }

    fn emit(&mut self, stream: Stream, at_ms: u32, mut bytes: &[u8]) {
        self.ready_bytes += bytes.len();
        if self.goes_on(stream, at_ms)
            && let Some(last) = self.ready.last_mut()
        {
            let room = CHUNK_BYTES - last.data.0.len().min(CHUNK_BYTES);
            let (fits, rest) = bytes.split_at(bytes.len().min(room));
            last.data.0.extend_from_slice(fits);
            bytes = rest;
        }
        for piece in bytes.chunks(CHUNK_BYTES) {
            self.ready.push(LogChunk { n: self.next, stream, at_ms, data: Bytes(piece.to_vec()) });
            self.next += 1;
        }
    }

    fn push_tail(&mut self, stream: Stream, at_ms: u32, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = &bytes[bytes.len().saturating_sub(self.tail_cap)..];
        self.left_out += (bytes.len() - end.len()) as u64;
        match self.tail.back_mut() {
            // Many small writes must not become many small allocations.
            Some((last, _, piece)) if *last == stream && piece.len() + end.len() <= CHUNK_BYTES => {
                piece.extend_from_slice(end);
            }
            _ => self.tail.push_back((stream, at_ms, end.to_vec())),
        }
        self.tail_bytes += end.len();
        while let excess @ 1.. = (self.tail_bytes + cost(self.tail.len())).saturating_sub(self.tail_cap) {
            let Some((_, _, oldest)) = self.tail.front_mut() else { break };
            let dropped = oldest.len().min(excess);
            if dropped == oldest.len() {
                self.tail.pop_front();
            } else {
                oldest.drain(..dropped);
            }
            self.tail_bytes -= dropped;
            self.left_out += dropped as u64;
        }
    }
}

/// What so many chunks count beside their bytes.
fn cost(chunks: usize) -> usize {
    chunks.saturating_sub(FREE_CHUNKS) * CHUNK_COST
}

/// What is left of a [`Capture`] when the attempt has ended.
#[derive(Debug, PartialEq)]
pub struct Captured {
    /// Chunks that were not taken before.
    pub chunks: Vec<LogChunk>,
    /// The end of standard error, at most 4 KiB; where it is cut, it begins with a line or at least a character.
    pub stderr_tail: Vec<u8>,
}

/// `bytes`, whose start was cut off, from the first start of a line, or of a character, on.
fn whole_lines(bytes: &[u8]) -> &[u8] {
    match bytes.iter().position(|&b| b == b'\n') {
        Some(end) if end + 1 < bytes.len() => &bytes[end + 1..],
        _ => {
            let start = bytes.iter().take(3).take_while(|&&b| b & 0xc0 == 0x80).count();
            &bytes[start..]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use windlass_model::log::text;

    fn all(mut capture: Capture, at_ms: u32) -> Vec<LogChunk> {
        let mut chunks = capture.take();
        chunks.extend(capture.finish(at_ms, &[]).chunks);
        chunks
    }

    #[test]
    fn a_chunk_ends_with_a_pause_or_another_stream_or_at_its_limit() {
        let mut capture = Capture::new(1 << 20);
        capture.push(Stream::Stdout, 0, b"a");
        capture.push(Stream::Stdout, 10, b"b");
        capture.push(Stream::Stderr, 10, b"c");
        capture.push(Stream::Stdout, 11, b"d");
        capture.push(Stream::Stdout, 11 + PAUSE_MS, b"e");
        capture.push(Stream::Stdout, 11 + PAUSE_MS, &[b'f'; CHUNK_BYTES]);
        let chunks = all(capture, 100);
        let lengths: Vec<_> = chunks.iter().map(|c| (c.n, c.data.0.len())).collect();
        assert_eq!(lengths, [(1, 2), (2, 1), (3, 1), (4, CHUNK_BYTES), (5, 1)]);
    }

    #[test]
    fn what_is_left_out_is_said_where_it_was() {
        let mut capture = Capture::new(8);
        capture.push(Stream::Stdout, 0, b"0123456789abcdef");
        let chunks = all(capture, 1);
        let expected = "012345\n[windlass: 8 bytes of output left out here]\nef";
        assert_eq!(String::from_utf8(text(&chunks, None)).unwrap(), expected);
    }

    #[test]
    fn many_small_writes_fill_no_more_memory_than_large_ones() {
        let cap = 1 << 20;
        let mut capture = Capture::new(cap);
        for n in 0..cap {
            capture.push(if n % 2 == 0 { Stream::Stdout } else { Stream::Stderr }, 0, b"x");
        }
        assert!(capture.tail.len() * CHUNK_COST <= cap / 4 + FREE_CHUNKS * CHUNK_COST);
        let chunks = all(capture, 0);
        let held: usize = chunks.iter().map(|chunk| chunk.data.0.len() + CHUNK_COST).sum();
        assert!((cap * 9 / 10..cap + 3 * FREE_CHUNKS * CHUNK_COST).contains(&held), "{held} of {cap}");
        assert!(
            chunks.iter().any(|chunk| chunk.stream == Stream::System),
            "that something is missing is said"
        );
    }

    #[test]
    fn the_tail_of_standard_error_begins_with_a_line_or_a_character() {
        let tail = |bytes: &[u8]| {
            let mut capture = Capture::new(0);
            capture.push(Stream::Stderr, 0, bytes);
            capture.finish(0, &[]).stderr_tail
        };
        assert_eq!(tail(b"short\nlines\n"), b"short\nlines\n");
        let lines = [vec![b'x'; 5000], b"\nlast line\n".to_vec()].concat();
        assert_eq!(tail(&lines), b"last line\n");
        let umlauts = "ä".repeat(5000) + "a";
        assert_eq!(tail(umlauts.as_bytes()), [&"ä".repeat(2047), "a"].concat().as_bytes());
    }

    proptest! {
        #[test]
        fn the_log_is_exact_below_the_cap_and_bounded_above(
            cap in 0usize..200,
            writes in proptest::collection::vec((any::<bool>(), 0u32..200, proptest::collection::vec(any::<u8>(), 0..60), any::<bool>()), 0..20),
        ) {
            let mut capture = Capture::new(cap);
            let (mut written, mut now, mut chunks) = (Vec::new(), 0, Vec::new());
            for (is_err, pause, bytes, take) in &writes {
                now += pause;
                let stream = if *is_err { Stream::Stderr } else { Stream::Stdout };
                capture.push(stream, now, bytes);
                written.extend_from_slice(bytes);
                if *take {
                    chunks.extend(capture.take());
                }
            }
            chunks.extend(capture.finish(now, &[]).chunks);
            prop_assert!(chunks.iter().map(|c| c.n).eq(1..=chunks.len() as u32));
            let kept: Vec<u8> = chunks.iter().filter(|c| c.stream != Stream::System).flat_map(|c| c.data.0.clone()).collect();
            if written.len() <= cap {
                prop_assert_eq!(kept, written);
            } else {
                let (head, tail) = (cap - cap / 4, cap / 4);
                prop_assert_eq!(kept, [&written[..head], &written[written.len() - tail..]].concat());
                let note = format!("{} bytes", written.len() - cap);
                let said = chunks.iter().any(|c| c.stream == Stream::System && String::from_utf8_lossy(&c.data.0).contains(&note));
                prop_assert!(said);
            }
        }
    }
}
