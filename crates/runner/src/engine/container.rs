//! What a container may do: the order for it, and how its end is judged. Pure.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use windlass_model::exit::Exit;
use windlass_model::limits::{Limits, Network};

use crate::plan::Plan;
use crate::sandbox::root::TASK;

/// The label that says whose a container is.
pub(super) const LABEL: &str = "windlass.runner";
/// The label that says which task it is for, for people.
const TASK_LABEL: &str = "windlass.task";

/// The least memory that Docker gives a container.
const LEAST_MEMORY: u64 = 6 << 20;
/// Shared memory of a container where its disk allows more.
const MOST_SHM: u64 = 64 << 20;

/// Whom tasks run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct User {
    /// In the container.
    inside: (u32, u32),
    /// Who that is on the host, if it is not the runner's own.
    pub(super) outside: Option<u32>,
}

impl User {
    /// The user of tasks: nobody else's where the runner can give files to one, and else the runner's own, so that both
    /// have the task's folder. What is root in an engine without privileges is that user.
    pub(super) fn of(is_root: bool, is_rootless: bool, first_uid: u32) -> Self {
        match (is_root, is_rootless) {
            (true, _) => Self { inside: (first_uid, first_uid), outside: Some(first_uid) },
            (false, true) => Self { inside: (0, 0), outside: None },
            (false, false) => {
                let own = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
                Self { inside: own, outside: None }
            }
        }
    }

    /// Whether that is the user of the runner.
    pub(super) fn is_runners(self) -> bool {
        self.outside.is_none()
    }
}

/// What a container is made of.
pub(super) struct Order<'a> {
    /// The image.
    pub(super) image: &'a str,
    /// Whose it is.
    pub(super) owner: &'a str,
    /// The task that it is for.
    pub(super) task: &'a str,
    /// What runs.
    pub(super) plan: &'a Plan,
    /// Where that begins.
    pub(super) cwd: &'a str,
    /// As whom.
    pub(super) user: User,
    /// Folders of the host: from, to, and whether they can be written.
    pub(super) mounts: &'a [(&'a Path, &'a str, bool)],
    /// Whom it may talk to.
    pub(super) network: Network,
    /// What it may take.
    pub(super) limits: Limits,
    /// The most that the host has of it: processors in thousandths, open files, and processes of a user.
    pub(super) most: (u32, u64, u64),
    /// Whether the engine can put a first process into it that passes signals on.
    pub(super) has_init: bool,
}

impl Order<'_> {
    /// The body of the call that makes it.
    pub(super) fn body(&self) -> Value {
        let Order { plan, limits, .. } = self;
        let env: Vec<String> = plan.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let memory = limits.memory_bytes.max(LEAST_MEMORY);
        let (cpu, files, processes) = self.most;
        let files = files.min(limits.open_files.into());
        let limit = |name: &str, most: u64| json!({ "Name": name, "Soft": most, "Hard": most });
        // Never more than the runner has itself: an engine that may not raise a limit would refuse.
        let ulimits = [limit("nofile", files), limit("core", 0), limit("nproc", processes)];
        let mounts: Vec<_> = self
            .mounts
            .iter()
            .map(|(from, to, may_write)| {
                json!({ "Type": "bind", "Source": from, "Target": to, "ReadOnly": !may_write })
            })
            .collect();
        json!({
            "Image": self.image,
            "Entrypoint": [plan.argv[0]],
            "Cmd": plan.argv[1..],
            "Env": env,
            "WorkingDir": self.cwd,
            "User": format!("{}:{}", self.user.inside.0, self.user.inside.1),
            "Labels": { LABEL: self.owner, TASK_LABEL: self.task },
            "AttachStdout": true,
            "AttachStderr": true,
            "Tty": false,
            "OpenStdin": false,
            "Healthcheck": { "Test": ["NONE"] },
            "NetworkDisabled": self.network == Network::None,
            "HostConfig": {
                "Privileged": false,
                "CapDrop": ["ALL"],
                "SecurityOpt": ["no-new-privileges"],
                "ReadonlyRootfs": true,
                "Memory": memory,
                // With what is swapped out: nothing.
                "MemorySwap": memory,
                "NanoCpus": u64::from(limits.cpu_millis.min(cpu)) * 1_000_000,
                "PidsLimit": u64::from(limits.processes) + u64::from(self.has_init),
                "NetworkMode": match self.network {
                    Network::None => "none",
                    Network::Egress => "bridge",
                    Network::Host => "host",
                },
                "IpcMode": "private",
                "ShmSize": limits.disk_bytes.min(MOST_SHM),
                "Ulimits": ulimits,
                "Mounts": mounts,
                "Init": self.has_init,
                // Its output is read as it comes; nobody needs it on a disk, where nothing limits it.
                "LogConfig": { "Type": "none" },
                "RestartPolicy": { "Name": "no" },
                "AutoRemove": false,
            },
        })
    }
}

/// How a container is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct State {
    #[serde(rename = "Status")]
    status: String,
    #[serde(rename = "ExitCode")]
    exit_code: i32,
    #[serde(rename = "OOMKilled")]
    oom_killed: bool,
}

