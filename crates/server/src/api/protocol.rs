//! The server's side of the runner protocol; what is said is in [`windlass_model::runner`].

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse as _;
use futures::TryStreamExt as _;
use http::{HeaderValue, header};
use tokio::time::Instant;
use windlass_model::code::Launch;
use windlass_model::id::{ProjectId, RunnerId};
use windlass_model::isolation::Level;
use windlass_model::runner::{
    Assignment, Claim, ClaimRequest, Finish, FinishAnswer, Heartbeat, HeartbeatAnswer, Held, LogAnswer,
    LogUpload, Login, Register, Registered, Release, Report, RevisionSpec, RunnerRecord,
};
use windlass_model::wire::BadField;
use windlass_model::wire::tasks::{MAX_NAME_BYTES, check_cluster};
use windlass_store::StoreError;
use windlass_store::blob::Area;
use windlass_store::types::{Claimed, Claiming, Pulse};

use super::params::{Id, Name};
use crate::app::App;
use crate::attempt_token::Attempt;
use crate::auth::Caller;
use crate::body::RunnerJson;
use crate::error::{Answer, ApiError, json, said};
use crate::sessions::Session;

/// Most tasks that one claim hands out.
const MAX_WANT: u32 = 1000;
/// Most slots that a runner may have.
const MAX_SLOTS: u32 = 100_000;

/// `POST /2/runners`.
pub async fn register(
    State(app): State<Arc<App>>,
    Caller(caller): Caller,
    RunnerJson(mut about, _hold): RunnerJson<Register>,
) -> Answer {
    for (field, text) in [("name", &about.name), ("instance", &about.instance), ("cluster", &about.cluster)] {
        if text.is_empty() {
            return Err(BadField::missing(field).into());
        }
        if text.len() > MAX_NAME_BYTES {
            return Err(BadField::too_large(field, text.len(), MAX_NAME_BYTES).into());
        }
    }
    check_cluster(&about.cluster)?;
    about.cluster = app.clusters.name_of(about.cluster);
    if let Some(own) = caller.cluster().filter(|own| *own != about.cluster) {
        return Err(ApiError::forbidden(format!(
            "cluster: this token is for runners of cluster {own:?}, not of {:?}",
            about.cluster
        )));
    }
    if !(1..=MAX_SLOTS).contains(&about.slots) {
        return Err(
            BadField::invalid("slots", format!("must be 1 to {MAX_SLOTS}, is {}", about.slots)).into()
        );
    }
    let now = app.now();
    let (seq, tag) = app.ids.mint(now);
    let record = RunnerRecord {
        id: RunnerId::new(seq, tag),
        about,
        started_at: now,
        seen_at: now,
        is_draining: false,
        gone_at: None,
    };
    app.store.register_runner(record.clone(), now + app.config.lease_ttl).await?;
    app.sessions.insert(&record);
    let about = &record.about;
    tracing::info!(runner.id = %record.id, name = about.name, cluster = about.cluster, slots = about.slots,
        "runner {} registered", about.name);
    Ok(json(&Registered {
        runner: record.id,
        lease_ms: app.config.lease_ttl.as_millis() as u64,
        heartbeat_ms: app.config.heartbeat_every.as_millis() as u64,
    }))
}

/// `POST /2/runners/{id}/claim`.
pub async fn claim(
    State(app): State<Arc<App>>,
    Id(runner): Id<RunnerId>,
    RunnerJson(request, _hold): RunnerJson<ClaimRequest>,
) -> Answer {
    let session = heard(&app, runner).await?;
    session.loaded(request.load, app.now());
    if request.is_idle {
        give_back(&app, &session, &session.undelivered(app.now(), app.config.lease_ttl)).await;
    }
    Ok(json(&claim_delivered(&app, session, request).await?))
}

/// `POST /2/runners/{id}/finish`: the reports, then the next tasks if they are asked for.
pub async fn finish(
    State(app): State<Arc<App>>,
    Id(runner): Id<RunnerId>,
    RunnerJson(request, _hold): RunnerJson<Finish>,
) -> Answer {
    let session = app.session(runner).await?;
    let lost =
        if request.reports.is_empty() { Vec::new() } else { app.finish(&session, request.reports).await? };
    let claim = match request.claim {
        None => Claim { drain: session.is_draining(), ..Claim::default() },
        // The reports are written: a claim that fails must not make the runner send them again.
        Some(request) => claim_delivered(&app, session, request).await.unwrap_or_else(|e| {
            tracing::warn!(runner.id = %runner, error = e.msg, "the claim that came with reports failed");
            Claim::default()
        }),
    };
    Ok(json(&FinishAnswer { lost, claim }))
}

/// The session of a runner that was just heard. Every call is a sign of life, so a runner that holds nothing needs no
/// heartbeats beside the claims that it waits in; the store is told of it a few times per lease.
async fn heard(app: &App, runner: RunnerId) -> Result<Arc<Session>, ApiError> {
    let session = app.session(runner).await?;
    let now = app.now();
    if session.since_extended(now) >= app.config.lease_ttl / 10 {
        extend(app, &session, &[]).await?;
    }
    Ok(session)
}

