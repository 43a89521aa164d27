//! Speaking to the kernel over netlink: just enough to make links, addresses, routes and filter rules.
//!
//! Of our own, as a dozen kinds of messages need no more than a buffer that knows how attributes nest; and no external
//! program is asked, so that nothing has to be installed.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, sendto, setsockopt,
    socket, sockopt,
};

/// Flags of a request.
pub(super) const REQUEST: u16 = 0x01;
pub(super) const ACK: u16 = 0x04;
pub(super) const EXCLUSIVE: u16 = 0x200;
pub(super) const CREATE: u16 = 0x400;
pub(super) const APPEND: u16 = 0x800;
const DUMP: u16 = 0x300;

/// The attribute holds attributes.
const NESTED: u16 = 0x8000;

/// Kinds of answers.
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// Length of a message's header and of an attribute's.
const MESSAGE_HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;

/// What the kernel puts into one answer of a dump at most.
const ANSWER: usize = 64 * 1024;

/// A message, or several one after the other, with attributes that nest.
#[derive(Debug)]
pub(super) struct Message {
    bytes: Vec<u8>,
    /// Where the last message begins.
    start: usize,
}

impl Message {
    /// A request of one kind with its fixed part.
    pub(super) fn new(kind: u16, flags: u16, fixed: &[u8]) -> Self {
        let mut message = Self { bytes: Vec::with_capacity(256), start: 0 };
        message.then(kind, flags, fixed);
        message
    }

    /// Begins another message behind what is there.
    pub(super) fn then(&mut self, kind: u16, flags: u16, fixed: &[u8]) -> &mut Self {
        self.start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
        self.bytes.extend_from_slice(fixed);
        self.pad();
        self.close(self.start)
    }

    /// Adds an attribute.
    pub(super) fn put(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = u16::try_from(ATTRIBUTE_HEADER + value.len()).expect("attributes of ours are short");
        self.bytes.extend_from_slice(&length.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
        self.close(self.start)
    }

    /// Adds a text, ended by a zero byte.
    pub(super) fn put_text(&mut self, kind: u16, text: &str) -> &mut Self {
        self.put(kind, &[text.as_bytes(), &[0]].concat())
    }

    /// Adds an attribute that holds what `fill` adds.
    pub(super) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self) -> &mut Self) -> &mut Self {
        let at = self.bytes.len();
        self.put(kind | NESTED, &[]);
        fill(self);
        let length = u16::try_from(self.bytes.len() - at).expect("attributes of ours are short");
        self.bytes[at..at + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }

    /// Adds bytes as they are, such as a fixed part within an attribute.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self.pad();
        self.close(self.start)
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Writes the length of the message that begins at `start` and ends here.
    fn close(&mut self, start: usize) -> &mut Self {
        let length = u32::try_from(self.bytes.len() - start).expect("messages of ours are short");
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
        self
    }
}

/// A connection to one of the kernel's families of messages, in the network namespace of the thread that opens it.
#[derive(Debug)]
pub(super) struct Netlink(OwnedFd);

impl Netlink {
    /// Links, addresses and routes.
    pub(super) fn route() -> io::Result<Self> {
        Self::open(SockProtocol::NetlinkRoute)
    }

    /// Filters.
    pub(super) fn filter() -> io::Result<Self> {
        Self::open(SockProtocol::NetlinkNetFilter)
    }

