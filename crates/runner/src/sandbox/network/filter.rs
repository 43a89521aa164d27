//! Rules as the kernel's nf_tables takes them: each property of a packet is a value that is loaded and compared.

use std::io;
use std::net::IpAddr;

use super::netlink::{ACK, APPEND, CREATE, EXCLUSIVE, Message, Netlink, attributes, text};
use super::prefix::Prefix;
use super::rules::{Chain, Hook, Match, Rule, Verdict};

/// Kinds of messages.
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NF_TABLES: u16 = 10;
const NEW_TABLE: u16 = NF_TABLES << 8;
const GET_TABLE: u16 = NF_TABLES << 8 | 1;
const DELETE_TABLE: u16 = NF_TABLES << 8 | 2;
const NEW_CHAIN: u16 = NF_TABLES << 8 | 3;
const NEW_RULE: u16 = NF_TABLES << 8 | 6;

/// Both versions of the internet protocol.
const INET: u8 = 1;

/// The register for verdicts, and the one that values are loaded into.
const VERDICT: u32 = 0;
const VALUE: u32 = 1;

/// The hook of packets that are passed on.
pub(super) const FORWARD: u32 = 2;

/// Longest name of a link, with the zero byte at its end.
const LINK_NAME: usize = 16;

/// Only the connection that made the table may change it, and it goes when that is closed.
const OWNED: u32 = 2;

/// Makes a table of these chains: all of it, or, on an error, nothing. It fails if there is a table of that name.
pub(super) fn install(table: &str, chains: &[Chain]) -> io::Result<()> {
    install_as(&Netlink::filter()?, table, chains, 0)
}

/// Keeps a table. It goes when this is dropped, and when this process ends, however that happens.
#[derive(Debug)]
pub(super) struct Owner(#[expect(dead_code, reason = "it is held, not used")] Netlink);

/// The same, for a table that nobody but us can change or remove, not even with everything else (`nft flush ruleset`),
/// as long as we keep it. `None`: this kernel has no such tables (before 5.12), and it is one like any other.
pub(super) fn install_owned(table: &str, chains: &[Chain]) -> io::Result<Option<Owner>> {
    let kernel = Netlink::filter()?;
    match install_as(&kernel, table, chains, OWNED) {
        Ok(()) => Ok(Some(Owner(kernel))),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL)) => {
            install(table, chains).map(|()| None)
        }
        Err(error) => Err(error),
    }
}

fn install_as(kernel: &Netlink, table: &str, chains: &[Chain], flags: u32) -> io::Result<()> {
    let mut batch = begin();
    let mut acks = 1;
    batch.then(NEW_TABLE, CREATE | EXCLUSIVE | ACK, &[INET, 0, 0, 0]).put_text(1, table);
    if flags != 0 {
        batch.put(2, &flags.to_be_bytes());
    }
    for chain in chains {
        batch.then(NEW_CHAIN, CREATE | ACK, &[INET, 0, 0, 0]).put_text(1, table).put_text(3, chain.name);
        acks += 1;
        if let Some(hook) = chain.hook {
            let (kind, number, priority) = place(hook);
            batch.nest(4, |hook| hook.put(1, &number.to_be_bytes()).put(2, &priority.to_be_bytes()));
            batch.put(5, &ACCEPT.to_be_bytes()).put_text(7, kind);
        }
    }
    for chain in chains {
        for rule in &chain.rules {
            batch.then(NEW_RULE, CREATE | APPEND | ACK, &[INET, 0, 0, 0]);
            batch.put_text(1, table).put_text(2, chain.name).nest(4, |list| encode(list, rule));
            acks += 1;
        }
    }
    finish(kernel, batch, acks)
}

/// Removes a table with all it holds.
pub(super) fn remove(table: &str) -> io::Result<()> {
    let mut batch = begin();
    batch.then(DELETE_TABLE, ACK, &[INET, 0, 0, 0]).put_text(1, table);
    finish(&Netlink::filter()?, batch, 1)
}

/// What `nft flush ruleset` does: removes every table of every family.
#[cfg(test)]
pub(super) fn flush() -> io::Result<()> {
    let mut batch = begin();
    batch.then(DELETE_TABLE, ACK, &[0, 0, 0, 0]);
    finish(&Netlink::filter()?, batch, 1)
}

