//! One server leads, and what the others do in its place comes to nothing.

use std::time::Duration;

use windlass_store::postgres::Postgres;
use windlass_store::types::Retention;
use windlass_store::{Store, StoreError};

use crate::cluster::{Database, cluster};
use crate::world::{World, now};

const LEASE: Duration = Duration::from_secs(3_600);
/// A lease that is over when it begins: the server that has it is stalled for as long as anybody likes.
const OVER: Duration = Duration::ZERO;
const HOUR: Duration = Duration::from_secs(3_600);

async fn open(database: &Database) -> Postgres {
    Postgres::open(&database.address()).await.unwrap()
}

fn is_refused<T: std::fmt::Debug>(done: &Result<T, StoreError>) {
    assert!(matches!(done, Err(StoreError::NotLeading)), "{done:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_servers_one_leads_and_keeps_the_lead() {
    let database = cluster().database();
    let (one, two) = (open(&database).await, open(&database).await);
    let (a, b) = tokio::join!(one.lead(LEASE, Some("http://one")), two.lead(LEASE, Some("http://two")));
    assert_ne!(a.unwrap().is_ours, b.unwrap().is_ours);
    let (a, b) = (
        one.lead(LEASE, Some("http://one")).await.unwrap(),
        two.lead(LEASE, Some("http://two")).await.unwrap(),
    );
    assert_eq!((a.term, b.term), (1, 1));
    let [leader, other] = if a.is_ours { [&a, &b] } else { [&b, &a] };
    assert!(leader.is_ours && !other.is_ours);
    assert_eq!(leader.leader, other.leader);
    assert!(other.left.unwrap() > LEASE / 2);
    assert_eq!(a.peers.iter().map(|peer| &*peer.url).collect::<Vec<_>>(), ["http://two"]);
    assert_eq!(b.peers.iter().map(|peer| &*peer.url).collect::<Vec<_>>(), ["http://one"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stalled_past_its_lease_writes_nothing() {
    let database = cluster().database();
    let (one, two) = (open(&database).await, open(&database).await);
    let mut world = World::new(&one).await;
    one.enqueue(world.tasks(3, 1)).await.unwrap();
    assert_eq!(world.claim(&one, 3).await.len(), 3);
    is_refused(&two.rescue(now() + HOUR * 2).await);
    assert!(one.lead(OVER, None).await.unwrap().is_ours);
    // Its lease is over, but nobody else began to lead: what it does is still the leader's.
    one.prune(Retention::default(), now()).await.unwrap();
    let lead = two.lead(LEASE, None).await.unwrap();
    assert_eq!((lead.is_ours, lead.term), (true, 2), "it is replaced at once when its lease is over");
    is_refused(&one.rescue(now() + HOUR * 2).await);
    is_refused(&one.prune(Retention::default(), now()).await);
    is_refused(&one.fire_if_due(Vec::new(), now()).await);
    assert_eq!(database.sql("SELECT count(*) FROM running"), "3", "it took nothing from the runner");
    assert!(!one.lead(LEASE, None).await.unwrap().is_ours);
    assert_eq!(two.rescue(now() + HOUR * 2).await.unwrap().tasks, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_takes_the_lead_between_a_duty_and_its_commit() {
    let database = cluster().database();
    let servers = [open(&database).await, open(&database).await];
    for _ in 0..30 {
        for (leader, next) in [(&servers[0], &servers[1]), (&servers[1], &servers[0])] {
            assert!(leader.lead(OVER, None).await.unwrap().is_ours);
            let (duty, lead) = tokio::join!(leader.rescue(now()), next.lead(OVER, None));
            assert!(lead.unwrap().is_ours);
            assert!(matches!(duty, Ok(_) | Err(StoreError::NotLeading)), "{duty:?}");
            is_refused(&leader.rescue(now()).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_gives_the_lead_up_at_once() {
    let database = cluster().database();
    let (one, two) = (open(&database).await, open(&database).await);
    assert!(one.lead(LEASE, Some("http://one")).await.unwrap().is_ours);
    assert!(!two.lead(LEASE, None).await.unwrap().is_ours);
    one.close().await;
    let lead = two.lead(LEASE, None).await.unwrap();
    assert_eq!((lead.is_ours, lead.term, lead.peers.len()), (true, 2, 0));
}
