//! What one revision of a package changed against another.

use std::collections::BTreeSet;

use crate::code::{BlobRef, Launch, Revision};
use crate::limits::Wishes;
use crate::secret::MASK;
use crate::size;
use crate::warm::KeepWishes;

/// One thing that differs, in words. `None`: it is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What: `zip`, `command`, `memory`, `variable NAME`, …
    pub what: String,
    /// How it was.
    pub before: Option<String>,
    /// How it is.
    pub after: Option<String>,
}

/// Everything that a worker can notice, in a fixed order; empty: nothing but the number differs.
///
/// A variable has `***` for its value, whatever changed. The text of a config is left out, as secrets are in some.
pub fn differences(before: &Revision, after: &Revision) -> Vec<Difference> {
    let (old, new) = (facts(before), facts(after));
    let changed = old.into_iter().zip(new).filter(|((_, old), (_, new))| old != new);
    let mut all: Vec<Difference> = changed
        .map(|((what, before), (_, after))| Difference {
            what: what.to_owned(),
            before: before.map(|fact| fact.shown),
            after: after.map(|fact| fact.shown),
        })
        .collect();
    let names: BTreeSet<&String> = before.env_vars.keys().chain(after.env_vars.keys()).collect();
    for name in names {
        let (old, new) = (before.env_vars.get(name), after.env_vars.get(name));
        if old != new {
            let masked = |is_there: bool| is_there.then(|| MASK.to_owned());
            let (before, after) = (masked(old.is_some()), masked(new.is_some()));
            all.push(Difference { what: format!("variable {name}"), before, after });
        }
    }
    all
}

/// What is compared, and how it is shown.
#[derive(PartialEq, Eq)]
struct Fact {
    value: String,
    shown: String,
}

fn plain(text: &str) -> Option<Fact> {
    (!text.is_empty()).then(|| Fact { value: text.to_owned(), shown: text.to_owned() })
}

fn sized(bytes: Option<u64>) -> Option<Fact> {
    bytes.map(|bytes| Fact { value: bytes.to_string(), shown: size::show(bytes) })
}

fn number(n: Option<impl ToString>) -> Option<Fact> {
    n.and_then(|n| plain(&n.to_string()))
}

fn blob(blob: &BlobRef) -> Fact {
    let shown = format!("{}, {}…", size::show(blob.size_bytes), blob.sha256.get(..8).unwrap_or_default());
    Fact { value: blob.sha256.clone(), shown }
}

fn facts(revision: &Revision) -> Vec<(&'static str, Option<Fact>)> {
    let Launch { runtime, file_name, command, image, stack, mode, handler, archive, digest } =
        &revision.launch;
    let KeepWishes { min_warm, max_tasks, max_age_s, idle_timeout_s } = revision.keep;
    let Wishes { memory_bytes, cpu_millis, processes, disk_bytes, open_files, output_bytes, network } =
        revision.wishes;
    let config = revision
        .config
        .as_ref()
        .map(|config| Fact { value: config.clone(), shown: size::show(config.len() as u64) });
    let seconds = revision.retry.delay_ms as f64 / 1000.0;
    vec![
        ("zip", revision.package.as_ref().map(blob)),
        ("command", plain(command)),
        ("runtime", plain(runtime)),
        ("file", plain(file_name)),
        ("image", plain(image)),
        ("image archive", archive.as_ref().map(blob)),
        ("image digest", digest.as_ref().and_then(|digest| plain(digest.as_str()))),
        ("stack", plain(stack)),
        ("mode", plain(mode.as_str())),
        ("handler", plain(handler)),
        ("min warm", number(min_warm)),
        ("max tasks", number(max_tasks)),
        ("max age", number(max_age_s.map(|s| format!("{s} s")))),
        ("idle timeout", number(idle_timeout_s.map(|s| format!("{s} s")))),
        ("config", config),
        ("retries", plain(&revision.retry.retries.to_string())),
        ("retries delay", plain(&format!("{seconds} s"))),
        ("priority", plain(&revision.default_priority.get().to_string())),
        ("memory", sized(memory_bytes)),
        ("cpu", number(cpu_millis.map(|millis| f64::from(millis) / 1000.0))),
        ("pids", number(processes)),
        ("disk", sized(disk_bytes)),
        ("open files", number(open_files)),
        ("output", sized(output_bytes)),
        ("network", number(network)),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::id::{CodeId, RevisionId, Seq};
    use crate::limits::Network;
    use crate::retry::RetryPolicy;
    use crate::secret::Sealed;
    use crate::task::Priority;
    use crate::time::Timestamp;

    fn revision() -> Revision {
        Revision {
            id: RevisionId::new(Seq(1), 1),
            code: CodeId::new(Seq(2), 1),
            rev: 1,
            package: Some(BlobRef { sha256: "ab".repeat(32), size_bytes: 2048 }),
            checksum: "md5".to_owned(),
            launch: Launch { command: "./a".to_owned(), ..Launch::default() },
            config: None,
            env_vars: BTreeMap::from([("KEY".to_owned(), Sealed("sealed".to_owned()))]),
            retry: RetryPolicy::default(),
            default_priority: Priority::default(),
            wishes: Wishes::default(),
            keep: KeepWishes::default(),
            created_at: Timestamp::from_secs(1),
        }
    }

    fn words(before: &Revision, after: &Revision) -> Vec<String> {
        let words = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let all = differences(before, after).into_iter();
        all.map(|d| format!("{}: {} > {}", d.what, words(d.before), words(d.after))).collect()
    }

    #[test]
    fn what_a_worker_cannot_notice_is_no_difference() {
        let later = Revision { rev: 2, created_at: Timestamp::from_secs(9), ..revision() };
        assert_eq!(differences(&revision(), &later), []);
    }

    #[test]
    fn everything_else_is_told_without_secrets() {
        let mut after = revision();
        after.package = Some(BlobRef { sha256: "cd".repeat(32), size_bytes: 2048 });
        after.launch.command = "./b".to_owned();
        after.config = Some("password=hush".to_owned());
        after.retry.delay_ms = 1500;
        after.wishes = Wishes {
            memory_bytes: Some(1 << 30),
            cpu_millis: Some(500),
            network: Some(Network::None),
            ..Wishes::default()
        };
        after.env_vars.insert("KEY".to_owned(), Sealed("other".to_owned()));
        after.env_vars.insert("NEW".to_owned(), Sealed("x".to_owned()));
        let delay = revision().retry.delay_ms / 1000;
        let expected = [
            "zip: 2 KiB, abababab… > 2 KiB, cdcdcdcd…",
            "command: ./a > ./b",
            "config: - > 13 B",
            &format!("retries delay: {delay} s > 1.5 s"),
            "memory: - > 1 GiB",
            "cpu: - > 0.5",
            "network: - > none",
            "variable KEY: *** > ***",
            "variable NEW: - > ***",
        ];
        assert_eq!(words(&revision(), &after), expected);
        assert!(words(&after, &revision()).contains(&"variable NEW: *** > -".to_owned()));
    }
}
