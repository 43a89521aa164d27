//! One package, once, here: the way to develop a worker, without a server.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use windlass_model::bytes::Bytes;
use windlass_model::code::{Kind, Launch};
use windlass_model::exit::{Exit, Usage};
use windlass_model::id::{CodeId, ProjectId, RevisionId, Seq, TaskId};
use windlass_model::lease::Fence;
use windlass_model::limits::{self, Network};
use windlass_model::log::Stream;
use windlass_model::runner::{Assignment, RevisionSpec};
use windlass_model::warm::Keep;

use crate::config::{Limits, PackageLimits, SpawnerCommand};
use crate::host::{Host, NotStarted, Parts};
use crate::image::cache::Images;
use crate::image::{self, Image};
use crate::package::{Package, PackageError, Packages};
use crate::plan::plan;
use crate::run::{Stop, failed_start, now};
use crate::sandbox::SandboxConfig;
use crate::supervise::{Command, Ended, Output, supervise};
use crate::unpack::UnpackError;
use crate::unpack::apart::Unpacker;
use crate::warm;

/// What to run.
#[derive(Clone, Debug)]
pub struct LocalRun {
    /// A zip, or a folder as it would be zipped; none: the image is all.
    pub package: Option<PathBuf>,
    /// A container image to run it in: an archive, or a folder that is an OCI layout.
    pub image: Option<PathBuf>,
    /// Name of the package.
    pub code_name: String,
    /// How it is started.
    pub launch: Launch,
    /// What the worker gets.
    pub payload: Vec<u8>,
    /// Given to the worker as a file.
    pub config: Option<String>,
    /// Environment of the worker.
    pub env_vars: BTreeMap<String, String>,
    /// Longest time it may run.
    pub timeout: Duration,
    /// How the worker reaches the API; none: the variables lead nowhere.
    pub api: Option<LocalApi>,
    /// What it may take.
    pub limits: limits::Limits,
    /// Whom it may talk to.
    pub network: Network,
    /// Whether and how it is isolated.
    pub sandbox: SandboxConfig,
    /// How the spawner is started.
    pub spawner: SpawnerCommand,
}

/// How a worker reaches the API.
#[derive(Clone)]
pub struct LocalApi {
    /// Where it is.
    pub url: String,
    /// File of certificates to believe beside those that the system trusts.
    pub ca: Option<String>,
    /// Its token.
    pub token: String,
    /// The project.
    pub project: Option<ProjectId>,
}

/// Without the token.
impl std::fmt::Debug for LocalApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LocalApi({})", self.url)
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalEnd {
    /// How it ended.
    pub exit: Exit,
    /// What it used.
    pub usage: Usage,
    /// What it left as its result.
    pub result: Option<Vec<u8>>,
    /// What its owner should know beside that.
    pub notes: Vec<String>,
}

/// Runs a package as a runner would, and hands each piece of output to `output` as it is read. `cancel`, once true,
/// ends it as a cancel does.
///
/// Everything it needs is in a directory of its own under the system's temporary directory, and gone afterwards.
pub async fn run_local(
    run: LocalRun,
    mut cancel: watch::Receiver<bool>,
    output: impl FnMut(Stream, &[u8]) + Send,
) -> io::Result<LocalEnd> {
    let folder = tempfile::Builder::new().prefix("windlass-run-").tempdir()?;
    let limits = Limits::default();
    let api = run.api.clone().unwrap_or_else(|| LocalApi {
        url: "http://127.0.0.1:0".to_owned(),
        ca: None,
        token: String::new(),
        project: None,
    });
    let packages = folder.path().join("packages");
    let unpacker = Unpacker::new(&run.sandbox, &run.spawner);
    let images = Packages::open(packages.clone(), PackageLimits::default(), unpacker.clone())?;
    let images = Images::new(Arc::new(images), None);
    let parts = Parts {
        work_dir: folder.path(),
        limits,
        spawner: run.spawner.clone(),
        slots: 1,
        sandbox: &run.sandbox,
        api_url: &api.url,
        api_ca: api.ca,
    };
    let mut host = Host::from_parts(parts)?;
    host.prepare().await?;
    let host = Arc::new(host);
    let not_started = |why: String| LocalEnd {
        exit: Exit::NotStarted(why),
        usage: Usage::default(),
        result: None,
        notes: Vec::new(),
    };

    let package = match open(run.package.as_deref(), &packages.join("local"), host.is_sandboxed(), &unpacker)
    {
        Ok(package) => Arc::new(package),
        Err(UnpackError::Unusable(why)) => return Ok(not_started(why)),
        Err(UnpackError::Io(error)) => return Err(error),
    };
    let image = match &run.image {
        None => None,
        Some(archive) => match image(&host, &images, archive).await {
            Ok(image) => Some(image),
            Err(error) => return stopped(error.into()).map(not_started),
        },
    };
    let (task, revision) = as_task(run, api.token, api.project);
    let (commands, mut told) = watch::channel(Command::Run);
    let mut pass = Pass(output);
    if revision.launch.kind() == Kind::Warm {
        let once = warm::once(&host, &task, &revision, package, &mut told, &mut pass);
        return match until_cancelled(once, &commands, &mut cancel).await {
            Ok((exit, usage, result)) => Ok(LocalEnd { exit, usage, result, notes: Vec::new() }),
            Err(stop) => stopped(stop).map(not_started),
        };
    }
    let path = host.attempt_dir("local");
    let place = path.to_string_lossy();
    let surroundings = host.place(&place, revision.network);
    let planned = match &image {
        None => plan(&task, &revision, &*package, &surroundings, now()),
        Some(image) => image::plan(&task, &revision, (&image.config, &*package), &surroundings, now()),
    };
    let mut plan = match planned {
        Ok(plan) => plan,
        Err(why) => return Ok(not_started(why)),
    };
    let cwd = image.as_ref().map_or_else(String::new, |image| image.cwd(&package));
    let mut ground =
        host.ground(path.clone(), package, &mut plan, (revision.network, revision.limits)).await?;
    if let Some(image) = image {
        ground = ground.in_image(image, cwd);
    }
    let mut child = match host.start(&plan, &ground).await {
        Ok(child) => child,
        Err(NotStarted::NoProgram(why)) => return Ok(not_started(why)),
        Err(NotStarted::Spawn(error)) => return Err(io::Error::other(error)),
    };
    let process = supervise(&mut child, plan.timeout, limits.grace, &mut told, &mut pass);
    let ended = until_cancelled(process, &commands, &mut cancel).await;
    let mut notes = Vec::new();
    let result = ground.result(&mut child, limits.result_bytes).unwrap_or_else(|why| {
        notes.push(why);
        None
    });
    host.clear(ground, None);
    match ended {
        Ended::Exited(exit, usage) => Ok(LocalEnd { exit, usage, result, notes }),
        Ended::Failed(step, errno) => stopped(failed_start(step, errno, &plan)).map(not_started),
        Ended::SpawnerLost => Err(io::Error::other("the spawner died")),
        Ended::Stopped(_) => Err(io::ErrorKind::Interrupted.into()),
    }
}

