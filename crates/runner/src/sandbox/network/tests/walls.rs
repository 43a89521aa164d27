//! What stands when somebody empties the host's firewall, and what a slot's next task finds of the one before.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::process::Command;
use std::time::Duration;

use super::world::*;
use crate::sandbox::network::connections::Connections;
use crate::sandbox::network::link::Links;
use crate::sandbox::network::{Network, Settings, filter, forwarding};

/// Everything that is not for tasks, with a way to reach it that the host has.
fn not_for_tasks(network: &Network, neighbour: usize) -> Vec<String> {
    let (v4, v6) = network.block.slot(neighbour);
    let gateway = network.block.gateway();
    let slots = [v4.to_string(), v6.to_string(), gateway.to_string()];
    let others = [&METADATA[..], &PRIVATE, &HOST].concat();
    others.into_iter().map(str::to_owned).chain(slots).collect()
}

#[test]
fn whoever_empties_the_firewall_takes_nothing_of_ours() {
    on_a_host(|world| {
        world.forward_v6();
        let network = open(&Settings::default(), 2);
        assert!(network.keeps_its_rules(), "this kernel keeps rules for their owner");
        filter::install("somebody", &[]).unwrap();
        filter::flush().unwrap();
        // The same by the tool that people use, where it is installed.
        if let Ok(status) = Command::new("nft").args(["flush", "ruleset"]).status() {
            assert!(status.success());
        }
        assert_eq!(filter::tables().unwrap(), [network.block.name()]);
        assert_eq!(filter::remove(&network.block.name()).unwrap_err().raw_os_error(), Some(libc::EPERM));
        inside(network.slot(1).unwrap().egress(), || serve(&[]));
        tear_down(&network, 0);
        inside(network.slot(0).unwrap().egress(), || {
            assert_eq!(tcp(PUBLIC[0]).unwrap(), HOST[0], "the internet goes on");
            for address in not_for_tasks(&network, 1) {
                refused(&address, || tcp(&address));
            }
        });
        drop(network);
        assert_eq!(filter::tables().unwrap(), [""; 0]);
    });
}

#[test]
fn without_the_hosts_rules_the_slots_own_hold() {
    on_a_host(|world| {
        world.forward_v6();
        let mut network = open(&Settings::default(), 3);
        // As on a kernel that lets everybody remove them.
        drop(network.rules.take());
        assert_eq!(filter::tables().unwrap(), [forwarding::GUARD]);
        inside(network.slot(2).unwrap().egress(), || serve(&[]));
        tear_down(&network, 1);
        tear_down(&network, 2);
        inside(network.slot(1).unwrap().egress(), || {
            tcp(HOST[0]).expect("without any rules the host is open: it is the wall that closes it");
            tcp(&network.block.slot(2).0.to_string()).expect("and so are the other slots");
        });
        inside(network.slot(0).unwrap().egress(), || {
            for address in not_for_tasks(&network, 2) {
                refused(&format!("TCP to {address}"), || tcp(&address));
                refused(&format!("UDP to {address}"), || udp(&address));
            }
        });
    });
}

#[test]
fn the_next_task_of_a_slot_hears_nothing_that_is_meant_for_the_one_before() {
    on_a_host(|world| {
        let network = open(&Settings::default(), 2);
        let server = world.internet.within(|| UdpSocket::bind((PUBLIC[0], PORT + 1))).unwrap();
        let of_slot = |slot: usize| network.slot(slot).unwrap().egress();
        let speak = |slot: usize| {
            let socket = inside(of_slot(slot), || UdpSocket::bind("0.0.0.0:40000").unwrap());
            socket.send_to(b"hello", SocketAddr::new(ip(PUBLIC[0]), PORT + 1)).unwrap();
            (socket, server.recv_from(&mut [0; 8]).unwrap().1)
        };
        // A spawner's view: it forgets from inside of the slot.
        let host = crate::sandbox::network::namespace::Namespace::current().unwrap();
        let mut connections = Connections::enter(of_slot(0)).unwrap().expect("this kernel can");
        nix::sched::setns(host.as_fd(), nix::sched::CloneFlags::CLONE_NEWNET).unwrap();

        let ((before, answer_to), (neighbour, neighbours)) = (speak(0), speak(1));
        drop(before);
        connections.forget().unwrap();
        let next = inside(of_slot(0), || UdpSocket::bind("0.0.0.0:40000").unwrap());
        server.send_to(b"late", answer_to).unwrap();
        server.send_to(b"answer", neighbours).unwrap();
        let mut buffer = [0; 16];
        neighbour.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let length = neighbour.recv(&mut buffer).expect("the other slot's connections stay");
        assert_eq!(&buffer[..length], b"answer");
        next.set_nonblocking(true).unwrap();
        assert_eq!(next.recv(&mut buffer).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    });
}

#[test]
fn addresses_of_the_host_are_its_own_and_not_those_at_the_other_ends() {
    on_a_host(|_| {
        let own: Vec<String> =
            Links::open().unwrap().addresses().unwrap().iter().map(ToString::to_string).collect();
        assert!(own.contains(&HOST[0].to_owned()) && !own.contains(&ROUTER[0].to_owned()), "{own:?}");
    });
}
