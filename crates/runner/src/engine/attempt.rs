//! The way of an attempt in a container of an engine: image, plan, folders, slot, container, report.

use std::path::Path;
use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;
use windlass_model::bytes::Bytes;
use windlass_model::code::BlobRef;
use windlass_model::exit::Exit;
use windlass_model::limits::Network;
use windlass_model::runner::Report;

use super::Engine;
use super::call::CallError;
use super::container::{FOLDERS, Order, no_program};
use super::follow::{Bounds, Ended, follow};
use super::room::Room;
use crate::image;
use crate::logs::LiveLog;
use crate::package::Package;
use crate::plan::Plan;
use crate::run::{Bench, Job, Stop, again, now, output_bytes, report, taken, told, whole};
use crate::sandbox::root::TASK;
use crate::slots::Slot;
use crate::supervise::Command;

/// Runs an attempt in a container of the image in `archive`.
///
/// An engine that goes away under it is nobody's fault: the attempt is given back, and the container removed when the
/// engine is there again, before anything else is begun in it.
pub(crate) async fn attempt(
    bench: &Bench,
    (engine, archive): (&Arc<Engine>, &BlobRef),
    job: &Job,
    (slot, commands): (&mut Slot, &mut watch::Receiver<Command>),
    package: Arc<Package>,
) -> Result<Report, Stop> {
    let (host, revision) = (&bench.host, &job.revision);
    if revision.network == Network::Host && !host.gives_own_network() {
        return Err(Stop::NotStarted(
            "the package asks for the host's network, which this runner does not give: its setting network.host is false"
                .to_owned(),
        ));
    }
    let loaded = tokio::select! {
        biased;
        command = told(commands) => return Err(Stop::Told(command)),
        loaded = again(|| engine.images.of_archive(archive, &bench.client, &engine.api)) => loaded?,
    };
    // The API's own address: nothing of a sandbox's network is there.
    let place = host.place(TASK, Network::Host);
    let plan = image::plan(&job.task, revision, (&loaded.config, &*package), &place, now());
    let mut plan = plan.map_err(Stop::NotStarted)?;
    let cwd = image::cwd(&loaded.config, &package);
    taken(slot, commands).await?;
    engine.clear_strays().await.map_err(ours)?;
    let (path, of_room) = (
        engine.rooms.join(job.task.fence.0.to_string()),
        (engine.is_capped, revision.limits.disk_bytes, engine.user),
    );
    let room = Room::make(path, &package, &mut plan, of_room);
    let room = room.map_err(|e| Stop::Ours(format!("cannot fill its directory: {e}")))?;
    let (task, tmp, code) = (room.task(), room.tmp(), package.folder().to_owned());
    let mut mounts: Vec<(&Path, &str, bool)> = vec![(&task, FOLDERS[0], true), (&tmp, FOLDERS[1], true)];
    if !package.files().is_empty() {
        mounts.push((&code, FOLDERS[2], false));
    }
    if let (Some(from), Some(to)) = (&engine.ca, &place.api.ca) {
        mounts.push((from, to, false));
    }
    let order = Order {
        image: &loaded.id,
        owner: &engine.owner,
        task: &job.task.task.to_string(),
        plan: &plan,
        cwd: &cwd,
        user: engine.user,
        mounts: &mounts,
        network: revision.network,
        limits: revision.limits,
        most: most(),
        has_init: engine.has_init,
    };
    let id = engine.api.create(&order.body()).await.map_err(|error| {
        if matches!(&error, CallError::Refused { status, .. } if *status == http::StatusCode::NOT_FOUND) {
            engine.images.forget(archive);
        }
        ours(error)
    })?;
    let mut container = Container { engine: engine.clone(), id, is_gone: false };

    let mut log = LiveLog::new(job.held(), bench.logs.clone(), output_bytes(revision));
    let bounds = Bounds {
        timeout: plan.timeout,
        grace: host.limits.grace,
        memory_bytes: revision.limits.memory_bytes,
    };
    let started = Instant::now();
    let ended = run(engine, &container.id, &plan, (&bounds, commands, &mut log)).await;
    container.remove().await;
    let (exit, usage) = match ended {
        Ok(Ended::Exited(exit, usage)) => (exit, usage),
        Ok(Ended::Stopped(command)) => return Err(Stop::Told(command)),
        Err(NotEnded::NotStarted(why)) => return Err(why),
        Err(NotEnded::Lost(error)) => {
            warn!(task.id = %job.task.task, "the engine went away under task {}: {error}", job.task.task);
            slot.rest(bench.rest.after_failure());
            return Err(Stop::Told(Command::GiveBack));
        }
    };
    bench.rest.went_well();
    if !log.has_uploaded() {
        slot.free();
    }
    let mut notes = Vec::new();
    if exit == Exit::Code(KILLED) {
        let limit = revision.limits.memory_bytes >> 20;
        notes.push(format!(
            "it was killed, and not by the runner: most likely for using more memory than its limit of {limit} MiB"
        ));
    }
    let result = room.result(host.limits.result_bytes).unwrap_or_else(|why| {
        notes.push(why);
        None
    });
    drop(room);
    let captured = whole(&mut log, started.elapsed().as_millis() as u32, &notes, commands).await?;
    slot.free();
    Ok(Report {
        isolation: engine.isolation(revision.network),
        log: captured.chunks,
        stderr_tail: Bytes(captured.stderr_tail),
        result: result.map(Bytes),
        ..report(bench, job.held(), exit, usage)
    })
}

