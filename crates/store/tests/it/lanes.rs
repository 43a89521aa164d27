//! Lanes: clients name clusters, and what they made up is not kept for ever.

use std::time::Duration;

use windlass_store::Store as _;
use windlass_store::sqlite::{Options, Sqlite, audit};
use windlass_store::types::Retention;

use crate::world::{World, now};

const DAY: Duration = Duration::from_secs(86_400);

/// Numbers of lanes in the database.
fn lanes(dir: &std::path::Path) -> Vec<i64> {
    let conn = rusqlite::Connection::open(dir.join("windlass.db")).unwrap();
    let mut rows = conn.prepare("SELECT id FROM lane ORDER BY id").unwrap();
    rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn clusters_that_were_made_up_are_forgotten_with_their_last_task() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Sqlite::open(dir.path(), Options::default()).unwrap();
    let mut world = World::new(&store).await;
    for round in 0..6u32 {
        let at = now() + DAY * (40 * round);
        let mut tasks = world.tasks_at(at, 20, 10);
        for (n, task) in tasks.iter_mut().enumerate().skip(1) {
            task.cluster = format!("{round}-{n}");
        }
        let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
        store.enqueue(tasks).await.unwrap();
        let claimed = world.claim(&store, 20).await;
        assert_eq!(claimed.iter().map(|c| c.task.id).collect::<Vec<_>>(), [ids[0]]);
        assert_eq!(store.counts(None).await.unwrap().len(), 20);
        assert!(lanes(dir.path()).iter().all(|number| *number < 60), "{round}: {:?}", lanes(dir.path()));
        store.cancel_unless_final(&ids, at).await.unwrap();
        store.release(world.runner, &[], true, at).await.unwrap();
        assert_eq!(store.prune(Retention::default(), at + DAY * 35).await.unwrap().tasks, 20);
        assert_eq!((store.counts(None).await.unwrap(), lanes(dir.path())), (vec![], vec![]));
        if round % 2 == 1 {
            store.close().await;
            drop(store);
            assert_eq!(audit(dir.path()).unwrap(), Vec::<String>::new());
            store = Sqlite::open(dir.path(), Options::default()).unwrap();
        }
        world = World::new(&store).await;
    }
}
