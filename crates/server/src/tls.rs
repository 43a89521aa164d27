//! TLS from two files: the certificate with its chain, and its key. They are read again when they have changed, so a
//! renewal needs neither a restart nor a signal.

use std::fs::Metadata;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use webpki::EndEntityCert;

/// How often the files are looked at, at most. Whoever connects looks: an idle server does not.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What a server shows to whoever connects by TLS.
#[derive(Debug)]
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    /// What the certificate said when this was opened.
    names: Names,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    config: Arc<ServerConfig>,
    /// What the files looked like when `config` was made of them.
    read_of: [Look; 2],
    look_at: Instant,
}

/// What files came to, and what they looked like.
type Read = (Arc<ServerConfig>, [Look; 2]);

/// What is compared to see whether a file has changed: time, size and inode, as a renewal may replace it by one that
/// is as old.
type Look = (Option<std::time::SystemTime>, u64, u64);

/// Why certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },

    /// A file holds nothing of the kind.
    #[error("{} holds no {what} in PEM form", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// A certificate or a private key.
        what: &'static str,
    },

    /// The key is another certificate's.
    #[error("the key in {} does not belong to the first certificate in {}", key.display(), cert.display())]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },

    /// What a file holds cannot be used.
    #[error("{} cannot be used: {reason}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// Whom a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    certificate: CertificateDer<'static>,
    dns: Vec<String>,
    /// Whether it was issued by itself: then whoever trusts it must have it.
    pub is_self_signed: bool,
}

impl Names {
    fn of(certificate: &CertificateDer<'static>) -> Result<Self, webpki::Error> {
        let parsed = EndEntityCert::try_from(certificate)?;
        let dns = parsed.valid_dns_names().map(str::to_owned).collect();
        let is_self_signed = parsed.issuer() == parsed.subject();
        Ok(Self { dns, is_self_signed, certificate: certificate.clone() })
    }

    /// How clients that check names have to call a server that listens on `ip`: by a name that leads there, else by
    /// the address itself if the certificate is for it, else by any name. `None` if it has no name that can be called.
    ///
    /// A name comes first because tasks in a network of their own can be led to a name, and not to an address.
    pub fn host(&self, ip: IpAddr) -> Option<String> {
        let any = || self.dns.iter().find(|name| !name.contains('*')).cloned();
        let local = || self.dns.iter().find(|name| *name == "localhost").cloned();
        let leads_there = if ip.is_loopback() { local() } else { any() };
        leads_there.or_else(|| self.is_for(ip).then(|| ip.to_string())).or_else(any)
    }

    fn is_for(&self, ip: IpAddr) -> bool {
        let parsed = EndEntityCert::try_from(&self.certificate);
        parsed.is_ok_and(|cert| {
            cert.verify_is_valid_for_subject_name(&ServerName::IpAddress(ip.into())).is_ok()
        })
    }
}

impl Tls {
    /// Reads both files. After `Ok`, they hold a certificate and the key that belongs to it.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn open(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, TlsError> {
        let (cert, key) = (cert.into(), key.into());
        let read_of = [look(&cert)?, look(&key)?];
        let (config, names) = read(&cert, &key)?;
        let state = Mutex::new(State { config, read_of, look_at: Instant::now() + LOOK_EVERY });
        Ok(Self { cert, key, names, state })
    }

    /// The certificate's file.
    pub fn certificate(&self) -> &Path {
        &self.cert
    }

    /// Whom the certificate was for when this was opened.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// What to answer a client with, read anew if it is time to look and the files have changed. Files that cannot be
    /// used, such as a new certificate whose key is not there yet, change nothing, and are read again at the next look.
    pub(crate) fn config(&self, now: Instant) -> Arc<ServerConfig> {
        let mut state = self.state.lock();
        if now >= state.look_at {
            state.look_at = now + LOOK_EVERY;
            match self.renew(&state.read_of) {
                Ok(None) => {}
                Ok(Some((config, read_of))) => {
                    tracing::info!("the certificate in {} was read anew", self.cert.display());
                    (state.config, state.read_of) = (config, read_of);
                }
                Err(e) => {
                    tracing::warn!(error = %e, "the certificate was not renewed, the old one is used: {e}");
                }
            }
        }
        state.config.clone()
    }

    fn renew(&self, read_of: &[Look; 2]) -> Result<Option<Read>, TlsError> {
        let now = [look(&self.cert)?, look(&self.key)?];
        if now == *read_of {
            return Ok(None);
        }
        let (config, _) = read(&self.cert, &self.key)?;
        Ok(Some((config, now)))
    }
}

fn look(path: &Path) -> Result<Look, TlsError> {
    use std::os::unix::fs::MetadataExt as _;
    let seen = |m: Metadata| (m.modified().ok(), m.len(), m.ino());
    std::fs::metadata(path).map(seen).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
}

