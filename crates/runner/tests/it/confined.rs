//! What a confined process can and cannot do, without the namespaces of a task: so each wall is seen alone.

use std::process::Command;

/// Runs `program` confined to the folder `home`; what it printed and whether it went well.
fn confined(home: &std::path::Path, program: &[&str]) -> (String, bool) {
    let output = Command::new(env!("CARGO_BIN_EXE_windlass-confined"))
        .arg(format!("{}:/dev", home.display()))
        .args(program)
        .current_dir(home)
        .env("HOME", home)
        .env("TMPDIR", home)
        .env("OUR_PID", std::process::id().to_string())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&text).into_owned(), output.status.success())
}

const PYTHON: &str = r#"
import asyncio, multiprocessing, os, socket, sqlite3, subprocess, tempfile, threading
def square(x): return x * x
async def talk():
    child = await asyncio.create_subprocess_exec("echo", "child", stdout=subprocess.PIPE)
    assert (await child.communicate())[0] == b"child\n"
    async def serve(reader, writer):
        writer.write(b"served"); await writer.drain(); writer.close()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    assert await reader.read() == b"served"
    writer.close(); server.close()
if __name__ == "__main__":
    threads = [threading.Thread(target=square, args=(1,)) for _ in range(8)]
    [t.start() for t in threads]; [t.join() for t in threads]
    assert subprocess.run(["echo", "x"], capture_output=True).stdout == b"x\n"
    for way in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(way).Pool(2) as pool:
            assert pool.map(square, range(4)) == [0, 1, 4, 9], way
    queue = multiprocessing.Queue(); queue.put(1); assert queue.get() == 1
    asyncio.run(talk())
    socket.getaddrinfo("127.0.0.1", 80); socket.if_nameindex()
    with tempfile.TemporaryFile() as file: file.write(b"x"); os.fsync(file)
    database = sqlite3.connect("x.db"); database.execute("pragma journal_mode=wal"); database.close()
    os.sync(); os.mkfifo("fifo"); os.rename("fifo", "pipe")
    print("python works")
"#;

const NODE: &str = r#"
const { Worker, isMainThread } = require("worker_threads");
const http = require("http"), child = require("child_process"), fs = require("fs");
if (isMainThread) new Worker(__filename).on("exit", () => {
  if (child.execSync("echo x").toString() !== "x\n") throw "child";
  const server = http.createServer((q, r) => r.end("x")).listen(0, "127.0.0.1", () =>
    http.get({ host: "127.0.0.1", port: server.address().port }, r => r.resume().on("end", () => {
      server.close();
      fs.promises.writeFile("file", "x").then(() => require("crypto").pbkdf2("a", "b", 9, 9, "sha256",
        () => console.log("node works")));
    })));
});
"#;

const JAVA: &str = r#"
public class Works { public static void main(String[] args) throws Exception {
  var pool = java.util.concurrent.Executors.newFixedThreadPool(4);
  if (pool.submit(() -> 42).get() != 42) throw new Exception();
  pool.shutdown();
  var child = new ProcessBuilder("echo", "x").start();
  if (child.getInputStream().readAllBytes().length != 2) throw new Exception();
  var any = java.net.InetAddress.getLoopbackAddress();
  var server = new java.net.ServerSocket(0, 1, any);
  new java.net.Socket(any, server.getLocalPort()).close();
  java.nio.channels.Selector.open().close();
  java.nio.file.Files.writeString(java.nio.file.Path.of("file"), "x");
  System.out.println("java works");
} }
"#;

const SHELL: &str = "cat /etc/passwd | sort | head -1 > out; echo x > /dev/null; mkdir -p a/b; mv out a/b; \
    cp -r a c; chmod 700 c; ln -s a l; find . | tar cf - -T - | gzip | wc -c > n; rm -r a c; sync; sleep 0.01; \
    (sleep 9 & kill $!; wait); echo shell works";

const PERL: &str = r#"use IO::Socket::INET; IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1") or die;
    if (fork() == 0) { exit 3 } wait; die if $? >> 8 != 3; die if `echo x` ne "x\n"; print "perl works\n""#;

#[test]
fn ordinary_programs_work_as_always() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let write = |name: &str, text: &str| std::fs::write(home.join(name), text).unwrap();
    write("works.py", PYTHON);
    write("works.js", NODE);
    write("Works.java", JAVA);
    let mut seen = Vec::new();
    for program in [
        &["sh", "-c", SHELL][..],
        &["perl", "-e", PERL],
        &["python3", "works.py"],
        &["node", "works.js"],
        &["java", "-Xmx64m", "Works.java"],
    ] {
        if Command::new("which").arg(program[0]).output().unwrap().status.success() {
            let (text, is_good) = confined(home, program);
            assert!(is_good && text.contains("works"), "{}: {text}", program[0]);
            seen.push(program[0]);
        }
    }
    assert!(seen.contains(&"sh") && seen.contains(&"python3") && seen.contains(&"node"), "only {seen:?}");
}

#[test]
fn it_has_no_capabilities_and_gains_none() {
    let home = tempfile::tempdir().unwrap();
    let (status, _) = confined(home.path(), &["cat", "/proc/self/status"]);
    let value =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(value(set), "0000000000000000", "{set}");
    }
    if nix::unistd::geteuid().is_root() {
        assert_eq!(value("CapBnd:"), "0000000000000000");
    }
    assert_eq!((value("NoNewPrivs:"), value("Seccomp:")), ("1".to_owned(), "2".to_owned()));
}

/// What python may do, one a line: the number of the error, or 0.
const TRIES: &str = r#"
import ctypes, errno, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def tell(what, how):
    try:
        result = how()
        error = ctypes.get_errno() if result == -1 else 0
    except OSError as e:
        error = e.errno
    print(what, errno.errorcode.get(error, error))
tell("write outside", lambda: open("/tmp/windlass-must-not-be", "w"))
tell("write inside", lambda: open("inside", "w") and None)
tell("device", lambda: os.mknod("device", 0o20600, os.makedev(1, 3)))
tell("signal outside", lambda: os.kill(int(os.environ["OUR_PID"]), 0))
tell("signal inside", lambda: os.kill(os.getpid(), 0))
tell("abstract outside", lambda: socket.socket(socket.AF_UNIX).connect("\0" + sys.argv[1]))
tell("ptrace", lambda: libc.ptrace(0, 0, 0, 0))
tell("unshare user", lambda: libc.unshare(0x10000000))
tell("mount", lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None))
tell("keyctl", lambda: libc.syscall(int(sys.argv[2]), 0, 0))
tell("vsock", lambda: socket.socket(40, socket.SOCK_STREAM))
"#;

#[test]
fn what_it_must_not_do_it_cannot() {
    use std::os::linux::net::SocketAddrExt as _;
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("tries.py"), TRIES).unwrap();
    let name = format!("windlass-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    let (text, _) = confined(home.path(), &["python3", "tries.py", &name, &libc::SYS_keyctl.to_string()]);
    insta::assert_snapshot!(text, @r"
    write outside EACCES
    write inside 0
    device EACCES
    signal outside EPERM
    signal inside 0
    abstract outside EPERM
    ptrace EPERM
    unshare user EPERM
    mount EPERM
    keyctl ENOSYS
    vsock EAFNOSUPPORT
    ");
}
