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

#[tokio::test]
async fn a_package_that_is_mounted_is_not_evicted_and_one_that_comes_back_is_itself() {
    let change = |config: &mut windlass_runner::RunnerConfig| config.packages.cache_bytes = 1;
    let Some(target) = target_with(Level::Namespaces, change).await else { return };
    // Too large to be copied: it shines through what tasks write.
    let package = |name: &str| {
        let large = name.repeat((4 << 20) / name.len());
        let script = format!(
            "echo {name}; while [ -e /code/wait ] && ! [ -e go ]; do sleep 0.01; done; \
             for at in /code /task; do tail -c 5 $at/large; wc -c < $at/large; done"
        );
        let wait: &[(&str, &[u8], u32)] = if name == "first" { &[("wait", b"", 0o644)] } else { &[] };
        let files = [("large", large.as_bytes(), 0o644), ("attack.sh", script.as_bytes(), 0o644)];
        target.revision(&[&files[..], wait].concat(), "sh attack.sh")
    };
    let [first, second, third] = ["first", "other", "third"].map(package);
    let holds = target.queue(&first);
    target.has_begun(holds).await;
    let folder = |revision: &windlass_model::runner::RevisionSpec| {
        target.world.work_dir.path().join("packages").join(&revision.package.as_ref().unwrap().sha256)
    };
    let said = |name: &str| format!("{name}\n{name}{len}\n{name}{len}\n", len = (4 << 20) / 5 * 5);
    for (revision, name) in [(&second, "other"), (&third, "third"), (&second, "other"), (&third, "third")] {
        let (report, log) = target.run(revision).await;
        assert_eq!((report.exit, log), (Exit::Code(0), said(name)));
        assert!(folder(&first).exists(), "it is in use");
    }
    assert!(!folder(&second).exists(), "there is no room for it");
    std::fs::write(target.world.task_dir(holds).join("go"), "").unwrap();
    let (report, log) = target.end_of(holds).await;
    assert_eq!((report.exit, log), (Exit::Code(0), said("first")));
    target.ends_unharmed().await;
}
