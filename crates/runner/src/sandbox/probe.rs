//! Finding out by doing how far tasks are isolated here: a task that tries, and what its words mean.
//!
//! Versions and settings of a kernel say what should be; the task says what is. What it cannot do is in force, whatever
//! the reason; what it can do is missing, whatever was set up.

use windlass_model::exit::Exit;
use windlass_model::isolation::{Isolation, Level};
use windlass_model::limits::Limits;

use crate::doctor::{Check, State};

/// What the task runs, with `sh`.
pub(crate) const SCRIPT: &str = include_str!("probe.sh");

/// The variable that names a file of the host which it must not find.
pub(crate) const CANARY: &str = "WINDLASS_PROBE";

/// What it may take: so little that it meets each limit within milliseconds.
pub(crate) const LIMITS: Limits =
    Limits { memory_bytes: 24 << 20, processes: 8, disk_bytes: 1 << 20, ..Limits::DEFAULT };

/// Processes of a task that does nothing but look: its init, its shell, and one to spare.
const OWN_PROCESSES: u64 = 4;

/// What the task saw.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// How it ended.
    pub(crate) exit: Exit,
    /// What it said.
    pub(crate) words: String,
}

/// What must hold of a task in a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Property {
    Files,
    Processes,
    Rights,
    Calls,
    Border,
    Disk,
    User,
    Memory,
    ProcessCount,
}

impl Property {
    const ALL: [Property; 9] = [
        Property::Files,
        Property::Processes,
        Property::Rights,
        Property::Calls,
        Property::Border,
        Property::Disk,
        Property::User,
        Property::Memory,
        Property::ProcessCount,
    ];

    /// What it is about, what is so if it holds, what is missing if not, and what helps.
    fn words(self) -> [&'static str; 4] {
        match self {
            Property::Files => [
                "files",
                "a task sees chosen parts of the host, read-only",
                "a task can read and write whatever the runner's user can",
                NAMESPACES_FIX,
            ],
            Property::Processes => [
                "processes",
                "a task sees its own only, and they end with it",
                "a task sees other processes and can signal those of the runner's user",
                NAMESPACES_FIX,
            ],
            Property::Rights => [
                "rights",
                "none, and no way to gain any",
                "a task has rights of its own or can gain some by running a program",
                NAMESPACES_FIX,
            ],
            Property::Calls => [
                "system calls",
                "those on a list",
                "a task may make every one",
                "use a kernel with CONFIG_SECCOMP_FILTER, on x86-64 or aarch64",
            ],
            Property::Border => [
                "landlock",
                "a second wall around files, signals and abstract sockets",
                "there is no second wall behind the namespaces",
                "use Linux 6.12 or later with `landlock` among the values of lsm= at boot",
            ],
            Property::Disk => {
                ["disk limit", "holds", "what a task writes to files is not limited", NAMESPACES_FIX]
            }
            Property::User => [
                "user",
                "one of its own for each slot",
                "tasks run as the runner's user, all slots alike",
                "start the runner as root: it gives its tasks users without any rights",
            ],
            Property::Memory => ["memory limit", "holds", "memory of a task is not limited", CGROUPS_FIX],
            Property::ProcessCount => {
                ["process limit", "holds", "the number of a task's processes is not limited", CGROUPS_FIX]
            }
        }
    }

    /// The best level that there can be without it. What is a second wall lowers none, and is said.
    fn best_without(self) -> Level {
        match self {
            Property::Files | Property::Processes | Property::Rights => Level::Process,
            Property::User | Property::Memory | Property::ProcessCount | Property::Disk => Level::Namespaces,
            Property::Calls | Property::Border => Level::CgroupsV2,
        }
    }

    fn holds(self, seen: &Seen, own_uid: u32) -> bool {
        let value = |name: &str| seen.words.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let last = |name: &str| {
            let mut lines = seen.words.lines().rev();
            lines.find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
        };
        let reached =
            |what: &str| seen.words.lines().any(|line| line.strip_prefix("Reached: ") == Some(what));
        let is_none = |set: &str| value(set).is_some_and(|set| set.bytes().all(|digit| digit == b'0'));
        match self {
            Property::Files => last("Processes:").is_some() && !reached("host") && !reached("system"),
            Property::Processes => last("Processes:").is_some_and(|seen| seen <= OWN_PROCESSES),
            Property::Rights => is_none("CapEff:") && value("NoNewPrivs:") == Some("1"),
            Property::Calls => value("Seccomp:") == Some("2"),
            Property::Border => last("Processes:").is_some() && !reached("init"),
            Property::Disk => last("Disk:").is_some_and(|kib| kib * 1024 <= LIMITS.disk_bytes),
            Property::User => value("Uid:").is_some_and(|uid| uid.parse() != Ok(own_uid) && uid != "0"),
            Property::Memory => matches!(seen.exit, Exit::OutOfMemory { .. }),
            Property::ProcessCount => last("Depth:").is_some_and(|depth| depth <= LIMITS.processes.into()),
        }
    }
}

const NAMESPACES_FIX: &str = "start the runner as root, or allow namespaces to its user: sysctl -w \
    user.max_user_namespaces=10000 kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0 \
    (those of them that the host has)";
const CGROUPS_FIX: &str =
    "start the runner as root, or give it control groups of its own: Delegate=yes in its systemd unit";

/// Why a runner does not start that must isolate its tasks, and what helps.
pub(crate) fn refusal(why: &str) -> String {
    format!(
        "its tasks would not be isolated: {why}. To change that: {NAMESPACES_FIX}. To run tasks all the same, for those \
         that you trust with this host: sandbox.policy = \"degrade\". `windlass doctor` says more"
    )
}

