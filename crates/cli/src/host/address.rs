//! Where clients on this machine reach the server, and what they must believe to call it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use windlass_server::Tls;

/// Where the server is, as `iron.json` says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// A name or an IP address.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
    /// The whole path of the certificates that clients need, if the system's are not enough.
    pub(crate) ca: Option<PathBuf>,
}

impl Address {
    /// Of a server that listens on `listening`, with `tls` if it has any; `ca` are the certificates that were set for
    /// its clients. One that issued itself is what they need.
    pub(crate) fn of(listening: SocketAddr, tls: Option<&Tls>, ca: Option<PathBuf>) -> std::io::Result<Self> {
        let (ip, port) = (reachable(listening.ip()), listening.port());
        let Some(tls) = tls else {
            return Ok(Self { scheme: "http", host: ip.to_string(), port, ca: None });
        };
        let host = tls.names().host(ip).unwrap_or_else(|| {
            let file = tls.certificate().display();
            tracing::warn!(
                "the certificate in {file} is neither for {ip} nor for a name: clients will refuse it; \
                 make one with a subjectAltName"
            );
            ip.to_string()
        });
        let own = || tls.names().is_self_signed.then(|| tls.certificate().to_owned());
        let ca = ca.or_else(own).map(std::path::absolute).transpose()?;
        Ok(Self { scheme: "https", host, port, ca })
    }

    /// `scheme://host:port`.
    pub(crate) fn url(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{}://{host}:{}", self.scheme, self.port)
    }

    /// The path of the certificates as text.
    pub(crate) fn ca_text(&self) -> Option<String> {
        self.ca.as_ref().map(|ca| ca.to_string_lossy().into_owned())
    }
}

/// Where a client on this machine reaches whoever listens on `ip`.
fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_listens_everywhere_is_reached_on_loopback() {
        let url = |listening: &str| Address::of(listening.parse().unwrap(), None, None).unwrap().url();
        assert_eq!(url("0.0.0.0:1"), "http://127.0.0.1:1");
        assert_eq!(url("[::]:1"), "http://[::1]:1");
        assert_eq!(url("10.0.0.1:80"), "http://10.0.0.1:80");
    }
}
