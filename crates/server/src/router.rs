//! Every route, once.
//!
//! In front of all of them: slashes are folded, panics and unknown routes answer in JSON like every other error, and
//! nothing is ever compressed, as some clients ask for it and cannot read it.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use futures::FutureExt as _;
use http::StatusCode;
use tower::{Service, ServiceExt as _};
use windlass_model::project::Scope::{Admin, Manage, Queue, Read, Runner};
use windlass_model::wire::clusters::{
    ClusterCreated, ClusterCredentials, ClusterList, ClusterRead, ClusterRequest, ClusterStats,
    TerminateRequest,
};
use windlass_model::wire::codes::{Code, CodeList, RevisionList, Stats, UploadRequest, Uploaded};
use windlass_model::wire::credentials::Credentials;
use windlass_model::wire::more::RunnerList;
use windlass_model::wire::projects::{
    Project, ProjectChange, ProjectList, ProjectRequest, TokenCreated, TokenList, TokenRequest,
};
use windlass_model::wire::schedules::{CreateRequest, Schedule, ScheduleList, ScheduleRequest, Scheduled};
use windlass_model::wire::tasks::{
    AttemptList, BulkCancelled, BulkRetried, Explanation, ProgressRequest, QueueRequest, Queued,
    RetryRequest, Task, TaskList, WebhookQueued,
};
use windlass_model::wire::usage::UsageReport;

use crate::api::{
    bulk, clusters, codes, explain, filters, health, logs, metrics, projects, protocol, runners, schedules,
    stacks, tasks, tokens, usage, webhook,
};
use crate::app::App;
use crate::auth::Access::{Known, Member, Open, Project as In, Root};
use crate::error::ApiError;
use crate::explorer;
use crate::hud;
use crate::metrics::Code as StatusCodeLabel;
use crate::path::normalize;
use crate::route::{Route, delete, get, mount, patch, post, put};

const PAGE: &[(&str, &str)] = &[("page", "from 0, at most 100"), ("per_page", "30 by default, at most 100")];

