//! Whom a task reaches, and who reaches it.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

use super::raw::{ipv4, ping, send_udp};
use super::world::*;
use crate::sandbox::network::link::Links;
use crate::sandbox::network::namespace::Namespace;
use crate::sandbox::network::rules::CONNECTIONS;
use crate::sandbox::network::{Settings, forwarding};

#[test]
fn a_task_reaches_the_internet_and_is_seen_as_the_host() {
    on_a_host(|_| {
        let network = open(&Settings::default(), 2);
        for slot in 0..2 {
            inside(network.slot(slot).unwrap().egress(), || {
                assert_eq!(tcp(PUBLIC[0]).unwrap(), HOST[0]);
                assert_eq!(udp(PUBLIC[0]).unwrap(), HOST[0]);
                ping(PUBLIC[0]).unwrap();
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
        // By the host's rules alone: those inside come before them.
        for slot in 0..9 {
            tear_down(&network, slot);
        }
        let gateway = network.block.gateway().to_string();
        let refused_to_all = [&METADATA[..], &PRIVATE, &HOST, &[&gateway, &v4, &v6]].concat();
        inside(network.slot(0).unwrap().egress(), || {
            for address in &refused_to_all {
                refused(&format!("TCP to {address}"), || tcp(address));
            }
        });
        // A few for each slot: the kernel slows down errors to one receiver.
        for (slot, addresses) in refused_to_all.chunks(2).enumerate() {
            inside(network.slot(slot + 1).unwrap().egress(), || {
                for address in addresses {
                    refused(&format!("UDP to {address}"), || udp(address));
                    if ip(address).is_ipv4() {
                        refused(&format!("ping to {address}"), || ping(address));
                    }
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
        let settings = allow(&[
            "10.1.0.0/16",
            "192.168.7.7:1",
            "fd12::7",
            "203.0.113.0/24",
            "169.254.169.254",
            "198.18.0.0/15",
        ]);
        let network = open(&settings, 2);
        let other = network.block.slot(1).0.to_string();
        inside(network.slot(1).unwrap().egress(), || serve(&[]));
        inside(network.slot(0).unwrap().egress(), || {
            assert_eq!(tcp(PRIVATE[0]).unwrap(), HOST[0]);
            assert_eq!(tcp(PRIVATE[4]).unwrap(), HOST[1]);
            refused("another private range", || tcp(PRIVATE[1]));
            refused("another port", || tcp(PRIVATE[2]));
            refused("the host, without a port", || tcp(HOST[0]));
            refused("another slot, whatever is allowed", || tcp(&other));
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
                send_udp(source, ipv4(PUBLIC[0]), PORT + 1, text.as_bytes());
            }
        });
        let mut buffer = [0; 64];
        let length = heard.recv(&mut buffer).unwrap();
        assert_eq!(String::from_utf8_lossy(&buffer[..length]), "honest");
    });
}

#[test]
fn nobody_opens_a_connection_to_a_slot() {
    on_a_host(|world| {
        // Of a host that forwards for its own reasons.
        forwarding::write("ipv4/ip_forward", "1").unwrap();
        let network = open(&Settings::default(), 1);
        let slot = network.block.slot(0).0.to_string();
        inside(network.slot(0).unwrap().egress(), || serve(&[&slot]));
        world.lead_to_the_host(&["198.18.0.0/15"]);
        inside(world.internet.as_fd(), || unheard(&slot));
    });
}

fn unheard(address: &str) {
    let to = SocketAddr::new(ip(address), PORT);
    let error = TcpStream::connect_timeout(&to, Duration::from_millis(200)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[test]
fn a_host_that_forwards_for_us_does_not_for_its_neighbours() {
    on_a_host(|world| {
        let _network = open(&Settings::default(), 1);
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
        world.lead_to_the_host(&["10.77.0.0/24"]);
        inside(world.internet.as_fd(), || unheard("10.77.0.2"));
    });
}

#[test]
fn a_slot_that_opens_connections_without_end_is_stopped() {
    on_a_host(|world| {
        let network = open(&Settings::default(), 2);
        let heard = world.internet.within(|| UdpSocket::bind((PUBLIC[0], PORT + 1))).unwrap();
        setsockopt(&heard, sockopt::RcvBufForce, &(64 << 20)).unwrap();
        let more = u16::try_from(CONNECTIONS).unwrap() + 500;
        let to = SocketAddr::new(ip(PUBLIC[0]), PORT + 1);
        inside(network.slot(0).unwrap().egress(), || {
            for port in 10_000..10_000 + more {
                let socket = UdpSocket::bind(("0.0.0.0", port)).unwrap();
                socket.send_to(b"x", to).unwrap();
            }
        });
        inside(network.slot(1).unwrap().egress(), || {
            UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"the other slot", to).unwrap();
        });
        let (mut count, mut buffer) = (0, [0; 64]);
        while heard.recv(&mut buffer).unwrap() == 1 {
            count += 1;
        }
        assert_eq!(count, CONNECTIONS);
    });
}
