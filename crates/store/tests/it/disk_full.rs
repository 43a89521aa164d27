//! A disk that is full: nothing is half-written, and it goes on when there is space.

use std::path::{Path, PathBuf};
use std::process::Command;

use windlass_model::id::TaskId;
use windlass_store::sqlite::{Options, Sqlite, audit};
use windlass_store::types::Finished;
use windlass_store::{Store as _, StoreError};

use crate::world::{World, now, success};

/// Queues until the disk is full. The batches that were taken, and the one that was not.
async fn fill(store: &Sqlite, world: &mut World) -> (Vec<TaskId>, Vec<TaskId>) {
    let mut taken = Vec::new();
    loop {
        let tasks = world.tasks(50, 1_500);
        let ids: Vec<TaskId> = tasks.iter().map(|task| task.id).collect();
        match store.enqueue(tasks).await {
            Ok(()) => taken.extend(ids),
            Err(StoreError::Full) => return (taken, ids),
            Err(error) => panic!("a full disk is said to be {error}"),
        }
    }
}

async fn assert_kept(store: &Sqlite, taken: &[TaskId], refused: &[TaskId]) {
    for id in taken {
        assert!(store.task(*id).await.unwrap().is_some(), "{id} was taken");
    }
    for id in refused {
        assert!(store.task(*id).await.unwrap().is_none(), "{id} was refused");
    }
    let counted: u64 = store.counts(None).await.unwrap().iter().map(|lane| lane.counts.total()).sum();
    assert_eq!(counted, taken.len() as u64);
}

/// Everything works: queue, claim, finish.
async fn assert_works(store: &Sqlite, world: &mut World) {
    let tasks = world.tasks(50, 1_500);
    store.enqueue(tasks).await.unwrap();
    let claimed = world.claim(store, 40).await;
    assert_eq!(claimed.len(), 40);
    let finishes = claimed.iter().map(|c| success(c.task.id, c.fence)).collect();
    let finished = store.finish_if_leased(finishes, now()).await.unwrap();
    assert!(finished.iter().all(|f| matches!(f, Finished::Now(_))));
}

#[tokio::test]
async fn a_database_that_may_not_grow_refuses_whole_batches_until_it_may() {
    let dir = tempfile::tempdir().unwrap();
    let small = Options { max_size_bytes: Some(2 << 20), ..Options::default() };
    let store = Sqlite::open(dir.path(), small).unwrap();
    let mut world = World::new(&store).await;
    let (taken, refused) = fill(&store, &mut world).await;
    assert!(!taken.is_empty());
    assert_kept(&store, &taken, &refused).await;
    let one = world.claim(&store, 1).await;
    assert!(one.len() <= 1, "reads and small writes may still work");
    store.close().await;
    assert_eq!(audit(dir.path()).unwrap(), Vec::<String>::new());
    let store = Sqlite::open(dir.path(), Options::default()).unwrap();
    assert_works(&store, &mut World::new(&store).await).await;
    store.close().await;
    assert_eq!(audit(dir.path()).unwrap(), Vec::<String>::new());
}

/// A disk of 12 MiB in memory.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Needs root.
    fn mount(at: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_whole_batches_until_there_is_space() {
    let at = tempfile::tempdir().unwrap();
    // Without the right to mount, the test above is all there is.
    let Some(disk) = SmallDisk::mount(at.path()) else { return };
    let ballast = disk.0.join("ballast");
    std::fs::write(&ballast, vec![0; 4 << 20]).unwrap();
    let dir = disk.0.join("data");
    let store = Sqlite::open(&dir, Options::default()).unwrap();
    let mut world = World::new(&store).await;
    let (taken, refused) = fill(&store, &mut world).await;
    assert!(!taken.is_empty());
    assert_kept(&store, &taken, &refused).await;
    let again = world.tasks(50, 1_500);
    assert!(matches!(store.enqueue(again).await, Err(StoreError::Full)), "it is still full");
    assert!(matches!(store.check().await, Err(StoreError::Full)), "and says so");
    std::fs::remove_file(&ballast).unwrap();
    store.check().await.unwrap();
    assert_kept(&store, &taken, &refused).await;
    assert_works(&store, &mut world).await;
    store.close().await;
    assert_eq!(audit(&dir).unwrap(), Vec::<String>::new());
}
