//! What a runner and its spawner say to each other.
//!
//! Requests are frames: length (4 bytes, not counting itself), kind (1), then the fields; strings end in a zero byte.
//! Answers are records of one size. Numbers are in the machine's order: both ends are the same binary.
//!
//! A spawner that is to live in a sandbox is told so first: a frame with what to make, as JSON, which is answered by a
//! frame with what there is then, or why it cannot be made. That happens once.

use std::ffi::CStr;

use windlass_model::limits::{Limits, Network};

use crate::sandbox::cgroup::Gaps;

const SPAWN: u8 = 1;
const KILL: u8 = 2;
const SETUP: u8 = 3;

/// Most bytes of a request: the kernel itself takes no more than 2 MiB of arguments and environment; the rest is for the
/// files that a task gets.
pub(super) const MAX_FRAME: usize = 64 * 1024 * 1024;

/// What the runner asks for.
#[derive(Debug, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, most are the largest, and none is moved about"
)]
pub(super) enum Request<'a> {
    /// Start a process. The write ends of its pipes, standard output first, travel beside the frame.
    Spawn {
        id: u64,
        program: &'a CStr,
        cwd: &'a CStr,
        argv: Vec<&'a CStr>,
        env: Vec<&'a CStr>,
        /// What the process finds in its sandbox; to be left out by whoever has none.
        inside: Option<Inside<'a>>,
    },
    /// Send a signal to the group of a process that was started; one that waits is withdrawn. Signal 0 sends none, and
    /// asks for an answer: that it has started, or that it was withdrawn.
    Kill { id: u64, signal: i32 },
    /// Make a sandbox and live in it.
    Setup(&'a [u8]),
}

/// What a task finds in its sandbox.
#[derive(Debug, PartialEq)]
pub(super) struct Inside<'a> {
    /// The folder of its package among the packages; empty: it has none.
    pub(super) package: &'a CStr,
    /// The folders of its image's layers among the packages, the highest first; empty: it sees the host's programs.
    pub(super) image: Vec<&'a CStr>,
    /// How its directory comes to hold the package.
    pub(super) view: View<'a>,
    /// A file of the package to be made executable, for a view that is no copy.
    pub(super) executable: Option<&'a CStr>,
    /// Files to be written into its directory: name and content.
    pub(super) files: Vec<(&'a CStr, &'a [u8])>,
    /// Whom it may talk to.
    pub(super) network: Network,
    /// What it may take.
    pub(super) limits: Limits,
}

/// How a task's directory comes to hold its package.
#[derive(Debug, PartialEq)]
pub(super) enum View<'a> {
    /// These files are copied: name, in the order of names, and mode.
    Copy(Vec<(&'a CStr, u32)>),
    /// The package shines through where nothing was changed.
    Overlay,
}

/// The same for whoever asks.
#[derive(Debug)]
pub(crate) struct Contents<'a> {
    /// As [`Inside::package`].
    pub(crate) package: &'a str,
    /// As [`Inside::image`].
    pub(crate) image: &'a [String],
    /// As [`View::Copy`]; none: [`View::Overlay`].
    pub(crate) copy: Option<&'a [(String, u32)]>,
    /// As [`Inside::executable`].
    pub(crate) executable: Option<&'a str>,
    /// As [`Inside::files`].
    pub(crate) files: &'a [(&'static str, Vec<u8>)],
    /// As [`Inside::network`].
    pub(crate) network: Network,
    /// As [`Inside::limits`].
    pub(crate) limits: &'a Limits,
}

/// A request to start a process as a frame. The strings must not hold zero bytes.
pub(super) fn encode_spawn(
    id: u64,
    program: &str,
    cwd: &str,
    argv: &[String],
    env: &[String],
    contents: Option<&Contents<'_>>,
) -> Vec<u8> {
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
    match contents {
        Some(contents) => add(contents, &mut frame),
        None => frame.push(NOTHING),
    }
    seal(frame)
}

const NOTHING: u8 = 0;
const COPY: u8 = 1;
const OVERLAY: u8 = 2;

fn add(contents: &Contents<'_>, frame: &mut Vec<u8>) {
    let text = |frame: &mut Vec<u8>, text: &str| {
        frame.extend_from_slice(text.as_bytes());
        frame.push(0);
    };
    frame.push(if contents.copy.is_some() { COPY } else { OVERLAY });
    text(frame, contents.package);
    frame.extend_from_slice(&(contents.image.len() as u32).to_ne_bytes());
    contents.image.iter().for_each(|layer| text(frame, layer));
    text(frame, contents.executable.unwrap_or_default());
    let copies = contents.copy.unwrap_or_default();
    frame.extend_from_slice(&(copies.len() as u32).to_ne_bytes());
    for (name, mode) in copies {
        text(frame, name);
        frame.extend_from_slice(&mode.to_ne_bytes());
    }
    frame.extend_from_slice(&(contents.files.len() as u32).to_ne_bytes());
    for (name, content) in contents.files {
        text(frame, name);
        frame.extend_from_slice(&(content.len() as u32).to_ne_bytes());
        frame.extend_from_slice(content);
    }
    frame.push(contents.network as u8);
    let Limits { memory_bytes, cpu_millis, processes, disk_bytes, open_files, output_bytes } =
        *contents.limits;
    let numbers =
        [memory_bytes, cpu_millis.into(), processes.into(), disk_bytes, open_files.into(), output_bytes];
    for number in numbers {
        frame.extend_from_slice(&number.to_ne_bytes());
    }
}

