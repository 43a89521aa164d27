//! Warm workers: Python handlers from end to end, beside what their runtime client does against a bare endpoint.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use windlass_client::Client;
use windlass_model::id::CodeId;
use windlass_model::warm::Mode;
use windlass_model::wire::codes::UploadRequest;
use windlass_model::wire::lenient::Text;
use windlass_model::wire::tasks::TaskRequest;

use super::plan::{ANY_PORT, Effort, end_to_end};
use super::report::Figure;
use super::stats::{Sample, median, ms};
use crate::child::Windlass;

/// The handlers, and a program that does as much as one of them, for a process of its own.
const HANDLERS: &str = "\
import time
def nothing(event, context): return None
def stamp(event, context): return time.time_ns()
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
def fibonacci(event, context): return fib(10)
if __name__ == '__main__': print(fib(10))
";

/// Packs the handlers, and AWS's client if this host's Python has it, into the zip that is its first argument; says
/// where that client is.
const PACK: &str = r#"
import importlib.util, os, sys, zipfile
found = importlib.util.find_spec("awslambdaric")
with zipfile.ZipFile(sys.argv[1], "w", zipfile.ZIP_DEFLATED) as package:
    package.writestr("app.py", sys.argv[2])
    site = os.path.dirname(found.submodule_search_locations[0]) if found else ""
    for name in sorted(os.listdir(site)) if site else []:
        if not name.startswith(("awslambdaric", "runtime_client", "snapshot_restore_py", "simplejson")): continue
        path = os.path.join(site, name)
        files = [os.path.join(f, n) for f, _, names in os.walk(path) for n in names] if os.path.isdir(path) else [path]
        for file in files:
            if "__pycache__" not in file: package.write(file, os.path.relpath(file, site))
print(site)
"#;

/// Tasks that are queued at once, and how long all of them may take.
const LIGHT: (usize, f64) = (400, 0.5);
/// Tasks that compute something, and the share of the time of as many processes that they may take.
const COMPUTING: (usize, f64) = (40, 0.2);

/// Everything that is measured of them; nothing, said aloud, where there is no Python.
pub(super) async fn figures(effort: Effort, data: &Path, say: &impl Fn(&str)) -> Result<Vec<Figure>> {
    std::fs::create_dir_all(data)?;
    let zip = data.join("handlers.zip");
    let packed = Command::new("python3").args(["-c", PACK]).arg(&zip).arg(HANDLERS).output();
    let site = match packed {
        Ok(packed) if packed.status.success() => String::from_utf8_lossy(&packed.stdout).trim().to_owned(),
        _ => {
            say("no warm workers are measured, as this host has no python3");
            return Ok(Vec::new());
        }
    };
    let zip = Bytes::from(std::fs::read(&zip)?);
    let runtime = if site.is_empty() { "our client" } else { "awslambdaric" };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let slots = workers.to_string();
    let policy = |policy: &str| ["--slots", &slots, "--set", policy].map(str::to_owned);
    let start = |name: &str| {
        let flags = policy(name);
        let flags: Vec<&str> = ANY_PORT.into_iter().chain(flags.iter().map(String::as_str)).collect();
        Windlass::start("up", &data.join("data"), &flags)
    };
    let server = match start("sandbox.policy=require") {
        Ok(server) => server,
        Err(_) => {
            say("warm workers are measured without a sandbox, as this host has none");
            start("sandbox.policy=off")?
        }
    };
    let client = &server.client;

    say("warm Python handlers from end to end");
    let nothing = upload(client, "bench-warm", "app.nothing", &zip).await?;
    let tasks = effort.tasks * 3;
    end_to_end(client, nothing, "bench-warm", effort.tasks / 10).await?;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..effort.runs {
        bare.push(bare_endpoint(workers, effort.load, &site, data).await?);
        let took = end_to_end(client, nothing, "bench-warm", tasks).await?;
        ours.push(tasks as f64 / took.as_secs_f64());
    }
    let rate = median(ours);
    let name = format!("warm no-op Python tasks end to end, {workers} slots");
    let mut figures = vec![Figure::new(name.clone(), rate, "tasks/s").at_least(3000.0)];
    let beside = Figure::new(name, rate, "tasks/s");
    let beside = beside.beside(format!("{runtime} against a bare endpoint"), median(bare));
    figures.push(beside.ratio_of_at_least(0.6));

    let mut light = Vec::new();
    for _ in 0..effort.runs {
        light.push(end_to_end(client, nothing, "bench-warm", LIGHT.0).await?.as_secs_f64());
    }
    let name = format!("{} light tasks queued at once, until all are done, warm", LIGHT.0);
    figures.push(Figure::new(name, median(light), "s").at_most(LIGHT.1));

    say("pickup of a task by a warm worker");
    upload(client, "bench-warm-stamp", "app.stamp", &zip).await?;
    let pickup = pickups(client, "bench-warm-stamp", effort.pickups).await?;
    let name = "idle pickup by a warm worker, POST to handler";
    figures.push(Figure::new(format!("{name}, p50"), ms(pickup.median()), "ms").at_most(2.0));
    figures.push(Figure::new(format!("{name}, p99"), ms(pickup.percentile(0.99)), "ms"));

    say("tasks that compute something, warm and as processes");
    let warm = upload(client, "bench-warm-fib", "app.fibonacci", &zip).await?;
    let request = UploadRequest {
        name: Text::from("bench-process-fib"),
        command: Text::from("python3 app.py"),
        ..UploadRequest::default()
    };
    let process = client.upload(&request, Some(zip), None).await?.id;
    end_to_end(client, warm, "bench-warm-fib", workers * 2).await?;
    end_to_end(client, process, "bench-process-fib", workers * 2).await?;
    let (mut by_warm, mut by_process) = (Vec::new(), Vec::new());
    for _ in 0..effort.runs {
        by_process.push(end_to_end(client, process, "bench-process-fib", COMPUTING.0).await?.as_secs_f64());
        end_to_end(client, warm, "bench-warm-fib", workers * 2).await?;
        by_warm.push(end_to_end(client, warm, "bench-warm-fib", COMPUTING.0).await?.as_secs_f64());
    }
    let name = format!("{} Python tasks of fib(10), until all are done, warm", COMPUTING.0);
    let figure = Figure::new(name, median(by_warm), "s").beside("a process each", median(by_process));
    figures.push(figure.ratio_of_at_most(COMPUTING.1));
    Ok(figures)
}

