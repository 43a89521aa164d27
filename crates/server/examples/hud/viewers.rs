//! What open pages take of a processor: the viewers are a process of their own, so that the server's time is its own.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::http::Connection;
use crate::pages::ms;
use crate::seed::Seeded;
use crate::{Result, cpu};

/// What makes this program a process of viewers.
pub(crate) const ARGUMENT: &str = "--viewers";

/// Time between two tasks: fifty a second.
const EVERY: Duration = Duration::from_millis(20);

/// Prints the processor time of this process while `viewers` look at the overview and fifty tasks a second run.
pub(crate) async fn measure(
    address: SocketAddr,
    token: &str,
    runner: &str,
    seeded: &Seeded,
    viewers: usize,
    span: Duration,
) -> Result<()> {
    let (before, start) = (cpu(), Instant::now());
    let child = Command::new(std::env::current_exe()?)
        .arg(ARGUMENT)
        .args([&address.to_string(), token, runner, &seeded.project.to_string()])
        .args([&viewers.to_string(), &span.as_secs().to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let said = child.wait_with_output().await?;
    let share = (cpu() - before).as_secs_f64() / start.elapsed().as_secs_f64() * 100.0;
    print!("{viewers} viewers: {share:.1} % of a processor; {}", String::from_utf8(said.stdout)?);
    Ok(())
}

/// The process of the viewers.
pub(crate) fn look(args: &[String]) -> Result<()> {
    let [address, token, runner, project, viewers, seconds] = args else {
        return Err("it is started by the measurement".into());
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (address, span) = (address.parse()?, Duration::from_secs(seconds.parse()?));
    runtime.block_on(look_for(address, token, runner, project, viewers.parse()?, span))
}

async fn look_for(
    address: SocketAddr,
    token: &str,
    runner: &str,
    project: &str,
    viewers: usize,
    span: Duration,
) -> Result<()> {
    let head = Connection::to(address).await?.log_in(token).await?;
    let looks = Arc::new(AtomicU64::new(0));
    for _ in 0..viewers {
        tokio::spawn(view(address, head.clone(), project.to_owned(), looks.clone()));
    }
    let updates = first_updates(address, &head, token, project).await?;
    let done = tokio::spawn(work(address, runner.to_owned()));
    let (start, before) = (Instant::now(), looks.load(Ordering::Relaxed));
    let mut queued = 0;
    let mut ticks = tokio::time::interval(EVERY);
    let mut server = Connection::to(address).await?;
    while start.elapsed() < span {
        ticks.tick().await;
        queue(&mut server, token, project).await?;
        queued += 1;
    }
    let looks = looks.load(Ordering::Relaxed) - before;
    done.abort();
    println!(
        "{queued} tasks and {looks} pages in {:.0} s; a change is on an idle page after {:.1} ms (median of {})",
        start.elapsed().as_secs_f64(),
        ms(updates[updates.len() / 2]),
        updates.len()
    );
    Ok(())
}

/// One open page: looks again whenever it is told to.
async fn view(address: SocketAddr, head: String, project: String, looks: Arc<AtomicU64>) -> Result<()> {
    let (mut events, mut pages) = (Connection::to(address).await?, Connection::to(address).await?);
    events.send(&format!("GET /p/{project}/live"), &head, "").await?;
    loop {
        let beat = beat(&mut events).await?;
        pages.ask(&format!("GET /p/{project}"), &format!("{head}x-live: {beat}\r\n"), "").await?;
        looks.fetch_add(1, Ordering::Relaxed);
    }
}

async fn beat(events: &mut Connection) -> Result<String> {
    loop {
        if let Some(beat) = events.line().await?.strip_prefix("data: ") {
            return Ok(beat.to_owned());
        }
    }
}

/// How long it takes from a task being queued to the new page being there, when nothing else happens.
async fn first_updates(address: SocketAddr, head: &str, token: &str, project: &str) -> Result<Vec<Duration>> {
    let (mut events, mut pages) = (Connection::to(address).await?, Connection::to(address).await?);
    events.send(&format!("GET /p/{project}/live"), head, "").await?;
    beat(&mut events).await?;
    let mut times = Vec::new();
    for _ in 0..7 {
        // Longer than any pause between two beats.
        tokio::time::sleep(Duration::from_millis(2_200)).await;
        let at = Instant::now();
        queue(&mut pages, token, project).await?;
        let beat = beat(&mut events).await?;
        pages.ask(&format!("GET /p/{project}"), &format!("{head}x-live: {beat}\r\n"), "").await?;
        times.push(at.elapsed());
    }
    times.sort();
    Ok(times)
}

fn api(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n")
}

async fn queue(server: &mut Connection, token: &str, project: &str) -> Result<()> {
    let body = json!({ "tasks": [{ "code_name": "worker-1", "payload": "{\"zone\": \"now\"}", "cluster": "live" }] });
    let answer =
        server.ask(&format!("POST /2/projects/{project}/tasks"), &api(token), &body.to_string()).await?;
    if answer.status != 200 {
        return Err(format!("a task was not queued: {}", answer.body).into());
    }
    Ok(())
}

/// A runner whose tasks take no time.
async fn work(address: SocketAddr, token: String) -> Result<()> {
    let mut server = Connection::to(address).await?;
    let isolation = json!({ "level": "none", "missing": [] });
    let about = json!({
        "name": "viewers", "instance": "viewers", "cluster": "live", "slots": 8, "version": "0", "isolation": isolation,
    });
    let registered = server.ask("POST /2/runners", &api(&token), &about.to_string()).await?;
    let registered: Value = serde_json::from_str(&registered.body)?;
    let runner = registered["runner"].as_str().ok_or("it was not registered")?.to_owned();
    let mut reports = Vec::new();
    loop {
        let body = json!({ "reports": reports, "claim": { "want": 8, "wait_ms": 1_000 } });
        let line = format!("POST /2/runners/{runner}/finish");
        let answer = server.ask(&line, &api(&token), &body.to_string()).await?;
        let answer: Value = serde_json::from_str(&answer.body)?;
        let tasks = answer["claim"]["tasks"].as_array().ok_or("it got no answer")?;
        reports = tasks.iter().map(|task| report(task, &isolation)).collect();
    }
}

fn report(task: &Value, isolation: &Value) -> Value {
    json!({
        "held": { "task": task["task"], "fence": task["fence"] },
        "exit": { "code": 0 },
        "usage": { "wall_ms": 5, "user_us": 900, "system_us": 400, "peak_memory_bytes": 4_000_000 },
        "isolation": isolation,
        "stderr_tail": "",
    })
}