/// A request to make a sandbox as a frame.
pub(super) fn encode_setup(json: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 4];
    frame.push(SETUP);
    frame.extend_from_slice(json);
    seal(frame)
}

/// A frame that is no request: bytes, and nothing said of them.
pub(super) fn encode_answer(json: &[u8]) -> Vec<u8> {
    seal([&[0; 4], json].concat())
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
                inside: rest.inside()?,
            })
        }
        SETUP => Ok(Request::Setup(rest.0)),
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

    fn number(&mut self) -> Result<u32, Garbled> {
        self.take().map(u32::from_ne_bytes)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Garbled> {
        let length = self.number()? as usize;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Garbled)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn inside(&mut self) -> Result<Option<Inside<'a>>, Garbled> {
        let [kind] = self.take()?;
        if kind == NOTHING {
            return Ok(None);
        }
        let package = self.text()?;
        let layers = self.number()?;
        let image = (0..layers).map(|_| self.text()).collect::<Result<_, _>>()?;
        let executable = Some(self.text()?).filter(|name| !name.is_empty());
        let copies = self.number()?;
        let copies = (0..copies).map(|_| Ok((self.text()?, self.number()?))).collect::<Result<_, _>>()?;
        let files = self.number()?;
        let files = (0..files).map(|_| Ok((self.text()?, self.bytes()?))).collect::<Result<_, _>>()?;
        let [network] = self.take()?;
        let network = *Network::ALL.get(usize::from(network)).ok_or(Garbled)?;
        let mut numbers = [0; 6];
        for number in &mut numbers {
            *number = u64::from_ne_bytes(self.take()?);
        }
        let [memory_bytes, cpu_millis, processes, disk_bytes, open_files, output_bytes] = numbers;
        let count = |number| u32::try_from(number).map_err(|_| Garbled);
        let limits = Limits {
            memory_bytes,
            cpu_millis: count(cpu_millis)?,
            processes: count(processes)?,
            disk_bytes,
            open_files: count(open_files)?,
            output_bytes,
        };
        let view = if kind == COPY { View::Copy(copies) } else { View::Overlay };
        Ok(Some(Inside { package, image, view, executable, files, network, limits }))
    }
}

/// Where the start of a process failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// No process could be made.
    Fork,
    /// Its surroundings could not be set up.
    Prepare,
    /// Its file systems could not be mounted.
    Mount,
    /// Its files could not be written.
    Fill,
    /// Its working directory could not be entered.
    Enter,
    /// It could not be confined.
    Confine,
    /// The program could not be run.
    Exec,
}

impl Step {
    pub(super) const ALL: [Step; 7] =
        [Step::Fork, Step::Prepare, Step::Mount, Step::Fill, Step::Enter, Step::Confine, Step::Exec];
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
    Exited(Exited),
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

/// How a process ran that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exited {
    /// As `wait` has it.
    pub(crate) status: i32,
    /// From its start to its end.
    pub(crate) wall_us: u64,
    /// Processor time in user mode.
    pub(crate) user_us: u64,
    /// Processor time in the kernel.
    pub(crate) system_us: u64,
    /// Most memory of any one process.
    pub(crate) peak_memory_bytes: u64,
    /// What came of its result, if it ran in a sandbox.
    pub(crate) result: Left,
    /// What of it was killed for want of memory.
    pub(crate) memory: Memory,
    /// Limits that did not hold for it.
    pub(crate) gaps: Gaps,
}

/// What was killed for want of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// So many processes.
    pub(crate) oom_kills: u32,
    /// The most that all processes used together, if any was killed.
    pub(crate) oom_peak_bytes: u64,
}

/// What a task in a sandbox left as its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing.
    Nothing,
    /// A file, whose descriptor travels beside the answer.
    File,
    /// Something that cannot be read, for this reason.
    Unreadable(i32),
}

impl Left {
    fn encode(self) -> u32 {
        match self {
            Left::Nothing => 0,
            Left::File => u32::MAX,
            Left::Unreadable(errno) => errno.cast_unsigned(),
        }
    }

    fn decode(number: u32) -> Self {
        match number {
            0 => Left::Nothing,
            u32::MAX => Left::File,
            errno => Left::Unreadable(errno.cast_signed()),
        }
    }
}

