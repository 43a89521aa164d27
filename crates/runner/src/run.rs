//! The way of one attempt through the runner.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;
use windlass_client::Client;
use windlass_model::bytes::Bytes;
use windlass_model::code::Kind;
use windlass_model::exit::{Exit, Usage};
use windlass_model::image::Reference;
use windlass_model::image::reference::NoReference;
use windlass_model::runner::{Assignment, Held, Report, RevisionSpec};
use windlass_model::time::Timestamp;

use crate::capture::Captured;
use crate::deaths::Deaths;
use crate::engine::{self, Engine};
use crate::host::{Host, NotStarted};
use crate::image::cache::Images;
use crate::image::{self, Image};
use crate::logs::{LiveLog, Logs};
use crate::package::{Package, PackageError, Packages};
use crate::plan::{Plan, Program, plan};
use crate::rest::Rest;
use crate::slots::{SLOT_LIMIT, Slot};
use crate::spawner::Step;
use crate::supervise::{Command, Ended, supervise};
use crate::warm;

/// Times a download is tried, and the time between two.
const DOWNLOADS: (u32, Duration) = (3, Duration::from_millis(300));

/// An attempt that was handed to us.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) task: Assignment,
    pub(crate) revision: Arc<RevisionSpec>,
}

impl Job {
    /// The attempt's name in the protocol.
    pub(crate) fn held(&self) -> Held {
        Held { task: self.task.task, fence: self.task.fence }
    }
}

/// What became of an attempt.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It ended: to be reported.
    Report(Box<Report>),
    /// It did not, for reasons that are not its own: to be given back.
    GiveBack,
    /// It is no longer ours: not a word.
    Abandoned,
}

/// What the pipeline works with.
pub(crate) struct Bench {
    pub(crate) host: Arc<Host>,
    pub(crate) packages: Arc<Packages>,
    pub(crate) workers: Arc<warm::Pool>,
    pub(crate) images: Images,
    pub(crate) engine: Option<Arc<Engine>>,
    pub(crate) client: Client,
    pub(crate) logs: Logs,
    pub(crate) deaths: Deaths,
    pub(crate) rest: Rest,
}

/// Runs one attempt: package, plan, directory, slot, process, report. What does not need the slot is done outside of
/// it, so that the next process can start meanwhile.
pub(crate) async fn run(
    bench: &Bench,
    job: &Job,
    slot: &mut Slot,
    mut commands: watch::Receiver<Command>,
) -> Outcome {
    let started = Instant::now();
    match attempt(bench, job, slot, &mut commands).await {
        Ok(report) => Outcome::Report(Box::new(report)),
        Err(Stop::NotStarted(why)) => {
            let usage = Usage { wall_ms: started.elapsed().as_millis() as u64, ..Usage::default() };
            Outcome::Report(Box::new(report(bench, job.held(), Exit::NotStarted(why), usage)))
        }
        Err(Stop::Told(Command::Cancel)) => {
            Outcome::Report(Box::new(report(bench, job.held(), Exit::Cancelled, Usage::default())))
        }
        Err(Stop::Told(Command::Abandon)) => Outcome::Abandoned,
        Err(Stop::Told(Command::GiveBack | Command::Run)) => Outcome::GiveBack,
        Err(Stop::Ours(why)) => {
            warn!(task.id = %job.task.task, attempt = job.task.attempt, "cannot run task {}: {why}", job.task.task);
            // Whatever is wrong may still be so, and other runners may do better.
            slot.rest(bench.rest.after_failure());
            Outcome::Report(Box::new(report(bench, job.held(), Exit::Unable(why), Usage::default())))
        }
    }
}

/// How much output of an attempt is kept: three quarters from its start, the rest from its end.
pub(crate) fn output_bytes(revision: &RevisionSpec) -> usize {
    usize::try_from(revision.limits.output_bytes).unwrap_or(usize::MAX)
}

/// Resolves once the attempt must not simply run.
pub(crate) async fn told(commands: &mut watch::Receiver<Command>) -> Command {
    let command = commands.wait_for(|command| *command != Command::Run).await.map(|command| *command);
    match command {
        Ok(command) => command,
        // The session is gone, and with it whoever could tell us; it ends us, too.
        Err(_) => std::future::pending().await,
    }
}

/// Why an attempt did not come to an end of its own.
pub(crate) enum Stop {
    /// It cannot be started, which its package is to blame for.
    NotStarted(String),
    /// It must not go on here.
    Told(Command),
    /// We could not do our part.
    Ours(String),
}

impl From<PackageError> for Stop {
    fn from(error: PackageError) -> Self {
        match error {
            PackageError::Unusable(why) | PackageError::NotPulled(why) => Self::NotStarted(why),
            PackageError::Unavailable { .. } => Self::Ours(error.to_string()),
        }
    }
}

