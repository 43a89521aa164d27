//! A database that is not what was written is said to be so.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use windlass_store::sqlite::{Options, Sqlite};
use windlass_store::types::TaskQuery;
use windlass_store::{Store as _, StoreError};

use crate::world::World;

fn overwrite(dir: &Path, from: u64, to: u64) {
    let file = OpenOptions::new().write(true).open(dir.join("windlass.db")).unwrap();
    let end = file.metadata().unwrap().len().min(to);
    file.write_all_at(&vec![0xa5; usize::try_from(end - from).unwrap()], from).unwrap();
}

async fn filled() -> (tempfile::TempDir, World) {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path(), Options::default()).unwrap();
    let mut world = World::new(&store).await;
    for _ in 0..5 {
        let tasks = world.tasks(200, 500);
        store.enqueue(tasks).await.unwrap();
    }
    store.close().await;
    (dir, world)
}

#[tokio::test]
async fn a_file_that_is_no_database_is_damaged_and_the_message_says_what_to_do() {
    let (dir, _) = filled().await;
    overwrite(dir.path(), 0, 4096);
    let error = Sqlite::open(dir.path(), Options::default()).unwrap_err();
    assert!(matches!(error, StoreError::Damaged(_)), "{error}");
    assert!(error.to_string().contains("backup"), "{error}");
}

#[tokio::test]
async fn damage_within_is_found_when_it_is_touched() {
    let (dir, mut world) = filled().await;
    let pages = dir.path().join("windlass.db").metadata().unwrap().len() / 8192;
    overwrite(dir.path(), 8192 * (pages / 2), 8192 * pages);
    let store = match Sqlite::open(dir.path(), Options::default()) {
        Ok(store) => store,
        Err(error) => {
            assert!(matches!(error, StoreError::Damaged(_)), "{error}");
            return;
        }
    };
    let error = store.tasks(&TaskQuery::of(world.project, 2_000)).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged(_)), "{error}");
    // Whatever a write comes to, the writer is still there to say it.
    let tasks = world.tasks(1, 10);
    let _ = store.enqueue(tasks).await;
    let _ = store.check().await;
}
