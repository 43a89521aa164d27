//! Packages: fetched once, refused when they are no good, dropped when there are too many.

use windlass_model::exit::Exit;

use crate::support::{World, command, config, zip};

#[tokio::test]
async fn a_package_is_fetched_once_however_many_ask() {
    let world = World::start();
    let revision = world.sh("exit 0");
    for held in (0..20).map(|_| world.server.queue(&revision, |_| {})).collect::<Vec<_>>() {
        world.server.report(held).await;
    }
    assert_eq!(world.server.with(|state| state.calls["package"]), 1);
    world.stop().await;
}

#[tokio::test]
async fn an_unusable_package_is_the_tasks_failure() {
    let world = World::start();
    let why = async |package| {
        let revision = world.server.revision(Some(package), command("true"));
        let both = [world.server.queue(&revision, |_| {}), world.server.queue(&revision, |_| {})];
        let exits = [world.server.report(both[0]).await.exit, world.server.report(both[1]).await.exit];
        assert_eq!(exits[0], exits[1]);
        match &exits[0] {
            Exit::NotStarted(why) => why.clone(),
            exit => panic!("{exit:?}"),
        }
    };
    let slip = why(world.server.package(zip(&[("../x", b"", 0o644)]))).await;
    assert_eq!(slip, "the package cannot be used: the name \"../x\" leads out of the package");
    let no_zip = why(world.server.package(b"no zip at all".to_vec())).await;
    assert!(no_zip.contains("no good zip"), "{no_zip}");
    assert_eq!(world.server.with(|state| state.calls["package"]), 2);
    world.stop().await;
}

#[tokio::test]
async fn a_package_that_the_server_lost_is_not_the_tasks_failure() {
    let world = World::start();
    let gone = world.server.package(zip(&[("a", b"", 0o644)]));
    let bytes = world.server.with(|state| state.packages.remove(&gone.sha256)).unwrap();
    let revision = world.server.revision(Some(gone.clone()), command("true"));
    let exit = world.server.report(world.server.queue(&revision, |_| {})).await.exit;
    assert_eq!(
        exit,
        Exit::Unable(format!("cannot fetch package {}: the server does not have it", gone.sha256))
    );
    world.server.with(|state| state.packages.insert(gone.sha256.clone(), bytes));
    assert_eq!(world.server.report(world.server.queue(&revision, |_| {})).await.exit, Exit::Code(0));
    world.stop().await;
}

#[tokio::test]
async fn bytes_that_do_not_match_their_hash_are_not_run() {
    let world = World::start();
    let revision = world.sh("exit 0");
    let sha256 = revision.package.as_ref().unwrap().sha256.clone();
    let good = world.server.with(|state| state.packages.insert(sha256.clone(), vec![0; 10])).unwrap();
    let held = world.server.queue(&revision, |_| {});
    let why = format!("cannot fetch package {sha256}: the server sent something else");
    assert_eq!(world.server.report(held).await.exit, Exit::Unable(why));
    world.server.with(|state| state.packages.insert(sha256, good));
    let again = world.server.queue(&revision, |_| {});
    assert_eq!(world.server.report(again).await.exit, Exit::Code(0));
    world.stop().await;
}

#[tokio::test]
async fn a_runner_that_cannot_write_says_so_and_takes_less_and_less() {
    let world = World::bare();
    let attempts = world.work_dir.path().join("attempts");
    world.server.until("a session", |state| (state.registered.len() == 1).then_some(())).await;
    std::fs::remove_dir_all(&attempts).unwrap();
    std::fs::write(&attempts, "no folder").unwrap();
    let revision = world.sh("exit 0");
    let tasks = [(); 3].map(|()| world.server.queue(&revision, |_| {}));
    for held in &tasks[..2] {
        let exit = world.server.report(*held).await.exit;
        assert!(
            matches!(&exit, Exit::Unable(why) if why.starts_with("cannot fill its directory")),
            "{exit:?}"
        );
    }
    // Both slots rest, so the third is left to others.
    world.server.with(|state| assert_eq!(state.reports.len(), 2));
    std::fs::remove_file(&attempts).unwrap();
    std::fs::create_dir(&attempts).unwrap();
    assert_eq!(world.server.report(tasks[2]).await.exit, Exit::Code(0));
    world.server.with(|state| assert_eq!(state.released, []));
    world.stop().await;
}

#[tokio::test]
async fn the_least_recently_used_package_is_dropped_and_one_in_use_is_not() {
    let world = World::with(|config| config.packages.cache_bytes = 250_000);
    let package = |name: &str| {
        let filler = vec![b'x'; 100_000];
        let script =
            format!("echo {name}; while [ -e wait ] && [ ! -e go ]; do sleep 0.01; done; cat filler | wc -c");
        let wait: &[(&str, &[u8], u32)] = if name == "used" { &[("wait", b"", 0o644)] } else { &[] };
        let files =
            [&[("filler", &filler[..], 0o644), ("worker.sh", script.as_bytes(), 0o644)], wait].concat();
        world.server.revision(Some(world.server.package(zip(&files))), command("sh worker.sh"))
    };
    let revisions: Vec<_> = ["used", "a", "b", "c"].map(package).to_vec();
    let used = world.server.queue(&revisions[0], |_| {});
    world.server.until("output", |state| (!state.log(used).is_empty()).then_some(())).await;
    for revision in [&revisions[1], &revisions[2], &revisions[3], &revisions[3]] {
        assert_eq!(world.server.report(world.server.queue(revision, |_| {})).await.exit, Exit::Code(0));
    }
    let kept = |i: usize| {
        world.work_dir.path().join("packages").join(&revisions[i].package.as_ref().unwrap().sha256).exists()
    };
    assert_eq!([kept(0), kept(1), kept(2), kept(3)], [true, false, false, true]);
    std::fs::write(world.task_dir(used).join("go"), "").unwrap();
    assert_eq!(world.server.report(used).await.exit, Exit::Code(0));
    world.stop().await;
}

