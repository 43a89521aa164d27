//! What a runner and its spawner say to each other.
//!
//! Requests are frames: length (4 bytes, not counting itself), kind (1), then the fields; strings end in a zero byte.
//! Answers are records of one size. Numbers are in the machine's order: both ends are the same binary.

use std::ffi::CStr;

const SPAWN: u8 = 1;
const KILL: u8 = 2;

/// Most bytes of a request: the kernel itself takes no more than 2 MiB of arguments and environment.
pub(super) const MAX_FRAME: usize = 4 * 1024 * 1024;

/// What the runner asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Request<'a> {
    /// Start a process. The write ends of its pipes, standard output first, travel beside the frame.
    Spawn { id: u64, program: &'a CStr, cwd: &'a CStr, argv: Vec<&'a CStr>, env: Vec<&'a CStr> },
    /// Send a signal to the group of a process that was started; one that waits is withdrawn. Signal 0 sends none, and
    /// asks for an answer: that it has started, or that it was withdrawn.
    Kill { id: u64, signal: i32 },
}

/// A request to start a process as a frame. The strings must not hold zero bytes.
pub(super) fn encode_spawn(id: u64, program: &str, cwd: &str, argv: &[String], env: &[String]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(2048);
    frame.extend_from_slice(&[0; 4]);
    frame.push(SPAWN);
    frame.extend_from_slice(&id.to_ne_bytes());
    frame.extend_from_slice(&(argv.len() as u32).to_ne_bytes());
    frame.extend_from_slice(&(env.len() as u32).to_ne_bytes());
    let fixed = [program, cwd];
    for text in fixed.into_iter().chain(argv.iter().chain(env).map(String::as_str)) {
        frame.extend_from_slice(text.as_bytes());
        frame.push(0);
    }
    seal(frame)
}

/// A request to signal a process as a frame.
pub(super) fn encode_kill(id: u64, signal: i32) -> Vec<u8> {
    let mut frame = vec![0; 4];
    frame.push(KILL);
    frame.extend_from_slice(&id.to_ne_bytes());
    frame.extend_from_slice(&signal.to_ne_bytes());
    seal(frame)
}

fn seal(mut frame: Vec<u8>) -> Vec<u8> {
    let length = (frame.len() - 4) as u32;
    frame[..4].copy_from_slice(&length.to_ne_bytes());
    frame
}

/// The first frame in `bytes` without its length, and the length of all of it; `None` while it is not whole.
pub(super) fn frame(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Garbled> {
    let Some((head, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_ne_bytes(*head) as usize;
    if length > MAX_FRAME {
        return Err(Garbled);
    }
    Ok(rest.get(..length).map(|body| (body, length + 4)))
}

/// The bytes are no request.
#[derive(Debug, PartialEq)]
pub(super) struct Garbled;

/// The request in a frame.
pub(super) fn decode(frame: &[u8]) -> Result<Request<'_>, Garbled> {
    let mut rest = Reader(frame);
    match rest.take::<1>()?[0] {
        SPAWN => {
            let id = u64::from_ne_bytes(rest.take()?);
            let argc = u32::from_ne_bytes(rest.take()?);
            let envc = u32::from_ne_bytes(rest.take()?);
            Ok(Request::Spawn {
                id,
                program: rest.text()?,
                cwd: rest.text()?,
                argv: (0..argc).map(|_| rest.text()).collect::<Result<_, _>>()?,
                env: (0..envc).map(|_| rest.text()).collect::<Result<_, _>>()?,
            })
        }
        KILL => Ok(Request::Kill {
            id: u64::from_ne_bytes(rest.take()?),
            signal: i32::from_ne_bytes(rest.take()?),
        }),
        _ => Err(Garbled),
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Garbled> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Garbled)?;
        self.0 = rest;
        Ok(*head)
    }

    fn text(&mut self) -> Result<&'a CStr, Garbled> {
        let text = CStr::from_bytes_until_nul(self.0).map_err(|_| Garbled)?;
        self.0 = &self.0[text.to_bytes_with_nul().len()..];
        Ok(text)
    }
}

/// Where the start of a process failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// No process could be made.
    Fork,
    /// Its surroundings could not be set up.
    Prepare,
    /// Its working directory could not be entered.
    Enter,
    /// The program could not be run.
    Exec,
}

impl Step {
    const ALL: [Step; 4] = [Step::Fork, Step::Prepare, Step::Enter, Step::Exec];
}

