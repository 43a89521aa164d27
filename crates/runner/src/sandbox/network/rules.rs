//! What the filter lets through, as a pure function of the settings: printed, it reads as `nft list ruleset` would.
//!
//! Three directions matter. What a slot sends to this host is refused, whatever it is: what tasks need of it, they
//! find inside of their own namespace. What it sends through this host is judged by its destination. What is sent to
//! a slot is an answer, or dropped. Everything else is not looked at.

use std::fmt;
use std::net::IpAddr;

use super::prefix::{Allowed, Prefix};
use super::settings::Settings;

/// Connections that a slot may have at once. The table of connections is one for the whole host: whoever fills it cuts
/// off everybody.
pub(super) const CONNECTIONS: u32 = 4096;

/// Not for tasks, whatever the settings say: where clouds keep the credentials of the machine, which are link-local
/// addresses and one odd one of Azure's; and multicast.
const NEVER: [&str; 7] = [
    "169.254.0.0/16",
    "fe80::/10",
    "fd00:ec2::254",
    "168.63.129.16",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "ff00::/8",
];

/// A chain of rules. One with a hook sees packets; others are jumped to.
pub(super) struct Chain {
    pub(super) name: &'static str,
    pub(super) hook: Option<Hook>,
    pub(super) rules: Vec<Rule>,
}

/// Where packets are shown to a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// As they come, before connections are tracked.
    Raw,
    /// Those for this host.
    Input,
    /// Those that this host passes on.
    Forward,
    /// Those that are sent from here.
    Output,
    /// The last moment, where the source may be changed.
    SourceNat,
}

/// What happens to a packet that fits everything in `when`.
pub(super) struct Rule {
    pub(super) when: Vec<Match>,
    pub(super) then: Verdict,
}

/// A property of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// It came from a link whose name begins so.
    From(String),
    /// It came from this link.
    FromLink(String),
    /// It goes to a link whose name begins so.
    To(String),
    /// It does not.
    NotTo(String),
    /// Its source address does not lead back to where it came from.
    Spoofed,
    /// It belongs to a connection that was let through, or is an error about one.
    Established,
    /// It opens a connection.
    New,
    /// It fits no connection, so that its source would not be changed on its way out.
    Stray,
    /// Its destination was changed on purpose, as for a published port.
    Redirected,
    /// It is of TCP.
    Tcp,
    /// It is of UDP.
    Udp,
    /// It asks for, or tells, the hardware address of an address of version 6.
    NeighbourDiscovery,
    /// Its source.
    Source(Prefix),
    /// Its destination.
    Destination(Prefix),
    /// The port it goes to.
    Port(u16),
    /// More connections came by here than this.
    MoreThan(u32),
}

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It passes.
    Accept,
    /// It is not heard of again.
    Drop,
    /// Its sender is told at once.
    Refuse,
    /// The same, for TCP, which nothing slows down: other errors are sent six at a time, then one each second.
    Reset,
    /// Other rules judge it.
    Jump(&'static str),
    /// It leaves under this host's address.
    Masquerade,
}

