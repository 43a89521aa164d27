//! Against files: of the host, of the server, of other tasks.

use std::os::unix::fs::PermissionsExt as _;

use windlass_model::bytes::Bytes;
use windlass_model::exit::Exit;
use windlass_model::isolation::Level;

use super::target;

#[tokio::test]
async fn nothing_outside_can_be_written() {
    let Some(target) = target(Level::Namespaces).await else { return };
    let write = r#"
import os, sys
for folder in ("/", "/usr", "/usr/bin", "/etc", "/code", "/dev", "/run", "/var", "/bin", "/lib", "/proc",
               "/proc/sys/kernel", "/sys", "/.packages", "/windlass", "/home", "/root", "/mnt", "/opt"):
    for what in ("file", "folder", "link"):
        path = os.path.join(folder, "windlass-attack")
        try:
            if what == "file": open(path, "w").close()
            elif what == "folder": os.mkdir(path)
            else: os.symlink("/", path)
            print("made a", what, "in", folder)
        except OSError: pass
for path in ("/etc/passwd", "/usr/bin/env", "/code/attack.py", "/proc/sys/kernel/core_pattern",
             "/proc/sysrq-trigger", "/proc/sys/kernel/hostname", "/proc/self/oom_score_adj"):
    for how in (lambda: open(path, "a").write("1"), lambda: os.chmod(path, 0o777), lambda: os.unlink(path),
                lambda: os.rename(path, path + "2"), lambda: os.truncate(path, 0)):
        try: how(); print("changed", path)
        except OSError: pass
for folder in ("/task", "/tmp", "/dev/shm", "/var/tmp"):
    with open(os.path.join(folder, "mine"), "w") as file: file.write("x")
    os.mkdir(os.path.join(folder, "folder")); os.rmdir(os.path.join(folder, "folder"))
for path in ("/dev/null", "/dev/stdout", "/dev/stderr"):
    with open(path, "w") as file: file.write("written\n")
"#;
    let (report, log) = target.run(&target.python(write)).await;
    assert_eq!((report.exit, log.as_str()), (Exit::Code(0), "written\nwritten\n"));
    target.ends_unharmed().await;
}

#[tokio::test]
async fn the_host_and_the_server_cannot_be_read() {
    let Some(target) = target(Level::Namespaces).await else { return };
    // As readable as can be: only that they are not there can keep them.
    let secret = tempfile::tempdir().unwrap();
    let in_work = target.world.work_dir.path().join("iron.json");
    let mut paths = vec![in_work, secret.path().join("windlass.db"), "/tmp/windlass-attack-secret".into()];
    for path in &paths {
        std::fs::write(path, "the secret").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).unwrap();
        // Not ours to do everywhere, and so already there.
        let _ = std::fs::set_permissions(path.parent().unwrap(), std::fs::Permissions::from_mode(0o1777));
    }
    paths.push("/etc/shadow".into());
    paths.push(format!("/proc/{}/environ", std::process::id()).into());
    paths.push(std::env::current_exe().unwrap());
    let read = r#"
import os, sys
for path in sys.argv[1:]:
    for way in (path, "/proc/1/root" + path, "/proc/self/root/.." + path, "/task/../.." + path, "/code/.." + path):
        try: open(way, "rb").read(1); print("read", way)
        except OSError: pass
for folder in ("/root", "/home", "/var/lib", "/var/log", "/srv", "/boot", "/sys", "/mnt", "/media", "/.packages"):
    try: print("listed", folder, os.listdir(folder)) if os.listdir(folder) else None
    except OSError: pass
for folder, folders, files in os.walk("/"):
    folders[:] = [f for f in folders if os.path.join(folder, f) not in ("/proc", "/usr", "/nix")]
    for name in files:
        path = os.path.join(folder, name)
        if "windlass" in path and not path.startswith("/windlass/"): print("found", path)
        if "iron.json" in path: print("found", path)