/// What the spawner tells of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// It runs, since so long: told of one that had to wait, or where asked.
    Started { since_us: u64 },
    /// It is over.
    Ended(End),
}

/// What became of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It ran and is over, and so is everything it left behind.
    Exited {
        /// As `wait` has it.
        status: i32,
        /// From its start to its end.
        wall_us: u64,
        /// Processor time in user mode.
        user_us: u64,
        /// Processor time in the kernel.
        system_us: u64,
        /// Most memory of any one process.
        peak_memory_bytes: u64,
    },
    /// It could not be started.
    Failed {
        /// At which step.
        step: Step,
        /// Why.
        errno: i32,
    },
    /// It was withdrawn before it started.
    Withdrawn,
}

/// Bytes of one answer.
pub(super) const RECORD: usize = 56;

const EXITED: u64 = 0;
const FAILED: u64 = 1;
const WITHDRAWN: u64 = FAILED + Step::ALL.len() as u64;
const STARTED: u64 = WITHDRAWN + 1;

/// An answer as a record.
pub(super) fn encode_word(id: u64, word: Word) -> [u8; RECORD] {
    let words = match word {
        Word::Ended(End::Exited { status, wall_us, user_us, system_us, peak_memory_bytes }) => {
            [id, EXITED, u64::from(status.cast_unsigned()), wall_us, user_us, system_us, peak_memory_bytes]
        }
        Word::Ended(End::Failed { step, errno }) => {
            [id, FAILED + step as u64, u64::from(errno.cast_unsigned()), 0, 0, 0, 0]
        }
        Word::Ended(End::Withdrawn) => [id, WITHDRAWN, 0, 0, 0, 0, 0],
        Word::Started { since_us } => [id, STARTED, 0, since_us, 0, 0, 0],
    };
    let mut record = [0; RECORD];
    for (place, word) in record.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
    record
}

/// The answer in a record.
pub(super) fn decode_word(record: &[u8; RECORD]) -> (u64, Word) {
    let mut words = [0; RECORD / 8];
    for (word, bytes) in words.iter_mut().zip(record.as_chunks::<8>().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    let [id, kind, code, wall_us, user_us, system_us, peak_memory_bytes] = words;
    let code = (code as u32).cast_signed();
    let step = kind.checked_sub(FAILED).and_then(|step| Step::ALL.get(step as usize));
    let word = match (kind, step) {
        (_, Some(&step)) => Word::Ended(End::Failed { step, errno: code }),
        (WITHDRAWN, _) => Word::Ended(End::Withdrawn),
        (STARTED, _) => Word::Started { since_us: wall_us },
        _ => Word::Ended(End::Exited { status: code, wall_us, user_us, system_us, peak_memory_bytes }),
    };
    (id, word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_survives_its_frame() {
        let (argv, env) = (["sh".to_owned(), String::new()], ["A=1".to_owned()]);
        let bytes = encode_spawn(7, "/bin/sh", "/tmp", &argv, &env);
        let (body, length) = frame(&bytes).unwrap().unwrap();
        assert_eq!(length, bytes.len());
        let expected = Request::Spawn {
            id: 7,
            program: c"/bin/sh",
            cwd: c"/tmp",
            argv: vec![c"sh", c""],
            env: vec![c"A=1"],
        };
        assert_eq!(decode(body), Ok(expected));
        assert_eq!(frame(&bytes[..length - 1]), Ok(None));
        let kill = encode_kill(7, 15);
        assert_eq!(decode(&kill[4..]), Ok(Request::Kill { id: 7, signal: 15 }));
    }

    #[test]
    fn an_answer_survives_its_record() {
        let exited =
            End::Exited { status: -1, wall_us: u64::MAX, user_us: 2, system_us: 3, peak_memory_bytes: 4 };
        let failed = Step::ALL.map(|step| End::Failed { step, errno: 13 });
        let ends = failed.into_iter().chain([exited, End::Withdrawn]).map(Word::Ended);
        for word in ends.chain([Word::Started { since_us: 7 }]) {
            assert_eq!(decode_word(&encode_word(9, word)), (9, word));
        }
    }

    proptest! {
        #[test]
        fn garbage_is_an_error_not_a_panic(bytes: Vec<u8>) {
            let _ = frame(&bytes);
            let _ = decode(&bytes);
        }
    }
}