    fn open(protocol: SockProtocol) -> io::Result<Self> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        Ok(Self(fd))
    }

    /// Asks for one thing. After `Ok` it is done.
    pub(super) fn ask(&self, mut message: Message) -> io::Result<()> {
        add_flags(&mut message.bytes, ACK);
        self.send(&message.bytes)?;
        self.acknowledged(1)
    }

    /// Asks once more for what asks for an acknowledgement itself.
    pub(super) fn ask_again(&self, message: &Message) -> io::Result<()> {
        self.send(&message.bytes)?;
        self.acknowledged(1)
    }

    /// Asks for several things that happen all or not at all: `acks` of them ask for an acknowledgement.
    pub(super) fn ask_all(&self, messages: &Message, acks: usize) -> io::Result<()> {
        // A batch is one datagram.
        setsockopt(&self.0, sockopt::SndBufForce, &(2 * messages.bytes.len()).max(ANSWER))?;
        setsockopt(&self.0, sockopt::RcvBufForce, &(2 * messages.bytes.len() + acks * 1024).max(ANSWER))?;
        self.send(&messages.bytes)?;
        self.acknowledged(acks)
    }

    /// Asks for everything of a kind and shows each: what follows the header of its message.
    pub(super) fn list(&self, mut message: Message, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        add_flags(&mut message.bytes, DUMP);
        self.send(&message.bytes)?;
        let mut buffer = vec![0; ANSWER];
        loop {
            for (kind, body) in messages(self.receive(&mut buffer)?) {
                match kind {
                    DONE => return Ok(()),
                    ERROR => return Err(error_of(body)),
                    _ => each(body),
                }
            }
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        sendto(self.0.as_raw_fd(), bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        Ok(())
    }

    fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        loop {
            match recv(self.0.as_raw_fd(), buffer, MsgFlags::empty()) {
                Ok(length) => return Ok(&buffer[..length]),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn acknowledged(&self, mut acks: usize) -> io::Result<()> {
        let mut buffer = vec![0; ANSWER];
        while acks > 0 {
            for (kind, body) in messages(self.receive(&mut buffer)?) {
                if kind == ERROR {
                    if body.starts_with(&[0; 4]) {
                        acks = acks.saturating_sub(1);
                    } else {
                        return Err(error_of(body));
                    }
                }
            }
        }
        Ok(())
    }
}

fn add_flags(message: &mut [u8], flags: u16) {
    let all = u16::from_ne_bytes([message[6], message[7]]) | flags;
    message[6..8].copy_from_slice(&all.to_ne_bytes());
}

/// The reason in an answer that is an error: a negative number of the C library.
fn error_of(body: &[u8]) -> io::Error {
    let code = body.first_chunk().map_or(-libc::EBADMSG, |code| i32::from_ne_bytes(*code));
    io::Error::from_raw_os_error(-code)
}

/// The messages in what was received: kind and what follows the header.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
        let kind = u16::from_ne_bytes([*bytes.get(4)?, *bytes.get(5)?]);
        let body = bytes.get(MESSAGE_HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// The attributes that follow one another: kind and value.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let [a, b, c, d] = *bytes.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let value = bytes.get(ATTRIBUTE_HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([c, d]) & !NESTED, value))
    })
}

/// A text that ends with a zero byte.
pub(super) fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_nest_and_are_read_back() {
        let mut message = Message::new(16, CREATE, &[1, 2, 3, 4]);
        message
            .put_text(3, "eth0")
            .nest(18, |link| link.put(1, &[7]).nest(2, |data| data.raw(&[9; 4]).put(5, &[1, 2, 3, 4, 5])));
        message.then(17, 0, &[0; 4]);
        let all: Vec<_> = messages(&message.bytes).collect();
        assert_eq!(all.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), [16, 17]);
        let outer: Vec<_> = attributes(&all[0].1[4..]).collect();
        assert_eq!(outer[0], (3, &b"eth0\0"[..]));
        let inner: Vec<_> = attributes(outer[1].1).collect();
        assert_eq!((outer[1].0, inner[0]), (18, (1, &[7][..])));
        assert_eq!(attributes(&inner[1].1[4..]).collect::<Vec<_>>(), [(5, &[1, 2, 3, 4, 5][..])]);
    }

    #[test]
    fn cut_off_answers_end_the_list() {
        let mut message = Message::new(16, 0, &[]);
        message.put(1, &[1; 8]);
        for length in 0..message.bytes.len() {
            assert_eq!(messages(&message.bytes[..length]).count(), 0);
            assert!(attributes(&message.bytes[..length]).count() <= 1);
        }
        assert_eq!(attributes(&[0; 64]).count(), 0);
    }
}
