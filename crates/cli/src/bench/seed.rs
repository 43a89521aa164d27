//! Fills a store with queued and finished tasks, through the same seam that the server uses.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
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
/// The cluster whose tasks are finished at once.
const SEEDS: &str = "seeds";

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
    fill_store(&store, project, count, count).await?;
    store.close().await;
    Ok(())
}

/// The same, with as many `finished` and `queued` ones, in a store that is open and has the packages.
pub(super) async fn fill_store(
    store: &impl Store,
    project: ProjectId,
    finished: usize,
    queued: usize,
) -> Result<()> {
    let clock = Mutex::new(SeqClock::after(store.newest_seq().await?));
    let code = async |name: &'static str| {
        store.code_named(project, name).await?.with_context(|| format!("the package {name} is gone"))
    };
    let (done, parked) = (code(TRUE).await?, code(PARKED).await?);
    let tasks = |code: &windlass_model::code::Code, cluster: &str, count: usize| -> Result<Vec<NewTask>> {
        let mut clock = clock.lock().map_err(|_| anyhow::anyhow!("a writer panicked"))?;
        let now = now();
        let task = |_| {
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
        Ok((0..count).map(task).collect())
    };

    let runner = RunnerId::new(windlass_model::id::Seq::at(now()), 1);
    store.register_runner(record(runner), now() + Duration::from_secs(3600)).await?;
    // Two at a time: one is written while the other is made.
    let finish_half = async |count: usize| -> Result<()> {
        for start in (0..count).step_by(BATCH) {
            store.enqueue(tasks(&done, SEEDS, BATCH.min(count - start))?).await?;
            let claiming = Claiming { runner, cluster: SEEDS.to_owned(), want: BATCH };
            let claimed = store.claim(claiming, now()).await?;
            store.finish_if_leased(claimed.iter().map(finish).collect(), now()).await?;
        }
        Ok(())
    };
    let (one, other) = tokio::join!(finish_half(finished / 2), finish_half(finished - finished / 2));
    one.and(other)?;
    loop {
        // What one claimed of the other's tasks is finished; what neither did is left.
        let claiming = Claiming { runner, cluster: SEEDS.to_owned(), want: BATCH };
        let claimed = store.claim(claiming, now()).await?;
        if claimed.is_empty() {
            break;
        }
        store.finish_if_leased(claimed.iter().map(finish).collect(), now()).await?;
    }
    for start in (0..queued).step_by(BATCH) {
        let cluster = if start < queued / 2 { "default" } else { "elsewhere" };
        store.enqueue(tasks(&parked, cluster, BATCH.min(queued - start))?).await?;
    }
    store.release(runner, &[], true, now()).await?;
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
        cluster: SEEDS.to_owned(),
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