/// The rules for slots whose links have names that begin with `prefix` and go on with the slot's number. All of Windlass
/// on this host has names that begin with `ours`, and addresses of slots are in `blocks`.
pub(super) fn chains(
    settings: &Settings,
    ours: &str,
    prefix: &str,
    slots: usize,
    blocks: &[Prefix],
) -> Vec<Chain> {
    let from = || Match::From(prefix.to_owned());
    let to = || Match::To(prefix.to_owned());
    let base = |name, hook, rules| Chain { name, hook: Some(hook), rules };
    let inner = |name, rules| Chain { name, hook: None, rules };

    let mut input = vec![rule([Match::NeighbourDiscovery], Verdict::Accept)];
    // This host has many addresses, and a range may hold some by mistake: only who names a port means it.
    let ports = settings.allow.iter().filter(|allowed| allowed.port.is_some());
    input.extend(ports.flat_map(|allowed| accept(*allowed)));
    input.push(rule([], Verdict::Jump("refuse")));

    let mut forward = vec![
        rule([Match::Established], Verdict::Accept),
        rule([Match::Stray], Verdict::Drop),
        rule([Match::To(ours.to_owned())], Verdict::Jump("refuse")),
    ];
    let never = NEVER.iter().map(|range| range.parse().expect("written correctly above"));
    forward.extend(never.map(|range| rule([Match::Destination(range)], Verdict::Jump("refuse"))));
    forward.push(rule([], Verdict::Jump("count")));
    forward.extend(settings.allow.iter().flat_map(|allowed| accept(*allowed)));
    let deny = settings.deny.iter().copied();
    forward.extend(deny.map(|range| rule([Match::Destination(range)], Verdict::Jump("refuse"))));

    let count = (0..slots).map(|slot| {
        let link = format!("{prefix}{slot}");
        rule([Match::FromLink(link), Match::MoreThan(CONNECTIONS)], Verdict::Jump("refuse"))
    });

    vec![
        inner("refuse", vec![rule([Match::Tcp], Verdict::Reset), rule([], Verdict::Refuse)]),
        inner("count", count.collect()),
        inner("to_host", input),
        inner("to_world", forward),
        inner("to_slot", vec![rule([Match::Established], Verdict::Accept), rule([], Verdict::Drop)]),
        base("arrival", Hook::Raw, vec![rule([from(), Match::Spoofed], Verdict::Drop)]),
        base("input", Hook::Input, vec![rule([from()], Verdict::Jump("to_host"))]),
        base(
            "forward",
            Hook::Forward,
            vec![rule([from()], Verdict::Jump("to_world")), rule([to()], Verdict::Jump("to_slot"))],
        ),
        base("departure", Hook::SourceNat, {
            let leaves = || Match::NotTo(ours.to_owned());
            blocks.iter().map(|&block| rule([Match::Source(block), leaves()], Verdict::Masquerade)).collect()
        }),
    ]
}

/// The rules inside of a slot, whose wire is the link `wire`: a second wall, which whoever changes the host's rules does
/// not touch, and a task cannot. By addresses alone, so that nothing needs to be remembered: `blocks` are those of slots,
/// and `host` those of this host, as they are now. What it gets later is kept from tasks by the first wall only.
pub(super) fn wall(settings: &Settings, wire: &str, blocks: &[Prefix], host: &[Prefix]) -> Vec<Chain> {
    let refuse = |range: Prefix| rule([Match::Destination(range)], Verdict::Jump("refuse"));
    let allow = settings.allow.iter().copied();
    let (ports, ranges): (Vec<Allowed>, Vec<Allowed>) = allow.partition(|allowed| allowed.port.is_some());
    let mut rules = vec![rule([Match::NeighbourDiscovery], Verdict::Accept)];
    rules.extend(NEVER.iter().map(|range| refuse(range.parse().expect("written correctly above"))));
    rules.extend(ports.into_iter().flat_map(accept));
    rules.extend(blocks.iter().chain(host).map(|range| refuse(*range)));
    rules.extend(ranges.into_iter().flat_map(accept));
    rules.extend(settings.deny.iter().map(|range| refuse(*range)));
    vec![
        Chain {
            name: "refuse",
            hook: None,
            rules: vec![rule([Match::Tcp], Verdict::Reset), rule([], Verdict::Refuse)],
        },
        Chain { name: "to_world", hook: None, rules },
        Chain {
            name: "output",
            hook: Some(Hook::Output),
            rules: vec![rule([Match::To(wire.to_owned())], Verdict::Jump("to_world"))],
        },
    ]
}

/// Keeps a host that had no need to forward packets from doing it for its neighbours, once it does it for us: what
/// comes from the links that are there now and is neither an answer nor redirected on purpose goes no further.
pub(super) fn guard(links: &[String]) -> Vec<Chain> {
    let rules = vec![rule([Match::Established], Verdict::Accept), rule([Match::Redirected], Verdict::Accept)];
    let drops = links.iter().map(|link| rule([Match::FromLink(link.clone()), Match::New], Verdict::Drop));
    vec![Chain {
        name: "forward",
        hook: Some(Hook::Forward),
        rules: rules.into_iter().chain(drops).collect(),
    }]
}