/// Drives what runs to its end, and passes a cancel on to it.
async fn until_cancelled<T>(
    runs: impl Future<Output = T>,
    commands: &watch::Sender<Command>,
    cancel: &mut watch::Receiver<bool>,
) -> T {
    tokio::pin!(runs);
    let mut may_cancel = true;
    loop {
        tokio::select! {
            ended = &mut runs => return ended,
            changed = cancel.wait_for(|cancel| *cancel), if may_cancel => {
                may_cancel = false;
                if changed.is_ok() {
                    commands.send_replace(Command::Cancel);
                }
            }
        }
    }
}

/// Why it was not started, if its package is to blame.
fn stopped(stop: Stop) -> io::Result<String> {
    match stop {
        Stop::NotStarted(why) => Ok(why),
        Stop::Ours(why) => Err(io::Error::other(why)),
        Stop::Told(_) => Err(io::ErrorKind::Interrupted.into()),
    }
}

/// The image that is in `archive`.
async fn image(host: &Host, images: &Images, archive: &Path) -> Result<Arc<Image>, PackageError> {
    host.admits_images().map_err(PackageError::Unusable)?;
    images.local(archive).await
}

fn open(
    package: Option<&Path>,
    unpacked: &Path,
    must_copy: bool,
    unpacker: &Unpacker,
) -> Result<Package, UnpackError> {
    let Some(package) = package else { return Ok(Package::empty()) };
    if package.is_dir() {
        Ok(if must_copy { Package::copy(package, unpacked)? } else { Package::in_folder(package)? })
    } else {
        Package::unpack(unpacker, package, unpacked, PackageLimits::default().package_bytes)
    }
}

fn as_task(run: LocalRun, token: String, project: Option<ProjectId>) -> (Assignment, RevisionSpec) {
    let seq = Seq::at(now());
    let revision = RevisionSpec {
        id: RevisionId::new(seq, 0),
        code: CodeId::new(seq, 0),
        code_name: run.code_name,
        rev: 1,
        package: None,
        launch: run.launch,
        config: run.config,
        env_vars: run.env_vars,
        login: None,
        limits: run.limits,
        network: run.network,
        keep: Keep::DEFAULT,
    };
    let task = Assignment {
        task: TaskId::new(seq, 0),
        fence: Fence(0),
        attempt: 1,
        project: project.unwrap_or_else(|| ProjectId::new(seq, 0)),
        revision: revision.id,
        schedule: None,
        trace: None,
        payload: Bytes(run.payload),
        timeout_s: u32::try_from(run.timeout.as_secs()).unwrap_or(u32::MAX),
        token,
    };
    (task, revision)
}

struct Pass<F>(F);

impl<F: FnMut(Stream, &[u8]) + Send> Output for Pass<F> {
    fn write(&mut self, stream: Stream, _: u32, bytes: &[u8]) {
        if !bytes.is_empty() {
            (self.0)(stream, bytes);
        }
    }

    fn flush_at(&self) -> Option<Instant> {
        None
    }

    fn flush(&mut self) {}
}