/// Takes the slot, which may have to be waited for a moment.
pub(crate) async fn taken(slot: &mut Slot, commands: &mut watch::Receiver<Command>) -> Result<(), Stop> {
    tokio::select! {
        biased;
        command = told(commands) => Err(Stop::Told(command)),
        taken = timeout(SLOT_LIMIT, slot.take()) => taken.map_err(|_| Stop::Told(Command::GiveBack)),
    }
}

async fn attempt(
    bench: &Bench,
    job: &Job,
    slot: &mut Slot,
    commands: &mut watch::Receiver<Command>,
) -> Result<Report, Stop> {
    let package = package(bench, job, commands).await?;
    bench.host.admits(job.revision.network).map_err(Stop::NotStarted)?;
    // The one place where it is decided what runs a task.
    match (job.revision.launch.kind(), &job.revision.launch.archive, &bench.engine) {
        (Kind::Image, Some(archive), Some(engine)) => {
            engine::attempt(bench, (engine, archive), job, (slot, commands), package).await
        }
        (Kind::Warm, ..) => warm::attempt(bench, job, slot, commands, package).await,
        (Kind::Process | Kind::Image, ..) => process(bench, job, slot, commands, package).await,
    }
}

/// Runs an attempt as a process of its own.
async fn process(
    bench: &Bench,
    job: &Job,
    slot: &mut Slot,
    commands: &mut watch::Receiver<Command>,
    package: Arc<Package>,
) -> Result<Report, Stop> {
    let host = &bench.host;
    let path = host.attempt_dir(&job.task.fence.0.to_string());
    let place = path.to_string_lossy();
    let image = image(bench, job, commands).await?;
    let surroundings = host.place(&place, job.revision.network);
    let plan = match &image {
        None => plan(&job.task, &job.revision, &*package, &surroundings, now()),
        Some(image) => {
            image::plan(&job.task, &job.revision, (&image.config, &*package), &surroundings, now())
        }
    };
    let mut plan = plan.map_err(Stop::NotStarted)?;
    let cwd = image.as_ref().map(|image| image.cwd(&package));
    let ground =
        host.ground(path.clone(), package, &mut plan, (job.revision.network, job.revision.limits)).await;
    let mut ground = ground.map_err(|e| Stop::Ours(format!("cannot fill its directory: {e}")))?;
    if let (Some(image), Some(cwd)) = (image, cwd) {
        ground = ground.in_image(image, cwd);
    }

    taken(slot, commands).await?;
    let room = warm::room(&bench.workers).await?;
    let mut child = host.start(&plan, &ground).await.map_err(|failure| match failure {
        NotStarted::NoProgram(why) => Stop::NotStarted(why),
        NotStarted::Spawn(error) => Stop::Ours(error.to_string()),
    })?;
    bench.rest.went_well();
    let started = Instant::now();
    let mut log = LiveLog::new(job.held(), bench.logs.clone(), output_bytes(&job.revision));
    let ended = supervise(&mut child, plan.timeout, host.limits.grace, commands, &mut log).await;
    drop(room);
    if !log.has_uploaded() {
        slot.free();
    }

    let mut notes = Vec::new();
    let ended = match ended {
        Ended::SpawnerLost if bench.deaths.note(job.task.task) => {
            notes.push("the process that started it was killed, again and again, and it with it".to_owned());
            let wall_ms = started.elapsed().as_millis() as u64;
            Ended::Exited(Exit::Signal(libc::SIGKILL), Usage { wall_ms, ..Usage::default() })
        }
        ended => ended,
    };
    let result = ground.result(&mut child, host.limits.result_bytes).unwrap_or_else(|why| {
        notes.push(why);
        None
    });
    if matches!(ended, Ended::Exited(Exit::Code(_), _)) {
        ground.ended_by_itself();
    }
    host.clear(ground, Some(&bench.packages));
    let (exit, usage) = match ended {
        Ended::Exited(exit, usage) => (exit, usage),
        Ended::Failed(step, errno) => return Err(failed_start(step, errno, &plan)),
        Ended::SpawnerLost => return Err(Stop::Told(Command::GiveBack)),
        Ended::Stopped(command) => return Err(Stop::Told(command)),
    };
    let captured = whole(&mut log, started.elapsed().as_millis() as u32, &notes, commands).await?;
    // Not before: while the server is away, the next one's output would pile up on this one's.
    slot.free();
    Ok(Report {
        isolation: host.isolation_of(job.revision.network, child.gaps),
        log: captured.chunks,
        stderr_tail: Bytes(captured.stderr_tail),
        result: result.map(Bytes),
        ..report(bench, job.held(), exit, usage)
    })
}

