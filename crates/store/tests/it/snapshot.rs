//! An old snapshot: what is deleted stays where claims look, for as long as somebody can see it.

use std::time::{Duration, Instant};

use windlass_store::Store as _;
use windlass_store::postgres::Postgres;

use crate::cluster::cluster;
use crate::world::World;

#[tokio::test]
async fn claims_pass_over_dead_keys_that_an_old_snapshot_keeps() {
    let database = cluster().database();
    let store = Postgres::open(&database.address()).await.unwrap();
    let mut world = World::new(&store).await;
    store.enqueue(world.tasks(3, 10)).await.unwrap();
    assert_eq!(world.claim(&store, 1).await.len(), 1);

    // Keys before all others, deleted while somebody sees them.
    database.sql(
        "INSERT INTO ready SELECT r.lane, r.prank, -n, r.code \
         FROM (SELECT * FROM ready LIMIT 1) r, generate_series(1, 200000) n",
    );
    let (old, connection) = tokio_postgres::connect(&database.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await.unwrap();
    database.sql("DELETE FROM ready WHERE seq < 0");

    let start = Instant::now();
    assert_eq!(world.claim(&store, 1).await.len(), 1);
    let whole = start.elapsed();
    let mut best = Duration::MAX;
    for _ in 0..20 {
        let tasks = world.tasks(2, 10);
        let ids: Vec<_> = tasks.iter().map(|task| task.id).collect();
        store.enqueue(tasks).await.unwrap();
        let start = Instant::now();
        let claimed = world.claim(&store, 2).await;
        best = best.min(start.elapsed());
        assert!(ids.iter().any(|id| claimed.iter().any(|c| c.task.id == *id)), "{claimed:?}");
    }
    assert!(best < whole / 2, "{best:?} beside {whole:?}");
    old.batch_execute("COMMIT").await.unwrap();
    assert_eq!(world.claim(&store, 9).await.len(), 1);
}
