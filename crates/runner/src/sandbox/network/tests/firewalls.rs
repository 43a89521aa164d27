//! A host with a firewall that knows nothing of us.

use super::world::*;
use crate::sandbox::network::netlink::{ACK, CREATE, Message, Netlink};
use crate::sandbox::network::{Settings, obstacles};

const IPV4: u8 = 2;

/// What `iptables -P FORWARD DROP` makes.
fn drop_what_is_forwarded() {
    let header = [IPV4, 0, 0, 0];
    let mut batch = Message::new(0x10, 0, &[0, 0, 0, 10]);
    batch.then(0xa00, CREATE | ACK, &header).put_text(1, "filter");
    batch
        .then(0xa03, CREATE | ACK, &header)
        .put_text(1, "filter")
        .put_text(3, "FORWARD")
        .put_text(7, "filter");
    batch.nest(4, |hook| hook.put(1, &2u32.to_be_bytes()).put(2, &0u32.to_be_bytes()));
    batch.put(5, &0u32.to_be_bytes());
    batch.then(0x11, 0, &[0, 0, 0, 10]);
    Netlink::filter().unwrap().ask_all(&batch, 2).unwrap();
}

#[test]
fn a_firewall_that_drops_what_it_does_not_know_is_found_and_named_with_what_to_do() {
    on_a_host(|_| {
        let network = open(&Settings::default(), 1);
        assert_eq!(obstacles().unwrap(), []);
        drop_what_is_forwarded();
        let found = obstacles().unwrap();
        let told: Vec<_> = found.iter().map(|found| format!("{found}: {}", found.remedy())).collect();
        let command = "iptables -I FORWARD -i windlass+ -j ACCEPT && \
                       iptables -I FORWARD -o windlass+ -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT";
        let expected =
            format!("the chain ip filter FORWARD drops packets that it has no rule for: {command}");
        assert_eq!(told, [expected]);
        inside(network.slot(0).unwrap().egress(), || tcp(PUBLIC[0]).unwrap_err());
    });
}
