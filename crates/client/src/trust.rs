//! Whose certificates a client believes: those that the system trusts, and those in a file that was named.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_platform_verifier::Verifier;

/// The certificates in the PEM file `path`; at least one.
///
/// # Errors
/// What is wrong with the file, beginning with its name.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let at = path.display();
    let text = std::fs::read(path).map_err(|e| format!("{at} cannot be read: {e}"))?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = read.map_err(|e| format!("{at} cannot be used: {e}"))?;
    if certificates.is_empty() {
        return Err(format!("{at} holds no certificate in PEM form"));
    }
    Ok(certificates)
}

/// The TLS of a client that believes the system's certificates and `named`.
pub(crate) fn config(named: Vec<CertificateDer<'static>>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let trust = Trust { named, provider: provider.clone(), issuers: OnceLock::new() };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(trust))
        .with_no_client_auth();
    Ok(config)
}

#[derive(Debug)]
struct Trust {
    named: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
    /// Read from the system when the first server shows a certificate: most never call one that does.
    issuers: OnceLock<Result<Verifier, Error>>,
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let issuers = self
            .issuers
            .get_or_init(|| Verifier::new_with_extra_roots(self.named.clone(), self.provider.clone()));
        let verified =
            issuers.as_ref().map_err(Clone::clone)?.verify_server_cert(shown, chain, name, ocsp, now);
        // What `openssl req -x509` makes is for servers and calls itself an authority as well. One that was named
        // itself is believed nevertheless; its dates are good, as they are looked at before.
        if verified.as_ref().is_err_and(is_authority) && self.named.iter().any(|named| named == shown) {
            verify_server_name(&ParsedCertificate::try_from(shown)?, name)?;
            return Ok(ServerCertVerified::assertion());
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether a certificate is refused for calling itself an authority, and for nothing before that.
fn is_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(cause)) = error else { return false };
    cause.0.downcast_ref::<webpki::Error>() == Some(&webpki::Error::CaUsedAsEndEntity)
}
