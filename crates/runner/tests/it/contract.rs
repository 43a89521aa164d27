//! The contract with the worker, as workers see it.

use windlass_model::bytes::Bytes;
use windlass_model::exit::Exit;
use windlass_model::id::{ScheduleId, Seq};

use crate::support::{World, command, runtime, zip};

/// Prints arguments and environment, one a line, with the task's directory named.
const PRINT: &str = r#"
echo "args: $*"
echo "pwd: $(pwd)"
env | grep -vE '^(_|PWD|OLDPWD|SHLVL|LANG|LANGUAGE|LC_.*|TZ|SSL_CERT_.*|TEST_WORLD)=' | sort
"#;

#[tokio::test]
async fn an_old_style_worker_sees_exactly_this() {
    let world = World::start();
    let mut revision = world.sh(PRINT);
    revision.config = Some("{}".to_owned());
    revision.env_vars.insert("OWN".to_owned(), "a=b c".to_owned());
    let held = world.server.queue(&revision, |task| {
        task.schedule = Some(ScheduleId::new(Seq(5), 6));
        task.attempt = 2;
    });
    assert_eq!(world.server.report(held).await.exit, Exit::Code(0));
    let log = world.log(held);
    let dir = log.lines().find_map(|line| line.strip_prefix("pwd: ")).unwrap().to_owned();
    let log = log.replace(&dir, "DIR").replace(&held.task.to_string(), "TASK");
    // Where the API is depends on the network that the task is in.
    let log = log.replace("_HOST=127.0.0.80", "_HOST=127.0.0.1").replace("_PORT=80\n", "_PORT=8080\n");
    let log: Vec<_> = log
        .lines()
        .map(|line| match line.split_once('=') {
            Some(("DEADLINE", at)) => {
                format!("DEADLINE={}", at.parse::<windlass_model::time::Timestamp>().map_or("", |_| "TIME"))
            }
            Some(("PATH", path)) => format!("PATH={}", path.split(':').take(2).collect::<Vec<_>>().join(":")),
            _ => line.to_owned(),
        })
        .collect();
    insta::assert_snapshot!(log.join("\n"), @"
    args: -d DIR/ -e production -payload DIR/__payload__ -config DIR/__config__ -id TASK -schedule_id 000000000000000500000006
    pwd: DIR
    ATTEMPT=2
    CODE_NAME=worker
    CODE_REV=3
    CONFIG_FILE=DIR/__config__
    DEADLINE=TIME
    HOME=DIR
    IRON_API_VERSION=2
    IRON_HOST=127.0.0.1
    IRON_PORT=8080
    IRON_PROJECT_ID=000000000000000100000002
    IRON_PROTOCOL=http
    IRON_SCHEME=http
    IRON_TOKEN=attempt-token
    OWN=a=b c
    PATH=.:./bin
    PAYLOAD_FILE=DIR/__payload__
    RESULT_FILE=DIR/__result__
    SCHEDULE_ID=000000000000000500000006
    TASK_DIR=DIR/
    TASK_ID=TASK
    WINDLASS_API_VERSION=2
    WINDLASS_HOST=127.0.0.1
    WINDLASS_PORT=8080
    WINDLASS_PROJECT_ID=000000000000000100000002
    WINDLASS_PROTOCOL=http
    WINDLASS_SCHEME=http
    WINDLASS_TOKEN=attempt-token
    ");
    world.stop().await;
}

#[tokio::test]
async fn payload_and_result_are_any_bytes() {
    let world = World::start();
    let payload: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let revision = world.sh("cat $PAYLOAD_FILE; cat $PAYLOAD_FILE > $RESULT_FILE");
    let held = world.server.queue(&revision, |task| task.payload = Bytes(payload.clone()));
    let report = world.server.report(held).await;
    assert_eq!(report.exit, Exit::Code(0));
    assert_eq!(report.result, Some(Bytes(payload.clone())));
    let log = world.server.with(|state| windlass_model::log::text(&state.log(held), None));
    assert!(log == payload);
    world.stop().await;
}

#[tokio::test]
async fn a_result_that_is_no_good_is_left_out_and_said() {
    let world = World::with(|config| config.limits.result_bytes = 1024);
    let large = world.server.queue(&world.sh("head -c 1025 /dev/zero > $RESULT_FILE"), |_| {});
    let link = world.server.queue(&world.sh("ln -s /etc/passwd $RESULT_FILE"), |_| {});
    let pipe = world.server.queue(&world.sh("mkfifo $RESULT_FILE"), |_| {});
    for (held, why) in [(large, "larger than 1 KiB"), (link, "cannot be read"), (pipe, "not a plain file")] {
        let report = world.server.report(held).await;
        assert_eq!((report.exit, report.result), (Exit::Code(0), None));
        assert!(world.log(held).contains(why), "{}", world.log(held));
    }
    world.stop().await;
}

#[tokio::test]
async fn python_runs_unbuffered_under_its_plain_name() {
    let world = World::start();
    let script = b"import os, sys\nprint(sys.argv[1], sys.stdout.line_buffering, os.environ['TASK_ID'])\n";
    let package = world.server.package(zip(&[("worker.py", script, 0o644)]));
    let held =
        world.server.queue(&world.server.revision(Some(package), runtime("python", "worker.py")), |_| {});
    assert_eq!(world.server.report(held).await.exit, Exit::Code(0));
    assert_eq!(world.log(held), format!("-d False {}\n", held.task));
    world.stop().await;
}

#[tokio::test]
async fn a_binary_and_a_command_need_no_modes_in_the_zip() {
    let world = World::start();
    let script = b"#!/bin/sh\necho \"$1 $(cat data/in.txt)\"\n";
    let package = world.server.package(zip(&[("run", script, 0o644), ("data/in.txt", b"in", 0)]));
    let run = |launch| world.server.queue(&world.server.revision(Some(package.clone()), launch), |_| {});
    let (binary, simple, line) =
        (run(runtime("binary", "run")), run(command("./run 'a b'")), run(command("A=1 ./run x && run $A")));
    for (held, log) in [(binary, "-d in\n"), (simple, "a b in\n"), (line, "x in\n in\n")] {
        let report = world.server.report(held).await;
        assert_eq!((report.exit, world.log(held).as_str()), (Exit::Code(0), log));
    }
    world.stop().await;
}

#[tokio::test]
async fn every_file_at_the_top_may_be_run() {
    let world = World::start();
    let script = b"echo \"$(stat -c %A:%h b.sh) $(stat -c %A d/data)\"";
    let package = world.server.package(zip(&[("b.sh", script, 0o644), ("d/data", b"", 0o644)]));
    let revision = world.server.revision(Some(package), command("true && ./b.sh"));
    let held = world.server.queue(&revision, |_| {});
    assert_eq!(world.server.report(held).await.exit, Exit::Code(0));
    assert_eq!(world.log(held), "-rwxr-xr-x:1 -rw-r--r--\n");
    world.stop().await;
}

#[tokio::test]
async fn a_large_file_may_be_changed_whoever_the_worker_is() {
    let world = World::start();
    let data = vec![b'x'; 2 * 1024 * 1024];
    let script = b"stat -c %A:%h base d/base; echo new > base && echo new > d/base && cat base d/base";
    let package = world.server.package(zip(&[
        ("base", &data, 0o644),
        ("d/base", &data, 0o644),
        ("worker.sh", script, 0o644),
    ]));
    let revision = world.server.revision(Some(package), runtime("sh", "worker.sh"));
    for _ in 0..2 {
        let held = world.server.queue(&revision, |_| {});
        assert_eq!(world.server.report(held).await.exit, Exit::Code(0));
        assert_eq!(world.log(held), "-rwxr-xr-x:1\n-rw-r--r--:1\nnew\nnew\n");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_worker_may_change_its_files_and_finds_them_fresh_next_time() {
    let world = World::start();
    let script = "echo '#' >> worker.sh; echo new > file; ls -A | sort | tr '\\n' ' '; wc -l < worker.sh\n";
    let revision = world.sh(script);
    let (first, second) = (world.server.queue(&revision, |_| {}), world.server.queue(&revision, |_| {}));
    for held in [first, second] {
        assert_eq!(world.server.report(held).await.exit, Exit::Code(0));
        assert_eq!(world.log(held), "__payload__ file worker.sh 2\n");
    }
    let attempts = world.work_dir.path().join("attempts");
    world.stop().await;
    assert!(!attempts.exists() || std::fs::read_dir(attempts).unwrap().next().is_none());
}

#[tokio::test]
async fn a_command_sees_the_same_whether_a_shell_is_started_for_it_or_not() {
    let world = World::start();
    let mut seen = Vec::new();
    for text in ["env", "/usr/bin/env", "env $NOTHING"] {
        let revision = world.server.revision(None, command(text));
        let held = world.server.queue(&revision, |_| {});
        assert_eq!(world.server.report(held).await.exit, Exit::Code(0));
        let log = world.log(held);
        let value = |name: &str| log.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        assert_eq!(format!("{}/", value("PWD=").unwrap()), value("TASK_DIR=").unwrap());
        // Some shells say more of themselves.
        let names = log.lines().filter_map(|line| Some(line.split_once('=')?.0.to_owned()));
        let mut names: Vec<_> =
            names.filter(|name| !["_", "SHLVL", "OLDPWD"].contains(&name.as_str())).collect();
        names.sort();
        seen.push(names);
    }
    assert_eq!((&seen[0], &seen[1]), (&seen[2], &seen[2]));

    // What the host lacks, and what comes first because the package has it, is the shell's to say.
    let missing = world.server.revision(None, command("no-such-program-anywhere 1"));
    let held = world.server.queue(&missing, |_| {});
    assert_eq!(world.server.report(held).await.exit, Exit::Code(127));
    let package = world.server.package(zip(&[("true", b"exit 7", 0o755)]));
    let own = world.server.revision(Some(package), command("true"));
    let held = world.server.queue(&own, |_| {});
    assert_eq!(world.server.report(held).await.exit, Exit::Code(7));
}
