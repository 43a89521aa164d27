//! Packets of our own making.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, sendto, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

pub(super) fn ipv4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

/// Sends a UDP packet that claims to come from `source`.
pub(super) fn send_udp(source: Ipv4Addr, to: Ipv4Addr, port: u16, text: &[u8]) {
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
    send(&raw(SockProtocol::Raw), &packet, to);
}

/// Asks for an echo.
pub(super) fn ping(to: &str) -> io::Result<String> {
    const ECHO: u8 = 0;
    const UNREACHABLE: u8 = 3;
    let socket = raw(SockProtocol::Icmp);
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(5))?;
    // The checksum of an empty request.
    send(&socket, &[8, 0, 0xf7, 0xff, 0, 0, 0, 0], ipv4(to));
    loop {
        let mut packet = [0; 128];
        recv(socket.as_raw_fd(), &mut packet, MsgFlags::empty())?;
        match packet[20] {
            ECHO => return Ok("echo".to_owned()),
            UNREACHABLE => return Err(ErrorKind::HostUnreachable.into()),
            _ => {}
        }
    }
}

fn raw(protocol: SockProtocol) -> OwnedFd {
    socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).unwrap()
}

fn send(socket: &OwnedFd, packet: &[u8], to: Ipv4Addr) {
    let to = SockaddrIn::from(SocketAddrV4::new(to, 0));
    sendto(socket.as_raw_fd(), packet, &to, MsgFlags::empty()).unwrap();
}
