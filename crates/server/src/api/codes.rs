//! Code packages: upload, list, read, download, pause, delete.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::IntoResponse as _;
use futures::TryStreamExt as _;
use http::{HeaderValue, header};
use windlass_model::code::{self, Kind, Launch, Upload};
use windlass_model::difference::differences;
use windlass_model::id::{CodeId, ProjectId, RevisionId};
use windlass_model::image::{Digest, Reference};
use windlass_model::secret::{Given, MASK};
use windlass_model::task::Status;
use windlass_model::wire::BadField;
use windlass_model::wire::codes::{
    Code, CodeList, RevisionList, RevisionView, Stats, UploadOrder, UploadRequest, Uploaded,
};
use windlass_store::blob::Area;
use windlass_store::types::counts_of;

use super::params::Id;
use super::registries::login;
use crate::app::App;
use crate::auth::InProject;
use crate::body::Ignored;
use crate::error::{Answer, ApiError, json, said};
use crate::query::Query;
use crate::seal::Place;
use crate::upload::{self, Files};

/// `POST P/codes`: a first revision, or a new one of the package with this name.
pub async fn upload(State(app): State<Arc<App>>, InProject(project): InProject, request: Request) -> Answer {
    let upload::Received { request, files } = upload::receive(&app, request).await?;
    let code = keep(&app, project, request, files, Same::IsNew).await?.code;
    Ok(json(&Uploaded { msg: "Upload successful.".to_owned(), code: Code::present(&code, app.policy()) }))
}

/// What an upload that changes nothing makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Same {
    /// A new revision all the same.
    IsNew,
    /// Nothing.
    IsNothing,
}

/// What became of an upload.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The package afterwards.
    pub(crate) code: code::Code,
    /// Whether it has a new revision.
    pub(crate) is_new: bool,
}

/// Keeps an upload: checks it against what there is, seals its secrets, and keeps its files.
pub(crate) async fn keep(
    app: &App,
    project: ProjectId,
    request: UploadRequest,
    files: Files,
    same: Same,
) -> Result<Kept, ApiError> {
    let mut order = request.validate(&app.config.limits)?;
    let previous = app.store.code_named(project, &order.name).await?;
    check_kept(&order, previous.as_deref())?;
    let Files { zip, image } = files;
    let old = previous.as_ref().map(|p| &p.latest.launch);
    check_launch(order.launch.as_ref().or(old), zip.is_some() && image.is_none())?;
    match image {
        Some(archive) => order.launch = Some(with_archive(app, archive, order.launch.take(), old).await?),
        // Who sends back what was read means the same image.
        None => {
            if let (Some(launch), Some(old)) = (&mut order.launch, old)
                && launch.image == old.image
            {
                launch.archive = old.archive.clone();
            }
        }
    }
    if let Some(launch) = &mut order.launch
        && launch.archive.is_none()
        && !launch.image.is_empty()
    {
        launch.digest = pinned(app, project, &launch.image).await?;
    }
    let launch = order.launch.as_ref().or(old);
    let package = match zip {
        Some(zip) => Some(zip.keep(app, launch.map_or("", |l| l.file_name.as_str())).await?),
        None => None,
    };
    let (at, code) = (app.now(), order.name.clone());
    let order = order.with_secrets(|name, value| {
        let before = previous.as_ref().and_then(|p| p.latest.env_vars.get(name));
        app.seal.seal_again(&Place::Variable { project, code: &code, name }, &value, before)
    });
    let (code, revision) = (app.ids.mint(at), app.ids.mint(at));
    let upload = Upload {
        code: CodeId::new(code.0, code.1),
        revision: RevisionId::new(revision.0, revision.1),
        project,
        package,
        from: None,
        order,
        at,
    };
    if let Some(previous) = previous.filter(|_| same == Same::IsNothing)
        && let Ok(after) = code::revise(Some(&previous), upload.clone())
        && differences(&previous.latest, &after.latest).is_empty()
        && previous.max_concurrency == after.max_concurrency
    {
        return Ok(Kept { code: (*previous).clone(), is_new: false });
    }
    Ok(Kept { code: app.store.upload(upload).await?, is_new: true })
}

/// How a worker is started in the image of `archive`, which is kept: as the upload says, or else as before.
async fn with_archive(
    app: &App,
    archive: upload::Zip,
    given: Option<Launch>,
    old: Option<&Launch>,
) -> Result<Launch, ApiError> {
    let is_named = given.as_ref().is_some_and(|launch| !launch.image.is_empty());
    let launch = given.or_else(|| old.cloned()).unwrap_or_default();
    if launch.kind() == Kind::Warm {
        let problem = "is for packages without a warm worker: upload it with the mode process";
        return Err(BadField::invalid("image_archive", problem).into());
    }
    let (archive, found) = archive.keep_image(app).await?;
    let image = if is_named { launch.image } else { found.name };
    Ok(Launch { image, archive: Some(archive), ..launch })
}