/// Every route: method, path, who may use it, and what the API document says of it.
#[rustfmt::skip]
pub fn routes() -> Vec<Route> {
    const JSON: &str = "application/json";
    vec![
        // Code packages.
        post("/2/projects/{project_id}/codes", In(Manage), codes::upload)
            .does("Upload a code package: a first revision, or a new one of the package with the same name")
            .takes::<UploadRequest>().like(r#"{"name":"hello","command":"./hello.sh"}"#)
            .takes_other("multipart/form-data", "Part `data`: an UploadRequest as JSON. Part `file`: the zip. Without a zip, the UploadRequest alone as application/json.")
            .gives::<Uploaded>(),
        get("/2/projects/{project_id}/codes", In(Read), codes::list)
            .does("Code packages, newest change first").query(PAGE).gives::<CodeList>(),
        get("/2/projects/{project_id}/codes/{id}", In(Read), codes::read)
            .does("One code package").gives::<Code>(),
        delete("/2/projects/{project_id}/codes/{id}", In(Manage), codes::delete)
            .does("Delete a code package: its queued tasks are cancelled, its schedules end"),
        get("/2/projects/{project_id}/codes/{id}/revisions", In(Read), codes::revisions)
            .does("Revisions of a code package, first first").query(PAGE).gives::<RevisionList>(),
        get("/2/projects/{project_id}/codes/{id}/download", In(Read), codes::download)
            .does("The zip of a revision").query(&[("revision", "its number; the newest if absent")])
            .gives_other("application/zip", "The zip"),
        post("/2/projects/{project_id}/codes/{id}/rollback", In(Manage), codes::rollback)
            .does("Make a new revision like an earlier one: new tasks run it from now on")
            .query(&[("revision", "the number of the earlier one")]).gives::<Uploaded>(),
        get("/2/projects/{project_id}/codes/{id}/stats", In(Read), codes::stats)
            .does("Tasks of a code package by status")
            .query(&[("start_date", "of those that ended: seconds since the epoch, a day before the end if absent"), ("end_date", "now if absent")])
            .gives::<Stats>(),
        post("/2/projects/{project_id}/codes/{id}/pause_task_queue", In(Manage), codes::pause)
            .does("Keep the tasks of a code package from starting"),
        post("/2/projects/{project_id}/codes/{id}/resume_task_queue", In(Manage), codes::resume)
            .does("Let the tasks of a code package start again"),
        post("/2/projects/{project_id}/codes/{id}/cancel_all", In(Manage), bulk::cancel_all)
            .does("Cancel every task of a code package that has not ended"),

        // Tasks.
        post("/2/projects/{project_id}/tasks", In(Queue), tasks::queue)
            .does("Queue tasks, all or none").takes::<QueueRequest>().like(r#"{"tasks":[{"code_name":"hello","payload":"Outcast"}]}"#).gives::<Queued>(),
        post("/2/projects/{project_id}/tasks/webhook", In(Queue), webhook::queue)
            .does("Queue one task; the body, whatever it is, is its payload").query(webhook::PARAMETERS)
            .takes_other("*/*", "The payload").gives::<WebhookQueued>(),
        get("/2/projects/{project_id}/tasks", In(Read), tasks::list)
            .does("Tasks, newest created first").query(filters::PARAMETERS).gives::<TaskList>(),
        post("/2/projects/{project_id}/tasks/cancel", In(Manage), bulk::cancel)
            .does("Cancel every task that the filters mean; they may also be a JSON object").query(filters::PARAMETERS)
            .gives::<BulkCancelled>(),
        post("/2/projects/{project_id}/tasks/retry", In(Manage), bulk::retry)
            .does("Queue a new task for each ended one that the filters mean; they may also be a JSON object").query(filters::PARAMETERS)
            .gives::<BulkRetried>(),
        get("/2/projects/{project_id}/tasks/{id}", In(Read), tasks::read)
            .does("One task").query(&[("wait", "answer when it has ended, or after so many seconds, at most 60")])
            .gives::<Task>(),
        get("/2/projects/{project_id}/tasks/{id}/log", In(Read), logs::read)
            .does("What the worker wrote, in order; live with follow=1").query(logs::PARAMETERS)
            .gives_other("text/plain", "The log; with follow=1 text/event-stream: one event per chunk (id: its number; data: JSON with n, stream, at_ms and data, which is text or {\"base64\": …}), then an event `end`"),
        get("/2/projects/{project_id}/tasks/{id}/outlog", In(Read), logs::read_stdout)
            .does("What the worker wrote to standard output").query(&[("attempt", "of this attempt, from 1")])
            .gives_other("text/plain", "Standard output"),
        get("/2/projects/{project_id}/tasks/{id}/result", In(Read), tasks::result)
            .does("What the worker left in its RESULT_FILE").gives_other("*/*", "The result; application/json if it is JSON"),
        get("/2/projects/{project_id}/tasks/{id}/attempts", In(Read), tasks::attempts)
            .does("Attempts that have ended, first first").gives::<AttemptList>(),
        get("/2/projects/{project_id}/tasks/{id}/explain", In(Read), explain::read)
            .does("Why the task is where it is, in one sentence").gives::<Explanation>(),
        post("/2/projects/{project_id}/tasks/{id}/progress", In(Queue), tasks::progress)
            .does("Set percent and message of a task that has not ended").takes::<ProgressRequest>().like(r#"{"percent":50,"msg":"half of it"}"#),
        post("/2/projects/{project_id}/tasks/{id}/cancel", In(Manage), tasks::cancel)
            .does("Cancel a task; one that has ended stays as it is"),
        post("/2/projects/{project_id}/tasks/{id}/retry", In(Manage), tasks::retry)
            .does("Queue a new task with the same package, payload and options").takes::<RetryRequest>().like(r#"{"delay":60}"#).gives::<Queued>(),

        // Schedules.
        post("/2/projects/{project_id}/schedules", In(Queue), schedules::create)
            .does("Make schedules, all or none").takes::<CreateRequest>().like(r#"{"schedules":[{"code_name":"hello","payload":"often","run_every":600}]}"#).gives::<Scheduled>(),
        get("/2/projects/{project_id}/schedules", In(Read), schedules::list)
            .does("Schedules, newest first").query(PAGE).gives::<ScheduleList>(),
        get("/2/projects/{project_id}/schedules/{id}", In(Read), schedules::read)
            .does("One schedule").gives::<Schedule>(),
        put("/2/projects/{project_id}/schedules/{id}", In(Manage), schedules::update)
            .does("Change the fields of a schedule that are given").takes::<ScheduleRequest>().like(r#"{"run_every":3600}"#),
        post("/2/projects/{project_id}/schedules/{id}/pause", In(Manage), schedules::pause)
            .does("Keep a schedule from firing"),
        post("/2/projects/{project_id}/schedules/{id}/resume", In(Manage), schedules::resume)
            .does("Let a schedule fire again; what passed meanwhile is left out"),
        post("/2/projects/{project_id}/schedules/{id}/cancel", In(Manage), schedules::cancel)
            .does("End a schedule; one that has ended stays as it is"),

        // Compute time.
        get("/2/projects/{project_id}/usage", In(Read), usage::read)
            .does("What the attempts of the project's tasks used: wall time, processor time, peak memory").query(usage::PARAMETERS)
            .gives::<UsageReport>(),

        // Projects and tokens.
        get("/2/projects", Known, projects::list)
            .does("The projects that the token reaches").gives::<ProjectList>(),
        post("/2/projects", Root(Admin), projects::create)
            .does("Make a project").takes::<ProjectRequest>().like(r#"{"name":"reports"}"#).gives::<Project>(),
        get("/2/projects/{project_id}", Member, projects::read)
            .does("One project").gives::<Project>(),
        patch("/2/projects/{project_id}", In(Manage), projects::change)
            .does("Change what the project demands of runners").takes::<ProjectChange>().like(r#"{"min_isolation":"namespaces"}"#).gives::<Project>(),
        post("/2/projects/{project_id}/credentials", In(Manage), projects::credentials)
            .does("Keep a login to a registry of images").takes::<Credentials>().like(r#"{"auth":"eyJ1c2VybmFtZSI6InUiLCJwYXNzd29yZCI6InAiLCJzZXJ2ZXJhZGRyZXNzIjoiZXhhbXBsZS5vcmcifQ=="}"#),
        get("/2/projects/{project_id}/tokens", In(Manage), tokens::list)
            .does("Tokens of the project, without their text").gives::<TokenList>(),
        post("/2/projects/{project_id}/tokens", In(Manage), tokens::create)
            .does("Make a token of the project; nobody can grant what they lack").takes::<TokenRequest>().like(r#"{"name":"ci","scopes":["queue","read"]}"#).gives::<TokenCreated>(),
        delete("/2/projects/{project_id}/tokens/{id}", In(Manage), tokens::revoke)
            .does("Revoke a token of the project"),
        get("/2/tokens", Root(Admin), tokens::list_global)
            .does("Tokens that are not limited to a project").gives::<TokenList>(),
        post("/2/tokens", Root(Admin), tokens::create_global)
            .does("Make a token that is not limited to a project, such as a runner's").takes::<TokenRequest>().like(r#"{"name":"gpu-1","scopes":["runner"]}"#).gives::<TokenCreated>(),
        delete("/2/tokens/{id}", Root(Admin), tokens::revoke_global)
            .does("Revoke a token that is not limited to a project"),

        // Clusters and runners, as clients and operators read them.
        get("/2/clusters", Known, clusters::list)
            .does("`default`, the clusters that were created, and every other that has runners").gives::<ClusterList>(),
        post("/2/clusters", Root(Admin), clusters::create)
            .does("Create a cluster of runners").takes::<ClusterRequest>()
            .like(r#"{"name":"gpu","autoscale":{"min_slots":0,"max_slots":32}}"#).gives::<ClusterCreated>(),
        get("/2/clusters/{name}", Known, clusters::read)
            .does("One cluster, by its name or id").gives::<ClusterRead>(),
        put("/2/clusters/{name}", Root(Admin), clusters::change)
            .does("Change what is given of a cluster, but its name").takes::<ClusterRequest>()
            .like(r#"{"autoscale":{"max_slots":64}}"#),
        delete("/2/clusters/{name}", Root(Admin), clusters::delete)
            .does("Delete a cluster that has no runners; their tokens are revoked"),
        get("/2/clusters/{name}/stats", Known, clusters::stats)
            .does("How busy a cluster is, and how many slots it should have").gives::<ClusterStats>(),
        get("/2/clusters/{name}/credentials", Root(Admin), clusters::credentials)
            .does("The token of a cluster's runners, good for no other cluster; made when it is first asked for").gives::<ClusterCredentials>(),
        post("/2/clusters/{name}/terminate", Root(Manage), clusters::terminate)
            .does("Ask runners of a cluster to end what they have and take no more").takes::<TerminateRequest>()
            .like(r#"{"instance_ids":[]}"#),
        get("/2/runners", Root(Read), runners::list)
            .does("Runners, live ones first, newest first").gives::<RunnerList>(),
        post("/2/runners/{id}/drain", Root(Manage), runners::drain)
            .does("Ask a runner to take no more tasks, or to take them again").takes::<runners::DrainRequest>().like(r#"{"drain":true}"#),

        // The runner protocol: `windlass_model::runner`.
        post("/2/runners", Root(Runner), protocol::register)
            .does("A runner begins a session").takes_other(JSON, "Register").gives_other(JSON, "Registered"),
        post("/2/runners/{id}/claim", Root(Runner), protocol::claim)
            .does("Take tasks to run; waits for the first").takes_other(JSON, "ClaimRequest").gives_other(JSON, "Claim"),
        post("/2/runners/{id}/heartbeat", Root(Runner), protocol::heartbeat)
            .does("Keep the leases; waits for what the runner must know").takes_other(JSON, "Heartbeat").gives_other(JSON, "HeartbeatAnswer"),
        post("/2/runners/{id}/log", Root(Runner), protocol::log)
            .does("Add chunks to logs of running attempts").takes_other(JSON, "LogUpload").gives_other(JSON, "LogAnswer"),
        post("/2/runners/{id}/finish", Root(Runner), protocol::finish)
            .does("Report ended attempts and take the next tasks").takes_other(JSON, "Finish").gives_other(JSON, "FinishAnswer"),
        post("/2/runners/{id}/release", Root(Runner), protocol::release)
            .does("Give attempts back unfinished; end the session with `leave`").takes_other(JSON, "Release"),
        get("/2/runners/packages/{name}", Root(Runner), protocol::package)
            .does("The zip with this SHA-256").gives_other("application/zip", "The zip"),

        // The server.
        get("/2/stacks", Open, stacks::list)
            .does("Names of language stacks; packages name what they run themselves").gives_other(JSON, "An array of names"),
        get("/version", Open, stacks::version).does("Version of server and API").gives::<stacks::Version>(),
        get("/2/version", Open, stacks::version).does("Version of server and API").gives::<stacks::Version>(),
        get("/health/live", Open, health::live).does("The server answers"),
        get("/health/ready", Open, health::ready).does("The server can work: 503 with the reason if not"),
        get("/metrics", Root(Read), metrics::scrape)
            .does("Counters and gauges for Prometheus").gives_other("application/openmetrics-text", "Metrics"),
        get("/openapi.json", Open, metrics::document)
            .does("This document").gives_other(JSON, "OpenAPI"),
        get("/docs", Open, explorer::page)
            .does("This document as a page, with forms to try it").gives_other("text/html", "The page"),
        get("/docs/{name}", Open, explorer::asset)
            .does("What belongs to that page").gives_other("*/*", "A style sheet or a script"),
    ]
}

/// The server as a service of HTTP requests, with or without a socket.
pub fn router(app: Arc<App>) -> Front {
    let routes = mount(routes())
        .merge(hud::mount(hud::pages(), &app))
        .fallback(async || ApiError::new(StatusCode::NOT_FOUND, "Not found"))
        .method_not_allowed_fallback(async || {
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "this path is known, but not with this method")
        })
        .with_state(app.clone());
    Front { routes, app }
}

/// The routes and what stands in front of them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Front {
    routes: Router,
    app: Arc<App>,
}

impl<B> Service<http::Request<B>> for Front
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let Self { routes, app } = self.clone();
        Box::pin(async move { Ok(answer(routes, &app, request.map(Body::new)).await) })
    }
}

/// What stands in front of every route, also of those that are none.
async fn answer(inner: Router, app: &App, mut request: Request) -> Response {
    if let Some(uri) = normalize(request.uri()) {
        *request.uri_mut() = uri;
    }
    // The path alone: the query may carry a token.
    let seen = tracing::enabled!(tracing::Level::DEBUG)
        .then(|| (request.method().clone(), request.uri().path().to_owned(), Instant::now()));
    let answer = AssertUnwindSafe(inner.oneshot(request)).catch_unwind().await;
    let answer = match answer {
        Ok(Ok(answer)) => answer,
        Err(panic) => {
            let said = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
            let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            ApiError::internal(&format!("a handler panicked: {said}")).into_response()
        }
    };
    let code = answer.status().as_u16();
    if let Some((method, path, started)) = seen {
        let took_us = started.elapsed().as_micros() as u64;
        tracing::debug!(%method, path, code, took_us, "{method} {path} was answered with {code}");
    }
    app.metrics.requests.get_or_create(&StatusCodeLabel { code }).inc();
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_store::blob::Blobs;
    use windlass_store::memory::Memory;

    #[tokio::test]
    async fn a_panic_is_a_500_in_json() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::local(folder.path()).unwrap();
        let store = Arc::new(Memory::default());
        let seal = crate::Seal::open(&*store, &[7; 32], false).await.unwrap();
        let app =
            App::open(store, blobs, crate::Clock::System, crate::Config::default(), seal).await.unwrap();
        let inner: Router =
            Router::new().route("/", axum::routing::get(async || -> Response { panic!("boom") }));
        let request = Request::builder().uri("/").body(axum::body::Body::empty()).unwrap();
        let answer = answer(inner, &app, request).await;
        assert_eq!(
            (answer.status(), &answer.headers()["content-type"]),
            (StatusCode::INTERNAL_SERVER_ERROR, &"application/json".parse().unwrap())
        );
    }
}
