//! Firewalls of the host that drop what they do not know, as those of Docker and ufw do: what we let through has to get
//! past them, too.

use std::fmt;
use std::io;

use super::block::OURS;
use super::filter::{DROP, FORWARD};
use super::netlink::{Message, Netlink, attributes, text};

const GET_CHAIN: u16 = 10 << 8 | 4;
const GET_RULE: u16 = 10 << 8 | 7;

/// A chain of the host's that drops packets it has no rule for, and has none for ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    family: u8,
    table: String,
    chain: String,
}

impl Obstacle {
    /// The commands that let packets of tasks pass.
    pub fn remedy(&self) -> String {
        let Self { table, chain, .. } = self;
        if self.is_of_iptables() {
            let program = if self.family == IPV4 { "iptables" } else { "ip6tables" };
            return format!(
                "{program} -I {chain} -i {OURS}+ -j ACCEPT && {program} -I {chain} -o {OURS}+ -m conntrack --ctstate \
                 ESTABLISHED,RELATED -j ACCEPT"
            );
        }
        let family = family(self.family);
        format!(
            "nft 'insert rule {family} {table} {chain} iifname \"{OURS}*\" accept; insert rule {family} {table} {chain} \
             oifname \"{OURS}*\" ct state established,related accept'"
        )
    }

    fn is_of_iptables(&self) -> bool {
        matches!(self.family, IPV4 | IPV6) && self.table == "filter" && self.chain == "FORWARD"
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, chain, .. } = self;
        write!(f, "the chain {} {table} {chain} drops packets that it has no rule for", family(self.family))
    }
}

const INET: u8 = 1;
const IPV4: u8 = 2;
const IPV6: u8 = 10;

fn family(number: u8) -> &'static str {
    match number {
        INET => "inet",
        IPV4 => "ip",
        IPV6 => "ip6",
        _ => "other",
    }
}

/// What is in the way of packets of tasks. Needs to be root.
///
/// A table with a rule that names our links is taken to let them pass.
pub fn obstacles() -> io::Result<Vec<Obstacle>> {
    let kernel = Netlink::filter()?;
    let mut obstacles = Vec::new();
    kernel.list(Message::new(GET_CHAIN, 0, &[0; 4]), |chain| obstacles.extend(obstacle(chain)))?;
    // One after the other: asking while an answer is read would mix the two up.
    let mut in_the_way = Vec::new();
    for obstacle in obstacles {
        let mut names_us = false;
        let mut rules = Message::new(GET_RULE, 0, &[obstacle.family, 0, 0, 0]);
        rules.put_text(1, &obstacle.table);
        kernel.list(rules, |rule| {
            names_us |= rule.windows(OURS.len()).any(|part| part == OURS.as_bytes());
        })?;
        if !names_us {
            in_the_way.push(obstacle);
        }
    }
    Ok(in_the_way)
}

/// A chain, as the kernel lists it, if it drops what is passed on.
fn obstacle(chain: &[u8]) -> Option<Obstacle> {
    let (header, rest) = chain.split_first_chunk::<4>()?;
    let value = |wanted| attributes(rest).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let hook = attributes(value(4)?).find(|(kind, _)| *kind == 1)?.1;
    let drops = hook == FORWARD.to_be_bytes() && value(5)? == DROP.to_be_bytes();
    let is_ip = [INET, IPV4, IPV6].contains(&header[0]);
    (drops && is_ip).then_some(Obstacle { family: header[0], table: text(value(1)?), chain: text(value(3)?) })
}