/// Bytes of one answer.
pub(super) const RECORD: usize = 72;

const EXITED: u64 = 0;
const FAILED: u64 = 1;
const WITHDRAWN: u64 = FAILED + Step::ALL.len() as u64;
const STARTED: u64 = WITHDRAWN + 1;

/// An answer as a record.
pub(super) fn encode_word(id: u64, word: Word) -> [u8; RECORD] {
    let words = match word {
        Word::Ended(End::Exited(exited)) => {
            let Exited { status, wall_us, user_us, system_us, peak_memory_bytes, result, memory, gaps } =
                exited;
            let code = u64::from(status.cast_unsigned()) | u64::from(result.encode()) << 32;
            let limits = u64::from(memory.oom_kills) | u64::from(gaps.0) << 32;
            let peaks = [peak_memory_bytes, memory.oom_peak_bytes];
            [id, EXITED, code, wall_us, user_us, system_us, peaks[0], peaks[1], limits]
        }
        Word::Ended(End::Failed { step, errno }) => {
            [id, FAILED + step as u64, u64::from(errno.cast_unsigned()), 0, 0, 0, 0, 0, 0]
        }
        Word::Ended(End::Withdrawn) => [id, WITHDRAWN, 0, 0, 0, 0, 0, 0, 0],
        Word::Started { since_us } => [id, STARTED, 0, since_us, 0, 0, 0, 0, 0],
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
    let [id, kind, code, wall_us, user_us, system_us, peak_memory_bytes, oom_peak_bytes, limits] = words;
    let result = Left::decode((code >> 32) as u32);
    let code = (code as u32).cast_signed();
    let step = kind.checked_sub(FAILED).and_then(|step| Step::ALL.get(step as usize));
    let word = match (kind, step) {
        (_, Some(&step)) => Word::Ended(End::Failed { step, errno: code }),
        (WITHDRAWN, _) => Word::Ended(End::Withdrawn),
        (STARTED, _) => Word::Started { since_us: wall_us },
        _ => {
            let memory = Memory { oom_kills: limits as u32, oom_peak_bytes };
            let (status, gaps) = (code, Gaps((limits >> 32) as u8));
            Word::Ended(End::Exited(Exited {
                status,
                wall_us,
                user_us,
                system_us,
                peak_memory_bytes,
                result,
                memory,
                gaps,
            }))
        }
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
        let copy = [("a/b".to_owned(), 0o755)];
        let files = [("__payload__", vec![0, 1])];
        let layers = ["layer-2", "layer-1"].map(str::to_owned);
        let (network, limits) = (Network::Host, Limits::DEFAULT);
        let of = |copy, executable| Contents {
            package: "hash",
            image: &layers,
            copy,
            executable,
            files: &files,
            network,
            limits: &limits,
        };
        for contents in [None, Some(of(Some(&copy[..]), None)), Some(of(None, Some("x")))] {
            let bytes = encode_spawn(7, "/bin/sh", "/tmp", &argv, &env, contents.as_ref());
            let (body, length) = frame(&bytes).unwrap().unwrap();
            assert_eq!(length, bytes.len());
            let inside = contents.map(|contents| Inside {
                package: c"hash",
                image: vec![c"layer-2", c"layer-1"],
                view: contents.copy.map_or(View::Overlay, |_| View::Copy(vec![(c"a/b", 0o755)])),
                executable: contents.executable.map(|_| c"x"),
                files: vec![(c"__payload__", &[0, 1][..])],
                network,
                limits,
            });
            let expected = Request::Spawn {
                id: 7,
                program: c"/bin/sh",
                cwd: c"/tmp",
                argv: vec![c"sh", c""],
                env: vec![c"A=1"],
                inside,
            };
            assert_eq!(decode(body), Ok(expected));
            assert_eq!(frame(&bytes[..length - 1]), Ok(None));
        }
        let setup = encode_setup(b"{}");
        assert_eq!(decode(&setup[4..]), Ok(Request::Setup(b"{}")));
        let kill = encode_kill(7, 15);
        assert_eq!(decode(&kill[4..]), Ok(Request::Kill { id: 7, signal: 15 }));
    }

    #[test]
    fn an_answer_survives_its_record() {
        let exited = [Left::Nothing, Left::File, Left::Unreadable(40)].map(|result| {
            End::Exited(Exited {
                status: -1,
                wall_us: u64::MAX,
                user_us: 2,
                system_us: 3,
                peak_memory_bytes: 4,
                result,
                memory: Memory { oom_kills: 5, oom_peak_bytes: 6 },
                gaps: Gaps::CPU,
            })
        });
        let failed = Step::ALL.map(|step| End::Failed { step, errno: 13 });
        let ends = failed.into_iter().chain(exited).chain([End::Withdrawn]).map(Word::Ended);
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