fn read(cert: &Path, key: &Path) -> Result<(Arc<ServerConfig>, Names), TlsError> {
    let unusable = |path: &Path, reason: String| TlsError::Unusable { path: path.to_owned(), reason };
    let chain = CertificateDer::pem_slice_iter(&bytes(cert)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| not_pem(cert, "certificate", e))?;
    let first =
        chain.first().ok_or_else(|| TlsError::Empty { path: cert.to_owned(), what: "certificate" })?;
    let names = Names::of(first).map_err(|e| unusable(cert, e.to_string()))?;
    let secret = PrivateKeyDer::from_pem_slice(&bytes(key)?).map_err(|e| not_pem(key, "private key", e))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows the default versions")
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|e| match e {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::Mismatch { cert: cert.to_owned(), key: key.to_owned() }
            }
            rustls::Error::InvalidCertificate(e) => unusable(cert, e.to_string()),
            e => unusable(key, e.to_string()),
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(config), names))
}

fn bytes(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Unreadable { path: path.to_owned(), source })
}

fn not_pem(path: &Path, what: &'static str, error: PemError) -> TlsError {
    match error {
        PemError::NoItemsFound => TlsError::Empty { path: path.to_owned(), what },
        e => TlsError::Unusable { path: path.to_owned(), reason: e.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|&n| n.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    struct Files(tempfile::TempDir);

    impl Files {
        fn new(cert: &str, key: &str) -> Self {
            let files = Self(tempfile::tempdir().unwrap());
            files.write(cert, key);
            files
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, cert: &str, key: &str) {
            std::fs::write(self.path("cert.pem"), cert).unwrap();
            std::fs::write(self.path("key.pem"), key).unwrap();
        }

        fn open(&self) -> Result<Tls, TlsError> {
            Tls::open(self.path("cert.pem"), self.path("key.pem"))
        }

        fn problem(&self) -> String {
            let folder = format!("{}/", self.0.path().display());
            self.open().unwrap_err().to_string().replace(&folder, "")
        }
    }

    #[test]
    fn what_is_wrong_with_which_file_is_said() {
        let ((cert, key), (_, other)) = (pair(&["localhost"]), pair(&["localhost"]));
        let problem = |cert: &str, key: &str| Files::new(cert, key).problem();
        assert_eq!(
            problem(&cert, &other),
            "the key in key.pem does not belong to the first certificate in cert.pem"
        );
        assert_eq!(problem("", &key), "cert.pem holds no certificate in PEM form");
        assert_eq!(problem(&key, &key), "cert.pem holds no certificate in PEM form");
        assert_eq!(problem(&cert, &cert), "key.pem holds no private key in PEM form");
        let broken = cert.replace("MII", "AAA");
        assert!(problem(&broken, &key).starts_with("cert.pem cannot be used: "));
        let files = Files::new(&cert, &key);
        std::fs::remove_file(files.path("key.pem")).unwrap();
        assert!(files.problem().starts_with("key.pem cannot be read: "));
    }

    #[test]
    fn a_server_is_called_by_a_name_that_its_certificate_has() {
        let host = |names: &[&str], ip: &str| {
            let (cert, key) = pair(names);
            Files::new(&cert, &key).open().unwrap().names().host(ip.parse().unwrap())
        };
        assert_eq!(host(&["a.example", "127.0.0.1"], "127.0.0.1").as_deref(), Some("127.0.0.1"));
        assert_eq!(host(&["a.example", "localhost"], "127.0.0.1").as_deref(), Some("localhost"));
        assert_eq!(host(&["127.0.0.1", "localhost"], "127.0.0.1").as_deref(), Some("localhost"));
        assert_eq!(host(&["10.0.0.1", "*.example", "a.example"], "10.0.0.1").as_deref(), Some("a.example"));
        assert_eq!(host(&["10.0.0.1"], "10.0.0.1").as_deref(), Some("10.0.0.1"));
        assert_eq!(host(&["*.example"], "10.0.0.1"), None);
        let (cert, key) = pair(&["localhost"]);
        assert!(Files::new(&cert, &key).open().unwrap().names().is_self_signed);
    }

    #[test]
    fn a_renewed_certificate_is_used_once_its_key_is_there() {
        let (old, new) = (pair(&["localhost"]), pair(&["localhost"]));
        let files = Files::new(&old.0, &old.1);
        let tls = files.open().unwrap();
        let now = Instant::now();
        let first = tls.config(now);
        files.write(&new.0, &old.1);
        assert!(Arc::ptr_eq(&first, &tls.config(now)), "it is not time to look");
        let mut look = now + LOOK_EVERY;
        look += Duration::from_secs(1);
        assert!(Arc::ptr_eq(&first, &tls.config(look)), "the key is not there yet");
        files.write(&new.0, &new.1);
        look += LOOK_EVERY;
        let second = tls.config(look);
        assert!(!Arc::ptr_eq(&first, &second));
        look += LOOK_EVERY;
        assert!(Arc::ptr_eq(&second, &tls.config(look)), "nothing has changed");
    }
}