/// That there is no sandbox at all, for `why`.
pub(crate) fn no_sandbox(why: &str) -> Check {
    Check {
        property: "sandbox".to_owned(),
        state: State::Lacking,
        found: why.to_owned(),
        advice: Some(NAMESPACES_FIX.to_owned()),
    }
}

/// What holds of tasks here, by what one of them saw, whose runner has the user `own_uid` and control groups of the level
/// `with_groups`.
pub(crate) fn judge(seen: &Seen, own_uid: u32, with_groups: Level) -> (Isolation, Vec<Check>) {
    let mut level = with_groups;
    let (mut missing, mut checks) = (Vec::new(), Vec::new());
    for property in Property::ALL {
        let [what, good, bad, fix] = property.words();
        if property.holds(seen, own_uid) {
            checks.push(Check {
                property: what.to_owned(),
                state: State::Good,
                found: good.to_owned(),
                advice: None,
            });
            continue;
        }
        level = level.min(property.best_without());
        missing.push(format!("{what}: {bad}"));
        checks.push(Check {
            property: what.to_owned(),
            state: State::Lacking,
            found: bad.to_owned(),
            advice: Some(fix.to_owned()),
        });
    }
    (Isolation::new(level, missing), checks)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str = "Uid: 1900000000\nCapEff: 0000000000000000\nCapBnd: 0000000000000000\nNoNewPrivs: 1\n\
        Seccomp: 2\nProcesses: 3\nDisk: 1024\nDepth: 1\nDepth: 2\nDepth: 3\nDepth: 4\nMemory: 2\nMemory: 4\n";

    fn judged(words: &str, exit: Exit, with_groups: Level) -> Isolation {
        judge(&Seen { exit, words: words.to_owned() }, 0, with_groups).0
    }

    fn oom() -> Exit {
        Exit::OutOfMemory { limit_bytes: LIMITS.memory_bytes, peak_bytes: LIMITS.memory_bytes }
    }

    #[test]
    fn what_it_could_not_do_is_in_force() {
        let whole = judged(WORDS, oom(), Level::CgroupsV1);
        assert_eq!(whole, Isolation::new(Level::CgroupsV1, Vec::new()));
        assert_eq!(judged(WORDS, oom(), Level::CgroupsV2).at_least(), Level::CgroupsV2);
    }

    #[test]
    fn what_it_could_do_is_missing_whatever_was_set_up() {
        let deeper = WORDS.replace("Depth: 4", "Depth: 16");
        let user = WORDS.replace("Uid: 1900000000", "Uid: 1000");
        let cases = [
            (WORDS.to_owned(), Exit::Code(0), Level::Namespaces, "memory limit"),
            (deeper, oom(), Level::Namespaces, "process limit"),
            (WORDS.replace("Seccomp: 2", "Seccomp: 0"), oom(), Level::CgroupsV1, "system calls"),
            (format!("{WORDS}Reached: init\n"), oom(), Level::CgroupsV1, "landlock"),
            (format!("{WORDS}Reached: host\n"), oom(), Level::Process, "files"),
            (format!("{WORDS}Reached: system\n"), oom(), Level::Process, "files"),
            (WORDS.replace("Processes: 3", "Processes: 120"), oom(), Level::Process, "processes"),
            (WORDS.replace("NoNewPrivs: 1", "NoNewPrivs: 0"), oom(), Level::Process, "rights"),
            (WORDS.replace("CapEff: 0000", "CapEff: 0001"), oom(), Level::Process, "rights"),
            (WORDS.replace("Disk: 1024", "Disk: 4096"), oom(), Level::Namespaces, "disk limit"),
        ];
        for (words, exit, level, what) in cases {
            let isolation = judged(&words, exit, Level::CgroupsV1);
            assert_eq!(isolation.at_least(), level, "{what}");
            assert!(matches!(&isolation.missing[..], [one] if one.starts_with(what)), "{isolation:?}");
        }
        let same = judge(&Seen { exit: oom(), words: user }, 1000, Level::CgroupsV1).0;
        assert!(same.missing[0].starts_with("user: "), "{same:?}");
    }

    #[test]
    fn a_task_that_said_nothing_proves_nothing() {
        let isolation = judged("", Exit::Code(127), Level::CgroupsV2);
        assert_eq!((isolation.at_least(), isolation.missing.len()), (Level::Process, Property::ALL.len()));
    }

    #[test]
    fn every_shell_can_run_it() {
        // Here nothing keeps it, so it must write elsewhere.
        let folder = tempfile::tempdir().unwrap();
        let script = SCRIPT.replace("/usr/", "$ELSEWHERE/").replace("/tmp/", "$ELSEWHERE/");
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .env("ELSEWHERE", folder.path())
            .env(CANARY, folder.path())
            .output()
            .unwrap();
        let words = String::from_utf8(output.stdout).unwrap();
        let said =
            ["Uid: ", "CapEff: ", "NoNewPrivs: ", "Seccomp: ", "Processes: ", "Disk: 4096", "Depth: 16"];
        for word in said.into_iter().chain(["Reached: host", "Reached: system", "Memory: 64"]) {
            assert!(
                words.contains(word),
                "{word} is not in {words}{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let isolation = judged(&words, Exit::Code(0), Level::Process);
        assert_eq!(isolation.at_least(), Level::Process);
        assert!(isolation.missing.len() > 5, "{isolation:?}");
    }
}