/// `POST P/codes/{id}/rollback?revision=N`: a new revision like an earlier one, which new tasks run from now on.
pub async fn rollback(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<CodeId>,
    query: Query,
    _: Ignored,
) -> Answer {
    let rev = revision_in(&query)?.ok_or_else(|| BadField::missing("revision"))?;
    let code = roll_back(&app, project, id, rev).await?;
    let msg = format!("Rolled back to revision {rev}");
    Ok(json(&Uploaded { msg, code: Code::present(&code, app.policy()) }))
}

/// The package after it got a new revision like `rev`. The zip is the one that is kept already.
pub(crate) async fn roll_back(
    app: &App,
    project: ProjectId,
    id: CodeId,
    rev: u32,
) -> Result<code::Code, ApiError> {
    let code = app.code_of(project, id).await?;
    if code.latest.rev == rev {
        let msg = format!("revision {rev} is the newest: there is nothing to go back from");
        return Err(ApiError::bad_request(msg));
    }
    let from = app.store.revision(id, rev).await?.ok_or_else(|| ApiError::not_found("Revision"))?;
    let at = app.now();
    let revision = app.ids.mint(at);
    let upload = Upload {
        code: id,
        revision: RevisionId::new(revision.0, revision.1),
        project,
        package: None,
        from: Some(Box::new(from)),
        order: UploadOrder { name: code.name, ..UploadOrder::default() },
        at,
    };
    Ok(app.store.upload(upload).await?)
}

/// What the name of an image means now, if its registry says so in time. Whether it does is no condition: runners ask
/// again, and they may reach registries that we do not.
async fn pinned(app: &App, project: ProjectId, image: &str) -> Result<Option<Digest>, BadField> {
    /// How long an upload waits for it.
    const PATIENCE: Duration = Duration::from_secs(5);
    let named: Reference = match image.parse() {
        Ok(named) => named,
        Err(error) => return Err(BadField::invalid("image", error.to_string())),
    };
    if named.digest.is_some() {
        return Ok(named.digest);
    }
    let Some(registry) = &app.config.registry else { return Ok(None) };
    let login = login(app, project, &named);
    match tokio::time::timeout(PATIENCE, registry.resolve(&named, login.as_ref())).await {
        Ok(Ok(digest)) => Ok(Some(digest)),
        Ok(Err(why)) => {
            tracing::warn!("an image is kept by its name only: {why}");
            Ok(None)
        }
        Err(_) => {
            tracing::warn!("an image is kept by its name only: {} does not answer in time", named.registry);
            Ok(None)
        }
    }
}

/// Whether there is a value for every variable whose value is to be kept.
fn check_kept(order: &UploadOrder, previous: Option<&code::Code>) -> Result<(), BadField> {
    let is_there = |name: &str| previous.is_some_and(|p| p.latest.env_vars.contains_key(name));
    let mut given = order.env_vars.iter().flatten();
    match given.find(|(name, given)| **given == Given::Kept && !is_there(name)) {
        None => Ok(()),
        Some((name, _)) => {
            let problem = format!("is {MASK}, which stands for a value that is there, and there is none");
            Err(BadField::invalid(format!("env_vars.{name}"), problem))
        }
    }
}

/// Whether it says how the package is started.
fn check_launch(launch: Option<&Launch>, has_zip: bool) -> Result<(), BadField> {
    match launch {
        None if has_zip => {
            Err(BadField::invalid("command", "is required, or file_name: what is to be started in the zip"))
        }
        // The wire has checked what a warm worker needs.
        Some(l) if l.kind() == Kind::Warm => Ok(()),
        Some(l) if l.command.is_empty() && l.image.is_empty() && l.file_name.is_empty() && has_zip => {
            Err(BadField::missing("file_name"))
        }
        _ => Ok(()),
    }
}

/// `GET P/codes`.
pub async fn list(State(app): State<Arc<App>>, InProject(project): InProject, query: Query) -> Answer {
    let codes = app.store.codes(project, query.page()).await?;
    Ok(json(&CodeList { codes: codes.iter().map(|code| Code::present(code, app.policy())).collect() }))
}

