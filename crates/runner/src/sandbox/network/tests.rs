//! A host with neighbours, all made of network namespaces: nothing of the real host's network is touched.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};

use super::link::Links;
use super::namespace::Namespace;
use super::*;

/// The internet, as far as it is needed: a namespace that has every address that is to be reached, or not.
const PUBLIC: [&str; 2] = ["9.9.9.9", "2620:fe::9"];
const METADATA: [&str; 2] = ["169.254.169.254", "fd00:ec2::254"];
const PRIVATE: [&str; 5] = ["10.1.2.3", "172.16.5.5", "192.168.7.7", "100.64.0.9", "fd12::7"];
/// Of the host, on its link to the internet.
const HOST: [&str; 2] = ["203.0.113.2", "2001:db8::2"];
const ROUTER: [&str; 2] = ["203.0.113.1", "2001:db8::1"];
/// Where everybody serves.
const PORT: u16 = 777;

/// Runs a test on a host of its own; says loudly that it does not where it cannot.
fn on_a_host(test: impl FnOnce(&World) + Send) {
    thread::scope(|scope| {
        scope.spawn(|| {
            if let Err(why) = unshare(CloneFlags::CLONE_NEWNET) {
                let required = std::env::var_os("WINDLASS_TEST_REQUIRE_SANDBOX").is_some_and(|v| v == "1");
                assert!(!required, "cannot make a network namespace: {why}");
                eprintln!("\n*** SKIPPED: no network namespace can be made here: {why} ***\n");
                return;
            }
            test(&World::make());
        });
    });
}

struct World {
    internet: Namespace,
}

