//! Tasks of images that a container engine runs: the same contract, by a real engine.
//!
//! `tests/engine/run` starts Podman and says in `WINDLASS_TEST_ENGINE` where its socket is.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use windlass_model::bytes::Bytes;
use windlass_model::code::Launch;
use windlass_model::exit::Exit;
use windlass_model::limits::Network;
use windlass_model::log::Stream;
use windlass_model::runner::{Assignment, Held, Report, RevisionSpec};
use windlass_runner::{EngineAddress, ImageMode, Policy, Runner, RunnerConfig, StartError};

use crate::image::{Image, Layer, busybox};
use crate::server::{PATIENCE, Server};
use crate::support::{World, config, zip};

const NEEDS: &str = "busybox-static is installed";

fn socket() -> PathBuf {
    std::env::var_os("WINDLASS_TEST_ENGINE").expect("tests/engine/run says where the engine is").into()
}

fn address(socket: &Path) -> EngineAddress {
    format!("unix://{}", socket.display()).parse().unwrap()
}

/// A runner that has images run by the engine at `socket`.
fn with_engine(config: &mut RunnerConfig, socket: &Path) {
    config.sandbox.policy = Policy::Degrade;
    config.limits.grace = Duration::from_secs(1);
    config.images = ImageMode::Engine(address(socket));
}

fn world() -> World {
    World::with(|config| with_engine(config, &socket()))
}

/// Busybox, and a file that only root can read.
fn image(config: Value) -> Image {
    let layer = Layer::busybox(&busybox().expect(NEEDS)).link("bin/grep", "busybox").file(
        "etc/secret",
        0o600,
        b"secret",
    );
    Image::new([layer], config)
}

/// A revision that runs the words of `command` in the image.
fn revision(server: &Server, image: &Image, files: &[(&str, &[u8], u32)], command: &str) -> RevisionSpec {
    let package = (!files.is_empty()).then(|| server.package(zip(files)));
    let archive = Some(server.package(image.archive()));
    let launch =
        Launch { image: "made:1".to_owned(), command: command.to_owned(), archive, ..Launch::default() };
    let mut revision = server.revision(package, launch);
    revision.network = Network::None;
    revision.limits.memory_bytes = 64 << 20;
    revision.limits.disk_bytes = 8 << 20;
    revision.limits.processes = 32;
    revision
}

/// The same for a script.
fn script(server: &Server, script: &str) -> RevisionSpec {
    let files = [("script.sh", script.as_bytes(), 0o644)];
    revision(server, &image(json!({})), &files, "sh script.sh")
}

async fn run(world: &World, revision: &RevisionSpec) -> (Report, String) {
    end_of(world, world.server.queue(revision, |task| task.timeout_s = 60)).await
}

async fn end_of(world: &World, held: Held) -> (Report, String) {
    let report = world.server.report(held).await;
    (report, world.log(held))
}

async fn has_begun(world: &World, held: Held) {
    world.server.until("output", |state| (!state.log(held).is_empty()).then_some(())).await;
}

/// What the engine answers, asked by nobody of ours.
fn ask(path: &str) -> Value {
    let mut stream = UnixStream::connect(socket()).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: engine\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1.trim()).unwrap()
}

/// The containers of the runner that works in `work_dir`, whatever their state.
fn containers(work_dir: &Path) -> Vec<String> {
    let Ok(owner) = std::fs::read_to_string(work_dir.join("engine-owner")) else { return Vec::new() };
    let all = ask("/containers/json?all=1");
    let is_owned = |one: &&Value| one["Labels"]["windlass.runner"] == owner.as_str();
    all.as_array()
        .unwrap()
        .iter()
        .filter(is_owned)
        .map(|one| one["Id"].as_str().unwrap().to_owned())
        .collect()
}

/// Ends the world, which must have left nothing in the engine or on the disk.
async fn ends_clean(world: World) {
    let World { runner, work_dir, .. } = world;
    runner.shutdown_now();
    runner.wait().await;
    assert_eq!(containers(work_dir.path()), Vec::<String>::new());
    assert_eq!(std::fs::read_dir(work_dir.path().join("engine")).unwrap().count(), 0);
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(work_dir.path().to_str().unwrap()), "{mounts}");
}

