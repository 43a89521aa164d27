//! Running a package without a server.

use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use windlass_model::exit::Exit;
use windlass_model::limits::{Limits, Network};
use windlass_model::log::Stream;
use windlass_runner::{LocalRun, Policy, SandboxConfig, run_local};

use crate::attacks::skip;
use crate::image::{self, Image, Layer, busybox};
use crate::server::{MARK, unique};
use crate::support::{command, processes_marked, sandbox, spawner, zip};
use crate::warm::warm;

fn run(package: &std::path::Path, line: &str) -> LocalRun {
    LocalRun {
        package: Some(package.to_owned()),
        image: None,
        code_name: "local".to_owned(),
        launch: command(line),
        payload: b"{\"n\":1}".to_vec(),
        config: None,
        env_vars: std::env::var(MARK).map(|mark| (MARK.to_owned(), mark)).into_iter().collect(),
        limits: Limits::DEFAULT,
        network: Network::default(),
        timeout: Duration::from_secs(30),
        api: None,
        sandbox: sandbox(),
        spawner: spawner(),
    }
}

#[tokio::test]
async fn a_folder_and_a_zip_run_alike() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("in.txt"), "in").unwrap();
    let zipped = folder.path().join("package.zip");
    std::fs::write(&zipped, zip(&[("in.txt", b"in", 0o644)])).unwrap();
    for package in [folder.path(), &zipped] {
        let (_cancel, cancelled) = watch::channel(false);
        let mut output = Vec::new();
        let line = "cat in.txt $PAYLOAD_FILE; echo no >&2; echo 42 > $RESULT_FILE; exit 3";
        let take = |stream: Stream, bytes: &[u8]| output.push((stream, bytes.to_vec()));
        let end = run_local(run(package, line), cancelled, take).await.unwrap();
        assert_eq!((end.exit, end.result), (Exit::Code(3), Some(b"42\n".to_vec())));
        let of =
            |wanted| output.iter().filter(move |(stream, _)| *stream == wanted).flat_map(|(_, b)| b.clone());
        assert_eq!(of(Stream::Stdout).collect::<Vec<_>>(), b"in{\"n\":1}");
        assert_eq!(of(Stream::Stderr).collect::<Vec<_>>(), b"no\n");
    }
}

#[tokio::test]
async fn an_image_runs_from_its_archive_and_from_its_layout() {
    let Some(program) = busybox() else { return skip("the package busybox-static is not installed") };
    let image = Image::new([Layer::busybox(&program)], json!({ "Cmd": ["cat", "/etc/motd"] }));
    let folder = tempfile::tempdir().unwrap();
    let (archive, layout) = (folder.path().join("image.tar"), folder.path().join("layout"));
    std::fs::write(&archive, image.archive()).unwrap();
    image::write(&image.layout(), &layout);
    for image in [archive, layout] {
        let (_cancel, cancelled) = watch::channel(false);
        let mut output = Vec::new();
        let sandbox = SandboxConfig { policy: Policy::Degrade, ..SandboxConfig::default() };
        let run = LocalRun { package: None, image: Some(image), sandbox, ..run(folder.path(), "") };
        let end = run_local(run, cancelled, |_, bytes| output.extend_from_slice(bytes)).await.unwrap();
        if matches!(&end.exit, Exit::NotStarted(why) if why.contains("without a sandbox")) {
            return skip("this host isolates nothing");
        }
        assert_eq!((end.exit, output.as_slice()), (Exit::Code(0), &b"first\n"[..]));
    }
    let (_cancel, cancelled) = watch::channel(false);
    let bare = SandboxConfig { policy: Policy::Off, ..SandboxConfig::default() };
    let run = LocalRun { image: Some("x".into()), sandbox: bare, ..run(folder.path(), "") };
    let end = run_local(run, cancelled, |_, _| {}).await.unwrap();
    assert!(matches!(end.exit, Exit::NotStarted(why) if why.contains("sandbox.policy")));
}

#[tokio::test]
async fn it_can_be_cancelled_and_says_what_cannot_be_started() {
    let folder = tempfile::tempdir().unwrap();
    let (cancel, cancelled) = watch::channel(false);
    let take = move |_: Stream, _: &[u8]| {
        cancel.send_replace(true);
    };
    let end = run_local(run(folder.path(), "echo here; sleep 60"), cancelled, take).await.unwrap();
    assert_eq!(end.exit, Exit::Cancelled);
    let (_cancel, cancelled) = watch::channel(false);
    let nothing = run(folder.path(), "");
    let end = run_local(nothing, cancelled, |_, _| {}).await.unwrap();
    assert!(matches!(end.exit, Exit::NotStarted(_)), "{end:?}");
}

/// Runs in a process of its own, for the test below to kill.
#[tokio::test]
#[ignore = "part of another test"]
async fn a_program_that_runs_a_package() {
    let folder = tempfile::tempdir().unwrap();
    let (_cancel, cancelled) = watch::channel(false);
    let line = "setsid sh -c 'trap \"\" TERM HUP; sleep 60' & sleep 60 & echo here; sleep 60";
    let take = |_: Stream, bytes: &[u8]| {
        assert_eq!(bytes, b"here\n");
        println!("started");
    };
    run_local(run(folder.path(), line), cancelled, take).await.unwrap();
}

#[tokio::test]
async fn tasks_die_with_the_runner_however_it_dies() {
    use std::io::BufRead as _;
    let folder = tempfile::tempdir().unwrap();
    let mark = unique();
    let mut program = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "local::a_program_that_runs_a_package", "--ignored", "--nocapture"])
        .env("TMPDIR", folder.path())
        .env(MARK, &mark)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = std::io::BufReader::new(program.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(output.any(|line| line.ends_with("started")));
    let mark = format!("{MARK}={mark}");
    // The worker and its two children, the daemon and its child.
    until_marked(&mark, 5);
    program.kill().unwrap();
    program.wait().unwrap();
    until_marked(&mark, 0);
}

fn until_marked(mark: &str, expected: usize) {
    let deadline = std::time::Instant::now() + crate::server::PATIENCE / 2;
    loop {
        let found: Vec<_> = processes_marked(mark).iter().map(ToString::to_string).collect();
        let found: Vec<_> = found.iter().filter(|process| process.contains("sleep 60")).collect();
        if found.len() == expected {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "not {expected} processes: {found:?}");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_handler_gets_one_event() {
    let folder = tempfile::tempdir().unwrap();
    let script = "print('begins')\ndef handler(event, context):\n  if event['n'] == 2: raise ValueError('two')\n  return event\n";
    std::fs::write(folder.path().join("app.py"), script).unwrap();
    for (payload, exit, result) in [
        ("{\"n\": 1}", Exit::Code(0), Some(b"{\"n\": 1}".to_vec())),
        (
            "{\"n\": 2}",
            Exit::Error { class: "ValueError".to_owned(), msg: "ValueError: two".to_owned() },
            None,
        ),
    ] {
        let (_cancel, cancelled) = watch::channel(false);
        let mut output = Vec::new();
        let run = LocalRun {
            launch: warm("python3", "app.handler"),
            payload: payload.as_bytes().to_vec(),
            ..run(folder.path(), "")
        };
        let end = run_local(run, cancelled, |_: Stream, bytes: &[u8]| output.extend_from_slice(bytes)).await;
        let end = end.unwrap();
        assert_eq!((end.exit, end.result), (exit, result));
        assert!(output.starts_with(b"begins\n"));
    }
}