impl State {
    /// Whether it ran and does not any more.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.status.as_str(), "exited" | "stopped" | "dead")
    }

    /// How it ended, if that was by itself or because of its `memory_bytes`.
    pub(super) fn exit(&self, memory_bytes: u64) -> Exit {
        if self.oom_killed {
            Exit::OutOfMemory { limit_bytes: memory_bytes, peak_bytes: memory_bytes }
        } else {
            Exit::Code(self.exit_code)
        }
    }

    /// Whether it was killed for its memory.
    pub(super) fn is_out_of_memory(&self) -> bool {
        self.oom_killed
    }
}

/// Why a program was not started, in words for the package's owner, if an engine's `message` says that it is the
/// package's fault; `None`: it is the engine's.
pub(super) fn no_program(program: &str, message: &str) -> Option<String> {
    let said = message.to_lowercase();
    // What else is not found or not permitted is the engine's to find and be permitted.
    if !said.contains("exec") {
        return None;
    }
    let why = if said.contains("executable file not found") || said.contains("no such file or directory") {
        "the image does not have it, or not the interpreter that its first line names, or not the library that loads it"
    } else if said.contains("permission denied") {
        "it is not executable"
    } else if said.contains("exec format error") {
        "it is no program for this machine, and has no first line that names an interpreter"
    } else if said.contains("not a directory") || said.contains("is a directory") {
        "it is not a file"
    } else {
        return None;
    };
    Some(format!("cannot run {program}: {why}"))
}

/// Where in a container its folders are: the task's, the one for passing files, and its package as it was uploaded.
pub(super) const FOLDERS: [&str; 3] = [TASK, "/tmp", "/code"];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::Program;

    #[test]
    fn nothing_that_is_given_leads_out() {
        let plan = Plan {
            program: Program::Image("sh".to_owned()),
            argv: ["sh", "-c", "true"].map(str::to_owned).to_vec(),
            words: None,
            env: [("A".to_owned(), "b c".to_owned())].into(),
            files: Vec::new(),
            executable: None,
            timeout: Duration::from_secs(1),
        };
        let order = Order {
            image: "sha256:00",
            owner: "me",
            task: "one",
            plan: &plan,
            cwd: TASK,
            user: User { inside: (7, 7), outside: Some(7) },
            mounts: &[(Path::new("/work/1/task"), TASK, true), (Path::new("/work/p"), "/code", false)],
            network: Network::None,
            limits: Limits { memory_bytes: 1, cpu_millis: 3000, open_files: 4096, ..Limits::DEFAULT },
            most: (2000, 1024, 4096),
            has_init: true,
        };
        let body = order.body();
        assert_eq!((&body["Entrypoint"], &body["Cmd"]), (&json!(["sh"]), &json!(["-c", "true"])));
        assert_eq!((&body["User"], &body["Env"]), (&json!("7:7"), &json!(["A=b c"])));
        let host = &body["HostConfig"];
        assert_eq!(host["CapDrop"], json!(["ALL"]));
        assert_eq!(host["SecurityOpt"], json!(["no-new-privileges"]));
        assert_eq!((&host["ReadonlyRootfs"], &host["Privileged"]), (&json!(true), &json!(false)));
        assert_eq!((&host["Memory"], &host["MemorySwap"]), (&json!(LEAST_MEMORY), &json!(LEAST_MEMORY)));
        assert_eq!(host["NanoCpus"], json!(2_000_000_000_u64));
        assert_eq!(host["PidsLimit"], json!(513));
        assert_eq!(host["Ulimits"][0], json!({ "Name": "nofile", "Soft": 1024, "Hard": 1024 }));
        assert_eq!(host["NetworkMode"], "none");
        assert_eq!(
            (&host["Mounts"][0]["ReadOnly"], &host["Mounts"][1]["ReadOnly"]),
            (&json!(false), &json!(true))
        );
        assert_eq!(host["Mounts"].as_array().unwrap().len(), 2, "and no socket of the engine");
    }

    #[test]
    fn an_exit_code_is_a_result() {
        let state = |json: Value| -> State { serde_json::from_value(json).unwrap() };
        let over = state(json!({ "Status": "exited", "ExitCode": 3, "OOMKilled": false, "Pid": 0 }));
        assert!(over.is_over());
        assert_eq!(over.exit(64), Exit::Code(3));
        let killed = state(json!({ "Status": "exited", "ExitCode": 137, "OOMKilled": true }));
        assert_eq!(killed.exit(64), Exit::OutOfMemory { limit_bytes: 64, peak_bytes: 64 });
        assert!(!state(json!({ "Status": "running", "ExitCode": 0 })).is_over());
    }

    #[test]
    fn a_program_that_is_not_there_is_the_packages_fault() {
        let message = "runc create failed: exec: \"nope\": executable file not found in $PATH";
        assert!(
            no_program("nope", message).unwrap().starts_with("cannot run nope: the image does not have it")
        );
        assert_eq!(no_program("sh", "cannot allocate memory"), None);
        let limit = "runc create failed: error setting rlimit type 6: OCI permission denied";
        assert_eq!(no_program("sh", limit), None);
    }
}
