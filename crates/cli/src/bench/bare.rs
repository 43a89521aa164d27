//! The bare limits of the machine: what the same work costs without Windlass.

use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use windlass_model::wire::Limits;
use windlass_model::wire::tasks::QueueRequest;

use super::stats::Sample;

/// Times of writing 4 KiB at the end of a file and `fdatasync`, `count` times.
pub(super) fn fdatasync(folder: &Path, count: usize) -> Result<Sample> {
    let path = folder.join("fdatasync");
    let mut file = File::create(&path)?;
    let block = [7u8; 4096];
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        file.write_all(&block)?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    std::fs::remove_file(&path)?;
    Ok(Sample::new(times))
}

/// Times of starting a program and waiting for its end, from `threads` threads at once; and how many were done per
/// second. `command` gets a number that no other start has.
pub(super) fn spawn(
    threads: usize,
    count: usize,
    command: impl Fn(usize) -> Command + Sync,
) -> Result<(f64, Sample)> {
    let each = count.div_ceil(threads);
    let one = |number: usize| -> Result<Duration> {
        let mut command = command(number);
        let start = Instant::now();
        let status = quiet(&mut command).status();
        let status = status.with_context(|| format!("cannot start {:?}", command.get_program()))?;
        ensure!(status.success(), "{:?} failed", command.get_program());
        Ok(start.elapsed())
    };
    let start = Instant::now();
    let times: Result<Vec<Vec<Duration>>> = std::thread::scope(|scope| {
        let work = |thread: usize| (thread * each..(thread + 1) * each).map(one).collect();
        let workers: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, Result<Vec<Duration>>>| {
            worker.join().map_err(|_| anyhow::anyhow!("a spawning thread panicked"))?
        };
        workers.into_iter().map(join).collect()
    });
    let times = times?.concat();
    Ok((times.len() as f64 / start.elapsed().as_secs_f64(), Sample::new(times)))
}

/// The program that does nothing.
pub(super) fn nothing(_: usize) -> Command {
    Command::new("true")
}

/// The command whose first act is to say what time it is, in nanoseconds since the epoch.
pub(super) const STAMP: &str = "date +%s%N";

/// Times from starting [`STAMP`] as a worker's command is started to its first act, one at a time.
pub(super) fn spawn_stamp(count: usize) -> Result<Sample> {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = SystemTime::now();
        let output =
            Command::new("sh").args(["-c", &format!("exec {STAMP}")]).stdin(Stdio::null()).output()?;
        times.push(stamp(&output.stdout)?.duration_since(start).unwrap_or_default());
        // The machine is idle before a task is picked up, so it is idle here, too.
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(Sample::new(times))
}

/// The instant that [`STAMP`] printed.
pub(super) fn stamp(output: &[u8]) -> Result<SystemTime> {
    let text = std::str::from_utf8(output)?.trim();
    let nanos = text.parse().with_context(|| format!("`{STAMP}` printed {text:?}"))?;
    Ok(UNIX_EPOCH + Duration::from_nanos(nanos))
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

/// Serves a handler that parses and checks the body of `POST /` and does nothing else, until the process ends. Prints
/// its address when it is ready.
pub(crate) async fn serve_parser() -> Result<()> {
    async fn parse(body: Bytes) -> Json<usize> {
        let orders =
            serde_json::from_slice::<QueueRequest>(&body).ok().map(|r| r.validate(&Limits::default()));
        Json(orders.and_then(Result::ok).map_or(0, |orders| orders.len()))
    }
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", listener.local_addr()?)?;
    out.flush()?;
    drop(out);
    let router = Router::new().route("/", post(parse)).layer(axum::extract::DefaultBodyLimit::max(64 << 20));
    axum::serve(listener, router).await?;
    Ok(())
}
