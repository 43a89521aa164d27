//! `TestServer`: a clean store, a clock that stands still, and short words for requests.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use windlass_model::bytes::Bytes as Lossless;
use windlass_model::exit::{Exit, Usage};
use windlass_model::id::{ProjectId, RunnerId};
use windlass_model::log::{LogChunk, Stream};
use windlass_model::project::Scope;
use windlass_model::runner::{
    Assignment, Claim, ClaimRequest, Finish, FinishAnswer, Held, Isolation, Register, Registered, Report,
};
use windlass_model::time::Timestamp;
use windlass_server::{App, Clock, Config, Front, Seal, router};
use windlass_store::Store;
use windlass_store::blob::Blobs;
use windlass_store::memory::Memory;
use windlass_store::sqlite::{Options, Sqlite};

/// 2026-01-31T12:00:00.000Z.
pub(crate) const START: Timestamp = Timestamp::from_secs(1_769_860_800);

/// What its secrets are sealed with.
pub(crate) const KEY: [u8; 32] = [7; 32];

/// A server and everything that a test needs to talk to it.
pub(crate) struct TestServer {
    pub(crate) app: Arc<App>,
    pub(crate) router: Front,
    pub(crate) project: ProjectId,
    /// May do everything, everywhere.
    pub(crate) admin: String,
    /// May act as a runner.
    pub(crate) runner_token: String,
    _folder: tempfile::TempDir,
}

