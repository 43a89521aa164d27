//! Where packages, long logs and results are kept.

use crate::windlass::{Windlass, binary, run};

/// A worker whose log is too long to be kept in the database.
const LONG: &str = "i=0; while [ $i -lt 2000 ]; do echo \"line $i of a log that is long\"; i=$((i+1)); done";

fn a_worker_with_a_long_log_runs(windlass: &Windlass) {
    windlass.upload("long", LONG, &[]);
    let id = windlass.queue("long", &[]);
    windlass.task_when(&id, |task| task["status"] == "complete");
    let log = windlass.run(&["logs", &id]).ok();
    assert_eq!(log.lines().count(), 2000);
    assert!(log.ends_with("line 1999 of a log that is long\n"), "{}", &log[log.len() - 80..]);
}

#[test]
fn blobs_are_kept_in_the_folder_that_is_named() {
    let elsewhere = tempfile::tempdir().unwrap();
    let windlass = Windlass::start_with(&["--blobs", elsewhere.path().to_str().unwrap()]);
    a_worker_with_a_long_log_runs(&windlass);
    assert!(elsewhere.path().join("packages").is_dir() && elsewhere.path().join("day").is_dir());
    assert!(!windlass.data().join("blobs").exists());
}

#[test]
#[ignore = "needs an S3 server: tests/s3/run"]
fn s3_keeps_packages_and_long_logs() {
    let given = std::env::var("WINDLASS_TEST_S3").expect("tests/s3/run says where the bucket is");
    let (endpoint, bucket) = given.rsplit_once('/').unwrap();
    let variables =
        [("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"), ("AWS_ENDPOINT_URL", endpoint)];
    let place = format!("s3://{bucket}/windlass/{}", std::process::id());
    let windlass = Windlass::start_as(&variables, &["--blobs", &place]);
    a_worker_with_a_long_log_runs(&windlass);
    assert!(!windlass.data().join("blobs").exists());
}

#[test]
fn a_bucket_that_cannot_be_used_stops_the_start_with_the_fix() {
    let home = tempfile::tempdir().unwrap();
    let refused = |flags: &[&str]| {
        let mut command = binary(home.path());
        command.args(["serve", "--listen", "127.0.0.1:0", "--blobs", "s3://b"]).args(flags);
        let failed = run(command, "");
        assert_eq!(failed.code, 1);
        failed.err
    };
    let clear = refused(&["--set", "s3.endpoint=http://10.0.0.1:9000"]);
    assert!(clear.contains("kept in s3://b: the endpoint") && clear.contains("in the clear"), "{clear}");
    assert!(clear.contains("fix: look at --blobs"), "{clear}");
}
