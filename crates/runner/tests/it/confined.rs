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

const RUBY: &str = r#"
require "json"; require "open3"; require "socket"; require "tempfile"; require "timeout"; require "securerandom"
raise unless Array.new(8) { |n| Thread.new { n * n } }.sum(&:value) == 140
raise unless `echo x` == "x\n" && Open3.capture2("cat", stdin_data: "y")[0] == "y"
reader, writer = IO.pipe
Process.wait(fork { writer.puts "child"; exit!(3) })
raise unless $?.exitstatus == 3 && reader.gets == "child\n"
server = TCPServer.new("127.0.0.1", 0)
Thread.new { server.accept.tap { |one| one.write("served"); one.close } }
raise unless TCPSocket.new("127.0.0.1", server.addr[1]).read == "served"
Tempfile.create { |file| file.write("x"); file.fsync; file.flock(File::LOCK_EX) }
begin; Timeout.timeout(0.01) { sleep }; rescue Timeout::Error; end
trap("USR1") { $got = true }; Process.kill("USR1", $$); sleep 0.01 until $got
SecureRandom.hex; Socket.ip_address_list; GC.start; Process.clock_gettime(Process::CLOCK_MONOTONIC)
raise unless Ractor.new { 6 * 7 }.take == 42 if defined?(Ractor) && Ractor.method_defined?(:take)
puts "ruby works"
"#;

const PHP: &str = r#"<?php
function must($is, $what) { if (!$is) { fwrite(STDERR, "not $what\n"); exit(1); } }
must(shell_exec("echo x") === "x\n", "shell");
$child = proc_open(["cat"], [["pipe", "r"], ["pipe", "w"]], $pipes);
fwrite($pipes[0], "y"); fclose($pipes[0]);
must(stream_get_contents($pipes[1]) === "y" && proc_close($child) === 0, "child");
$server = stream_socket_server("tcp://127.0.0.1:0");
$client = stream_socket_client("tcp://" . stream_socket_get_name($server, false));
$one = stream_socket_accept($server); fwrite($one, "served"); fclose($one);
must(stream_get_contents($client) === "served", "socket");
$name = tempnam(sys_get_temp_dir(), "x"); file_put_contents($name, "x", LOCK_EX); must(unlink($name), "file");
if (function_exists("pcntl_fork")) {
    $pid = pcntl_fork(); if ($pid === 0) { exit(3); }
    pcntl_waitpid($pid, $status); must(pcntl_wexitstatus($status) === 3, "fork");
}
random_bytes(8); usleep(1000); gethostbyname("localhost"); hrtime(); sys_getloadavg(); getrusage();
must(json_decode("[1]") === [1] && preg_match("/x+/", "xx") === 1, "extensions");
echo "php works\n";
"#;

const GO: &str = r#"
package main
import ("fmt"; "io"; "net"; "os"; "os/exec"; "os/signal"; "runtime"; "sync"; "syscall"; "time")
func must(err error) { if err != nil { panic(err) } }
func main() {
	var all sync.WaitGroup
	for n := 0; n < 200; n++ { all.Add(1); go func() { defer all.Done(); for end := time.Now().Add(time.Millisecond); time.Now().Before(end); {} }() }
	all.Wait(); runtime.GC()
	out, err := exec.Command("echo", "x").Output(); must(err)
	if string(out) != "x\n" { panic(out) }
	server, err := net.Listen("tcp", "127.0.0.1:0"); must(err)
	go func() { one, err := server.Accept(); must(err); one.Write([]byte("served")); one.Close() }()
	client, err := net.Dial("tcp", server.Addr().String()); must(err)
	text, err := io.ReadAll(client); must(err)
	if string(text) != "served" { panic(text) }
	file, err := os.CreateTemp("", "x"); must(err); must(file.Sync()); must(os.Remove(file.Name()))
	signals := make(chan os.Signal, 1); signal.Notify(signals, syscall.SIGUSR1)
	must(syscall.Kill(os.Getpid(), syscall.SIGUSR1)); <-signals
	_, err = net.Interfaces(); must(err)
	net.LookupHost("localhost"); os.Hostname()
	fmt.Println("go works")
}
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
    write("works.rb", RUBY);
    write("works.php", PHP);
    write("works.go", GO);
    // What a package has of Go is a program; its compiler is none of the runner's business.
    let mut build = Command::new("go");
    build.args(["build", "-o", "go-works", "works.go"]).current_dir(home);
    build.envs([("GOCACHE", home.join("cache")), ("HOME", home.into()), ("GO111MODULE", "off".into())]);
    let has_go = build.status().is_ok_and(|status| status.success());
    let mut seen = Vec::new();
    for program in [
        &["sh", "-c", SHELL][..],
        &["perl", "-e", PERL],
        &["python3", "works.py"],
        &["node", "works.js"],
        &["java", "-Xmx64m", "Works.java"],
        &["ruby", "works.rb"],
        &["php", "works.php"],
        &["./go-works"],
    ] {
        let is_there = match program[0] {
            "./go-works" => has_go,
            name => Command::new("which").arg(name).output().unwrap().status.success(),
        };
        if is_there {
            let (text, is_good) = confined(home, program);
            assert!(is_good && text.contains("works"), "{}: {text}", program[0]);
            seen.push(program[0]);
        }
    }
    println!("worked: {seen:?}");
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
