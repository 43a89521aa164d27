//! Several runners on one host, one after the other or at once.

use std::os::fd::AsFd as _;

use super::world::*;
use crate::sandbox::network::link::Links;
use crate::sandbox::network::namespace::Namespace;
use crate::sandbox::network::{Network, Settings, filter, forwarding};

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
