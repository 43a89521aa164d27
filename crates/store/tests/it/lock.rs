//! One process per data directory.

use std::io::{BufRead as _, BufReader, Write as _};

use windlass_store::sqlite::{Options, Sqlite};
use windlass_store::{Store as _, StoreError};

use crate::world::{dir_of_child, spawn};

#[test]
fn a_second_process_is_refused_and_told_which_one_is_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = spawn("lock::the_first_process", dir.path());
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("ready") {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "the first process ended early");
    }
    let error = Sqlite::open(dir.path(), Options::default()).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, StoreError::InUse { .. }), "{message}");
    assert!(message.contains(&format!("pid {}", child.id())) && message.contains("--data"), "{message}");
    child.kill().unwrap();
    child.wait().unwrap();
    Sqlite::open(dir.path(), Options::default()).expect("the lock went with its process");
}

#[test]
#[ignore = "run by the test above, in a process of its own"]
fn the_first_process() {
    let Some(dir) = dir_of_child() else { return };
    let _store = Sqlite::open(&dir, Options::default()).unwrap();
    std::io::stdout().write_all(b"ready\n").unwrap();
    loop {
        std::thread::park();
    }
}

#[tokio::test]
async fn a_store_that_was_closed_refuses_what_comes_after() {
    let dir = tempfile::tempdir().unwrap();
    let store = Sqlite::open(dir.path(), Options::default()).unwrap();
    store.close().await;
    assert!(matches!(store.check().await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.projects().await, Err(StoreError::Unavailable(_))));
    Sqlite::open(dir.path(), Options::default()).expect("the directory is free again");
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    Sqlite::open(dir.path(), Options::default()).unwrap().close().await;
    let conn = rusqlite::Connection::open(dir.path().join("windlass.db")).unwrap();
    conn.execute_batch("PRAGMA user_version = 999").unwrap();
    drop(conn);
    let error = Sqlite::open(dir.path(), Options::default()).unwrap_err();
    assert!(error.to_string().contains("use a newer one"), "{error}");
}
