//! Unpacking in a process that can do nothing else: whatever a zip makes of it, the runner is not it.
//!
//! It begins with the zip open and the new folder as its directory, gives up everything else, and answers with the list
//! of files. Root becomes a user that has no other process.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, getegid, geteuid, setgroups, setresgid, setresuid};
use serde::{Deserialize, Serialize};
use windlass_model::package::path_of;

use super::layer::{self, Layer};
use super::{UnpackError, Unpacked, fill, unusable};
use crate::config::SpawnerCommand;
use crate::sandbox::confinement::Confinement;
use crate::sandbox::{Policy, SandboxConfig};

/// The arguments of the spawner's program that make it unpack a zip or a layer; then the limit of bytes, and the user or
/// a dash.
const ZIP: &str = "unpack";
const LAYER: &str = "unpack-layer";

/// Memory that unpacking a layer may take: a tar names files in pieces of any length, and a decoder looks far back.
const LAYER_MEMORY: u64 = 1 << 30;

/// Most bytes of an answer: the longest names of the most files.
const MAX_ANSWER: u64 = 256 << 20;

/// Processor time that it may take, in seconds: much more than the largest zip needs.
const PATIENCE: u64 = 600;

/// Where zips are unpacked.
#[derive(Clone, Debug)]
pub(crate) enum Unpacker {
    /// In this process: for who isolates nothing.
    Here,
    /// In one of its own.
    Apart {
        /// How it is started.
        program: SpawnerCommand,
        /// The user that it becomes; none: it stays ours.
        user: Option<u32>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer<T> {
    Done(T),
    Unusable(String),
    Failed(String),
}

impl Unpacker {
    /// As far apart as `config` says.
    pub(crate) fn new(config: &SandboxConfig, program: &SpawnerCommand) -> Self {
        match config.policy {
            Policy::Off => Unpacker::Here,
            Policy::Degrade | Policy::Require => {
                // Nobody's: those of slots begin with the next.
                let user = geteuid().is_root().then_some(config.first_uid.saturating_sub(1));
                Unpacker::Apart { program: program.clone(), user }
            }
        }
    }

    /// As [`super::unpack`].
    pub(crate) fn unpack(
        &self,
        zip: File,
        into: &Path,
        limit_bytes: u64,
    ) -> Result<Vec<Unpacked>, UnpackError> {
        let Unpacker::Apart { program, user } = self else { return super::unpack(&zip, into, limit_bytes) };
        let files: Vec<Unpacked> = ask(program, *user, ZIP, zip, into, limit_bytes)?;
        // It read the zip, so it is not believed.
        let is_good = |file: &Unpacked| path_of(&file.name).is_ok_and(|path| path == file.name);
        if !files.iter().all(is_good) {
            return Err(unusable("a name leads out of it".to_owned()));
        }
        Ok(files)
    }

    /// Unpacks the layer of an image into the new folder `into`. What it hides is hidden. Returns its size in bytes, and
    /// the SHA-256 of its tar in hexadecimal.
    pub(crate) fn unpack_layer(
        &self,
        tar: File,
        into: &Path,
        limit_bytes: u64,
    ) -> Result<(u64, String), UnpackError> {
        let Layer { size_bytes, diff_id, hidden } = match self {
            Unpacker::Here => {
                fs::create_dir(into)?;
                layer::fill(tar, &File::open(into)?, limit_bytes)?
            }
            Unpacker::Apart { program, user } => ask(program, *user, LAYER, tar, into, limit_bytes)?,
        };
        layer::hide(&File::open(into)?, &hidden)?;
        Ok((size_bytes, diff_id))
    }
}

/// Has another process unpack `file`, and takes over what it made.
fn ask<T: for<'de> Deserialize<'de>>(
    program: &SpawnerCommand,
    user: Option<u32>,
    word: &str,
    file: File,
    into: &Path,
    limit_bytes: u64,
) -> Result<T, UnpackError> {
    fs::create_dir(into)?;
    std::os::unix::fs::chown(into, user, user)?;
    let mut child = Command::new(&program.program)
        .args(&program.args)
        .args([word, &limit_bytes.to_string(), &user.map_or("-".to_owned(), |user| user.to_string())])
        .env_clear()
        .current_dir(into)
        .stdin(file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut answer = Vec::new();
    let read = child.stdout.take().map(|pipe| pipe.take(MAX_ANSWER).read_to_end(&mut answer));
    let status = child.wait()?;
    read.transpose()?;
    match serde_json::from_slice(&answer) {
        Ok(Answer::Done(done)) => {
            if user.is_some() {
                take_over(into)?;
            }
            Ok(done)
        }
        Ok(Answer::Unusable(why)) => Err(unusable(why)),
        Ok(Answer::Failed(why)) => Err(io::Error::other(why).into()),
        // The system or a person ended it.
        Err(_) if matches!(status.signal(), Some(libc::SIGKILL | libc::SIGTERM)) => {
            Err(io::Error::other(format!("the process that unpacks was ended: {status}")).into())
        }
        Err(_) => Err(unusable(format!("unpacking it failed: {status}"))),
    }
}

/// Makes `folder` and all below it ours: whoever unpacked it has no more to do with it.
fn take_over(folder: &Path) -> io::Result<()> {
    let us = (Some(geteuid().as_raw()), Some(getegid().as_raw()));
    std::os::unix::fs::lchown(folder, us.0, us.1)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_dir() => take_over(&entry.path())?,
            _ => std::os::unix::fs::lchown(entry.path(), us.0, us.1)?,
        }
    }
    Ok(())
}

/// The process that unpacks, if `arguments` say so.
pub(crate) fn run(arguments: &[String]) -> Option<ExitCode> {
    let [.., word, limit, user] = arguments else { return None };
    let written = match word.as_str() {
        ZIP => tell(unpack(limit, user, Confinement::for_unpacking, |zip, limit| {
            fill(&zip, Path::new("."), limit)
        })),
        LAYER => {
            let memory = setrlimit(Resource::RLIMIT_AS, LAYER_MEMORY, LAYER_MEMORY);
            memory.map_err(io::Error::from).and_then(|()| {
                tell(unpack(limit, user, Confinement::for_unpacking_layers, |tar, limit| {
                    layer::fill(tar, &File::open(".")?, limit)
                }))
            })
        }
        _ => return None,
    };
    Some(if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn unpack<T>(
    limit: &str,
    user: &str,
    confinement: impl FnOnce() -> nix::Result<Confinement>,
    fill: impl FnOnce(File, u64) -> Result<T, UnpackError>,
) -> Answer<T> {
    match (limit.parse(), io::stdin().as_fd().try_clone_to_owned(), confine(user, confinement)) {
        (Ok(limit), Ok(file), Ok(())) => match fill(File::from(file), limit) {
            Ok(done) => Answer::Done(done),
            Err(UnpackError::Unusable(why)) => Answer::Unusable(why),
            Err(UnpackError::Io(error)) => Answer::Failed(error.to_string()),
        },
        (_, _, Err(error)) => Answer::Failed(format!("the process that unpacks cannot be confined: {error}")),
        _ => Answer::Failed("the process that unpacks was started in a wrong way".to_owned()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is made for this")]
fn tell<T: Serialize>(answer: Answer<T>) -> io::Result<()> {
    let answer = serde_json::to_vec(&answer).expect("names are text");
    io::stdout().write_all(&answer).and_then(|()| io::stdout().flush())
}

fn confine(user: &str, confinement: impl FnOnce() -> nix::Result<Confinement>) -> nix::Result<()> {
    // Before the capabilities go that it takes; this process has one thread.
    let confinement = confinement()?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    setrlimit(Resource::RLIMIT_CPU, PATIENCE, PATIENCE)?;
    if let Ok(user) = user.parse() {
        setgroups(&[])?;
        setresgid(Gid::from_raw(user), Gid::from_raw(user), Gid::from_raw(user))?;
        setresuid(Uid::from_raw(user), Uid::from_raw(user), Uid::from_raw(user))?;
    }
    confinement.apply(c".", &[c"."])
}
