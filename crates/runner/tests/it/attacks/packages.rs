//! Against the runner by what is in a package.

use std::io::{Cursor, Write as _};

use windlass_model::exit::Exit;
use windlass_model::isolation::Level;
use zip::write::SimpleFileOptions;

use super::{Target, target_with};
use crate::support::command;

async fn outcome(target: &Target, zip: Vec<u8>, line: &str) -> String {
    let server = &target.world.server;
    let revision = server.revision(Some(server.package(zip)), command(line));
    let (report, log) = target.run(&revision).await;
    match report.exit {
        Exit::NotStarted(why) => why,
        exit => format!("{exit:?} {log}"),
    }
}

fn zip_with(fill: impl FnOnce(&mut zip::ZipWriter<Cursor<Vec<u8>>>)) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    fill(&mut zip);
    zip.finish().unwrap().into_inner()
}

#[tokio::test]
async fn a_hostile_zip_is_refused_or_made_harmless() {
    let change = |config: &mut windlass_runner::RunnerConfig| config.packages.package_bytes = 16 << 20;
    let Some(target) = target_with(Level::Namespaces, change).await else { return };
    let file = |name: &str| {
        zip_with(|zip| {
            zip.start_file(name, SimpleFileOptions::default()).unwrap();
            zip.write_all(b"x").unwrap();
        })
    };
    let canary = target.world.work_dir.path().join("escaped");
    for name in ["../../escaped", "a/../../../escaped", "/escaped", "..\\escaped", "c:\\escaped"] {
        let why = outcome(&target, file(name), "true").await;
        assert!(why.starts_with("the package cannot be used"), "{name}: {why}");
    }
    assert!(!canary.exists() && !std::path::Path::new("/escaped").exists());

    let link = zip_with(|zip| zip.add_symlink("link", "/etc/passwd", SimpleFileOptions::default()).unwrap());
    let why = outcome(&target, link, "cat link").await;
    assert!(why.starts_with("the package cannot be used"), "{why}");

    let bomb = zip_with(|zip| {
        zip.start_file("bomb", SimpleFileOptions::default()).unwrap();
        let block = vec![0; 1 << 20];
        for _ in 0..64 {
            zip.write_all(&block).unwrap();
        }
    });
    assert!(bomb.len() < 1 << 20);
    let why = outcome(&target, bomb, "true").await;
    assert!(why.starts_with("the package cannot be used"), "{why}");

    let many = zip_with(|zip| {
        for number in 0..20_001 {
            zip.start_file(number.to_string(), SimpleFileOptions::default()).unwrap();
        }
    });
    let why = outcome(&target, many, "true").await;
    assert!(why.starts_with("the package cannot be used"), "{why}");

    let setuid = zip_with(|zip| {
        let options = SimpleFileOptions::default().unix_permissions(0o6755);
        zip.start_file("tool", options).unwrap();
        zip.write_all(b"#!/bin/sh\necho ran\n").unwrap();
    });
    let ran = outcome(&target, setuid, "sh -c 'find /code /task -perm /6000; ./tool'").await;
    assert_eq!(ran, "Code(0) ran\n");
    // Nothing half made is left, and nothing of it with more rights.
    let packages = target.world.work_dir.path().join("packages");
    let entries = std::fs::read_dir(packages).unwrap().map(|entry| entry.unwrap().path());
    let folders: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
    target.ends_unharmed().await;
}
