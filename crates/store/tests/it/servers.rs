//! Several servers on one database: what must hold among them, and when the database goes away.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use windlass_model::task::Status;
use windlass_store::postgres::{Postgres, audit};
use windlass_store::types::{Cancelled, Claiming, Finished, Retention, TaskQuery};
use windlass_store::{Store, StoreError};

use crate::cluster::{Database, Pooler, cluster};
use crate::world::{CLUSTER, World, now, success};

async fn open(database: &Database) -> Arc<Postgres> {
    Arc::new(Postgres::open(&database.address()).await.unwrap())
}

/// The same that leads.
async fn open_leader(database: &Database) -> Arc<Postgres> {
    let store = open(database).await;
    assert!(store.lead(Duration::from_secs(3_600), None).await.unwrap().is_ours);
    store
}

async fn is_whole(database: &Database) {
    assert_eq!(audit(&database.address()).await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_task_is_handed_out_twice_and_no_limit_is_exceeded() {
    const TASKS: usize = 300;
    const LIMIT: usize = 7;
    let database = cluster().database();
    let servers = [open(&database).await, open(&database).await, open(&database).await];
    let mut world = World::new(&*servers[0]).await;
    world.limit(&*servers[0], LIMIT as u32).await;
    servers[1].enqueue(world.tasks(TASKS, 10)).await.unwrap();
    let running = Arc::new(parking_lot::Mutex::new((0usize, HashSet::new())));
    let work = servers.iter().flat_map(|server| std::iter::repeat_n(server, 4)).map(|server| {
        let (server, world, running) = (server.clone(), world.clone(), running.clone());
        tokio::spawn(async move {
            while running.lock().1.len() < TASKS {
                let claimed = world.claim(&*server, 3).await;
                {
                    let mut running = running.lock();
                    running.0 += claimed.len();
                    assert!(running.0 <= LIMIT, "{} run at once", running.0);
                    for claimed in &claimed {
                        assert!(running.1.insert(claimed.task.id), "{} is claimed twice", claimed.task.id);
                    }
                }
                if claimed.is_empty() {
                    tokio::task::yield_now().await;
                    continue;
                }
                running.lock().0 -= claimed.len();
                let finishes = claimed.iter().map(|c| success(c.task.id, c.fence)).collect();
                let finished = server.finish_if_leased(finishes, now()).await.unwrap();
                assert!(finished.iter().all(|f| *f == Finished::Now(Status::Complete)));
            }
        })
    });
    for worker in join_all(work).await {
        worker.unwrap();
    }
    is_whole(&database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_server_changes_the_others_know() {
    let database = cluster().database();
    let (one, two) = (open(&database).await, open(&database).await);
    let mut world = World::new(&*one).await;
    assert!(two.code_named(world.project, "w").await.unwrap().is_some(), "a first upload is seen at once");
    two.enqueue(world.tasks(5, 10)).await.unwrap();
    one.set_paused(world.code, true, now()).await.unwrap();
    assert!(world.claim(&*two, 5).await.is_empty(), "it is paused everywhere");
    two.enqueue(world.tasks(5, 10)).await.unwrap();
    assert!(world.claim(&*two, 5).await.is_empty());
    two.set_paused(world.code, false, now()).await.unwrap();
    assert_eq!(world.claim(&*one, 100).await.len(), 10);
    world.limit(&*one, 2).await;
    two.enqueue(world.tasks(5, 10)).await.unwrap();
    assert!(world.claim(&*two, 5).await.is_empty(), "what runs already counts");
    is_whole(&database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_that_is_paused_is_out_of_the_way() {
    let database = cluster().database();
    let (one, two) = (open(&database).await, open(&database).await);
    let mut world = World::new(&*one).await;
    for _ in 0..4 {
        one.enqueue(world.tasks(3_000, 1)).await.unwrap();
    }
    one.set_paused(world.code, true, now()).await.unwrap();
    let shared = "SELECT count(*) FROM ready r JOIN lane l ON l.id = r.lane WHERE l.code = 0";
    assert_eq!(database.sql(shared), "0");
    assert!(world.claim(&*two, 10).await.is_empty());
    two.set_paused(world.code, false, now()).await.unwrap();
    assert_eq!(world.claim(&*two, 10).await.len(), 10);
    is_whole(&database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_and_a_claim_of_the_same_task_agree() {
    let database = cluster().database();
    let (one, two) = (open(&database).await, open(&database).await);
    let mut world = World::new(&*one).await;
    for _ in 0..40 {
        let tasks = world.tasks(4, 1);
        let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
        one.enqueue(tasks).await.unwrap();
        let (claimed, cancelled) = tokio::join!(world.claim(&*one, 2), two.cancel_unless_final(&ids, now()));
        let ran: HashSet<_> = claimed.iter().map(|c| c.task.id).collect();
        for (id, cancelled) in ids.iter().zip(cancelled.unwrap()) {
            let wanted = if ran.contains(id) { Cancelled::Requested } else { Cancelled::AtOnce };
            assert_eq!(cancelled, wanted);
        }
        let finishes = claimed.iter().map(|c| success(c.task.id, c.fence)).collect();
        one.finish_if_leased(finishes, now()).await.unwrap();
    }
    is_whole(&database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_ends_during_a_claim_leaves_nothing_behind() {
    let database = cluster().database();
    let (one, two) = (open(&database).await, open_leader(&database).await);
    for _ in 0..20 {
        let mut world = World::new(&*one).await;
        one.enqueue(world.tasks(3, 1)).await.unwrap();
        let claiming = Claiming { runner: world.runner, cluster: CLUSTER.to_owned(), want: 3 };
        let late = now() + Duration::from_secs(7_200);
        let (claimed, rescued) = tokio::join!(one.claim(claiming, now()), two.rescue(late));
        assert_eq!(rescued.unwrap().runners, [world.runner]);
        match claimed {
            Ok(_) | Err(StoreError::SessionOver) => {}
            Err(error) => panic!("{error}"),
        }
        assert_eq!(database.sql("SELECT count(*) FROM running"), "0");
    }
    is_whole(&database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_backends_that_are_killed() {
    let database = cluster().database();
    let store = open(&database).await;
    let mut world = World::new(&*store).await;
    let mut kept = Vec::new();
    for _ in 0..15 {
        let requests: Vec<_> = (0..20).map(|_| world.tasks(3, 10)).collect();
        let ids: Vec<Vec<_>> =
            requests.iter().map(|tasks| tasks.iter().map(|task| task.id).collect()).collect();
        let work = {
            let store = store.clone();
            tokio::spawn(
                async move { join_all(requests.into_iter().map(|tasks| store.enqueue(tasks))).await },
            )
        };
        tokio::task::yield_now().await;
        database.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND application_name = 'windlass'",
        );
        for (ids, answer) in ids.into_iter().zip(work.await.unwrap()) {
            match answer {
                Ok(()) => kept.extend(ids),
                Err(StoreError::Unavailable(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
    for id in kept {
        assert!(store.task(id).await.unwrap().is_some(), "{id} was acknowledged");
    }
    assert!(!world.claim(&*store, 1_000).await.is_empty(), "it works on");
    is_whole(&database).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_behind_a_pooler_that_gives_another_connection_each_time() {
    let database = cluster().database();
    let _pooler = Pooler::start();
    let one = Arc::new(Postgres::open(&database.pooled()).await.unwrap());
    let two = Arc::new(Postgres::open(&database.pooled()).await.unwrap());
    let mut world = World::new(&*one).await;
    world.limit(&*one, 40).await;
    let requests: Vec<_> = (0..50).map(|_| world.tasks(4, 3_000)).collect();
    for answer in join_all(requests.into_iter().map(|tasks| two.enqueue(tasks))).await {
        answer.unwrap();
    }
    let mut done = 0;
    while done < 200 {
        let (a, b) = tokio::join!(world.claim(&*one, 15), world.claim(&*two, 15));
        let finishes: Vec<_> = a.iter().chain(&b).map(|c| success(c.task.id, c.fence)).collect();
        done += finishes.len();
        two.finish_if_leased(finishes, now()).await.unwrap();
        let query = TaskQuery::of(world.project, 20);
        let (tasks, counts) = tokio::join!(one.tasks(&query), two.counts(None));
        assert_eq!(tasks.unwrap().len(), 20);
        assert_eq!(counts.unwrap()[0].counts.total(), 200);
    }
    assert!(one.lead(Duration::from_secs(3_600), None).await.unwrap().is_ours);
    assert_eq!(one.prune(Retention::default(), now()).await.unwrap().tasks, 0);
    one.close().await;
    two.close().await;
    is_whole(&database).await;
}

#[tokio::test]
async fn clusters_that_were_made_up_are_forgotten_with_their_last_task() {
    const DAY: Duration = Duration::from_secs(86_400);
    let database = cluster().database();
    let store = open_leader(&database).await;
    let mut world = World::new(&*store).await;
    let mut tasks = world.tasks(20, 1);
    for (n, task) in tasks.iter_mut().enumerate() {
        task.cluster = format!("made-up-{n}");
    }
    let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
    store.enqueue(tasks).await.unwrap();
    store.prune(Retention::default(), now() + DAY * 5).await.unwrap();
    assert_eq!(database.sql("SELECT count(*) FROM cluster"), "20", "their tasks wait");
    store.cancel_unless_final(&ids, now()).await.unwrap();
    assert_eq!(store.prune(Retention::default(), now() + DAY * 35).await.unwrap().tasks, 20);
    assert_eq!(database.sql("SELECT count(*) FROM cluster"), "0");
    assert_eq!(database.sql("SELECT count(*) FROM lane"), "0");
    store.enqueue(world.tasks(1, 1)).await.unwrap();
    assert_eq!(world.claim(&*store, 9).await.len(), 1);
}
