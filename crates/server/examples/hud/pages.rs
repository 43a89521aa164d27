//! How long the server takes for each page, from the request to the last byte, and how large pages are.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::http::Connection;
use crate::seed::Seeded;
use crate::{Result, cpu};

/// How often each page is asked for.
const TIMES: usize = 200;

pub(crate) async fn measure(address: SocketAddr, token: &str, seeded: &Seeded) -> Result<()> {
    let mut server = Connection::to(address).await?;
    let head = server.log_in(token).await?;
    let Seeded { project, code, schedule, task, .. } = seeded;
    let pages = [
        String::new(),
        "?range=day".to_owned(),
        "?range=week".to_owned(),
        "/tasks".to_owned(),
        "/tasks?error=1&timeout=1&killed=1".to_owned(),
        "/tasks?code_name=worker-3&complete=1".to_owned(),
        "/tasks?label=label-7".to_owned(),
        format!("/tasks?schedule_id={schedule}"),
        "/tasks?text=zone-99".to_owned(),
        "/tasks?text=nowhere".to_owned(),
        format!("/tasks?cursor={task}"),
        format!("/tasks/{task}"),
        format!("/tasks/{task}/edit"),
        "/codes".to_owned(),
        format!("/codes/{code}"),
        "/queue".to_owned(),
        "/schedules".to_owned(),
        format!("/schedules/{schedule}"),
        "/schedules/new".to_owned(),
        "/runners".to_owned(),
        "/tokens".to_owned(),
    ];
    println!("{:<44} {:>8} {:>8} {:>10} {:>9}", "page", "p50 ms", "p99 ms", "cpu ms", "bytes");
    for path in pages {
        let line = format!("GET /p/{project}{path}");
        let mut times = Vec::with_capacity(TIMES);
        let (mut bytes, before) = (0, cpu());
        for _ in 0..TIMES {
            let at = Instant::now();
            let answer = server.ask(&line, &head, "").await?;
            times.push(at.elapsed());
            if answer.status != 200 {
                return Err(format!("{path} was answered with {}", answer.status).into());
            }
            bytes = answer.body.len();
        }
        times.sort();
        let used = (cpu() - before).as_secs_f64() * 1e3 / TIMES as f64;
        let path = if path.is_empty() { "overview" } else { &path };
        println!(
            "{path:<44} {:>8.2} {:>8.2} {used:>10.2} {bytes:>9}",
            ms(times[TIMES / 2]),
            ms(times[TIMES * 99 / 100])
        );
    }
    Ok(())
}

pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