/// Extends the lease.
async fn extend(app: &App, session: &Session, holds: &[Held]) -> Result<Pulse, ApiError> {
    let (now, ttl) = (app.now(), app.config.lease_ttl);
    let pulse = app.store.heartbeat(session.runner, holds, now, now + ttl).await;
    let pulse = pulse.inspect_err(|e| forget_if_over(app, session, e))?;
    session.extended(now);
    Ok(pulse)
}

/// Claims in a task of its own: if the runner hangs up meanwhile, what was claimed for it is given back at once
/// instead of being held by a runner that never heard of it.
async fn claim_delivered(
    app: &Arc<App>,
    session: Arc<Session>,
    request: ClaimRequest,
) -> Result<Claim, ApiError> {
    let (mut deliver, delivered) = tokio::sync::oneshot::channel();
    let app = app.clone();
    tokio::spawn(async move {
        let claimed = claim_waiting(&app, &session, request, deliver.closed()).await;
        if let Err(Ok(unwanted)) = deliver.send(claimed) {
            let held = |t: &Assignment| Held { task: t.task, fence: t.fence };
            let holds: Vec<Held> = unwanted.tasks.iter().map(held).collect();
            give_back(&app, &session, &holds).await;
        }
    });
    delivered.await.unwrap_or_else(|_| Err(ApiError::internal("a claim ended without an answer")))
}

/// Claims, and waits for the first task if there is none; returns early when the runner is `gone`.
async fn claim_waiting(
    app: &App,
    session: &Session,
    request: ClaimRequest,
    gone: impl Future<Output = ()>,
) -> Result<Claim, ApiError> {
    let want = request.want.min(MAX_WANT);
    // The lease must not run out meanwhile.
    let longest = app.config.max_wait.min(app.config.lease_ttl * 2 / 3);
    let deadline = Instant::now() + Duration::from_millis(request.wait_ms).min(longest);
    let signals = app.store.signals();
    let ready = signals.ready_of(&session.cluster, session.level);
    tokio::pin!(gone);
    loop {
        // All registered before looking: a task, a drain or a stop between the look and the wait is not missed.
        let (woken, changed) = (ready.notified(), session.changed());
        tokio::pin!(woken, changed);
        woken.as_mut().enable();
        changed.as_mut().enable();
        if session.is_draining() || want == 0 {
            return Ok(Claim { drain: session.is_draining(), ..Claim::default() });
        }
        let claiming =
            Claiming { runner: session.runner, cluster: session.cluster.clone(), want: want as usize };
        let now = app.now();
        let claimed =
            app.store.claim(claiming, now).await.inspect_err(|e| forget_if_over(app, session, e))?;
        if !claimed.is_empty() {
            if claimed.len() == want as usize {
                // There may be more, of whatever kind: the next claimer looks.
                signals.ready(&session.cluster, Level::default());
            }
            let held = |c: &Claimed| Held { task: c.task.id, fence: c.fence };
            session.handed(claimed.iter().map(held), now);
            app.metrics.claimed.inc_by(claimed.len() as u64);
            let (claim, impossible) = hand_out(app, claimed);
            if !impossible.is_empty() {
                app.finish(session, impossible).await?;
            }
            if !claim.tasks.is_empty() {
                return Ok(claim);
            }
            continue;
        }
        if Instant::now() >= deadline || app.stopping.is_cancelled() {
            return Ok(Claim::default());
        }
        tokio::select! {
            () = woken => {}
            () = changed => {}
            () = app.stopping.cancelled() => return Ok(Claim::default()),
            () = tokio::time::sleep_until(deadline) => return Ok(Claim::default()),
            () = &mut gone => return Ok(Claim::default()),
        }
    }
}

/// What the image of a package is pulled with: the project's login to its registry. One that cannot be read is none; the
/// registry then says what is missing.
fn login(app: &App, project: ProjectId, launch: &Launch) -> Option<Login> {
    if launch.image.is_empty() || launch.archive.is_some() {
        return None;
    }
    super::registries::login(app, project, &launch.image.parse().ok()?)
}

/// What the runner gets, and the ends of those that cannot be run: their secrets cannot be read.
fn hand_out(app: &App, claimed: Vec<Claimed>) -> (Claim, Vec<Report>) {
    let mut claim = Claim { tasks: Vec::with_capacity(claimed.len()), ..Claim::default() };
    let mut impossible = Vec::new();
    for Claimed { task, fence, attempt, revision, code_name } in claimed {
        let held = Held { task: task.id, fence };
        if !claim.revisions.iter().any(|r| r.id == revision.id) {
            match app.seal.variables(task.project, &code_name, &revision.env_vars) {
                Ok(env_vars) => claim.revisions.push(RevisionSpec {
                    login: login(app, task.project, &revision.launch),
                    id: revision.id,
                    code: revision.code,
                    code_name,
                    rev: revision.rev,
                    package: revision.package,
                    launch: revision.launch,
                    config: revision.config,
                    env_vars,
                    limits: app.policy().limits(&revision.wishes),
                    network: app.policy().network(&revision.wishes),
                    keep: revision.keep.resolve(),
                }),
                Err(name) => {
                    let why = format!(
                        "the value of the variable {name} cannot be read with the server's secret key: \
                         upload the package's env_vars again"
                    );
                    impossible.push(Report::not_started(held, why));
                    continue;
                }
            }
        }
        claim.tasks.push(Assignment {
            task: task.id,
            fence,
            attempt,
            project: task.project,
            revision: revision.id,
            schedule: task.schedule,
            trace: task.trace,
            payload: windlass_model::bytes::Bytes(task.payload),
            timeout_s: task.timeout_s,
            token: app.attempt_key.mint(&Attempt { held, project: task.project }),
        });
    }
    (claim, impossible)
}

