//! Warm workers: processes that take one task after another.
//!
//! Such a worker is started once, in the sandbox of a slot that it has to itself, and asks its runner for tasks by the
//! AWS Lambda Runtime API, on a listener in its own network. It serves one revision of one project. Whatever it does
//! that it should not ends it, and the slot is as clean as after any process: it ends with all that it started.
//!
//! | module | holds |
//! |---|---|
//! | [`protocol`] | what worker and runner have to say to each other: pure |
//! | [`endpoint`], [`event`] | the same over HTTP; a task as its worker gets it |
//! | [`launch`], [`door`] | what is started; where it finds its runner |
//! | [`worker`], [`crew`] | one worker from its start to its end; its processes |
//! | [`pool`] | who gets which worker, and whose slot |
//! | here | the way of one attempt |

mod crew;
mod door;
mod endpoint;
mod event;
mod launch;
mod pool;
mod protocol;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use windlass_model::bytes::Bytes;
use windlass_model::exit::{Exit, Usage};
use windlass_model::runner::{Assignment, Report, RevisionSpec};
use windlass_model::size;

use self::pool::{Grant, Key};
use self::protocol::Answer;
use self::worker::{Came, Start};
use crate::host::Host;
use crate::logs::LiveLog;
use crate::package::Package;
use crate::run::{Bench, Job, Stop, now, output_bytes, report, told, whole};
use crate::slots::{SLOT_LIMIT, Slot};
use crate::supervise::{Command, Output};

pub(crate) use self::door::{Door, INSIDE};
pub(crate) use self::worker::Worker;

/// The Python program that calls the handler that its first argument names, for one task after another; as a runner
/// starts it.
pub const PYTHON_CLIENT: &str = launch::PYTHON;

/// The workers of a runner.
pub(crate) type Pool = pool::Pool<Worker>;

/// Workers that are tried if they come to their end before they begin a task.
const TRIES: usize = 3;

/// Waits until there is room for a process beside the workers.
pub(crate) async fn room(pool: &Arc<Pool>) -> Result<pool::Room<Worker>, Stop> {
    match timeout(SLOT_LIMIT, pool.room()).await {
        Ok(Grant::Room(room)) => Ok(room),
        // Somebody's task is not yet over.
        Ok(_) | Err(_) => Err(Stop::Told(Command::GiveBack)),
    }
}

/// Has a worker do an attempt.
pub(crate) async fn attempt(
    bench: &Bench,
    job: &Job,
    slot: &mut Slot,
    commands: &mut watch::Receiver<Command>,
    package: Arc<Package>,
) -> Result<Report, Stop> {
    let (task, revision) = (&job.task, &job.revision);
    let key = Key {
        project: task.project,
        revision: revision.id,
        limits: revision.limits,
        network: revision.network,
    };
    let time = Duration::from_secs(task.timeout_s.into());
    let mut log = LiveLog::new(job.held(), bench.logs.clone(), output_bytes(revision));
    let mut tries = 0;
    let (came, gaps, started) = loop {
        let granted = tokio::select! {
            biased;
            command = told(commands) => return Err(Stop::Told(command)),
            granted = timeout(SLOT_LIMIT, async {
                slot.take().await;
                bench.workers.worker(key).await
            }) => granted.map_err(|_| Stop::Told(Command::GiveBack))?,
        };
        let started = Instant::now();
        let mut worker = match granted {
            Grant::Worker(worker) => worker,
            Grant::Place(place) => {
                let reserved = tokio::select! {
                    biased;
                    command = told(commands) => return Err(Stop::Told(command)),
                    reserved = timeout(SLOT_LIMIT, bench.host.reserve()) => reserved,
                };
                let reserved = reserved.map_err(|_| Stop::Told(Command::GiveBack))?;
                let start = Start {
                    host: &bench.host,
                    packages: Some(&bench.packages),
                    project: task.project,
                    revision,
                    package: package.clone(),
                    reserved: reserved.map_err(worker::not_started)?,
                    place: Some(place),
                };
                Worker::start(start).await?
            }
            Grant::Room(_) => return Err(Stop::Told(Command::GiveBack)),
        };
        bench.rest.went_well();
        let came = worker.run(event::event(task, revision, now()), time, commands, &mut log).await;
        let gaps = worker.gaps();
        if worker.is_good() {
            bench.workers.put(worker);
        }
        tries += 1;
        match came {
            Came::NotBegun if tries < TRIES => {}
            came => break (came, gaps, started),
        }
    };
    if !log.has_uploaded() {
        slot.free();
    }
    let wall_ms = rounded_ms(started.elapsed());
    let mut notes = Vec::new();
    let came = match came {
        Came::SpawnerLost if bench.deaths.note(task.task) => {
            notes.push(
                "the process that started its worker was killed, again and again, and it with it".to_owned(),
            );
            Came::Broke(Exit::Signal(libc::SIGKILL))
        }
        came => came,
    };
    let (exit, result) = outcome(came, bench.host.limits.result_bytes)?;
    let captured = whole(&mut log, wall_ms as u32, &notes, commands).await?;
    slot.free();
    Ok(Report {
        isolation: bench.host.isolation_of(revision.network, gaps),
        log: captured.chunks,
        stderr_tail: Bytes(captured.stderr_tail),
        result: result.map(Bytes),
        ..report(bench, job.held(), exit, Usage { wall_ms, ..Usage::default() })
    })
}

