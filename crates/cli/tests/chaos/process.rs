//! A process of the binary that dies with us, whatever becomes of us.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// It is killed when this is dropped, and when the thread that started it ends.
pub(crate) struct Process {
    child: Child,
}

/// What a process of the binary is started with.
#[derive(Clone, Debug)]
pub(crate) struct How {
    /// Where it runs, and keeps what it says.
    pub(crate) home: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) variables: Vec<(&'static str, String)>,
    /// A folder that is a small file system of its own, as seen by this process only.
    pub(crate) small: Option<PathBuf>,
}

/// The binary in a folder, with none of the surroundings of whoever runs the tests.
pub(crate) fn clean(mut command: Command, home: &Path) -> Command {
    let keep = std::env::vars().filter(|(name, _)| matches!(name.as_str(), "PATH" | "LANG" | "TMPDIR"));
    let keep: Vec<(String, String)> = keep.collect();
    command.env_clear().envs(keep).env("HOME", home).current_dir(home);
    command.env("WINDLASS_SANDBOX_POLICY", "off");
    command
}

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_windlass");

impl Process {
    /// Starts it, and returns it with its first line of output; nothing if it ended instead.
    pub(crate) fn start(how: &How) -> Option<(Self, String)> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some(small) = &how.small {
            // Seen by nobody else, and gone with the process.
            let script = "mount -t tmpfs -o size=24m tmpfs \"$1\" && shift && exec \"$@\"";
            command.args(["unshare", "--mount", "sh", "-c", script, "sh"]).arg(small);
        }
        command.arg(BINARY).args(&how.arguments);
        let mut command = clean(command, &how.home);
        command.envs(how.variables.iter().map(|(name, value)| (name, value)));
        let log = std::fs::File::options().create(true).append(true).open(how.home.join("log")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut process = Self { child };
        let mut line = String::new();
        BufReader::new(process.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (!line.is_empty()).then_some((process, line))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
