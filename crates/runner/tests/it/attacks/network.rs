//! Against the network: the host's own services, its neighbours, other tasks.

use std::net::{Ipv4Addr, TcpListener};

use windlass_model::exit::Exit;
use windlass_model::isolation::Level;
use windlass_model::limits::Network;

use super::target;

/// Tries to connect to each address; says which answered.
const CONNECT: &str = r#"
import socket, sys
for address in sys.argv[1:]:
    host, port = address.rsplit(":", 1)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(1)
        try: s.connect((host, int(port))); print("reached", address)
        except OSError: pass
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(0.2)
        try: s.sendto(b"x", (host, int(port))); s.recv(1); print("heard from", address)
        except OSError: pass
print("tried")
"#;

/// Addresses of this host that a listener on all of them answers at.
fn own_addresses() -> Vec<std::net::IpAddr> {
    let addresses = nix::ifaddrs::getifaddrs().unwrap().filter_map(|interface| interface.address);
    addresses
        .filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|address| address.ip().into());
            v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
        })
        .collect()
}

async fn the_host_is_out_of_reach(network: Network) {
    let Some(target) = target(Level::Namespaces).await else { return };
    // Nothing is to be had on every host.
    if network != Network::None && !target.has("network") {
        return;
    }
    let local = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = local.local_addr().unwrap().port();
    let mut addresses = vec!["127.0.0.1".to_owned(), "::1".to_owned(), "169.254.169.254".to_owned()];
    addresses.extend(own_addresses().iter().map(ToString::to_string));
    let mut revision = target.python(CONNECT);
    revision.network = network;
    for address in addresses {
        for port in [port, 22, 80] {
            revision.launch.command += &format!(" {address}:{port}");
        }
    }
    let held = target.world.server.queue(&revision, |task| task.timeout_s = 60);
    let (report, log) = target.end_of(held).await;
    assert_eq!((report.exit, log.as_str()), (Exit::Code(0), "tried\n"));
    let missing = report.isolation.missing;
    assert!(!missing.iter().any(|what| what.starts_with("network")), "{missing:?}");
    local.set_nonblocking(true).unwrap();
    assert_eq!(local.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    target.ends_unharmed().await;
}

#[tokio::test]
async fn without_a_network_there_is_nothing_to_reach() {
    the_host_is_out_of_reach(Network::None).await;
}

#[tokio::test]
async fn with_egress_the_host_and_the_metadata_service_are_out_of_reach() {
    the_host_is_out_of_reach(Network::Egress).await;
}

#[tokio::test]
async fn without_a_network_there_is_but_a_loopback() {
    let Some(target) = target(Level::Namespaces).await else { return };
    let mut look = target.python("import socket; print([name for _, name in socket.if_nameindex()])");
    look.network = Network::None;
    let (report, log) = target.run(&look).await;
    assert_eq!((report.exit, log.as_str()), (Exit::Code(0), "['lo']\n"));
    target.ends_unharmed().await;
}

#[tokio::test]
async fn who_has_the_hosts_network_is_told() {
    let Some(target) = target(Level::Namespaces).await else { return };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut visit = target.python(CONNECT);
    visit.launch.command += &format!(" {}", listener.local_addr().unwrap());
    let (report, log) = target.run(&visit).await;
    let reached = log.contains("reached");
    let told =
        report.isolation.missing.iter().any(|what| what.starts_with("network: a task reaches whatever"));
    assert_eq!((report.exit, reached), (Exit::Code(0), told), "{log}");
    target.ends_unharmed().await;
}

#[tokio::test]
async fn tasks_do_not_hear_each_other_by_names_or_ports() {
    let Some(target) = target(Level::Namespaces).await else { return };
    if !target.has("network") {
        return;
    }
    let name = target.world.server.mark().to_owned();
    let serve = r#"
import socket, sys, threading, time
local = socket.socket(socket.AF_UNIX); local.bind("\0" + sys.argv[1]); local.listen()
ports = socket.socket(); ports.bind(("0.0.0.0", 45671)); ports.listen()
print("serving"); sys.stdout.flush()
def wait(listener): listener.accept(); print("somebody came")
for listener in (local, ports): threading.Thread(target=wait, args=(listener,), daemon=True).start()
time.sleep(60)
"#;
    let visit = r#"
import socket, sys
try: socket.socket(socket.AF_UNIX).connect("\0" + sys.argv[1]); print("reached it")
except OSError: pass
for address in sys.argv[2:] + ["127.0.0.1"]:
    s = socket.socket(); s.settimeout(0.5)
    try: s.connect((address, 45671)); print("reached", address)
    except OSError: pass
print("tried")
"#;
    let mut server = target.python(serve);
    server.launch.command += &format!(" {name}");
    let serving = target.queue(&server);
    target.has_begun(serving).await;
    let mut visitor = target.python(visit);
    visitor.launch.command += &format!(" {name}");
    let (report, log) = target.run(&visitor).await;
    assert_eq!((report.exit, log.as_str()), (Exit::Code(0), "tried\n"));
    target.world.server.with(|state| state.cancel.push(serving));
    let (_, log) = target.end_of(serving).await;
    assert_eq!(log, "serving\n");
    target.ends_unharmed().await;
}