#[tokio::test]
#[ignore = "needs an engine: tests/engine/run"]
async fn an_image_runs_by_an_engine_as_it_says() {
    let world = world();
    let image = image(json!({
        "Env": ["PATH=/bin", "GREETING=hello world"], "Entrypoint": ["/bin/sh", "-c"], "WorkingDir": "/etc",
        "Cmd": ["echo $GREETING; pwd; cat motd; echo oops >&2; exit 3"],
    }));
    let mut revision = revision(&world.server, &image, &[], "");
    for archive in [image.archive(), image.docker_archive()] {
        revision.launch.archive = Some(world.server.package(archive));
        let held = world.server.queue(&revision, |_| {});
        let (report, _) = end_of(&world, held).await;
        let (out, err) = world.server.with(|state| {
            let of = |stream| {
                let chunks = state.log(held).into_iter().filter(move |chunk| chunk.stream == stream);
                chunks.flat_map(|chunk| chunk.data.0).collect::<Vec<u8>>()
            };
            (of(Stream::Stdout), of(Stream::Stderr))
        });
        assert_eq!(report.exit, Exit::Code(3), "a code is a result");
        assert_eq!(String::from_utf8(out).unwrap(), "hello world\n/etc\nfirst\n");
        assert_eq!(String::from_utf8(err).unwrap(), "oops\n");
        assert!(report.isolation.level.starts_with("namespaces"), "{:?}", report.isolation);
    }
    ends_clean(world).await;
}

#[tokio::test]
#[ignore = "needs an engine: tests/engine/run"]
async fn the_contract_holds_by_an_engine_too() {
    let world = world();
    let image = image(json!({ "Env": ["A=image", "B=image", "TASK_ID=image"], "User": "0:0" }));
    let text = "cat $PAYLOAD_FILE; cat $CONFIG_FILE; echo; pwd; echo $A $B $HOME $CODE_NAME $TASK_ID; ./tool; \
        /code/tool; touch a /tmp/b; echo 42 > part; mv part $RESULT_FILE; exit 7";
    let files: [(&str, &[u8], u32); 2] =
        [("script", text.as_bytes(), 0o755), ("tool", b"#!/bin/sh\necho tool", 0o755)];
    let mut revision = revision(&world.server, &image, &files, "./script");
    revision.launch.command = "sh script".to_owned();
    revision.config = Some("config".to_owned());
    revision.env_vars.insert("B".to_owned(), "package".to_owned());
    let held = world.server.queue(&revision, |task| task.payload = Bytes(b"payload,".to_vec()));
    let (report, log) = end_of(&world, held).await;
    let expected = format!("payload,config\n/task\nimage package /task worker {}\ntool\ntool\n", held.task);
    assert_eq!(log, expected);
    assert_eq!((report.exit, report.result), (Exit::Code(7), Some(Bytes(b"42\n".to_vec()))));
    ends_clean(world).await;
}

#[tokio::test]
#[ignore = "needs an engine: tests/engine/run"]
async fn a_container_may_do_nothing_that_it_need_not() {
    let world = world();
    let attack = "id -u; grep -E '^(CapPrm|CapEff|CapBnd|NoNewPrivs)' /proc/self/status; \
        touch /x 2>/dev/null || echo no root; head -c 20000000 /dev/zero > /task/big 2>/dev/null || echo full; \
        rm -f /task/big; head -c 20000000 /dev/zero > /tmp/big 2>/dev/null || echo full; rm -f /tmp/big; \
        cat /etc/secret 2>/dev/null || echo no secret; (echo x > /code/y) 2>/dev/null || echo no code; \
        ls /sys/class/net; ls /run/*.sock /var/run/docker.sock /run/podman 2>/dev/null; \
        wget -q -T 2 -O - http://192.0.2.1/ 2>/dev/null || echo no network";
    let image = Image::new(
        [Layer::busybox(&busybox().expect(NEEDS))
            .link("bin/grep", "busybox")
            .link("bin/rm", "busybox")
            .file("etc/secret", 0o600, b"secret")],
        json!({}),
    );
    let files = [("attack.sh", attack.as_bytes(), 0o644)];
    let revision = revision(&world.server, &image, &files, "sh attack.sh");
    let (report, log) = run(&world, &revision).await;
    let none = "0000000000000000";
    let expected = format!(
        "CapPrm:\t{none}\nCapEff:\t{none}\nCapBnd:\t{none}\nNoNewPrivs:\t1\nno root\nfull\nfull\nno secret\nno code\n\
         lo\nno network\n"
    );
    let (user, rest) = log.split_once('\n').unwrap();
    assert_eq!((report.exit, rest), (Exit::Code(0), expected.as_str()));
    if nix::unistd::geteuid().is_root() {
        assert_eq!(user, "1900000000");
        assert_eq!(report.isolation.missing, Vec::<String>::new());
    }
    ends_clean(world).await;
}