impl World {
    /// Makes the thread's namespace a host that is wired to the internet.
    fn make() -> Self {
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

    fn forward_v6(&self) {
        forwarding::write("ipv6/conf/all/forwarding", "1").unwrap();
    }
}

fn wire(links: &Links, name: &str, own: &[&str], other: &[&str], is_gateway: bool) {
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

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Answers with the address that it sees: over TCP on every address of this namespace, over UDP on these.
fn serve(addresses: &[&str]) {
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

fn inside<T: Send>(namespace: BorrowedFd<'_>, act: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
            act()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// What the server at `address` sees of who asks it.
fn tcp(address: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(ip(address), PORT), Duration::from_secs(5))?;
    let mut seen = String::new();
    stream.read_to_string(&mut seen)?;
    Ok(seen)
}

fn udp(address: &str) -> io::Result<String> {
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
fn refused(what: &str, attempt: impl Fn() -> io::Result<String>) {
    let start = Instant::now();
    let error = attempt().expect_err(what);
    assert!(start.elapsed() < Duration::from_millis(500), "{what}: {error} after {:?}", start.elapsed());
    assert_ne!(error.kind(), ErrorKind::WouldBlock, "{what} was not refused, but not heard of");
}

fn api() -> ApiAddress {
    ApiAddress::parse("http://127.0.0.1:7070").unwrap()
}

fn open(settings: &Settings, slots: usize) -> Network {
    Network::open(settings, slots, &api()).unwrap_or_else(|error| panic!("{error}")).0
}

#[test]
fn a_task_reaches_the_internet_and_is_seen_as_the_host() {
    on_a_host(|_| {
        let network = open(&Settings::default(), 2);
        for slot in 0..2 {
            inside(network.slot(slot).unwrap().egress(), || {
                assert_eq!(tcp(PUBLIC[0]).unwrap(), HOST[0]);
                assert_eq!(udp(PUBLIC[0]).unwrap(), HOST[0]);
                // Without version 6 on the host there is none inside, and that is told at once.
                refused("version 6", || tcp(PUBLIC[1]));
            });
        }
        assert!(!network.has_v6());
    });
}

#[test]
fn version_6_is_as_far_as_the_hosts() {
    on_a_host(|world| {
        world.forward_v6();
        let network = open(&Settings::default(), 1);
        assert!(network.has_v6());
        inside(network.slot(0).unwrap().egress(), || {
            assert_eq!(tcp(PUBLIC[1]).unwrap(), HOST[1]);
            assert_eq!(udp(PUBLIC[1]).unwrap(), HOST[1]);
        });
    });
}

#[test]
fn what_is_private_is_refused_at_once() {
    on_a_host(|world| {
        world.forward_v6();
        let network = open(&Settings::default(), 9);
        let other = network.block.slot(8);
        let (v4, v6) = (other.0.to_string(), other.1.to_string());
        inside(network.slot(8).unwrap().egress(), || serve(&[&v4, &v6]));
        let gateway = network.block.gateway().to_string();
        let refused_to_all = [&METADATA[..], &PRIVATE, &HOST, &[&gateway, &v4, &v6]].concat();
        inside(network.slot(0).unwrap().egress(), || {
            for address in &refused_to_all {
                refused(&format!("TCP to {address}"), || tcp(address));
            }
        });
        // A few for each slot: the kernel slows down errors to one receiver.
        for (slot, addresses) in refused_to_all.chunks(3).enumerate() {
            inside(network.slot(slot + 1).unwrap().egress(), || {
                for address in addresses {
                    refused(&format!("UDP to {address}"), || udp(address));
                }
            });
        }
        // They answer the host itself: it is the rules that refuse.
        for address in [&METADATA[..], &PRIVATE, &HOST].concat() {
            tcp(address).unwrap();
            udp(address).unwrap();
        }
    });
}

#[test]
fn without_a_network_there_is_only_the_own_loopback() {
    on_a_host(|_| {
        let network = open(&Settings::default(), 2);
        inside(network.slot(1).unwrap().none(), || serve(&["127.0.0.1"]));
        inside(network.slot(0).unwrap().none(), || {
            for address in [PUBLIC[0], PUBLIC[1], HOST[0], METADATA[0], "127.0.0.1"] {
                refused(&format!("TCP to {address}"), || tcp(address));
                refused(&format!("UDP to {address}"), || udp(address));
            }
            serve(&["127.0.0.1"]);
            assert_eq!(tcp("127.0.0.1").unwrap(), "127.0.0.1");
        });
    });
}

#[test]
fn an_exception_opens_a_range_and_a_port_of_the_host() {
    on_a_host(|world| {
        world.forward_v6();
        let allow = |texts: &[&str]| Settings {
            allow: texts.iter().map(|text| text.parse().unwrap()).collect(),
            ..Settings::default()
        };
        let host = HOST.map(|address| SocketAddr::new(ip(address), PORT).to_string());
        let settings =
            allow(&["10.1.0.0/16", "192.168.7.7:1", "fd12::7", "203.0.113.0/24", "169.254.169.254"]);
        let network = open(&settings, 1);
        inside(network.slot(0).unwrap().egress(), || {
            assert_eq!(tcp(PRIVATE[0]).unwrap(), HOST[0]);
            assert_eq!(tcp(PRIVATE[4]).unwrap(), HOST[1]);
            refused("another private range", || tcp(PRIVATE[1]));
            refused("another port", || tcp(PRIVATE[2]));
            refused("the host, without a port", || tcp(HOST[0]));
            refused("the machine's credentials, whatever is allowed", || tcp(METADATA[0]));
        });
        drop(network);
        let network = open(&allow(&[&host[0], &host[1]]), 1);
        inside(network.slot(0).unwrap().egress(), || {
            tcp(HOST[0]).unwrap();
            tcp(HOST[1]).unwrap();
            refused("another address of the host", || tcp(&network.block.gateway().to_string()));
        });
    });
}

#[test]
fn a_packet_with_a_false_source_goes_nowhere() {
    on_a_host(|world| {
        let network = open(&Settings::default(), 2);
        let heard = world.internet.within(|| UdpSocket::bind((PUBLIC[0], PORT + 1))).unwrap();
        heard.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let own = network.block.slot(0).0;
        let neighbour = network.block.slot(1).0;
        inside(network.slot(0).unwrap().egress(), || {
            for (source, text) in [(neighbour, "neighbour"), (ipv4("5.5.5.5"), "stranger"), (own, "honest")] {
                send_raw(source, ipv4(PUBLIC[0]), PORT + 1, text.as_bytes());
            }
        });
        let mut buffer = [0; 64];
        let length = heard.recv(&mut buffer).unwrap();
        assert_eq!(String::from_utf8_lossy(&buffer[..length]), "honest");
    });
}

fn ipv4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

/// Sends a UDP packet with a header of our own making.
fn send_raw(source: Ipv4Addr, to: Ipv4Addr, port: u16, text: &[u8]) {
    use nix::sys::socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
    };
    let udp_length = u16::try_from(8 + text.len()).unwrap();
    let mut packet = vec![0x45, 0];
    packet.extend((20 + udp_length).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(source.octets());
    packet.extend(to.octets());
    for number in [4000, port, udp_length, 0] {
        packet.extend(number.to_be_bytes());
    }
    packet.extend(text);
    let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw).unwrap();
    let to = SockaddrIn::from(std::net::SocketAddrV4::new(to, 0));
    sendto(std::os::fd::AsRawFd::as_raw_fd(&raw), &packet, &to, MsgFlags::empty()).unwrap();
}

#[test]
fn nobody_opens_a_connection_to_a_slot_or_through_the_host() {
    on_a_host(|world| {
        let network = open(&Settings::default(), 1);
        let slot = network.block.slot(0).0.to_string();
        inside(network.slot(0).unwrap().egress(), || serve(&[&slot]));
        // Another network behind the host, made after forwarding was switched on.
        let behind = Namespace::create().unwrap();
        let links = Links::open().unwrap();
        links.create_pair("lan0", "eth0", behind.as_fd()).unwrap();
        wire(&links, "lan0", &["10.77.0.1"], &["10.77.0.2"], false);
        behind
            .within(|| {
                wire(&Links::open()?, "eth0", &["10.77.0.2"], &["10.77.0.1"], true);
                serve(&["10.77.0.2"]);
                Ok(())
            })
            .unwrap();
        assert_eq!(tcp("10.77.0.2").unwrap(), "10.77.0.1");
        let unheard = |address: &str| {
            let to = SocketAddr::new(ip(address), PORT);
            TcpStream::connect_timeout(&to, Duration::from_millis(200)).unwrap_err().kind()
        };
        world
            .internet
            .within(|| {
                let links = Links::open()?;
                let index = links.index("down0")?;
                for range in ["198.18.0.0/15", "10.77.0.0/24"] {
                    links.add_route(range.parse().unwrap(), index, Some(ip(HOST[0])))?;
                }
                assert_eq!(unheard(&slot), ErrorKind::TimedOut);
                assert_eq!(unheard("10.77.0.2"), ErrorKind::TimedOut);
                Ok(())
            })
            .unwrap();
    });
}

#[test]
fn runners_on_one_host_leave_each_other_alone() {
    on_a_host(|_| {
        let first = open(&Settings::default(), 1);
        let second = open(&Settings::default(), 1);
        assert_ne!(first.block.name(), second.block.name());
        let other = first.block.slot(0).0.to_string();
        inside(first.slot(0).unwrap().egress(), || serve(&[&other]));
        inside(second.slot(0).unwrap().egress(), || {
            assert_eq!(tcp(PUBLIC[0]).unwrap(), HOST[0]);
            refused("a slot of another runner", || tcp(&other));
        });
        drop(first);
        inside(second.slot(0).unwrap().egress(), || assert_eq!(tcp(PUBLIC[0]).unwrap(), HOST[0]));
        drop(second);
        assert_eq!(filter::tables().unwrap(), [forwarding::GUARD]);
    });
}

#[test]
fn a_block_that_is_in_use_otherwise_is_left_out() {
    on_a_host(|_| {
        let links = Links::open().unwrap();
        links.add_route("198.18.0.0/20".parse().unwrap(), links.index("up0").unwrap(), None).unwrap();
        let network = open(&Settings::default(), 1);
        assert_eq!(network.block.ranges()[0].to_string(), "198.18.16.0/22");
        let small = Settings { range: "198.18.0.0/20".parse().unwrap(), ..Settings::default() };
        let why = Network::open(&small, 1, &api()).unwrap_err().to_string();
        assert!(why.contains("every block of the range of slots, 198.18.0.0/20, is in use"), "{why}");
    });
}

#[test]
fn what_a_killed_runner_left_is_removed_and_no_more() {
    on_a_host(|_| {
        let links = Links::open().unwrap();
        let kept = ["windlassic", "windlass", "wlan0"];
        let elsewhere = Namespace::create().unwrap();
        for name in ["windlass0-0", "windlass5-0", "windlass5-11"].into_iter().chain(kept) {
            links.create_pair(name, name, elsewhere.as_fd()).unwrap();
        }
        for table in ["windlass5", "windlass9", "windlasses"] {
            filter::install(table, &[]).unwrap();
        }
        let alive = open(&Settings { range: "198.18.0.0/22".parse().unwrap(), ..Settings::default() }, 1);
        let network = open(&Settings::default(), 1);
        let mut names: Vec<_> = links.all().unwrap().into_iter().map(|link| link.name).collect();
        names.sort();
        assert_eq!(names, ["lo", "up0", "windlass", "windlass0-0", "windlass1-0", "windlassic", "wlan0"]);
        let mut tables = filter::tables().unwrap();
        tables.sort();
        assert_eq!(tables, ["windlass-guard", "windlass0", "windlass1", "windlasses"]);
        drop((alive, network));
    });
}

/// Runs the services of a network in this host's namespace while `act` runs.
fn served(services: Services, resolv_conf: &std::path::Path, act: impl FnOnce()) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let services = runtime.spawn(services.run(Resolvers::in_file(resolv_conf)));
    act();
    services.abort();
    runtime.shutdown_background();
}

#[test]
fn a_task_finds_the_api_and_a_resolver_where_the_host_keeps_them_on_its_loopback() {
    on_a_host(|_| {
        let (network, services) = Network::open(&Settings::default(), 2, &api()).unwrap();
        let server = TcpListener::bind("127.0.0.1:7070").unwrap();
        thread::spawn(move || {
            for stream in server.incoming() {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                let _ = stream.read_to_end(&mut request);
                let _ = stream.write_all(&request.repeat(2));
            }
        });
        let resolver = UdpSocket::bind("127.0.0.1:53").unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 512];
            loop {
                let (length, from) = resolver.recv_from(&mut buffer).unwrap();
                // The first answer is to no question of ours.
                let mut other = buffer[..length].to_vec();
                other[0] ^= 1;
                let _ = resolver.send_to(&other, from);
                let answer = [&buffer[..length], b"answer"].concat();
                let _ = resolver.send_to(&answer, from);
            }
        });
        let over_tcp = TcpListener::bind("127.0.0.1:53").unwrap();
        thread::spawn(move || {
            for stream in over_tcp.incoming() {
                let _ = stream.unwrap().write_all(b"long answer");
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let resolv_conf = folder.path().join("resolv.conf");
        // Nobody listens there: the next is asked.
        std::fs::write(&resolv_conf, "nameserver 127.0.0.2\nnameserver 127.0.0.1\n").unwrap();
        served(services, &resolv_conf, || {
            for slot in 0..2 {
                inside(network.slot(slot).unwrap().egress(), || {
                    let mut stream = TcpStream::connect("127.0.0.80:80").unwrap();
                    stream.write_all(&[7; 100_000]).unwrap();
                    stream.shutdown(std::net::Shutdown::Write).unwrap();
                    let mut answer = Vec::new();
                    stream.read_to_end(&mut answer).unwrap();
                    assert!(answer == [7; 200_000], "{} bytes", answer.len());

                    assert_eq!(resolve(b"0123456789ab question").unwrap(), b"0123456789ab questionanswer");
                    let mut answer = String::new();
                    TcpStream::connect("127.0.0.53:53").unwrap().read_to_string(&mut answer).unwrap();
                    assert_eq!(answer, "long answer");
                });
            }
            let _silent = UdpSocket::bind("127.0.0.3:53").unwrap();
            std::fs::write(&resolv_conf, "nameserver 127.0.0.2\nnameserver 127.0.0.3").unwrap();
            inside(network.slot(0).unwrap().egress(), || {
                let answer = resolve(b"ab\x01\x00........question").unwrap();
                assert_eq!(answer, b"ab\x81\x82........question", "told at once that nobody answers");
            });
        });
        inside(network.slot(0).unwrap().none(), || {
            assert_eq!(TcpStream::connect("127.0.0.80:80").unwrap_err().kind(), ErrorKind::ConnectionRefused);
        });
    });
}

fn resolve(question: &[u8]) -> io::Result<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    socket.connect("127.0.0.53:53")?;
    socket.send(question)?;
    let mut buffer = vec![0; 512];
    let length = socket.recv(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

#[test]
fn connections_beyond_the_most_wait_and_nothing_is_lost() {
    on_a_host(|_| {
        let (network, services) = Network::open(&Settings::default(), 1, &api()).unwrap();
        let server = TcpListener::bind("127.0.0.1:7070").unwrap();
        thread::spawn(move || {
            for stream in server.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut byte = [0];
                    let _ = stream.read_exact(&mut byte);
                    let _ = stream.write_all(&byte);
                });
            }
        });
        served(services, std::path::Path::new("/nowhere"), || {
            inside(network.slot(0).unwrap().egress(), || {
                let connect = |_| TcpStream::connect("127.0.0.80:80").unwrap();
                let mut streams: Vec<_> = (0..100).map(connect).collect();
                for (number, stream) in (0..).zip(&mut streams) {
                    stream.write_all(&[number]).unwrap();
                    let mut answer = [0];
                    stream.read_exact(&mut answer).unwrap();
                    assert_eq!(answer, [number]);
                    stream.shutdown(std::net::Shutdown::Both).unwrap();
                }
            });
        });
    });
}