/// `GET P/codes/{id}`.
pub async fn read(State(app): State<Arc<App>>, InProject(project): InProject, Id(id): Id<CodeId>) -> Answer {
    Ok(json(&Code::present(&app.code_of(project, id).await?, app.policy())))
}

/// `DELETE P/codes/{id}`: its queued tasks are cancelled, its schedules end.
pub async fn delete(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<CodeId>,
    _: Ignored,
) -> Answer {
    app.code_of(project, id).await?;
    app.store.delete_code(id, app.now()).await?;
    Ok(said("Deleted"))
}

/// `GET P/codes/{id}/revisions`.
pub async fn revisions(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<CodeId>,
    query: Query,
) -> Answer {
    let code = app.code_of(project, id).await?;
    let revisions = app.store.revisions(id, query.page()).await?;
    Ok(json(&RevisionList {
        revisions: revisions.iter().map(|r| RevisionView::present(&code, r, app.policy())).collect(),
    }))
}

/// `GET P/codes/{id}/download`: the zip, of `?revision=N` or the newest.
pub async fn download(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<CodeId>,
    query: Query,
) -> Answer {
    let code = app.code_of(project, id).await?;
    let revision = match revision_in(&query)? {
        None => Some(code.latest),
        Some(rev) => app.store.revision(id, rev).await?,
    };
    let revision = revision.ok_or_else(|| ApiError::not_found("Revision"))?;
    let package = revision.package.ok_or_else(|| ApiError::not_found("Zip of this revision"))?;
    let found = app.blobs.stream(Area::Packages, &package.sha256).await?;
    let (size, content) = found.ok_or_else(|| ApiError::internal("the zip of a revision is not kept"))?;
    // Without `attachment`: one client takes the header apart literally.
    let file_name = format!("filename={}_{}.zip", plain(&code.name), revision.rev);
    let file_name = HeaderValue::from_str(&file_name).expect("only plain characters are left in it");
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/zip")),
        (header::CONTENT_DISPOSITION, file_name),
        (header::CONTENT_LENGTH, HeaderValue::from(size)),
    ];
    let content = content.map_err(|e| std::io::Error::other(e.to_string()));
    Ok((headers, Body::from_stream(content)).into_response())
}

/// The number of a revision. What is none is no revision's.
pub(crate) fn revision_in(query: &Query) -> Result<Option<u32>, BadField> {
    Ok(query.number("revision")?.map(|n| n as u32))
}

/// The name as part of a file name in a header.
fn plain(name: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    name.chars().map(|c| if is_plain(&c) { c } else { '_' }).collect()
}

/// `GET P/codes/{id}/stats`: tasks by status; those that ended, between the two dates (the last day if absent).
pub async fn stats(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<CodeId>,
    query: Query,
) -> Answer {
    const DAY: Duration = Duration::from_secs(86_400);
    app.code_of(project, id).await?;
    let to = query.seconds("end_date")?.unwrap_or_else(|| app.now());
    let from = query.seconds("start_date")?.unwrap_or(to - DAY);
    let ended = app.store.ended_between(id, from, to).await?;
    let lanes = app.store.counts(Some(project)).await?;
    let now = counts_of(&lanes, id);
    Ok(json(&Stats {
        queued: now.get(Status::Queued),
        preparing: now.get(Status::Preparing),
        running: now.get(Status::Running),
        complete: ended.get(Status::Complete),
        error: ended.get(Status::Error),
        timeout: ended.get(Status::Timeout),
        cancelled: ended.get(Status::Cancelled),
        killed: ended.get(Status::Killed),
    }))
}

/// `POST P/codes/{id}/pause_task_queue`: queued and scheduled tasks of it stay queued.
pub async fn pause(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<CodeId>,
    _: Ignored,
) -> Answer {
    let has_changed = set_paused(&app, project, id, true).await?;
    Ok(said(if has_changed { "Paused" } else { "Already paused" }))
}

/// `POST P/codes/{id}/resume_task_queue`.
pub async fn resume(
    State(app): State<Arc<App>>,
    InProject(project): InProject,
    Id(id): Id<CodeId>,
    _: Ignored,
) -> Answer {
    let has_changed = set_paused(&app, project, id, false).await?;
    Ok(said(if has_changed { "Resumed" } else { "Already resumed" }))
}

async fn set_paused(app: &App, project: ProjectId, id: CodeId, paused: bool) -> Result<bool, ApiError> {
    app.code_of(project, id).await?;
    let changed = app.store.set_paused(id, paused, app.now()).await?;
    changed.ok_or_else(|| ApiError::not_found("Code package"))
}