async fn give_back(app: &App, session: &Session, holds: &[Held]) {
    if holds.is_empty() {
        return;
    }
    session.forget(holds.iter());
    if let Err(e) = app.store.release(session.runner, holds, false, app.now()).await {
        // They stay with the runner until its lease ends or a heartbeat shows that it does not know of them.
        tracing::warn!(runner.id = %session.runner, error = %e, "attempts that did not arrive were not given back");
    }
}

fn forget_if_over(app: &App, session: &Session, error: &StoreError) {
    if matches!(error, StoreError::SessionOver) {
        app.sessions.remove(session.runner);
    }
}

/// `POST /2/runners/{id}/heartbeat`: extends the leases. With `wait_ms` it answers when there is something that the
/// runner has not been told, or when the time is up: so a cancel reaches it at once.
pub async fn heartbeat(
    State(app): State<Arc<App>>,
    Id(runner): Id<RunnerId>,
    RunnerJson(request, _hold): RunnerJson<Heartbeat>,
) -> Answer {
    let session = app.session(runner).await?;
    // Well within the lease, whatever the runner asks for: each look extends it.
    let longest = app.config.max_wait.min(app.config.lease_ttl / 2);
    let deadline = Instant::now() + Duration::from_millis(request.wait_ms).min(longest);
    session.confirm(&request.holds);
    session.loaded(request.load, app.now());
    loop {
        let (cancelled, changed) = (app.store.signals().cancels().notified(), session.changed());
        tokio::pin!(cancelled, changed);
        cancelled.as_mut().enable();
        changed.as_mut().enable();
        let pulse = extend(&app, &session, &request.holds).await?;
        let now = app.now();
        // Only here, where the runner has just named what it holds: it may have named it to other servers before.
        give_back(&app, &session, &session.undelivered(now, app.config.lease_ttl)).await;
        if pulse.is_draining != session.is_draining() {
            session.set_draining(pulse.is_draining);
        }
        let is_news =
            session.tell(&pulse.lost, now) | session.tell(&pulse.cancel, now) | session.tell_draining();
        let answer = HeartbeatAnswer { lost: pulse.lost, cancel: pulse.cancel, drain: pulse.is_draining };
        if is_news || Instant::now() >= deadline || app.stopping.is_cancelled() {
            return Ok(json(&answer));
        }
        tokio::select! {
            () = cancelled => {}
            () = changed => {}
            () = app.stopping.cancelled() => return Ok(json(&answer)),
            () = tokio::time::sleep_until(deadline) => return Ok(json(&answer)),
        }
    }
}

/// `POST /2/runners/{id}/log`.
pub async fn log(
    State(app): State<Arc<App>>,
    Id(runner): Id<RunnerId>,
    RunnerJson(request, _hold): RunnerJson<LogUpload>,
) -> Answer {
    let session = heard(&app, runner).await?;
    session.logged(request.logs.iter().map(|l| l.held));
    let lost = app.store.append_logs(request.logs).await?;
    Ok(json(&LogAnswer { lost }))
}

/// `POST /2/runners/{id}/release`.
pub async fn release(
    State(app): State<Arc<App>>,
    Id(runner): Id<RunnerId>,
    RunnerJson(request, _hold): RunnerJson<Release>,
) -> Answer {
    app.store.release(runner, &request.holds, request.leave, app.now()).await?;
    if let Some(session) = app.sessions.get(runner) {
        session.forget(request.holds.iter());
    }
    if request.leave {
        app.sessions.remove(runner);
        tracing::info!(runner.id = %runner, "runner {runner} left");
    }
    Ok(said("Released"))
}

/// `GET /2/runners/packages/{name}`: the zip with this SHA-256.
pub async fn package(State(app): State<Arc<App>>, Name(sha256): Name) -> Answer {
    let is_hash =
        sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase());
    let found = if is_hash { app.blobs.stream(Area::Packages, &sha256).await? } else { None };
    let (size, content) = found.ok_or_else(|| ApiError::not_found("Package"))?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/zip")),
        (header::CONTENT_LENGTH, HeaderValue::from(size)),
    ];
    Ok((headers, Body::from_stream(content.map_err(|e| std::io::Error::other(e.to_string()))))
        .into_response())
}
