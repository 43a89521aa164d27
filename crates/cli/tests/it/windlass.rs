//! A started server, and commands that call it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take that has no reason to take long.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// `windlass up` in a data directory of its own. Its process is killed when this is dropped; the directory goes, too.
pub(crate) struct Windlass {
    child: Child,
    home: TempDir,
    /// `http://127.0.0.1:PORT`.
    pub(crate) url: String,
    /// From the start of the process to its line on standard output.
    pub(crate) ready_after: Duration,
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Done {
    /// Its exit code; -1 for a signal.
    pub(crate) code: i32,
    /// What it printed.
    pub(crate) out: String,
    /// What it said beside that.
    pub(crate) err: String,
}

impl Done {
    /// What it printed, if all went well.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "exit code; standard error: {}", self.err);
        self.out
    }

    /// The same as JSON.
    pub(crate) fn json(self) -> Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("not JSON: {e}: {text}"))
    }
}

/// The binary, with none of the surroundings of whoever runs the tests.
pub(crate) fn binary(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_windlass"));
    let keep: BTreeMap<String, String> =
        std::env::vars().filter(|(name, _)| matches!(name.as_str(), "PATH" | "LANG" | "TMPDIR")).collect();
    command.env_clear().envs(keep).env("HOME", home).current_dir(home);
    // Workers of these tests wait for files outside; the runner's own tests are for the sandbox.
    command.env("WINDLASS_SANDBOX_POLICY", "off");
    command
}

/// Runs a command to its end, with `input` on its standard input.
pub(crate) fn run(mut command: Command, input: &str) -> Done {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdin: Option<ChildStdin> = child.stdin.take();
    // A command that does not read its input may be gone already.
    let _ = stdin.unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Done {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Windlass {
    /// A fresh one, ready.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// A fresh one with further flags, ready.
    pub(crate) fn start_with(flags: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), flags)
    }

    /// A fresh one with further flags and variables, ready.
    pub(crate) fn start_as(variables: &[(&str, &str)], flags: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut command = binary(home.path());
        command.envs(variables.iter().copied());
        let (child, url, ready_after) = launch_as(command, home.path(), flags);
        Self { child, home, url, ready_after }
    }

    /// A fresh one with a soft limit of open files, ready.
    pub(crate) fn start_with_open_files(soft: u64) -> Self {
        let home = tempfile::tempdir().unwrap();
        let windlass = binary(home.path());
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("ulimit -Sn {soft} && exec \"$0\" \"$@\"")).arg(windlass.get_program());
        command.env_clear().current_dir(home.path());
        command.envs(windlass.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let (child, url, ready_after) = launch_as(command, home.path(), &[]);
        Self { child, home, url, ready_after }
    }

    /// The soft limit of open files of the process.
    pub(crate) fn open_files(&self) -> u64 {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", self.child.id())).unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// One in a folder that holds what it needs, ready.
    pub(crate) fn start_in(home: TempDir, flags: &[&str]) -> Self {
        let (child, url, ready_after) = launch(home.path(), flags);
        Self { child, home, url, ready_after }
    }

    /// Kills the process as a power cut would, and starts another one on the same directory.
    pub(crate) fn kill_and_restart(&mut self) {
        self.kill();
        (self.child, self.url, self.ready_after) = launch(self.home.path(), &[]);
    }

    /// Kills the process as a power cut would.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts another process on the same directory, once the one before is gone.
    pub(crate) fn restart(&mut self) {
        self.restart_with(&[]);
    }

    /// The same with further flags.
    pub(crate) fn restart_with(&mut self, flags: &[&str]) {
        (self.child, self.url, self.ready_after) = launch(self.home.path(), flags);
    }

    /// Asks the process to stop.
    pub(crate) fn terminate(&self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    }

    /// How the process ended, if it does within `limit`.
    pub(crate) fn ended_within(&mut self, limit: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            if start.elapsed() > limit {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The folder that commands run in; the data directory is `windlass-data` in it.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.home().join("windlass-data")
    }

    /// A command with its arguments, as a person beside the server would type it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = binary(self.home());
        command.args(arguments);
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        run(self.command(arguments), "")
    }

    /// Runs a command that must do well, and returns what it printed, without the last line end.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        self.run(arguments).ok().trim_end_matches('\n').to_owned()
    }

    /// Runs a command that must do well with `--json`.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let mut arguments = arguments.to_vec();
        arguments.push("--json");
        self.run(&arguments).json()
    }

    /// Uploads a shell script as a worker.
    pub(crate) fn upload(&self, name: &str, script: &str, flags: &[&str]) {
        let path = self.home().join(format!("{name}.sh"));
        std::fs::write(&path, script).unwrap();
        let mut arguments = vec!["upload", path.to_str().unwrap()];
        arguments.extend(flags);
        self.ok(&arguments);
    }

    /// Queues a task and returns its id.
    pub(crate) fn queue(&self, name: &str, flags: &[&str]) -> String {
        let mut arguments = vec!["queue", name];
        arguments.extend(flags);
        self.ok(&arguments)
    }

    /// The task as the API shows it.
    pub(crate) fn task(&self, id: &str) -> Value {
        self.json(&["task", id])
    }

    /// The task once `is_so` holds of it.
    pub(crate) fn task_when(&self, id: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        until(
            || {
                last = self.task(id);
                is_so(&last)
            },
            || format!("task {id}"),
        );
        last
    }
}

impl Drop for Windlass {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until `is_so`, looking again and again.
pub(crate) fn until(mut is_so: impl FnMut() -> bool, what: impl Fn() -> String) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LIMIT, "{} took too long", what());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn launch(home: &Path, flags: &[&str]) -> (Child, String, Duration) {
    launch_as(binary(home), home, flags)
}

fn launch_as(mut command: Command, home: &Path, flags: &[&str]) -> (Child, String, Duration) {
    let log = std::fs::File::options().create(true).append(true).open(home.join("server.log")).unwrap();
    let start = Instant::now();
    let mut child = command
        .args(["up", "--listen", "127.0.0.1:0"])
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    let ready_after = start.elapsed();
    let url = line.strip_prefix("windlass ready at ").and_then(|rest| rest.split(' ').next());
    let Some(url) = url.map(str::to_owned) else {
        let mut rest = String::new();
        let _ = out.read_to_string(&mut rest);
        let log = std::fs::read_to_string(home.join("server.log")).unwrap();
        panic!("not ready: {line}{rest}\n{log}");
    };
    (child, url, ready_after)
}
