//! Packages, logs and results behave the same in a folder and in a bucket.
//!
//! `tests/s3/run` starts an S3 server and says in `WINDLASS_TEST_S3` where a bucket is: `http://host:port/bucket`.

use bytes::Bytes;
use futures::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use windlass_model::code::BlobRef;
use windlass_store::StoreError;
use windlass_store::blob::{Area, Blobs, Bucket, PART_BYTES};
use windlass_store::types::Partition;

fn variables() -> impl Iterator<Item = (String, String)> {
    ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
        .map(|name| (name.to_owned(), "test".to_owned()))
        .into_iter()
}

/// An address of the test server, and a bucket there.
fn given() -> (String, String) {
    let given = std::env::var("WINDLASS_TEST_S3").expect("tests/s3/run says where the bucket is");
    let (endpoint, bucket) = given.rsplit_once('/').unwrap();
    (endpoint.to_owned(), bucket.to_owned())
}

/// A part of the bucket that is this test's own.
async fn bucket(prefix: &str) -> Blobs {
    let (endpoint, name) = given();
    let run = std::process::id();
    let place = Bucket::parse(&format!("s3://{name}/{prefix}/{run}")).unwrap();
    Blobs::bucket(&Bucket { endpoint: Some(endpoint), ..place }, variables()).await.unwrap()
}

async fn large_blobs_go_through_in_pieces(blobs: Blobs) {
    for size in [0, 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 7] {
        let content: Vec<u8> = (0..size).map(|n| n as u8).collect();
        let blob =
            BlobRef { sha256: hex::encode(Sha256::digest(&content)), size_bytes: content.len() as u64 };
        for _ in ["kept", "there already"] {
            blobs.put_stream(Area::Packages, &blob, &mut content.as_slice()).await.unwrap();
            let (length, pieces) = blobs.stream(Area::Packages, &blob.sha256).await.unwrap().unwrap();
            let pieces: Vec<Bytes> = pieces.try_collect().await.unwrap();
            assert!((length, pieces.concat()) == (blob.size_bytes, content.clone()), "{size} bytes");
        }
        let day = Area::Tasks(Partition(3));
        assert_eq!(blobs.put(day, content.clone().into()).await.unwrap(), blob);
        assert!(blobs.get(day, &blob.sha256).await.unwrap().unwrap() == content, "{size} bytes");
    }
    assert!(blobs.stream(Area::Packages, "0").await.unwrap().is_none());
    assert!(blobs.get(Area::Packages, "0").await.unwrap().is_none());
}

async fn content_that_breaks_off_is_not_kept(blobs: Blobs) {
    let size = PART_BYTES * 2;
    let blob = BlobRef { sha256: "ab".repeat(32), size_bytes: size as u64 };
    let whole = vec![7; PART_BYTES];
    let mut broken = breaking_off(whole);
    let refused = blobs.put_stream(Area::Packages, &blob, &mut broken).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Unavailable(why) if why.contains("cannot be read")), "{refused}");
    assert!(blobs.get(Area::Packages, &blob.sha256).await.unwrap().is_none());
}

/// Reads what is in `content`, then fails.
fn breaking_off(content: Vec<u8>) -> impl tokio::io::AsyncRead + Unpin + Send {
    use tokio::io::AsyncReadExt as _;
    std::io::Cursor::new(content).chain(Broken)
}

struct Broken;

impl tokio::io::AsyncRead for Broken {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Err(std::io::Error::other("it broke off")))
    }
}

async fn a_blob_is_found_by_its_hash_until_its_day_is_dropped(blobs: Blobs) {
    let (old, new) = (Area::Tasks(Partition(1)), Area::Tasks(Partition(2)));
    let mut hashes = Vec::new();
    for n in 0..20 {
        hashes.push(blobs.put(old, format!("log {n}").into()).await.unwrap().sha256);
    }
    let blob = blobs.put(old, Bytes::from_static(b"log")).await.unwrap();
    blobs.put(new, Bytes::from_static(b"log")).await.unwrap();
    blobs.put(Area::Packages, Bytes::from_static(b"log")).await.unwrap();
    assert_eq!(blobs.get(old, &blob.sha256).await.unwrap().unwrap(), "log");
    for _ in ["dropped", "gone already"] {
        blobs.prune(&[Partition(2)], Partition(9)).await.unwrap();
        assert!(blobs.get(old, &blob.sha256).await.unwrap().is_none());
        for hash in &hashes {
            assert!(blobs.get(old, hash).await.unwrap().is_none());
        }
        assert!(blobs.get(new, &blob.sha256).await.unwrap().is_some());
        assert!(blobs.get(Area::Packages, &blob.sha256).await.unwrap().is_some());
    }
}

async fn everything_can_be_copied_elsewhere(blobs: Blobs) {
    let folder = tempfile::tempdir().unwrap();
    let here = Blobs::local(folder.path()).unwrap();
    let large = Bytes::from(vec![7; PART_BYTES + 1]);
    let package = here.put(Area::Packages, large.clone()).await.unwrap();
    let log = here.put(Area::Tasks(Partition(3)), Bytes::from_static(b"log")).await.unwrap();
    std::fs::write(folder.path().join("notes"), "not ours").unwrap();

    for _ in ["copied", "there already"] {
        let copied = here.copy_to(&blobs, |_| ()).await.unwrap();
        assert_eq!((copied.blobs, copied.bytes), (2, package.size_bytes + log.size_bytes));
    }
    assert!(blobs.get(Area::Packages, &package.sha256).await.unwrap().unwrap() == large);
    assert_eq!(blobs.get(Area::Tasks(Partition(3)), &log.sha256).await.unwrap().unwrap(), "log");

    std::fs::write(folder.path().join("packages").join("ab".repeat(32)), "something else").unwrap();
    let refused = here.copy_to(&blobs, |_| ()).await.unwrap_err().to_string();
    assert!(refused.contains("abab is not what its name says"), "{refused}");
    assert!(blobs.get(Area::Packages, &"ab".repeat(32)).await.unwrap().is_none());
}

/// The same tests in a folder and in a bucket.
macro_rules! in_both {
    ($($test:ident),*) => {
        mod folder {
            use windlass_store::blob::Blobs;
            $(#[tokio::test]
            async fn $test() {
                let folder = tempfile::tempdir().unwrap();
                super::$test(Blobs::local(folder.path()).unwrap()).await;
            })*
        }
        mod s3 {
            $(#[tokio::test]
            #[ignore = "needs an S3 server: tests/s3/run"]
            async fn $test() {
                super::$test(super::bucket(stringify!($test)).await).await;
            })*
        }
    };
}

in_both!(
    large_blobs_go_through_in_pieces,
    content_that_breaks_off_is_not_kept,
    a_blob_is_found_by_its_hash_until_its_day_is_dropped,
    everything_can_be_copied_elsewhere
);

#[tokio::test]
#[ignore = "needs an S3 server: tests/s3/run"]
async fn s3_a_bucket_that_is_not_there_is_named_at_the_start() {
    let (endpoint, _) = given();
    let none = Bucket { endpoint: Some(endpoint), ..Bucket::parse("s3://there-is-none/x").unwrap() };
    let refused = Blobs::bucket(&none, variables()).await.unwrap_err().to_string();
    assert!(refused.starts_with("packages and logs cannot be kept in s3://there-is-none/x: "), "{refused}");
    assert!(refused.contains("NoSuchBucket"), "{refused}");
}