/// The names of all tables for both versions of the internet protocol.
pub(super) fn tables() -> io::Result<Vec<String>> {
    let mut tables = Vec::new();
    Netlink::filter()?.list(Message::new(GET_TABLE, 0, &[INET, 0, 0, 0]), |table| {
        let attributes = attributes(table.get(4..).unwrap_or_default());
        tables.extend(attributes.filter(|(kind, _)| *kind == 1).map(|(_, name)| text(name)));
    })?;
    Ok(tables)
}

fn begin() -> Message {
    Message::new(BATCH_BEGIN, 0, &[0, 0, 0, NF_TABLES.to_be_bytes()[1]])
}

fn finish(kernel: &Netlink, mut batch: Message, acks: usize) -> io::Result<()> {
    batch.then(BATCH_END, 0, &[0, 0, 0, NF_TABLES.to_be_bytes()[1]]);
    kernel.ask_all(&batch, acks)
}

/// Type, number and priority of a hook: one step before other filters, so that a refusal is told by us.
fn place(hook: Hook) -> (&'static str, u32, i32) {
    match hook {
        Hook::Raw => ("filter", 0, -300),
        Hook::Input => ("filter", 1, -1),
        Hook::Forward => ("filter", FORWARD, -1),
        Hook::Output => ("filter", 3, -1),
        Hook::SourceNat => ("nat", 4, 100),
    }
}

fn encode<'a>(list: &'a mut Message, rule: &Rule) -> &'a mut Message {
    for property in &rule.when {
        load_and_compare(list, property);
    }
    match rule.then {
        Verdict::Accept => verdict(list, ACCEPT.cast_signed(), None),
        Verdict::Drop => verdict(list, DROP.cast_signed(), None),
        Verdict::Jump(chain) => verdict(list, JUMP, Some(chain)),
        Verdict::Reset => expression(list, "reject", |data| data.put(1, &1u32.to_be_bytes()).put(2, &[0])),
        Verdict::Refuse => {
            let why = [ADMINISTRATIVELY_PROHIBITED];
            expression(list, "reject", |data| data.put(1, &2u32.to_be_bytes()).put(2, &why))
        }
        Verdict::Masquerade => expression(list, "masq", |data| data),
    }
}

/// Verdicts.
pub(super) const DROP: u32 = 0;
const ACCEPT: u32 = 1;
const JUMP: i32 = -3;
const ADMINISTRATIVELY_PROHIBITED: u8 = 3;

fn load_and_compare<'a>(list: &'a mut Message, property: &Match) -> &'a mut Message {
    match property {
        Match::From(prefix) => link_name(list, INCOMING_NAME, EQUAL, prefix.as_bytes()),
        Match::To(prefix) => link_name(list, OUTGOING_NAME, EQUAL, prefix.as_bytes()),
        Match::NotTo(prefix) => link_name(list, OUTGOING_NAME, NOT_EQUAL, prefix.as_bytes()),
        Match::FromLink(name) => {
            let mut whole = name.as_bytes().to_vec();
            whole.resize(LINK_NAME, 0);
            link_name(list, INCOMING_NAME, EQUAL, &whole)
        }
        Match::Spoofed => {
            // The link that the source is behind, if it is the one it came from.
            let (of_source, if_this_link, link) = (1u32, 8u32, 1u32);
            let flags = of_source | if_this_link;
            load(list, "fib", |data| data.put(2, &link.to_be_bytes()).put(3, &flags.to_be_bytes()));
            compare(list, EQUAL, &[0; 4])
        }
        Match::Established => connection(list, 0, 2 | 4),
        Match::New => connection(list, 0, 8),
        Match::Stray => connection(list, 0, 1),
        Match::Redirected => connection(list, 2, 32),
        Match::Tcp => protocol(list, libc::IPPROTO_TCP),
        Match::Udp => protocol(list, libc::IPPROTO_UDP),
        Match::NeighbourDiscovery => {
            protocol(list, libc::IPPROTO_ICMPV6);
            payload(list, TRANSPORT, 0, 1);
            compare(list, AT_LEAST, &[135]);
            compare(list, AT_MOST, &[136])
        }
        Match::Source(prefix) => address(list, prefix, 12, 8),
        Match::Destination(prefix) => address(list, prefix, 16, 24),
        Match::Port(port) => {
            payload(list, TRANSPORT, 2, 2);
            compare(list, EQUAL, &port.to_be_bytes())
        }
        Match::MoreThan(count) => {
            let over = 1u32;
            expression(list, "connlimit", |data| {
                data.put(1, &count.to_be_bytes()).put(2, &over.to_be_bytes())
            })
        }
    }
}