#[tokio::test]
#[ignore = "needs an engine: tests/engine/run"]
async fn a_container_that_runs_too_long_is_asked_to_end_and_then_ended() {
    let world = world();
    let obeys =
        script(&world.server, "trap 'echo asked; exit 9' TERM; echo here; while :; do sleep 0.1; done");
    let (report, log) = end_of(&world, world.server.queue(&obeys, |task| task.timeout_s = 1)).await;
    assert_eq!((report.exit, log.as_str()), (Exit::TimedOut, "here\nasked\n"));
    let refuses = script(&world.server, "trap '' TERM; echo here; sleep 60 & sleep 60");
    let begun = Instant::now();
    let (report, log) = end_of(&world, world.server.queue(&refuses, |task| task.timeout_s = 1)).await;
    assert_eq!((report.exit, log.as_str()), (Exit::TimedOut, "here\n"));
    assert!((2_000..30_000).contains(&report.usage.wall_ms), "{:?} in {:?}", report.usage, begun.elapsed());
    ends_clean(world).await;
}

#[tokio::test]
#[ignore = "needs an engine: tests/engine/run"]
async fn a_container_is_cancelled() {
    let world = world();
    let held = world.server.queue(&script(&world.server, "echo here; sleep 60"), |_| {});
    has_begun(&world, held).await;
    world.server.with(|state| state.cancel.push(held));
    assert_eq!(world.server.report(held).await.exit, Exit::Cancelled);
    ends_clean(world).await;
}

#[tokio::test]
#[ignore = "needs an engine: tests/engine/run"]
async fn a_container_that_takes_too_much_memory_is_killed() {
    let world = world();
    let hog = script(&world.server, "echo here; x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done");
    let (report, log) = run(&world, &hog).await;
    let limit = 64 << 20;
    let said = Exit::OutOfMemory { limit_bytes: limit, peak_bytes: limit };
    // Not every engine notices why: Podman 4.3 does not where both versions of control groups are mounted.
    let noted = report.exit == Exit::Code(137) && log.contains("most likely for using more memory");
    assert!(report.exit == said || noted, "{report:?}, {log}");
    ends_clean(world).await;
}

#[tokio::test]
#[ignore = "needs an engine: tests/engine/run"]
async fn a_flood_of_output_is_bounded() {
    let world = world();
    let mut flood = script(&world.server, "echo first; head -c 50000000 /dev/zero; echo last");
    flood.limits.output_bytes = 64 << 10;
    let held = world.server.queue(&flood, |task| task.timeout_s = 60);
    let (report, log) = end_of(&world, held).await;
    assert_eq!(report.exit, Exit::Code(0));
    assert!(log.starts_with("first\n") && log.ends_with("last\n"), "{} bytes", log.len());
    assert!((32 << 10..128 << 10).contains(&log.len()), "{} bytes", log.len());
    ends_clean(world).await;
}