/// The output that is to go with the report, once the server has the rest, unless the attempt must not be reported.
pub(crate) async fn whole(
    log: &mut LiveLog,
    at_ms: u32,
    notes: &[String],
    commands: &mut watch::Receiver<Command>,
) -> Result<Captured, Stop> {
    let is_unwanted = commands.wait_for(|command| matches!(command, Command::GiveBack | Command::Abandon));
    tokio::select! {
        biased;
        captured = log.finish(at_ms, notes) => Ok(captured),
        Ok(command) = is_unwanted => Err(Stop::Told(*command)),
    }
}

/// The package, unless the attempt is to end before it is there.
async fn package(
    bench: &Bench,
    job: &Job,
    commands: &mut watch::Receiver<Command>,
) -> Result<Arc<Package>, Stop> {
    let Some(blob) = &job.revision.package else { return Ok(Arc::new(Package::empty())) };
    tokio::select! {
        biased;
        command = told(commands) => Err(Stop::Told(command)),
        package = again(|| bench.packages.get(blob, &bench.client)) => Ok(package?),
    }
}

/// The image that the attempt is to see, unless it is to end before that is there; none: it is to see the host's programs.
async fn image(
    bench: &Bench,
    job: &Job,
    commands: &mut watch::Receiver<Command>,
) -> Result<Option<Arc<Image>>, Stop> {
    let RevisionSpec { launch, login, .. } = &*job.revision;
    if launch.archive.is_none() && launch.image.is_empty() {
        return Ok(None);
    }
    if let Err(why) = bench.host.admits_images() {
        // A package that says what to do without.
        let runs_without =
            launch.archive.is_none() && job.revision.package.is_some() && !launch.command.is_empty();
        return if runs_without { Ok(None) } else { Err(Stop::NotStarted(why)) };
    }
    let fetch = async || match &launch.archive {
        Some(archive) => bench.images.of_archive(archive, &bench.client).await,
        None => {
            let named: Reference =
                launch.image.parse().map_err(|e: NoReference| PackageError::Unusable(e.to_string()))?;
            let (key, named) = match &launch.digest {
                Some(digest) => {
                    (digest.hex().to_owned(), Reference { digest: Some(digest.clone()), ..named })
                }
                None => (job.revision.id.to_string(), named),
            };
            let key = format!("{}-{key}", job.task.project);
            bench.images.of_registry(&key, &named, login.as_ref()).await
        }
    };
    tokio::select! {
        biased;
        command = told(commands) => Err(Stop::Told(command)),
        image = again(&fetch) => Ok(Some(image?)),
    }
}

/// Fetches something, and tries again for a moment if that fails for a reason that may pass.
pub(crate) async fn again<T, F>(fetch: impl Fn() -> F) -> Result<Arc<T>, PackageError>
where
    F: Future<Output = Result<Arc<T>, PackageError>>,
{
    let mut tries = 1;
    loop {
        match fetch().await {
            Err(PackageError::Unavailable { .. }) if tries < DOWNLOADS.0 => sleep(DOWNLOADS.1 * tries).await,
            done => return done,
        }
        tries += 1;
    }
}

/// A program could not be run: whose fault that is, and why, for a person.
pub(crate) fn failed_start(step: Step, errno: i32, plan: &Plan) -> Stop {
    let program = match &plan.program {
        Program::Host(name) | Program::Package(name) | Program::Image(name) => name,
    };
    let why = match (step, errno) {
        (Step::Exec, libc::ENOENT) if matches!(plan.program, Program::Image(_)) => {
            "the image does not have it, or not the interpreter that its first line names, or not the library that \
             loads it"
        }
        (Step::Enter, libc::ENOENT | libc::ENOTDIR) if matches!(plan.program, Program::Image(_)) => {
            "the image does not have the folder that it says it begins in"
        }
        (Step::Exec, libc::ENOENT) => "the interpreter that its first line names is not on this runner",
        (Step::Exec, libc::EACCES) => "it is not executable",
        (Step::Exec, libc::ENOEXEC) => {
            "it is no program for this machine, and has no first line that names an interpreter"
        }
        (Step::Exec, libc::E2BIG) => "its arguments and environment are too large",
        (Step::Exec, libc::EISDIR | libc::ENOTDIR | libc::ELOOP) => "it is not a file",
        _ => {
            let reason = std::io::Error::from_raw_os_error(errno);
            return Stop::Ours(format!("cannot start {program} ({step:?}): {reason}"));
        }
    };
    Stop::NotStarted(format!("cannot run {program}: {why}"))
}

/// A report without output or result.
pub(crate) fn report(bench: &Bench, held: Held, exit: Exit, usage: Usage) -> Report {
    Report {
        held,
        exit,
        usage,
        isolation: bench.host.isolation.clone(),
        log: Vec::new(),
        stderr_tail: Bytes::default(),
        result: None,
    }
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
