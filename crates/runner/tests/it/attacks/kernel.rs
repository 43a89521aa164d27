//! Against the kernel: more rights, other namespaces, calls that only the host may make.

use windlass_model::exit::Exit;
use windlass_model::isolation::Level;

use super::target;

/// What is tried, one a line, with the error it meets; 0: it worked.
const TRIES: &str = r#"
import ctypes, errno, os, socket, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def tell(what, how):
    try:
        result = how()
        error = ctypes.get_errno() if result == -1 else 0
    except OSError as e: error = e.errno
    print(what, errno.errorcode.get(error, error))
for name, flag in (("user", 0x10000000), ("mount", 0x20000), ("pid", 0x20000000), ("net", 0x40000000),
                   ("ipc", 0x08000000), ("uts", 0x04000000), ("cgroup", 0x02000000), ("time", 0x80)):
    tell("unshare " + name, lambda: libc.unshare(flag))
tell("mount", lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None))
tell("remount /usr", lambda: libc.mount(None, b"/usr", None, 0x1020, None))
tell("umount", lambda: libc.umount2(b"/code", 2))
tell("pivot_root", lambda: libc.syscall(int(sys.argv[1]), b"/tmp", b"/tmp"))
tell("chroot", lambda: os.chroot("/tmp"))
tell("ptrace init", lambda: libc.ptrace(16, 1, 0, 0))
tell("setns", lambda: libc.setns(0, 0))
tell("keyctl", lambda: libc.syscall(int(sys.argv[2]), 0, -3, 0))
tell("bpf", lambda: libc.syscall(int(sys.argv[3]), 0, 0, 0))
tell("setuid 0", lambda: os.setuid(0))
tell("setgroups", lambda: os.setgroups([0]))
tell("hostname", lambda: libc.sethostname(b"mine", 4))
tell("clock", lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()))
tell("device", lambda: os.mknod("/task/device", 0o60600, os.makedev(8, 0)))
tell("nice -5", lambda: os.setpriority(os.PRIO_PROCESS, 0, -5) and 0)
tell("packets", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
tell("vsock", lambda: socket.socket(40, socket.SOCK_STREAM))
tell("alg", lambda: socket.socket(38, socket.SOCK_SEQPACKET))
tell("netfilter", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12))
"#;

const REFUSED: &str = "\
unshare user EPERM
unshare mount EPERM
unshare pid EPERM
unshare net EPERM
unshare ipc EPERM
unshare uts EPERM
unshare cgroup EPERM
unshare time EPERM
mount EPERM
remount /usr EPERM
umount EPERM
pivot_root EPERM
chroot EPERM
ptrace init EPERM
setns EPERM
keyctl ENOSYS
bpf EPERM
setuid 0 EPERM
setgroups EPERM
hostname EPERM
clock EPERM
device EACCES
nice -5 EACCES
packets EAFNOSUPPORT
vsock EAFNOSUPPORT
alg EAFNOSUPPORT
netfilter EPROTONOSUPPORT
";

#[tokio::test]
async fn what_is_the_hosts_to_do_a_task_cannot() {
    let Some(target) = target(Level::Namespaces).await else { return };
    let mut revision = target.python(TRIES);
    let numbers = [libc::SYS_pivot_root, libc::SYS_keyctl, libc::SYS_bpf];
    revision.launch.command += &numbers.map(|number| format!(" {number}")).concat();
    let (report, log) = target.run(&revision).await;
    assert_eq!(report.exit, Exit::Code(0), "{log}");
    // Where root is not even a name for anybody, that is the reason.
    assert_eq!(log.replace("setuid 0 EINVAL", "setuid 0 EPERM"), REFUSED);
    target.ends_unharmed().await;
}

#[tokio::test]
async fn it_has_no_rights_and_no_program_gives_it_any() {
    let Some(target) = target(Level::Namespaces).await else { return };
    let look = r##"
import os, subprocess
status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
print(*(status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")))
print("root" if "0" in status["Uid"].split() + status["Gid"].split() else "not root", status["Groups"].split())
for line in open("/proc/self/mountinfo"):
    place, options = line.split()[4:6]
    if not {"nosuid"} <= set(options.split(",")): print("setuid works in", place)
    if "rw" in options.split(",") and place not in ("/task", "/tmp", "/dev/shm", "/proc") and \
            not place.startswith("/dev/"): print("writable", place)
for su in ("/bin/su", "/usr/bin/sudo", "/usr/bin/passwd", "/usr/bin/newgrp"):
    if os.path.exists(su):
        made = subprocess.run([su, "-c", "id"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if "uid=0" in made.stdout: print("became root by", su)
own = "/task/own"; open(own, "w").write("#!/bin/sh\nid -u\n"); os.chmod(own, 0o6755)
print(subprocess.run([own], capture_output=True, text=True).stdout.strip() == str(os.getuid()))
"##;
    let (report, log) = target.run(&target.python(look)).await;
    assert_eq!(report.exit, Exit::Code(0), "{log}");
    let none = "0000000000000000";
    let groups = log.lines().nth(1).unwrap_or_default().to_owned();
    assert_eq!(log, format!("{none} {none} {none} {none} {none} 1 2\n{groups}\nTrue\n"));
    assert!(groups.starts_with("not root ["), "{groups}");
    target.ends_unharmed().await;
}

#[tokio::test]
async fn programs_for_another_architecture_do_not_run() {
    let Some(target) = target(Level::Namespaces).await else { return };
    if cfg!(not(target_arch = "x86_64")) {
        return;
    }
    // `mov eax, 1; xor ebx, ebx; int 0x80` (exit by the old way in), then `ud2`.
    let call = r#"
import ctypes, mmap
code = bytes([0xb8, 1, 0, 0, 0, 0x31, 0xdb, 0xcd, 0x80, 0x0f, 0x0b])
memory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
memory.write(code)
ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))()
"#;
    let (report, _) = target.run(&target.python(call)).await;
    assert_eq!(report.exit, Exit::Signal(libc::SIGSYS));
    target.ends_unharmed().await;
}