#[tokio::test]
#[ignore = "needs an engine: tests/engine/run"]
async fn what_cannot_be_run_says_why() {
    let world = world();
    let nothing = revision(&world.server, &image(json!({})), &[], "nothing");
    let (report, _) = run(&world, &nothing).await;
    let Exit::NotStarted(why) = &report.exit else { panic!("{report:?}") };
    assert!(why.starts_with("cannot run nothing: the image does not have it"), "{why}");
    let mut other = image(json!({}));
    other.architecture = "s390x".to_owned();
    let (report, _) = run(&world, &revision(&world.server, &other, &[], "true")).await;
    let Exit::NotStarted(why) = &report.exit else { panic!("{report:?}") };
    assert!(why.starts_with("the image cannot be used: ") && why.contains("s390x"), "{why}");
    let mut host = revision(&world.server, &image(json!({})), &[], "true");
    host.network = Network::Host;
    let (report, _) = run(&world, &host).await;
    assert!(matches!(&report.exit, Exit::NotStarted(why) if why.contains("network.host")), "{report:?}");
    // The slot is clean for the next.
    let (report, _) = run(&world, &revision(&world.server, &image(json!({})), &[], "true")).await;
    assert_eq!(report.exit, Exit::Code(0));
    ends_clean(world).await;
}

#[tokio::test]
#[ignore = "needs an engine: tests/engine/run"]
async fn an_archive_gives_no_image_of_the_host_another_content() {
    let world = world();
    let (report, _) = run(&world, &revision(&world.server, &image(json!({})), &[], "true")).await;
    assert_eq!(report.exit, Exit::Code(0));
    let images = ask("/images/json");
    let named = |image: &Value| image["RepoTags"].as_array().is_some_and(|names| !names.is_empty());
    assert!(!images.as_array().unwrap().iter().any(named), "{images}");
    ends_clean(world).await;
}

#[tokio::test]
#[ignore = "needs an engine: tests/engine/run"]
async fn an_image_that_was_removed_from_the_engine_is_handed_over_again() {
    let world = world();
    let own = image(json!({ "Env": ["ONLY=here"] }));
    let revision = revision(&world.server, &own, &[], "true");
    assert_eq!(run(&world, &revision).await.0.exit, Exit::Code(0));
    let id = ask("/images/json").as_array().unwrap().iter().find_map(|image| {
        let id = image["Id"].as_str()?.to_owned();
        let about = ask(&format!("/images/{id}/json"));
        about["Config"]["Env"].as_array()?.contains(&json!("ONLY=here")).then_some(id)
    });
    let mut stream = UnixStream::connect(socket()).unwrap();
    write!(stream, "DELETE /images/{}?force=1 HTTP/1.0\r\nHost: engine\r\n\r\n", id.unwrap()).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    // One attempt finds out, which is the runner's failure; the next has it.
    assert!(matches!(run(&world, &revision).await.0.exit, Exit::Unable(_)));
    assert_eq!(run(&world, &revision).await.0.exit, Exit::Code(0));
    ends_clean(world).await;
}

/// Set in the process that is a runner to be killed: its work directory.
const VICTIM: &str = "WINDLASS_TEST_ENGINE_VICTIM";

