//! Whom a task talks to, from its package to the packets: on a host made of a network namespace, so that nothing of the
//! real host's network is touched.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::thread;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use windlass_model::exit::Exit;
use windlass_model::limits::Network;
use windlass_runner::Policy;
use windlass_runner::sandbox::network::enter_empty;

use crate::attacks::skip;
use crate::support::{World, runtime, zip};

/// Tells what it reaches.
const WORKER: &str = r#"
import os, socket
def tell(what, ask):
    try: print(what, ask())
    except OSError as e: print(what, "no:", e.strerror or e)
def ask(host, port):
    with socket.create_connection((host, port), 5) as s:
        s.sendall(b"who is there?")
        s.shutdown(socket.SHUT_WR)
        return s.makefile().read()
tell("api", lambda: ask(os.environ["IRON_HOST"], int(os.environ["IRON_PORT"])))
tell("a name", lambda: socket.gethostbyname("db.example.com"))
tell("the host's loopback", lambda: ask("127.0.0.1", 9000))
tell("the host", lambda: ask("198.18.0.1", 9000))
tell("the internet", lambda: ask("9.9.9.9", 80))
tell("credentials", lambda: ask("169.254.169.254", 80))
"#;

/// Runs a test on a host of its own, whose resolver is itself; says loudly that it does not where it cannot.
fn on_a_host(test: impl FnOnce() + Send) {
    thread::scope(|scope| {
        scope.spawn(|| {
            if let Err(why) =
                unshare(CloneFlags::CLONE_NEWNS).map_err(Into::into).and_then(|()| enter_empty())
            {
                return skip(&format!("no host for a test can be made here: {why}"));
            }
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("resolv.conf");
            fs::write(&file, "nameserver 127.0.0.1\n").unwrap();
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
                .unwrap();
            let over = fs::canonicalize("/etc/resolv.conf").unwrap();
            mount(Some(&file), &over, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
            serve("127.0.0.1:8080", "the api");
            serve("0.0.0.0:9000", "the host");
            resolve();
            test();
        });
    });
}

fn serve(address: &str, name: &'static str) {
    let listener = TcpListener::bind(address).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
            let _ = stream.write_all(name.as_bytes());
        }
    });
}

/// Answers every question with 10.9.8.7.
fn resolve() {
    let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
    thread::spawn(move || {
        let mut question = [0; 512];
        loop {
            let (length, from) = socket.recv_from(&mut question).unwrap();
            let end_of_name = 12 + question[12..length].iter().position(|&b| b == 0).unwrap();
            let mut answer = question[..end_of_name + 5].to_vec();
            let is_v4 = answer[end_of_name + 1..end_of_name + 3] == [0, 1];
            // An answer, of one record or none, and nothing else.
            answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_v4), 0, 0, 0, 0]);
            if is_v4 {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 9, 8, 7]);
            }
            socket.send_to(&answer, from).unwrap();
        }
    });
}

/// What a task with this network tells.
fn told(network: Network, may_have_host: bool) -> (Exit, String) {
    let runtime_of_test = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime_of_test.block_on(async {
        let world = World::with(|config| {
            config.sandbox.policy = Policy::Require;
            config.sandbox.network.host = may_have_host;
            config.slots = 1;
        });
        let package = world.server.package(zip(&[("worker.py", WORKER.as_bytes(), 0o644)]));
        let mut revision = world.server.revision(Some(package), runtime("python", "worker.py"));
        revision.network = network;
        let held = world.server.queue(&revision, |_| {});
        let exit = world.server.report(held).await.exit;
        let log = world.log(held);
        world.stop().await;
        (exit, log)
    })
}

#[test]
fn a_task_reaches_the_api_and_a_resolver_and_not_the_host() {
    on_a_host(|| {
        let (exit, log) = told(Network::Egress, false);
        assert_eq!(
            log.trim_end().lines().collect::<Vec<_>>(),
            [
                "api the api",
                "a name 10.9.8.7",
                "the host's loopback no: Connection refused",
                "the host no: Connection refused",
                "the internet no: Network is unreachable",
                "credentials no: Connection refused",
            ]
        );
        assert_eq!(exit, Exit::Code(0));
    });
}

#[test]
fn a_task_without_a_network_reaches_nothing() {
    on_a_host(|| {
        let (exit, log) = told(Network::None, false);
        assert_eq!(
            log.trim_end().lines().collect::<Vec<_>>(),
            [
                "api no: Connection refused",
                "a name no: Temporary failure in name resolution",
                "the host's loopback no: Connection refused",
                "the host no: Network is unreachable",
                "the internet no: Network is unreachable",
                "credentials no: Network is unreachable",
            ]
        );
        assert_eq!(exit, Exit::Code(0));
    });
}

#[test]
fn the_hosts_network_is_given_only_where_the_runner_may() {
    on_a_host(|| {
        let (exit, _) = told(Network::Host, false);
        let Exit::NotStarted(why) = exit else { panic!("{exit:?}") };
        assert!(why.contains("network.host"), "{why}");
        let (exit, log) = told(Network::Host, true);
        assert_eq!(
            log.trim_end().lines().collect::<Vec<_>>(),
            [
                "api the api",
                "a name 10.9.8.7",
                "the host's loopback the host",
                "the host the host",
                "the internet no: Network is unreachable",
                "credentials no: Network is unreachable",
            ]
        );
        assert_eq!(exit, Exit::Code(0));
    });
}