/// Why a container did not come to an end that counts.
enum NotEnded {
    NotStarted(Stop),
    Lost(CallError),
}

async fn run(
    engine: &Engine,
    id: &str,
    plan: &Plan,
    (bounds, commands, log): (&Bounds, &mut watch::Receiver<Command>, &mut LiveLog),
) -> Result<Ended, NotEnded> {
    // Before it starts, so that nothing is missed.
    let stream = engine.api.attach(id).await.map_err(|error| NotEnded::NotStarted(refusal(plan, error)))?;
    engine.api.start(id).await.map_err(|error| NotEnded::NotStarted(refusal(plan, error)))?;
    follow(&engine.api, id, stream, bounds, (commands, log)).await.map_err(NotEnded::Lost)
}

/// A container was not started: whose fault that is.
fn refusal(plan: &Plan, error: CallError) -> Stop {
    let of_package = match &error {
        CallError::Refused { message, .. } => no_program(&plan.argv[0], message),
        CallError::Gone(..) => None,
    };
    of_package.map_or_else(|| ours(error), Stop::NotStarted)
}

#[expect(clippy::needless_pass_by_value, reason = "it is mapped over errors")]
fn ours(error: CallError) -> Stop {
    Stop::Ours(error.to_string())
}

/// The code of a process that SIGKILL ended, as engines have it.
const KILLED: i32 = 128 + libc::SIGKILL;

/// The processes of a user to which Podman lowers its own limit, above which it may not go again.
const MOST_PROCESSES: u64 = 32_768;

/// What the host has at most: processors in thousandths, open files, and processes of a user.
fn most() -> (u32, u64, u64) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let hard = |resource| getrlimit(resource).map_or(u64::MAX, |(_, hard)| hard);
    let processes = hard(Resource::RLIMIT_NPROC).min(MOST_PROCESSES);
    (u32::try_from(cores * 1000).unwrap_or(u32::MAX), hard(Resource::RLIMIT_NOFILE), processes)
}

/// A container that is removed whatever becomes of its attempt.
struct Container {
    engine: Arc<Engine>,
    id: String,
    is_gone: bool,
}

impl Container {
    async fn remove(&mut self) {
        match self.engine.api.remove(&self.id).await {
            Ok(()) => self.is_gone = true,
            Err(error) => warn!("cannot remove a container, which is tried again: {error}"),
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if !self.is_gone {
            self.engine.strays().push(self.id.clone());
        }
    }
}