#[tokio::test]
#[ignore = "needs an engine: tests/engine/run"]
async fn what_a_killed_runner_left_is_swept() {
    if let Some(work_dir) = std::env::var_os(VICTIM) {
        return be_a_runner(Path::new(&work_dir)).await;
    }
    let work_dir = tempfile::tempdir().unwrap();
    let name = "engine::what_a_killed_runner_left_is_swept";
    let mut victim = Process(
        Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--include-ignored"])
            .env(VICTIM, work_dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let deadline = Instant::now() + PATIENCE;
    while containers(work_dir.path()).is_empty() {
        assert!(Instant::now() < deadline, "the runner starts a container");
        assert!(victim.0.try_wait().unwrap().is_none(), "the runner runs");
        tokio::task::yield_now().await;
    }
    victim.0.kill().unwrap();
    victim.0.wait().unwrap();
    assert_eq!(containers(work_dir.path()).len(), 1, "the container outlives its runner");
    let server = Server::start();
    let mut settings = config(work_dir.path());
    with_engine(&mut settings, &socket());
    let runner = Runner::start(settings, server.client()).unwrap();
    ends_clean(World { server, runner, work_dir }).await;
}

async fn be_a_runner(work_dir: &Path) {
    let server = Server::start();
    let mut settings = config(work_dir);
    with_engine(&mut settings, &socket());
    let _runner = Runner::start(settings, server.client()).unwrap();
    server.queue(&script(&server, "sleep 300"), |task: &mut Assignment| task.timeout_s = 300);
    std::future::pending::<()>().await;
}

/// A process that is gone when this is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A socket that leads to the engine until it is cut.
struct Wire {
    path: PathBuf,
    connections: JoinSet<()>,
}

impl Wire {
    fn new(path: PathBuf) -> Self {
        let mut wire = Self { path, connections: JoinSet::new() };
        wire.join();
        wire
    }

    fn cut(&mut self) {
        self.connections.abort_all();
        std::fs::remove_file(&self.path).unwrap();
    }

    fn join(&mut self) {
        let listener = tokio::net::UnixListener::bind(&self.path).unwrap();
        self.connections.spawn(async move {
            let mut passing = JoinSet::new();
            while let Ok((mut here, _)) = listener.accept().await {
                passing.spawn(async move {
                    let mut there = tokio::net::UnixStream::connect(socket()).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
                });
            }
        });
    }
}

// Starting a runner waits for its engine, and what passes the calls on must go on meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an engine: tests/engine/run"]
async fn an_engine_that_goes_away_is_not_the_tasks_failure() {
    let folder = tempfile::tempdir().unwrap();
    let mut wire = Wire::new(folder.path().join("engine.sock"));
    let path = wire.path.clone();
    let world = World::with(|config| with_engine(config, &path));
    let held = world.server.queue(&script(&world.server, "echo here; sleep 60"), |task| task.timeout_s = 90);
    has_begun(&world, held).await;
    let left = containers(world.work_dir.path());
    wire.cut();
    world.server.until("a release", |state| state.released.contains(&held).then_some(())).await;
    assert_eq!(containers(world.work_dir.path()), left, "nobody could remove it");
    // As long as it is away, whatever is tried is the runner's failure.
    let of_task = |report: &&Report| report.held.task == held.task;
    let again = world.server.until("another try", |state| state.reports.iter().find(of_task).cloned()).await;
    assert!(matches!(&again.exit, Exit::Unable(why) if why.contains("gives no answer")), "{again:?}");
    wire.join();
    let (report, _) = run(&world, &revision(&world.server, &image(json!({})), &[], "true")).await;
    assert_eq!(report.exit, Exit::Code(0));
    ends_clean(world).await;
}

#[tokio::test]
#[ignore = "needs an engine: tests/engine/run"]
async fn a_runner_does_not_start_without_its_engine() {
    let work_dir = tempfile::tempdir().unwrap();
    let mut settings = config(work_dir.path());
    with_engine(&mut settings, &work_dir.path().join("nobody.sock"));
    let error = Runner::start(settings, Server::start().client()).unwrap_err();
    assert!(
        matches!(&error, StartError::Engine(why) if why.to_string().contains("gives no answer")),
        "{error}"
    );
    let checks = windlass_runner::doctor(
        work_dir.path(),
        &crate::support::sandbox(),
        &ImageMode::Engine(address(&socket())),
        crate::support::spawner(),
    )
    .await;
    let images = checks.iter().find(|check| check.property == "images").unwrap();
    assert!(images.found.starts_with("engine: an engine"), "{images:?}");
}

/// How long `true` takes by an engine beside the sandbox. Printed, not judged.
#[tokio::test]
#[ignore = "a measurement, for an engine: tests/engine/run"]
async fn figures_by_an_engine() {
    let native = World::with(|config| config.sandbox.policy = Policy::Degrade);
    let engine = world();
    let rounds = 40;
    let mut means = Vec::new();
    for world in [&native, &engine] {
        let world: &World = world;
        let revision = Arc::new(revision(&world.server, &image(json!({})), &[], "true"));
        run(world, &revision).await;
        let begun = Instant::now();
        for _ in 0..rounds {
            assert_eq!(run(world, &revision).await.0.exit, Exit::Code(0));
        }
        means.push(begun.elapsed() / rounds);
    }
    let _ =
        writeln!(std::io::stderr(), "true, one after another: native {:?}, engine {:?}", means[0], means[1]);
    native.stop().await;
    ends_clean(engine).await;
}