#[tokio::test]
async fn what_is_not_what_was_unpacked_is_not_run_after_a_restart() {
    let world = World::start();
    let worker = |text: &str| {
        let script = format!("cat text; sh lib/part.sh; echo {text}");
        let files: [(&str, &[u8], u32); 3] = [
            ("worker.sh", script.as_bytes(), 0o644),
            ("text", b"good\n", 0o644),
            ("lib/part.sh", b"echo part", 0o644),
        ];
        world.server.revision(Some(world.server.package(zip(&files))), command("sh worker.sh"))
    };
    let revisions: Vec<_> = ["whole", "changed", "longer", "lost", "runs"].map(worker).into();
    for revision in &revisions {
        assert_eq!(world.server.report(world.server.queue(revision, |_| {})).await.exit, Exit::Code(0));
    }
    let World { server, runner, work_dir } = world;
    runner.shutdown_now();
    runner.wait().await;
    let folder = |n: usize| {
        let revision: &windlass_model::runner::RevisionSpec = &revisions[n];
        work_dir.path().join("packages").join(&revision.package.as_ref().unwrap().sha256)
    };
    std::fs::write(folder(1).join("text"), "evil\n").unwrap();
    std::fs::write(folder(2).join("lib/more.sh"), "more").unwrap();
    std::fs::remove_file(folder(3).join("text")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder(4).join("lib/part.sh"), mode).unwrap();

    let runner = windlass_runner::Runner::start(config(work_dir.path()), server.client()).unwrap();
    let world = World { server, runner, work_dir };
    for (revision, text) in revisions.iter().zip(["whole", "changed", "longer", "lost", "runs"]) {
        for _ in 0..2 {
            let held = world.server.queue(revision, |_| {});
            assert_eq!(world.server.report(held).await.exit, Exit::Code(0));
            assert_eq!(world.log(held), format!("good\npart\n{text}\n"));
        }
    }
    assert_eq!(
        world.server.with(|state| state.calls["package"]),
        5 + 4,
        "the whole one was not fetched again"
    );
    world.stop().await;
}

#[tokio::test]
async fn a_large_program_is_linked_and_one_that_was_changed_is_fetched_anew() {
    let world = World::bare();
    let large = vec![b'x'; 2 << 20];
    let change = "stat -c %h large; chmod u+w large && echo y >> large";
    let files: [(&str, &[u8], u32); 2] = [("large", &large, 0o755), ("worker.sh", change.as_bytes(), 0o644)];
    let revision = world.server.revision(Some(world.server.package(zip(&files))), command("sh worker.sh"));
    for _ in 0..2 {
        let held = world.server.queue(&revision, |_| {});
        assert_eq!(world.server.report(held).await.exit, Exit::Code(0));
        assert_eq!(world.log(held), "2\n");
    }
    assert_eq!(world.server.with(|state| state.calls["package"]), 2);
    world.stop().await;
}

#[tokio::test]
async fn what_a_task_does_to_a_large_file_is_not_seen_by_others() {
    let world = World::start();
    let large = vec![b'x'; 2 << 20];
    // Whether it may be changed depends on who runs it; what the second task reads does not.
    let change = "wc -c < large; echo y >> large; while [ ! -e go ]; do sleep 0.01; done";
    let files: [(&str, &[u8], u32); 2] = [("large", &large, 0o644), ("worker.sh", change.as_bytes(), 0o644)];
    let revision = world.server.revision(Some(world.server.package(zip(&files))), command("sh worker.sh"));
    let tasks = [world.server.queue(&revision, |_| {}), world.server.queue(&revision, |_| {})];
    for held in tasks {
        world.server.until("output", |state| (!state.log(held).is_empty()).then_some(())).await;
    }
    for held in tasks {
        std::fs::write(world.task_dir(held).join("go"), "").unwrap();
        assert_eq!(world.server.report(held).await.exit, Exit::Code(0));
        assert!(world.log(held).starts_with("2097152\n"), "{}", world.log(held));
    }
    world.stop().await;
}

#[tokio::test]
async fn a_package_that_takes_the_names_of_our_files_runs_all_the_same() {
    let world = World::start();
    let script = b"cat $PAYLOAD_FILE";
    let files: [(&str, &[u8], u32); 3] =
        [("__payload__/x", b"", 0o644), ("__result__", b"old", 0o644), ("worker.sh", script, 0o644)];
    let revision = world.server.revision(Some(world.server.package(zip(&files))), command("sh worker.sh"));
    let held =
        world.server.queue(&revision, |task| task.payload = windlass_model::bytes::Bytes(b"mine".to_vec()));
    let report = world.server.report(held).await;
    assert_eq!((report.exit, report.result), (Exit::Code(0), None));
    assert_eq!(world.log(held), "mine");
    world.stop().await;
}
