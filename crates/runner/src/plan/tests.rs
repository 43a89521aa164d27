use std::collections::BTreeMap;

use windlass_model::bytes::Bytes;
use windlass_model::id::{CodeId, ProjectId, RevisionId, ScheduleId, Seq, TaskId};
use windlass_model::lease::Fence;
use windlass_model::limits::{Limits, Network};
use windlass_model::warm::Keep;

use super::*;

struct Names(BTreeMap<&'static str, bool>);

impl Files for Names {
    fn is_executable(&self, name: &str) -> Option<bool> {
        self.0.get(name).copied()
    }

    fn some_names(&self) -> Vec<String> {
        self.0.keys().map(|&name| name.to_owned()).collect()
    }
}

fn task(schedule: bool) -> Assignment {
    Assignment {
        task: TaskId::new(Seq(1), 0xa),
        fence: Fence(9),
        attempt: 1,
        project: ProjectId::new(Seq(2), 0xb),
        revision: RevisionId::new(Seq(3), 0xc),
        schedule: schedule.then(|| ScheduleId::new(Seq(4), 0xd)),
        trace: None,
        payload: Bytes(b"payload".to_vec()),
        timeout_s: 60,
        token: "secret".to_owned(),
    }
}

fn revision(launch: Launch, config: bool) -> RevisionSpec {
    RevisionSpec {
        id: RevisionId::new(Seq(3), 0xc),
        code: CodeId::new(Seq(5), 0xe),
        code_name: "worker".to_owned(),
        rev: 2,
        package: None,
        launch,
        config: config.then(|| "config".to_owned()),
        env_vars: BTreeMap::new(),
        limits: Limits::DEFAULT,
        network: Network::default(),
        keep: Keep::DEFAULT,
        login: None,
    }
}

fn planned(task: &Assignment, revision: &RevisionSpec) -> Result<Plan, String> {
    let api = ApiAddress { scheme: "http".to_owned(), host: "h".to_owned(), port: 80, ca: None };
    let host_env = [("LANG".to_owned(), "C.UTF-8".to_owned()), ("HOME".to_owned(), "/root".to_owned())];
    let place = Place { task_dir: "/t", path: "/usr/bin:/bin", host_env: &host_env, api: &api };
    let files = Names(BTreeMap::from([("x", false), ("run", true), ("dir/y.sh", false)]));
    plan(task, revision, &files, &place, Timestamp::from_secs(0))
}

fn line(launch: Launch, config: bool, schedule: bool) -> String {
    match planned(&task(schedule), &revision(launch, config)) {
        Ok(plan) => {
            let made = plan.executable.map(|file| format!(" (+x {file})")).unwrap_or_default();
            let argv = plan.argv.iter().map(|a| if a.contains(' ') { format!("[{a}]") } else { a.clone() });
            format!("{:?}{made} {}", plan.program, argv.collect::<Vec<_>>().join(" "))
        }
        Err(why) => format!("refused: {why}"),
    }
}

fn runtime(runtime: &str, file: &str) -> Launch {
    Launch { runtime: runtime.to_owned(), file_name: file.to_owned(), ..Launch::default() }
}

fn command(command: &str) -> Launch {
    Launch { command: command.to_owned(), ..Launch::default() }
}

#[test]
fn every_runtime_is_started_like_this() {
    let lines: Vec<_> = RUNTIMES.iter().map(|name| line(runtime(name, "x"), false, false)).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn arguments_depend_on_config_and_schedule_only() {
    let lines = [(false, false), (true, false), (false, true), (true, true)]
        .map(|(config, schedule)| line(runtime("sh", "./dir/y.sh"), config, schedule));
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn what_is_not_a_runtime_runs_if_it_can_and_is_refused_otherwise() {
    let image = |image: &str, command: &str| Launch {
        image: image.to_owned(),
        command: command.to_owned(),
        ..Launch::default()
    };
    let lines = [
        line(runtime("", "run"), false, false),
        line(runtime("cobol", "run"), false, false),
        line(runtime("javascript", "x"), false, false),
        line(runtime("", "x"), false, false),
        line(runtime("cobol", "x"), false, false),
        line(runtime("sh", "gone.sh"), false, false),
        line(runtime("sh", "../x"), false, false),
        line(runtime("sh", ""), false, false),
        line(image("busybox", ""), false, false),
        line(image("busybox", "./run"), false, false),
    ];
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_command_replaces_its_shell_where_that_means_the_same() {
    let commands = [
        "./run",
        "  python x.py --n 3 > out  ",
        "./run \"a b\" $HOME",
        "./a && ./b",
        "A=1 ./run",
        "cd dir; ./run",
        "cd dir",
        "./a | ./b",
        "\"./my run\"",
        "if true",
    ];
    insta::assert_snapshot!(commands.map(|c| line(command(c), true, true)).join("\n"));
}

#[test]
fn the_shell_is_left_out_only_where_it_would_do_nothing() {
    let words = |text: &str, env: &[&str]| {
        let mut revision = revision(command(text), false);
        revision.env_vars = env.iter().map(|name| ((*name).to_owned(), "/x".to_owned())).collect();
        planned(&task(false), &revision).unwrap().words.map(|words| words.join("|"))
    };
    assert_eq!(words("  true  ", &[]).unwrap(), "true");
    assert_eq!(words("python -m a.b  --n=3 ./x:y", &["A"]).unwrap(), "python|-m|a.b|--n=3|./x:y");
    assert_eq!(words("/usr/bin/python3 fib.py", &[]).unwrap(), "/usr/bin/python3|fib.py");
    for text in [
        "./run",
        "run",
        "/opt/true",
        "/usr/bin/../true",
        "echo $A",
        "echo *",
        "echo ~",
        "echo 'a'",
        "echo a\\ b",
        "true # no",
        "a; b",
        "a > b",
        "A=1 b",
        "exec true",
        "cd x",
        "-a b",
        "2 a",
        "echo \u{e4}",
        "a\nb",
    ] {
        assert_eq!(words(text, &[]), None, "{text}");
    }
    assert_eq!(words("true", &["PATH"]), None);
    assert_eq!(words("true", &["PWD"]), None);
}

#[test]
fn the_contract_wins_over_the_package_and_the_package_over_the_rest() {
    let mut revision = revision(runtime("sh", "x"), true);
    let own = [("TASK_ID", "mine"), ("IRON_TOKEN", "own"), ("PATH", "/own"), ("LANG", "de"), ("X", "y")];
    revision.env_vars = own.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let plan = planned(&task(true), &revision).unwrap();
    let lines: Vec<_> = plan.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    insta::assert_snapshot!(lines.join("\n"));
    assert_eq!(plan.files, [(PAYLOAD_FILE, b"payload".to_vec()), (CONFIG_FILE, b"config".to_vec())]);
    assert_eq!(plan.timeout, Duration::from_secs(60));
}

#[test]
fn the_trace_of_a_task_is_in_its_environment() {
    let revision = revision(runtime("sh", "x"), false);
    let traced = Assignment { trace: TRACE.parse().ok(), ..task(false) };
    assert_eq!(planned(&task(false), &revision).unwrap().env.get("TRACEPARENT"), None);
    assert_eq!(planned(&traced, &revision).unwrap().env["TRACEPARENT"], TRACE);
}

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn an_environment_that_cannot_be_is_refused() {
    for (name, value) in [("", "x"), ("a=b", "x"), ("a\0", "x"), ("a", "x\0y")] {
        let mut revision = revision(runtime("sh", "x"), false);
        revision.env_vars = [(name.to_owned(), value.to_owned())].into();
        assert!(planned(&task(false), &revision).is_err(), "{name:?}={value:?}");
    }
    assert!(planned(&task(false), &revision(command("a\0b"), false)).is_err());
}

#[test]
fn an_address_is_read_from_a_url() {
    let parsed = |url| ApiAddress::parse(url).map(|a| (a.scheme, a.host, a.port));
    let address = |scheme: &str, host: &str, port| Some((scheme.to_owned(), host.to_owned(), port));
    assert_eq!(parsed("http://127.0.0.1:8080"), address("http", "127.0.0.1", 8080));
    assert_eq!(parsed("https://host/base/"), address("https", "host", 443));
    assert_eq!(parsed("http://[::1]:99/"), address("http", "[::1]", 99));
    assert_eq!(parsed("http://[::1]"), address("http", "[::1]", 80));
    assert_eq!(parsed("nowhere"), None);
}
