//! Fills a store with queued and finished tasks, through the same seam that the server uses.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use windlass_model::exit::{Exit, Outcome, Usage, Verdict};
use windlass_model::id::{ProjectId, RunnerId, SeqClock, TaskId};
use windlass_model::retry::RetryPolicy;
use windlass_model::runner::{Held, Isolation, Register, RunnerRecord};
use windlass_model::task::{NewTask, Priority, Status};
use windlass_model::time::Timestamp;
use windlass_store::Store;
use windlass_store::sqlite::{Options, Sqlite};
use windlass_store::types::{Claimed, Claiming, Finish};

use super::plan::{PARKED, README, TRUE, upload};
use crate::child::Windlass;

/// Tasks written in one transaction.
const BATCH: usize = 5_000;

/// Makes a store in `data` that holds `count` finished tasks and `count` queued ones that cannot run: half of a paused
/// package, half for a cluster without runners.
pub(super) async fn fill(data: &Path, count: usize) -> Result<()> {
    let server = Windlass::start("serve", data, &["--listen", "127.0.0.1:0"])?;
    upload(&server.client, TRUE, README, "true").await?;
    let parked = upload(&server.client, PARKED, README, "true").await?;
    server.client.pause(parked).await?;
    let project: ProjectId = server.client.project().parse()?;
    drop(server);

    let store = Sqlite::open(data, Options::default())?;
    let mut clock = SeqClock::after(store.newest_seq().await?);
    let code = |name: &'static str| {
        let store = &store;
        async move {
            store.code_named(project, name).await?.with_context(|| format!("the package {name} is gone"))
        }
    };
    let (done, parked) = (code(TRUE).await?, code(PARKED).await?);
    let mut task = |code: &windlass_model::code::Code, cluster: &str| {
        let now = now();
        let seq = clock.next(now);
        NewTask {
            id: TaskId::new(seq, seq.0 as u32),
            project,
            code: code.id,
            rev: code.latest.rev,
            priority: Priority::default(),
            created_at: now,
            run_at: now,
            timeout_s: 3600,
            retry: RetryPolicy::default(),
            cluster: cluster.to_owned(),
            label: None,
            schedule: None,
            parent: None,
            retry_of: None,
            trace: None,
            payload: vec![b'x'; 300],
        }
    };

    let runner = RunnerId::new(windlass_model::id::Seq::at(now()), 1);
    store.register_runner(record(runner), now() + Duration::from_secs(3600)).await?;
    for start in (0..count).step_by(BATCH) {
        let batch = BATCH.min(count - start);
        store.enqueue((0..batch).map(|_| task(&done, "default")).collect()).await?;
        let claiming = Claiming { runner, cluster: "default".to_owned(), want: batch };
        let claimed = store.claim(claiming, now()).await?;
        ensure!(claimed.len() == batch, "claimed {} of {batch} tasks", claimed.len());
        store.finish_if_leased(claimed.iter().map(finish).collect(), now()).await?;
    }
    for start in (0..count).step_by(BATCH) {
        let batch = BATCH.min(count - start);
        let cluster = if start < count / 2 { "default" } else { "elsewhere" };
        store.enqueue((0..batch).map(|_| task(&parked, cluster)).collect()).await?;
    }
    store.release(runner, &[], true, now()).await?;
    store.close().await;
    Ok(())
}

fn finish(claimed: &Claimed) -> Finish {
    Finish {
        held: Held { task: claimed.task.id, fence: claimed.fence },
        outcome: Outcome::Exited(Exit::Code(0)),
        msg: String::new(),
        usage: Some(Usage { wall_ms: 1, user_us: 400, system_us: 600, peak_memory_bytes: 1 << 20 }),
        isolation: Some(isolation()),
        verdict: Verdict::Final { status: Status::Complete, msg: None, error_class: None },
        log: None,
        log_size_bytes: 0,
        result: None,
    }
}

fn isolation() -> Isolation {
    Isolation { level: "process".to_owned(), missing: Vec::new() }
}

fn record(id: RunnerId) -> RunnerRecord {
    let about = Register {
        name: "bench-seed".to_owned(),
        instance: "bench-seed".to_owned(),
        cluster: "default".to_owned(),
        slots: 1,
        labels: Vec::new(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        isolation: isolation(),
    };
    RunnerRecord { id, about, started_at: now(), seen_at: now(), is_draining: false, gone_at: None }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