const INCOMING_NAME: u32 = 6;
const OUTGOING_NAME: u32 = 7;
const FAMILY: u32 = 15;
const PROTOCOL: u32 = 16;
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const AT_MOST: u32 = 3;
const AT_LEAST: u32 = 5;
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;

fn link_name<'a>(list: &'a mut Message, which: u32, how: u32, name: &[u8]) -> &'a mut Message {
    meta(list, which);
    compare(list, how, name)
}

fn protocol(list: &mut Message, protocol: i32) -> &mut Message {
    meta(list, PROTOCOL);
    compare(list, EQUAL, &protocol.to_le_bytes()[..1])
}

/// Whether any of `bits` is set in what is known of the packet's connection.
fn connection(list: &mut Message, which: u32, bits: u32) -> &mut Message {
    load(list, "ct", |data| data.put(2, &which.to_be_bytes()));
    mask(list, &bits.to_ne_bytes());
    compare(list, NOT_EQUAL, &[0; 4])
}

/// Whether the address at one of two offsets, by the version of the protocol, is in a range.
fn address<'a>(list: &'a mut Message, prefix: &Prefix, offset_v4: u32, offset_v6: u32) -> &'a mut Message {
    let (family, offset, bytes) = match prefix.address() {
        IpAddr::V4(address) => (libc::AF_INET, offset_v4, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6, offset_v6, address.octets().to_vec()),
    };
    meta(list, FAMILY);
    compare(list, EQUAL, &family.to_le_bytes()[..1]);
    payload(list, NETWORK, offset, length(&bytes));
    mask(list, &prefix.mask());
    compare(list, EQUAL, &bytes)
}

fn meta(list: &mut Message, which: u32) {
    load(list, "meta", |data| data.put(2, &which.to_be_bytes()));
}

fn payload(list: &mut Message, base: u32, offset: u32, length: u32) {
    load(list, "payload", |data| {
        data.put(2, &base.to_be_bytes()).put(3, &offset.to_be_bytes()).put(4, &length.to_be_bytes())
    });
}

/// Keeps those bits of the value that are set in `mask`.
fn mask(list: &mut Message, mask: &[u8]) {
    load(list, "bitwise", |data| {
        data.put(2, &VALUE.to_be_bytes()).put(3, &length(mask).to_be_bytes());
        data.nest(4, |value| value.put(1, mask)).nest(5, |value| value.put(1, &vec![0; mask.len()]))
    });
}

fn compare<'a>(list: &'a mut Message, how: u32, with: &[u8]) -> &'a mut Message {
    load(list, "cmp", |data| data.put(2, &how.to_be_bytes()).nest(3, |value| value.put(1, with)))
}

fn verdict<'a>(list: &'a mut Message, code: i32, chain: Option<&str>) -> &'a mut Message {
    expression(list, "immediate", |data| {
        data.put(1, &VERDICT.to_be_bytes()).nest(2, |value| {
            value.nest(2, |verdict| {
                verdict.put(1, &code.to_be_bytes());
                match chain {
                    Some(chain) => verdict.put_text(2, chain),
                    None => verdict,
                }
            })
        })
    })
}

/// An expression whose first attribute is the register with the value.
fn load<'a>(
    list: &'a mut Message,
    name: &str,
    fill: impl FnOnce(&mut Message) -> &mut Message,
) -> &'a mut Message {
    expression(list, name, |data| fill(data.put(1, &VALUE.to_be_bytes())))
}

fn expression<'a>(
    list: &'a mut Message,
    name: &str,
    fill: impl FnOnce(&mut Message) -> &mut Message,
) -> &'a mut Message {
    list.nest(1, |expression| expression.put_text(1, name).nest(2, fill))
}

fn length(value: &[u8]) -> u32 {
    u32::try_from(value.len()).expect("an address is short")
}