/// Has a worker do one task and ends it.
pub(crate) async fn once(
    host: &Arc<Host>,
    task: &Assignment,
    revision: &RevisionSpec,
    package: Arc<Package>,
    commands: &mut watch::Receiver<Command>,
    output: &mut impl Output,
) -> Result<(Exit, Usage, Option<Vec<u8>>), Stop> {
    let reserved = host.reserve().await.map_err(worker::not_started)?;
    let project = task.project;
    let start = Start { host, packages: None, project, revision, package, reserved, place: None };
    let mut worker = Worker::start(start).await?;
    let started = Instant::now();
    let time = Duration::from_secs(task.timeout_s.into());
    let came = worker.run(event::event(task, revision, now()), time, commands, output).await;
    worker.end().await;
    let usage = Usage { wall_ms: rounded_ms(started.elapsed()), ..Usage::default() };
    let (exit, result) = outcome(came, host.limits.result_bytes)?;
    Ok((exit, usage, result))
}

fn rounded_ms(time: Duration) -> u64 {
    (time.as_micros() as u64 + 500) / 1000
}

/// How a task ended, and its result.
fn outcome(came: Came, most: usize) -> Result<(Exit, Option<Vec<u8>>), Stop> {
    match came {
        Came::Ended(Answer::Response(result)) => Ok((Exit::Code(0), Some(result))),
        Came::Ended(answer) => Ok((failed(answer, most), None)),
        Came::Broke(exit) => Ok((exit, None)),
        Came::NotBegun => {
            let msg = format!("{TRIES} workers in a row ended before they began it");
            Ok((Exit::Error { class: "Worker Exit".to_owned(), msg }, None))
        }
        Came::NotStarted(stop) => Err(stop),
        Came::SpawnerLost => Err(Stop::Told(Command::GiveBack)),
        Came::Stopped(command) => Err(Stop::Told(command)),
    }
}

/// How a task ended that its worker said did not go well.
fn failed(answer: Answer, most: usize) -> Exit {
    match answer {
        Answer::Response(_) => Exit::Code(0),
        Answer::Error(class, msg) => {
            let msg = if msg.is_empty() { class.clone() } else { format!("{class}: {msg}") };
            Exit::Error { class, msg }
        }
        Answer::TooLarge(length) => {
            let (length, most) = (size::show(length), size::show(most as u64));
            let msg = format!("the response has {length}, the most that is kept is {most}");
            Exit::Error { class: "Response Too Large".to_owned(), msg }
        }
    }
}