async fn upload(client: &Client, name: &str, handler: &str, zip: &Bytes) -> Result<CodeId> {
    let request = UploadRequest {
        name: Text::from(name),
        mode: Text::from(Mode::Warm.as_str()),
        runtime: Text::from("python3"),
        handler: Text::from(handler),
        ..UploadRequest::default()
    };
    Ok(client.upload(&request, Some(zip.clone()), None).await?.id)
}

/// Times from queueing a task on an idle server to its handler.
async fn pickups(client: &Client, name: &str, count: usize) -> Result<Sample> {
    let mut times = Vec::with_capacity(count);
    // The first one starts the worker.
    for n in 0..=count {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let task = TaskRequest { code_name: Text::from(name), ..TaskRequest::default() };
        let queued_at = SystemTime::now();
        let ids = client.queue(vec![task], None).await?;
        let id = *ids.first().context("nothing was queued")?;
        client.wait(id, Some(Duration::from_secs(30))).await?;
        let result = client.result(id).await?.context("a task left no result")?;
        let nanos = std::str::from_utf8(&result)?.trim().parse()?;
        let started_at = UNIX_EPOCH + Duration::from_nanos(nanos);
        if n > 0 {
            times.push(started_at.duration_since(queued_at).unwrap_or_default());
        }
    }
    Ok(Sample::new(times))
}

/// Workers that are killed when this is dropped.
struct Workers(Vec<Child>);

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in &mut self.0 {
            // An error means that it has ended already.
            let _ = worker.kill();
            let _ = worker.wait();
        }
    }
}

/// Tasks per second that as many workers do for an endpoint that has a task whenever it is asked and forgets what it is
/// told.
async fn bare_endpoint(workers: usize, time: Duration, site: &str, folder: &Path) -> Result<f64> {
    let answered = Arc::new(AtomicU64::new(0));
    let counter = answered.clone();
    let next = || async {
        let headers =
            [("lambda-runtime-aws-request-id", "1"), ("lambda-runtime-deadline-ms", "4102444800000")];
        (headers, "null")
    };
    let response = move |_: Bytes| {
        counter.fetch_add(1, Ordering::Relaxed);
        async { axum::http::StatusCode::ACCEPTED }
    };
    let router = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(response));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let listener = listener.tap_io(|socket| drop(socket.set_nodelay(true)));
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let app: PathBuf = folder.join("bare");
    std::fs::create_dir_all(&app)?;
    std::fs::write(app.join("app.py"), HANDLERS)?;
    let start = || {
        Command::new("python3")
            .args(["-u", "-c", windlass_runner::PYTHON_CLIENT, "app.nothing"])
            .current_dir(&app)
            .env("PYTHONPATH", site)
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
    };
    let mut processes = Workers(Vec::new());
    for _ in 0..workers {
        processes.0.push(start()?);
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while answered.load(Ordering::Relaxed) < 100 * workers as u64 {
        ensure!(Instant::now() < deadline, "the workers of the bare endpoint do nothing");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (before, start) = (answered.load(Ordering::Relaxed), Instant::now());
    tokio::time::sleep(time).await;
    let rate = (answered.load(Ordering::Relaxed) - before) as f64 / start.elapsed().as_secs_f64();
    drop(processes);
    serving.abort();
    Ok(rate)
}