"#;
    let mut revision = target.python(read);
    for path in &paths {
        revision.launch.command += &format!(" {}", path.display());
    }
    let (report, log) = target.run(&revision).await;
    std::fs::remove_file(&paths[2]).unwrap();
    assert_eq!((report.exit, log.as_str()), (Exit::Code(0), ""));
    target.ends_unharmed().await;
}

#[tokio::test]
async fn a_task_sees_only_its_own_payload_and_package() {
    let Some(target) = target(Level::Namespaces).await else { return };
    let look = r#"
import os, sys
own = open(os.environ["PAYLOAD_FILE"]).read()
print("own", own); sys.stdout.flush()
open("/tmp/of-" + own, "w").write(own); open("/dev/shm/of-" + own, "w").write(own)
# Until both are here, or long enough.
import time; time.sleep(1)
for folder, folders, files in os.walk("/"):
    folders[:] = [f for f in folders if os.path.join(folder, f) not in ("/usr", "/nix", "/sys")]
    for name in files:
        path = os.path.join(folder, name)
        try: content = open(path, "rb").read(100_000) if os.path.isfile(path) else b""
        except OSError: continue
        for other in ("payload-one", "payload-two"):
            if other != own and other.encode() in content and not path.endswith("attack.py"): print("read", path)
"#;
    let revision = target.python(look);
    let queue = |payload: &str| {
        target.world.server.queue(&revision, |task| task.payload = Bytes(payload.as_bytes().to_vec()))
    };
    let both = [queue("payload-one"), queue("payload-two")];
    for (held, own) in both.into_iter().zip(["own payload-one\n", "own payload-two\n"]) {
        let (report, log) = target.end_of(held).await;
        assert_eq!((report.exit, log.as_str()), (Exit::Code(0), own));
    }
    // Nor does a later one find what was left.
    let later = target.sh("ls -A /tmp /dev/shm");
    let (_, log) = target.run(&later).await;
    assert_eq!(log, "/dev/shm:\n\n/tmp:\n");
    target.ends_unharmed().await;
}

#[tokio::test]
async fn the_package_stays_as_it_is_and_what_a_task_makes_of_it_is_its_own() {
    let Some(target) = target(Level::Namespaces).await else { return };
    let change = r#"
import os
large = open("large", "r+b"); large.write(b"changed"); large.close()
os.chmod("large", 0o777); os.rename("small", "moved"); open("attack.py", "a").write("1")
print(open("/code/large", "rb").read(7), os.path.exists("/code/small"), os.path.exists("small"))
"#;
    let large = vec![b'x'; 3 << 20];
    let files =
        [("attack.py", change.as_bytes(), 0o644), ("large", &large[..], 0o4777), ("small", &b"s"[..], 0o644)];
    let revision = target.revision(&files, "/usr/bin/python3 attack.py");
    for _ in 0..2 {
        let (report, log) = target.run(&revision).await;
        assert_eq!((report.exit, log.as_str()), (Exit::Code(0), "b'xxxxxxx' True False\n"));
    }
    target.ends_unharmed().await;
}

#[tokio::test]
async fn a_result_is_a_file_of_the_tasks_own_or_nothing() {
    let Some(target) = target(Level::Namespaces).await else { return };
    for (script, note) in [
        ("ln -s /etc/passwd $RESULT_FILE", "cannot be read"),
        ("ln -s /proc/1/environ $RESULT_FILE", "cannot be read"),
        ("mkfifo $RESULT_FILE", "not a plain file"),
        ("mkdir $RESULT_FILE", "not a plain file"),
    ] {
        let (report, log) = target.run(&target.sh(script)).await;
        assert_eq!((report.exit, report.result), (Exit::Code(0), None), "{script}");
        assert!(log.contains(note), "{script}: {log}");
    }
    let (report, _) = target.run(&target.sh("echo 42 > $RESULT_FILE")).await;
    assert_eq!(report.result, Some(Bytes(b"42\n".to_vec())));
    target.ends_unharmed().await;
}