fn rule(when: impl Into<Vec<Match>>, then: Verdict) -> Rule {
    Rule { when: when.into(), then }
}

fn accept(allowed: Allowed) -> Vec<Rule> {
    let to = Match::Destination(allowed.prefix);
    match allowed.port {
        None => vec![rule([to], Verdict::Accept)],
        Some(port) => [Match::Tcp, Match::Udp]
            .map(|protocol| rule([to.clone(), protocol, Match::Port(port)], Verdict::Accept))
            .into(),
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "chain {} {{", self.name)?;
        if let Some(hook) = self.hook {
            let (kind, hook, priority) = match hook {
                Hook::Raw => ("filter", "prerouting", "raw"),
                Hook::Input => ("filter", "input", "filter - 1"),
                Hook::Forward => ("filter", "forward", "filter - 1"),
                Hook::Output => ("filter", "output", "filter - 1"),
                Hook::SourceNat => ("nat", "postrouting", "srcnat"),
            };
            writeln!(f, "  type {kind} hook {hook} priority {priority}; policy accept;")?;
        }
        for rule in &self.rules {
            writeln!(f, "  {rule}")?;
        }
        write!(f, "}}")
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for property in &self.when {
            write!(f, "{property} ")?;
        }
        match self.then {
            Verdict::Accept => f.write_str("accept"),
            Verdict::Drop => f.write_str("drop"),
            Verdict::Refuse => f.write_str("reject with icmpx admin-prohibited"),
            Verdict::Reset => f.write_str("reject with tcp reset"),
            Verdict::Jump(chain) => write!(f, "jump {chain}"),
            Verdict::Masquerade => f.write_str("masquerade"),
        }
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = |prefix: &Prefix| match prefix.address() {
            IpAddr::V4(_) => "ip",
            IpAddr::V6(_) => "ip6",
        };
        match self {
            Match::From(prefix) => write!(f, "iifname \"{prefix}*\""),
            Match::FromLink(name) => write!(f, "iifname \"{name}\""),
            Match::To(prefix) => write!(f, "oifname \"{prefix}*\""),
            Match::NotTo(prefix) => write!(f, "oifname != \"{prefix}*\""),
            Match::Spoofed => f.write_str("fib saddr . iif oif missing"),
            Match::Established => f.write_str("ct state established,related"),
            Match::New => f.write_str("ct state new"),
            Match::Stray => f.write_str("ct state invalid"),
            Match::Redirected => f.write_str("ct status dnat"),
            Match::Tcp => f.write_str("meta l4proto tcp"),
            Match::Udp => f.write_str("meta l4proto udp"),
            Match::NeighbourDiscovery => f.write_str("icmpv6 type nd-neighbor-solicit-nd-neighbor-advert"),
            Match::Source(prefix) => write!(f, "{} saddr {prefix}", family(prefix)),
            Match::Destination(prefix) => write!(f, "{} daddr {prefix}", family(prefix)),
            Match::Port(port) => write!(f, "th dport {port}"),
            Match::MoreThan(count) => write!(f, "ct count over {count}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_read_as_a_policy() {
        let settings = Settings {
            deny: vec!["10.0.0.0/8".parse().unwrap(), "fc00::/7".parse().unwrap()],
            allow: vec!["10.1.0.0/16".parse().unwrap(), "10.2.3.4:5432".parse().unwrap()],
            ..Settings::default()
        };
        let blocks = ["198.18.4.0/22", "fd57:696e:646c:1::/64"].map(|block| block.parse().unwrap());
        let chains = chains(&settings, "windlass", "windlass1-", 2, &blocks);
        let text: Vec<_> = chains.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(text.join("\n"), @r#"
        chain refuse {
          meta l4proto tcp reject with tcp reset
          reject with icmpx admin-prohibited
        }
        chain count {
          iifname "windlass1-0" ct count over 4096 jump refuse
          iifname "windlass1-1" ct count over 4096 jump refuse
        }
        chain to_host {
          icmpv6 type nd-neighbor-solicit-nd-neighbor-advert accept
          ip daddr 10.2.3.4 meta l4proto tcp th dport 5432 accept
          ip daddr 10.2.3.4 meta l4proto udp th dport 5432 accept
          jump refuse
        }
        chain to_world {
          ct state established,related accept
          ct state invalid drop
          oifname "windlass*" jump refuse
          ip daddr 169.254.0.0/16 jump refuse
          ip6 daddr fe80::/10 jump refuse
          ip6 daddr fd00:ec2::254 jump refuse
          ip daddr 168.63.129.16 jump refuse
          ip daddr 224.0.0.0/4 jump refuse
          ip daddr 240.0.0.0/4 jump refuse
          ip6 daddr ff00::/8 jump refuse
          jump count
          ip daddr 10.1.0.0/16 accept
          ip daddr 10.2.3.4 meta l4proto tcp th dport 5432 accept
          ip daddr 10.2.3.4 meta l4proto udp th dport 5432 accept
          ip daddr 10.0.0.0/8 jump refuse
          ip6 daddr fc00::/7 jump refuse
        }
        chain to_slot {
          ct state established,related accept
          drop
        }
        chain arrival {
          type filter hook prerouting priority raw; policy accept;
          iifname "windlass1-*" fib saddr . iif oif missing drop
        }
        chain input {
          type filter hook input priority filter - 1; policy accept;
          iifname "windlass1-*" jump to_host
        }
        chain forward {
          type filter hook forward priority filter - 1; policy accept;
          iifname "windlass1-*" jump to_world
          oifname "windlass1-*" jump to_slot
        }
        chain departure {
          type nat hook postrouting priority srcnat; policy accept;
          ip saddr 198.18.4.0/22 oifname != "windlass*" masquerade
          ip6 saddr fd57:696e:646c:1::/64 oifname != "windlass*" masquerade
        }
        "#);
        let host = ["203.0.113.2".parse().unwrap()];
        let text: Vec<_> = wall(&settings, "eth0", &blocks, &host).iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(text.join("\n"), @r#"
        chain refuse {
          meta l4proto tcp reject with tcp reset
          reject with icmpx admin-prohibited
        }
        chain to_world {
          icmpv6 type nd-neighbor-solicit-nd-neighbor-advert accept
          ip daddr 169.254.0.0/16 jump refuse
          ip6 daddr fe80::/10 jump refuse
          ip6 daddr fd00:ec2::254 jump refuse
          ip daddr 168.63.129.16 jump refuse
          ip daddr 224.0.0.0/4 jump refuse
          ip daddr 240.0.0.0/4 jump refuse
          ip6 daddr ff00::/8 jump refuse
          ip daddr 10.2.3.4 meta l4proto tcp th dport 5432 accept
          ip daddr 10.2.3.4 meta l4proto udp th dport 5432 accept
          ip daddr 198.18.4.0/22 jump refuse
          ip6 daddr fd57:696e:646c:1::/64 jump refuse
          ip daddr 203.0.113.2 jump refuse
          ip daddr 10.1.0.0/16 accept
          ip daddr 10.0.0.0/8 jump refuse
          ip6 daddr fc00::/7 jump refuse
        }
        chain output {
          type filter hook output priority filter - 1; policy accept;
          oifname "eth0*" jump to_world
        }
        "#);
        let text: Vec<_> = guard(&["eth0".to_owned()]).iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(text.join("\n"), @r#"
        chain forward {
          type filter hook forward priority filter - 1; policy accept;
          ct state established,related accept
          ct status dnat accept
          iifname "eth0" ct state new drop
        }
        "#);
    }
}
