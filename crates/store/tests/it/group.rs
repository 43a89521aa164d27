//! Requests that share a transaction, and requests that need none.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use parking_lot::Mutex;
use windlass_model::id::TaskId;
use windlass_store::sqlite::{Options, Sqlite, audit};
use windlass_store::types::{Retention, TaskQuery};
use windlass_store::{Store as _, StoreError};

use crate::world::{World, now, success};

#[tokio::test]
async fn a_request_that_cannot_be_done_does_not_spoil_its_group() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path(), Options::default()).unwrap();
    let mut world = World::new(&store).await;
    let twice = world.tasks(1, 10);
    store.enqueue(twice.clone()).await.unwrap();
    let mut requests: Vec<_> = (0..60).map(|_| world.tasks(3, 10)).collect();
    requests.insert(30, twice);
    let answers = join_all(requests.into_iter().map(|tasks| store.enqueue(tasks))).await;
    for (at, answer) in answers.into_iter().enumerate() {
        match answer {
            Err(error) => assert!(at == 30 && matches!(error, StoreError::Unavailable(_)), "{at}: {error}"),
            Ok(()) => assert_ne!(at, 30),
        }
    }
    assert_eq!(world.claim(&store, 1_000).await.len(), 181, "memory follows the database");
    store.close().await;
    assert_eq!(audit(dir.path()).unwrap(), Vec::<String>::new());
}

fn size_of_log(dir: &Path) -> u64 {
    dir.join("windlass.db-wal").metadata().map_or(0, |meta| meta.len())
}

#[tokio::test]
async fn an_idle_store_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path(), Options::default()).unwrap();
    let world = World::new(&store).await;
    let before = size_of_log(dir.path());
    for n in 1u32..100 {
        let at = now() + Duration::from_secs(10) * n;
        store.heartbeat(world.runner, &[], at, at + Duration::from_secs(30)).await.unwrap();
        assert!(world.claim(&store, 4).await.is_empty());
        store.promote(at).await.unwrap();
        assert!(store.rescue(at).await.unwrap().runners.is_empty());
        store.prune(Retention::default(), now()).await.unwrap();
        store.runners().await.unwrap();
    }
    assert_eq!(size_of_log(dir.path()), before);
}

#[tokio::test]
async fn a_crash_makes_a_lease_at_most_a_third_shorter() {
    let dir = tempfile::tempdir().unwrap();
    let lease = Duration::from_secs(30);
    let start = now();
    let copy = tempfile::tempdir().unwrap();
    let world = {
        let store = Sqlite::open(dir.path(), Options::default()).unwrap();
        let mut world = World::new(&store).await;
        let tasks = world.tasks(1, 10);
        store.enqueue(tasks).await.unwrap();
        // The runner was there for long without holding anything: its row is old.
        for n in 0..50 {
            let at = start + Duration::from_secs(3_600) + Duration::from_secs(10) * n;
            store.heartbeat(world.runner, &[], at, at + lease).await.unwrap();
        }
        let at = start + Duration::from_secs(3_600) + Duration::from_secs(490);
        let claiming = windlass_store::types::Claiming {
            runner: world.runner,
            cluster: crate::world::CLUSTER.to_owned(),
            want: 1,
        };
        assert_eq!(store.claim(claiming, at).await.unwrap().len(), 1);
        // What a process leaves that is killed now.
        for name in ["windlass.db", "windlass.db-wal"] {
            std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
        }
        world
    };
    let store = Sqlite::open(copy.path(), Options::default()).unwrap();
    let last_heard = start + Duration::from_secs(3_600) + Duration::from_secs(490);
    let early = store.rescue(last_heard + lease * 2 / 3 - Duration::from_millis(1)).await.unwrap();
    assert!(early.runners.is_empty(), "the lease was kept");
    let late = store.rescue(last_heard + lease).await.unwrap();
    assert_eq!((late.runners, late.tasks), (vec![world.runner], 1));
}

#[tokio::test]
async fn a_large_backlog_is_claimed_in_order_through_many_windows() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path(), Options::default()).unwrap();
    let mut world = World::new(&store).await;
    let mut expected = Vec::new();
    for _ in 0..7 {
        let tasks = world.tasks(1_000, 10);
        expected.extend(tasks.iter().map(|task| task.id));
        store.enqueue(tasks).await.unwrap();
    }
    let mut claimed = Vec::new();
    while claimed.len() < expected.len() {
        let next = world.claim(&store, 333).await;
        assert!(!next.is_empty());
        let finishes = next.iter().map(|c| success(c.task.id, c.fence)).collect();
        store.finish_if_leased(finishes, now()).await.unwrap();
        claimed.extend(next.into_iter().map(|c| c.task.id));
    }
    assert_eq!(claimed, expected);
    store.close().await;
    assert_eq!(audit(dir.path()).unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn the_log_starts_over_after_a_read_that_kept_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path(), Options::default()).unwrap();
    let mut world = World::new(&store).await;
    let reader = rusqlite::Connection::open(dir.path().join("windlass.db")).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    reader.query_row("SELECT count(*) FROM ready", [], |row| row.get::<_, i64>(0)).unwrap();
    while size_of_log(dir.path()) < 100 << 20 {
        let tasks = world.tasks(10, 256 << 10);
        store.enqueue(tasks).await.unwrap();
    }
    reader.execute_batch("COMMIT").unwrap();
    for _ in 0..100 {
        let tasks = world.tasks(10, 256 << 10);
        store.enqueue(tasks).await.unwrap();
    }
    assert!(size_of_log(dir.path()) <= 128 << 20, "{}", size_of_log(dir.path()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn reads_never_fail_while_days_come_and_go() {
    const DAYS: u32 = 60;
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Sqlite::open(dir.path(), Options::default()).unwrap());
    let mut world = World::new(&*store).await;
    let known: Arc<Mutex<Vec<TaskId>>> = Arc::default();
    let is_over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (store, known, is_over) = (store.clone(), known.clone(), is_over.clone());
            let query = TaskQuery::of(world.project, 50);
            tokio::spawn(async move {
                let mut reads = 0u32;
                while !is_over.load(Ordering::Acquire) {
                    let ids: Vec<TaskId> = known.lock().iter().rev().take(20).copied().collect();
                    for id in ids {
                        store.task(id).await.unwrap();
                        store.attempts(id).await.unwrap();
                    }
                    let newest_first = store.tasks(&query).await.unwrap();
                    assert!(newest_first.windows(2).all(|two| two[0].new.id > two[1].new.id));
                    reads += 1;
                }
                reads
            })
        })
        .collect();
    let start = now();
    for day in 0..DAYS {
        let at = start + Duration::from_secs(86_400) * day;
        let mut tasks = world.tasks_at(at, 20, 10);
        // Now and then a lane that nobody knows yet.
        tasks.iter_mut().for_each(|task| task.cluster = format!("cluster-{}", day / 7));
        let ids: Vec<TaskId> = tasks.iter().map(|task| task.id).collect();
        known.lock().extend(&ids);
        store.enqueue(tasks).await.unwrap();
        assert!(store.task(ids[0]).await.unwrap().is_some(), "what was acknowledged is there");
        store.cancel_unless_final(&ids, at).await.unwrap();
        let retention = Retention { tasks: Duration::from_secs(2 * 86_400), ..Retention::default() };
        store.prune(retention, at).await.unwrap();
    }
    is_over.store(true, Ordering::Release);
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_may_read_the_database() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path(), Options::default()).unwrap();
    World::new(&store).await;
    for name in ["windlass.db", "windlass.db-wal", "windlass.db-shm"] {
        let mode = dir.path().join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}
