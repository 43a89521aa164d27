//! Whether this host passes packets on, which is how those of slots get out.

use std::fs;
use std::io;
use std::path::Path;

use super::block::OURS;
use super::filter;
use super::link::Links;
use super::rules;

const SYSTEM: &str = "/proc/sys/net";

/// The table that keeps a host from forwarding for its neighbours once it forwards for us. It belongs to no runner: like
/// the switch, it stays until the host is restarted, as others may have come to rely on that by then.
pub(super) const GUARD: &str = "windlass-guard";

/// Switches forwarding on, if it is off. Returns whether it was.
pub(super) fn switch_on() -> io::Result<bool> {
    let switch = "ipv4/ip_forward";
    if read(switch) == Some(1) {
        return Ok(false);
    }
    let links = Links::open()?.all()?.into_iter().map(|link| link.name);
    let others: Vec<String> = links.filter(|name| name != "lo" && !name.starts_with(OURS)).collect();
    match filter::install(GUARD, &rules::guard(&others)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    write(switch, "1")?;
    Ok(true)
}

/// Whether this host forwards packets of version 6 and has somewhere to send them.
///
/// It is not switched on: a host that forwards no longer takes its own address and route from its router, and would
/// lose its network.
pub(super) fn forwards_v6() -> io::Result<bool> {
    Ok(read("ipv6/conf/all/forwarding") == Some(1) && !Links::open()?.default_links_v6()?.is_empty())
}

/// Writes a setting of the namespace of this thread, such as `ipv4/ip_forward`, unless it is so already: in a container
/// settings may be readable only.
pub(super) fn write(setting: &str, value: &str) -> io::Result<()> {
    let path = Path::new(SYSTEM).join(setting);
    if fs::read_to_string(&path).is_ok_and(|is| is.trim() == value) {
        return Ok(());
    }
    let why = |error: io::Error| {
        io::Error::new(error.kind(), format!("write {value} to {}: {error}", path.display()))
    };
    fs::write(&path, value).map_err(why)
}

/// Switches version 6 off for a link, or `all`, of the namespace of this thread, if the kernel has it at all.
pub(super) fn switch_v6_off(link: &str) -> io::Result<()> {
    match write(&format!("ipv6/conf/{link}/disable_ipv6"), "1") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn read(setting: &str) -> Option<u32> {
    fs::read_to_string(Path::new(SYSTEM).join(setting)).ok()?.trim().parse().ok()
}