/// A kind of store.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Memory,
    Sqlite,
    /// Its file may not grow beyond so many bytes.
    Small(u64),
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("not JSON: {e}: {:?}", self.body))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn msg(&self) -> String {
        self.json()["msg"].as_str().unwrap_or_default().to_owned()
    }

    /// Status and `msg`, for tables of refusals.
    pub(crate) fn said(&self) -> (u16, String) {
        (self.status.as_u16(), self.msg())
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::with(Config::default()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        // Set by whoever wants to see every test here on the embedded database.
        let store =
            if std::env::var_os("WINDLASS_TEST_SQLITE").is_some() { Kind::Sqlite } else { Kind::Memory };
        Self::on(store, config).await
    }

    pub(crate) async fn on(store: Kind, mut config: Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        config.scratch = folder.path().to_owned();
        let blobs = Blobs::local(&folder.path().join("blobs")).unwrap();
        let store: Arc<dyn Store> = match store {
            Kind::Memory => Arc::new(Memory::default()),
            Kind::Sqlite => Arc::new(Sqlite::open(folder.path(), Options::default()).unwrap()),
            Kind::Small(bytes) => {
                let options = Options { max_size_bytes: Some(bytes), ..Options::default() };
                Arc::new(Sqlite::open(folder.path(), options).unwrap())
            }
        };
        let seal = Seal::open(&*store, &KEY, false).await.unwrap();
        let app = App::open(store, blobs, Clock::manual(START), config, seal).await.unwrap();
        let project = app.create_project("test").await.unwrap().id;
        let (admin, _) = app.create_token(None, &[Scope::Admin], "admin", None).await.unwrap();
        let (runner_token, _) = app.create_token(None, &[Scope::Runner], "runner", None).await.unwrap();
        let router = router(app.clone());
        Self { app, router, project, admin, runner_token, _folder: folder }
    }

    /// Another server on the same store takes the calls from now on; the one before is returned.
    pub(crate) async fn take_over(&mut self) -> Self {
        let (store, blobs, clock) = (self.app.store.clone(), self.app.blobs.clone(), self.app.clock.clone());
        let seal = Seal::open(&*store, &KEY, false).await.unwrap();
        let app = App::open(store, blobs, clock, self.app.config.clone(), seal).await.unwrap();
        let other = Self {
            router: router(app.clone()),
            app,
            project: self.project,
            admin: self.admin.clone(),
            runner_token: self.runner_token.clone(),
            _folder: tempfile::tempdir().unwrap(),
        };
        std::mem::replace(self, other)
    }

    /// The runner whose session this is, as it calls this server.
    pub(crate) fn runner_of(&self, id: RunnerId) -> TestRunner<'_> {
        TestRunner { server: self, id }
    }

    pub(crate) async fn token(&self, scopes: &[Scope]) -> String {
        self.app.create_token(Some(self.project), scopes, "t", None).await.unwrap().0
    }

    /// A path in the test's project.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/2/projects/{}/{rest}", self.project)
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn call(&self, method: Method, path: &str, token: &str, body: Option<Value>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !token.is_empty() {
            request = request.header("authorization", format!("OAuth {token}"));
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.send(request.body(body).unwrap()).await
    }

    /// GET in the project as admin.
    pub(crate) async fn get(&self, rest: &str) -> Answer {
        self.call(Method::GET, &self.path(rest), &self.admin, None).await
    }

    /// POST in the project as admin.
    pub(crate) async fn post(&self, rest: &str, body: Value) -> Answer {
        self.call(Method::POST, &self.path(rest), &self.admin, Some(body)).await
    }

    /// Uploads a package without a zip. Returns its id.
    pub(crate) async fn code(&self, name: &str, options: Value) -> String {
        let mut body = json!({ "name": name, "image": "busybox" });
        body.as_object_mut().unwrap().extend(options.as_object().cloned().unwrap_or_default());
        let answer = self.post("codes", body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Queues one task. Returns its id.
    pub(crate) async fn queue(&self, task: Value) -> String {
        let answer = self.post("tasks", json!({ "tasks": [task] })).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["tasks"][0]["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn task(&self, id: &str) -> Value {
        self.get(&format!("tasks/{id}")).await.json()
    }

    pub(crate) async fn status(&self, id: &str) -> String {
        self.task(id).await["status"].as_str().unwrap().to_owned()
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.app.clock.advance(by);
    }

    /// A runner in the cluster `default`.
    pub(crate) async fn runner(&self, slots: u32) -> TestRunner<'_> {
        self.runner_in("default", slots).await
    }

    pub(crate) async fn runner_in(&self, cluster: &str, slots: u32) -> TestRunner<'_> {
        let about = Register {
            name: "box".to_owned(),
            instance: format!("box:{cluster}"),
            cluster: cluster.to_owned(),
            slots,
            labels: Vec::new(),
            version: "0.1.0".to_owned(),
            isolation: isolation(),
        };
        self.register(about).await
    }

    pub(crate) async fn register(&self, about: Register) -> TestRunner<'_> {
        let body = serde_json::to_value(about).unwrap();
        let answer = self.call(Method::POST, "/2/runners", &self.runner_token, Some(body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let registered: Registered = serde_json::from_slice(&answer.body).unwrap();
        TestRunner { server: self, id: registered.runner }
    }
}

pub(crate) fn isolation() -> Isolation {
    Isolation { level: "process".to_owned(), missing: vec!["memory limit".to_owned()] }
}

/// A runner that does what a test says.
pub(crate) struct TestRunner<'a> {
    server: &'a TestServer,
    pub(crate) id: RunnerId,
}

impl TestRunner<'_> {
    pub(crate) async fn raw<T: Serialize>(&self, verb: &str, body: &T) -> Answer {
        let path = format!("/2/runners/{}/{verb}", self.id);
        let body = Some(serde_json::to_value(body).unwrap());
        self.server.call(Method::POST, &path, &self.server.runner_token, body).await
    }

    pub(crate) async fn call<T: Serialize, A: DeserializeOwned>(&self, verb: &str, body: &T) -> A {
        let answer = self.raw(verb, body).await;
        assert_eq!(answer.status, 200, "{verb}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    pub(crate) async fn claim(&self, want: u32) -> Vec<Assignment> {
        self.call::<_, Claim>("claim", &ClaimRequest { want, wait_ms: 0, is_idle: false, load: None })
            .await
            .tasks
    }

    pub(crate) async fn claim_one(&self) -> Assignment {
        self.claim(1).await.pop().expect("a task is claimable")
    }

    pub(crate) async fn finish(&self, reports: Vec<Report>) -> FinishAnswer {
        self.call("finish", &Finish { reports, claim: None }).await
    }

    /// Claims one task and ends it.
    pub(crate) async fn run(&self, exit: Exit) -> Assignment {
        let task = self.claim_one().await;
        let answer = self.finish(vec![report(&task, exit)]).await;
        assert_eq!(answer.lost, []);
        task
    }
}

pub(crate) fn held(task: &Assignment) -> Held {
    Held { task: task.task, fence: task.fence }
}

pub(crate) fn report(task: &Assignment, exit: Exit) -> Report {
    Report {
        held: held(task),
        exit,
        usage: Usage { wall_ms: 1500, user_us: 1, system_us: 2, peak_memory_bytes: 3 },
        isolation: isolation(),
        log: Vec::new(),
        stderr_tail: Lossless::default(),
        result: None,
    }
}

pub(crate) fn chunk(n: u32, stream: Stream, data: &[u8]) -> LogChunk {
    LogChunk { n, stream, at_ms: n, data: Lossless(data.to_vec()) }
}
