//! Who waits is woken by everything that may let it go on, and by nothing else.

use std::time::Duration;

use futures::FutureExt as _;
use windlass_model::isolation::Level;
use windlass_model::runner::Held;
use windlass_store::Store;
use windlass_store::sqlite::{Options, Sqlite};

use crate::world::{CLUSTER, World, now, success};

/// Whether a claimer that waits is woken by `what`.
async fn wakes(store: &Sqlite, what: impl Future<Output = ()>) -> bool {
    let ready = store.signals().ready_of(CLUSTER, Level::Process);
    while ready.notified().now_or_never().is_some() {}
    what.await;
    ready.notified().now_or_never().is_some()
}

#[tokio::test]
async fn a_waiting_claimer_is_woken_by_whatever_makes_a_task_claimable() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path(), Options::default()).unwrap();
    let mut world = World::new(&store).await;
    let mut tasks = world.tasks(1, 1);
    tasks[0].run_at = tasks[0].created_at + Duration::from_secs(1);
    let due = tasks[0].run_at;
    assert!(!wakes(&store, async { store.enqueue(tasks).await.unwrap() }).await, "it is delayed");
    assert!(!wakes(&store, async { assert!(store.promote(now()).await.unwrap().is_some()) }).await);
    assert!(wakes(&store, async { assert!(store.promote(due).await.unwrap().is_none()) }).await, "it is due");
    let tasks = world.tasks(2, 1);
    assert!(wakes(&store, async { store.enqueue(tasks).await.unwrap() }).await, "tasks are queued");

    let claimed = world.claim(&store, 1).await.remove(0);
    let held = Held { task: claimed.task.id, fence: claimed.fence };
    assert!(wakes(&store, async { store.release(world.runner, &[held], false, now()).await.unwrap() }).await);

    let pause = async |paused| {
        store.set_paused(world.code, paused, now()).await.unwrap();
    };
    assert!(!wakes(&store, pause(true)).await);
    let tasks = world.clone().tasks(1, 1);
    assert!(!wakes(&store, async { store.enqueue(tasks).await.unwrap() }).await, "its package is paused");
    assert!(wakes(&store, pause(false)).await, "its package is resumed");
}

#[tokio::test]
async fn a_free_slot_of_a_full_package_wakes_a_claimer() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path(), Options::default()).unwrap();
    let mut world = World::new(&store).await;
    world.limit(&store, 1).await;
    let tasks = world.tasks(3, 1);
    store.enqueue(tasks).await.unwrap();
    let claimed = world.claim(&store, 5).await;
    assert_eq!(claimed.len(), 1, "the package has one slot");
    let tasks = world.tasks(1, 1);
    assert!(!wakes(&store, async { store.enqueue(tasks).await.unwrap() }).await, "it is full");
    let finish = vec![success(claimed[0].task.id, claimed[0].fence)];
    let finish = async {
        store.finish_if_leased(finish, now()).await.unwrap();
    };
    assert!(wakes(&store, finish).await, "its slot is free");
    assert_eq!(world.claim(&store, 5).await.len(), 1);
}

#[tokio::test]
async fn only_claimers_that_isolate_enough_are_woken() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path(), Options::default()).unwrap();
    let mut world = World::new(&store).await;
    let strong = store.signals().ready_of(CLUSTER, Level::CgroupsV2);
    assert!(store.set_min_isolation(world.project, Level::CgroupsV1).await.unwrap());
    let tasks = world.tasks(1, 1);
    assert!(!wakes(&store, async { store.enqueue(tasks).await.unwrap() }).await, "it cannot take them");
    assert!(strong.notified().now_or_never().is_some(), "a better one can");
    assert!(world.claim(&store, 1).await.is_empty());
    let lower = async {
        store.set_min_isolation(world.project, Level::Process).await.unwrap();
    };
    assert!(wakes(&store, lower).await, "less is demanded");
    assert_eq!(world.claim(&store, 1).await.len(), 1);
}

#[tokio::test]
async fn a_cancel_reaches_those_who_carry_it_and_those_who_watch() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path(), Options::default()).unwrap();
    let mut world = World::new(&store).await;
    let tasks = world.tasks(1, 1);
    store.enqueue(tasks).await.unwrap();
    let claimed = world.claim(&store, 1).await.remove(0);
    let watch = store.signals().watch_task(claimed.task.id);
    let (changed, cancels) = (watch.notified(), store.signals().cancels().notified());
    store.cancel_unless_final(&[claimed.task.id], now()).await.unwrap();
    assert!(changed.now_or_never().is_some() && cancels.now_or_never().is_some());
}
