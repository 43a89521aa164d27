//! A host with an internet, made of network namespaces.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};

use crate::plan::ApiAddress;
use crate::sandbox::network::link::Links;
use crate::sandbox::network::namespace::Namespace;
use crate::sandbox::network::{Network, Settings, filter, forwarding, slot};

/// The internet, as far as it is needed: a namespace that has every address that is to be reached, or not.
pub(super) const PUBLIC: [&str; 2] = ["9.9.9.9", "2620:fe::9"];
pub(super) const METADATA: [&str; 2] = ["169.254.169.254", "fd00:ec2::254"];
pub(super) const PRIVATE: [&str; 5] = ["10.1.2.3", "172.16.5.5", "192.168.7.7", "100.64.0.9", "fd12::7"];
/// Of the host, on its link to the internet.
pub(super) const HOST: [&str; 2] = ["203.0.113.2", "2001:db8::2"];
pub(super) const ROUTER: [&str; 2] = ["203.0.113.1", "2001:db8::1"];
/// Where everybody serves.
pub(super) const PORT: u16 = 777;

/// Runs a test on a host of its own; says loudly that it does not where it cannot.
pub(super) fn on_a_host(test: impl FnOnce(&World) + Send) {
    thread::scope(|scope| {
        scope.spawn(|| {
            if let Err(why) = unshare(CloneFlags::CLONE_NEWNET) {
                let required =
                    std::env::var_os("WINDLASS_TEST_REQUIRE_SANDBOX").is_some_and(|value| value != "0");
                assert!(!required, "cannot make a network namespace: {why}");
                eprintln!("\n*** SKIPPED: no network namespace can be made here: {why} ***\n");
                return;
            }
            test(&World::make());
        });
    });
}

pub(super) struct World {
    pub(super) internet: Namespace,
}

impl World {
    /// Makes the thread's namespace a host that is wired to the internet.
    fn make() -> Self {
        // A new namespace has the switches of the first one.
        forwarding::write("ipv4/ip_forward", "0").unwrap();
        let internet = Namespace::create().unwrap();
        let links = Links::open().unwrap();
        links.up(links.index("lo").unwrap()).unwrap();
        links.create_pair("up0", "down0", internet.as_fd()).unwrap();
        wire(&links, "up0", &HOST, &ROUTER, true);
        internet
            .within(|| {
                let links = Links::open()?;
                wire(&links, "down0", &ROUTER, &HOST, false);
                let index = links.index("down0")?;
                let addresses = [&PUBLIC[..], &METADATA, &PRIVATE].concat();
                for address in &addresses {
                    links.add_address(index, ip(address))?;
                }
                serve(&addresses);
                Ok(())
            })
            .unwrap();
        serve(&HOST);
        Self { internet }
    }

    /// Sends what goes to these ranges from the internet to the host.
    pub(super) fn lead_to_the_host(&self, ranges: &[&str]) {
        let lead = || {
            let links = Links::open()?;
            let index = links.index("down0")?;
            ranges
                .iter()
                .try_for_each(|range| links.add_route(range.parse().unwrap(), index, Some(ip(HOST[0]))))
        };
        self.internet.within(lead).unwrap();
    }

    pub(super) fn forward_v6(&self) {
        forwarding::write("ipv6/conf/all/forwarding", "1").unwrap();
    }
}

pub(super) fn wire(links: &Links, name: &str, own: &[&str], other: &[&str], is_gateway: bool) {
    let index = links.index(name).unwrap();
    for address in own {
        links.add_address(index, ip(address)).unwrap();
    }
    links.up(index).unwrap();
    for address in other {
        links.add_route(address.parse().unwrap(), index, None).unwrap();
    }
    if is_gateway {
        for &router in other {
            let everything = if ip(router).is_ipv4() { "0.0.0.0/0" } else { "::/0" };
            links.add_route(everything.parse().unwrap(), index, Some(ip(router))).unwrap();
        }
    }
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Answers with the address that it sees: over TCP on every address of this namespace, over UDP on these.
pub(super) fn serve(addresses: &[&str]) {
    let tcp = TcpListener::bind(("::", PORT)).unwrap();
    thread::spawn(move || {
        for stream in tcp.incoming() {
            let mut stream = stream.unwrap();
            let peer = stream.peer_addr().unwrap().ip().to_canonical();
            let _ = write!(stream, "{peer}");
        }
    });
    for address in addresses {
        let udp = UdpSocket::bind((ip(address), PORT)).unwrap();
        thread::spawn(move || {
            loop {
                let (_, peer) = udp.recv_from(&mut [0; 16]).unwrap();
                let _ = udp.send_to(peer.ip().to_string().as_bytes(), peer);
            }
        });
    }
}

pub(super) fn inside<T: Send>(namespace: BorrowedFd<'_>, act: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            act()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// What the server at `address` sees of who asks it.
pub(super) fn tcp(address: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(ip(address), PORT), Duration::from_secs(5))?;
    let mut seen = String::new();
    stream.read_to_string(&mut seen)?;
    Ok(seen)
}

pub(super) fn udp(address: &str) -> io::Result<String> {
    let any = if ip(address).is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.connect(SocketAddr::new(ip(address), PORT))?;
    socket.send(b"hello")?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// That it is refused, and at once.
pub(super) fn refused(what: &str, attempt: impl Fn() -> io::Result<String>) {
    let start = Instant::now();
    let error = attempt().expect_err(what);
    assert!(start.elapsed() < Duration::from_millis(500), "{what}: {error} after {:?}", start.elapsed());
    assert_ne!(error.kind(), ErrorKind::WouldBlock, "{what} was not refused, but not heard of");
}

pub(super) fn api() -> ApiAddress {
    ApiAddress::parse("http://127.0.0.1:7070").unwrap()
}

pub(super) fn open(settings: &Settings, slots: usize) -> Network {
    Network::open(settings, slots, &api()).unwrap_or_else(|error| panic!("{error}")).0
}

/// Removes the rules inside a slot.
pub(super) fn tear_down(network: &Network, slot: usize) {
    inside(network.slot(slot).unwrap().egress(), || filter::remove(slot::WALL).unwrap());
}
