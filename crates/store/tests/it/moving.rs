//! Everything in the embedded store moves to another one.

use std::time::Duration;

use async_trait::async_trait;
use proptest::prelude::*;
use windlass_model::id::{ProjectId, Seq};
use windlass_model::isolation::Level;
use windlass_model::project::Project;
use windlass_model::time::Timestamp;
use windlass_store::Store;
use windlass_store::conformance::{Subject, run, same};
use windlass_store::memory::Memory;
use windlass_store::moving::{Import, Mark, Record, Standing, copy, verify};
use windlass_store::postgres::{Postgres, audit};
use windlass_store::sqlite::Sqlite;

use crate::cluster::{Database, cluster};
use crate::conformance::{Embedded, step};
use crate::world::{World, now};

/// Later than anything in a sequence.
const NOW: Timestamp = Timestamp::from_secs(1_900_000_000);

/// An embedded store that is moved to a database when all is done to it, and to the model.
struct Moved(Embedded);

/// An empty database.
async fn database() -> (Database, Postgres) {
    let database = cluster().database();
    let store = Postgres::open_to_import(&database.address()).await.unwrap();
    (database, store)
}

#[async_trait]
impl Subject for Moved {
    fn store(&self) -> &dyn Store {
        self.0.store()
    }

    async fn reopen(&mut self) {
        self.0.reopen().await;
    }

    async fn problems(&mut self) -> Vec<String> {
        let (model, (database, there)) = (Memory::default(), database().await);
        let here = self.0.sqlite();
        for there in [&model as &dyn Import, &there] {
            copy(here, there, NOW, |_| ()).await.unwrap();
            verify(here, there, NOW, |_| ()).await.unwrap();
        }
        // What is due by now and was not promoted yet is claimable there, so it is made so here.
        here.promote(NOW).await.unwrap();
        let records = everything(here).await;
        same(here, &model, &records, NOW).await;
        same(here, &there, &records, NOW).await;
        audit(&database.address()).await.unwrap()
    }
}

async fn everything(store: &Sqlite) -> Vec<Record> {
    let (mut all, mut mark) = (Vec::new(), None);
    loop {
        let (records, next) = store.export(mark, 3).await.unwrap();
        assert!(next.is_none_or(|next| mark < Some(next)), "{mark:?}, then {next:?}");
        all.extend(records);
        mark = next;
        if mark.is_none() {
            return all;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(8) })]

    #[test]
    fn whatever_happened_the_other_store_knows_all_of_it(steps in proptest::collection::vec(step(), 1..100)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(&steps, &mut Moved(Embedded::new())));
    }
}

#[tokio::test]
async fn a_move_that_was_cut_off_goes_on_where_it_was_and_none_is_made_into_a_store_in_use() {
    let here = Embedded::new();
    let id = ProjectId::new(Seq(1), 1);
    let project = Project {
        id,
        name: "one".to_owned(),
        created_at: NOW,
        min_isolation: Level::default(),
        registries: [("h.io".to_owned(), windlass_model::secret::Sealed("x".to_owned()))].into(),
    };
    here.store().create_project(project.clone()).await.unwrap();
    let (database, there) = database().await;
    assert_eq!(there.standing().await.unwrap(), Standing::Empty);
    let (records, next) = here.sqlite().export(None, 1).await.unwrap();
    let first = next.unwrap();
    assert!(there.import(records.clone(), None, next, NOW).await.unwrap());
    assert_eq!(there.standing().await.unwrap(), Standing::Partial(first));
    assert!(!there.import(records, None, next, NOW).await.unwrap(), "the same again is refused");
    let refused = Postgres::open(&database.address()).await.unwrap_err().to_string();
    assert!(refused.contains("another store is being moved into it"), "{refused}");

    copy(here.sqlite(), &there, NOW, |_| ()).await.unwrap();
    assert_eq!(there.standing().await.unwrap(), Standing::InUse);
    assert_eq!(there.projects().await.unwrap(), [project]);
    Postgres::open(&database.address()).await.unwrap();
    let refused = copy(here.sqlite(), &there, NOW, |_| ()).await.unwrap_err();
    assert!(refused.to_string().contains("choose an empty one"), "{refused}");
    let late = Mark { part: 9, after: 0 };
    assert!(!there.import(Vec::new(), Some(late), None, NOW).await.unwrap());
}

#[tokio::test]
async fn a_difference_between_the_stores_is_named() {
    let here = Embedded::new();
    let there = Memory::default();
    copy(here.sqlite(), &there, NOW, |_| ()).await.unwrap();
    here.store().secret("key", [1; 32]).await.unwrap();
    there.secret("key", [2; 32]).await.unwrap();
    let error = verify(here.sqlite(), &there, NOW, |_| ()).await.unwrap_err();
    assert!(error.to_string().contains("the secret key is not the same"), "{error}");
}

#[tokio::test]
async fn what_runs_is_queued_again_and_what_is_delayed_waits_for_its_time() {
    let here = Embedded::new();
    let mut world = World::new(here.store()).await;
    let now = now();
    let mut tasks = world.tasks_at(now, 2, 1);
    let in_a_minute = now + Duration::from_secs(60);
    tasks[1].run_at = in_a_minute;
    let [running, delayed] = [tasks[0].id, tasks[1].id];
    here.store().enqueue(tasks).await.unwrap();
    assert_eq!(world.claim(here.store(), 2).await.len(), 1);

    let (_database, there) = database().await;
    let counted = copy(here.sqlite(), &there, now, |_| ()).await.unwrap();
    assert_eq!((counted.projects, counted.codes, counted.tasks), (1, 1, 2));
    let world = World::new(&there).await;
    let claimed = world.claim(&there, 2).await;
    assert_eq!(claimed.iter().map(|claimed| claimed.task.id).collect::<Vec<_>>(), [running]);
    assert_eq!(there.promote(now).await.unwrap(), Some(in_a_minute));
    there.promote(in_a_minute).await.unwrap();
    assert_eq!(world.claim(&there, 2).await[0].task.id, delayed);
}
