//! Secrets sealed at rest: what the store keeps of them only a server with the right key can read, and only in the
//! place that they were sealed for.
//!
//! A sealed value is base64 of a version (1), a nonce of 24 random bytes, and what XChaCha20-Poly1305 makes of the
//! value under the secret key, with the place as associated data.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use windlass_model::id::{ProjectId, TokenId};
use windlass_model::secret::Sealed;
use windlass_store::{Store, StoreError};

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;

/// Under which the store keeps what the key is checked by.
const CHECK: &str = "check-of-the-secret-key";

/// Seals secrets and opens them.
pub struct Seal {
    cipher: XChaCha20Poly1305,
    mac: hmac::Key,
}

/// Where a secret is: sealed for one place, it cannot be opened in another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// A variable of a package.
    Variable {
        /// Whose package.
        project: ProjectId,
        /// The package's name, which it keeps for life.
        code: &'a str,
        /// The variable's name.
        name: &'a str,
    },
    /// A login to a registry of images.
    Registry {
        /// Whose login.
        project: ProjectId,
        /// The registry's name.
        registry: &'a str,
    },
}

/// Why there is no seal.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The store's secrets were sealed with another key.
    #[error("the secret key is not the one that the secrets in the store were sealed with")]
    WrongKey,

    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A value that was not sealed with this key for this place, or was changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value was not sealed here with the present secret key")]
pub struct Unreadable;

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

impl Place<'_> {
    /// One text for each place: a zero byte is in no name.
    fn text(&self) -> String {
        match self {
            Place::Variable { project, code, name } => format!("variable\0{project}\0{code}\0{name}"),
            Place::Registry { project, registry } => format!("registry\0{project}\0{registry}"),
        }
    }
}

impl Seal {
    /// The seal of a store. The first key that a store is opened with is its key from then on.
    ///
    /// # Errors
    /// [`SealError::WrongKey`] if it is another one, unless what was sealed with that may be `forgotten`: then the new
    /// one is the store's from now on, and whatever was sealed before is unreadable.
    pub async fn open(store: &dyn Store, key: &[u8; 32], forgotten: bool) -> Result<Self, SealError> {
        let mac = hmac::Key::new(hmac::HMAC_SHA256, key);
        let check: [u8; 32] =
            hmac::sign(&mac, CHECK.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes");
        if store.secret(CHECK, check).await? != check {
            if !forgotten {
                return Err(SealError::WrongKey);
            }
            store.replace_secret(CHECK, check).await?;
        }
        Ok(Self { cipher: XChaCha20Poly1305::new(key.into()), mac })
    }

    /// The text of the token with this id, where it is to be shown more than once. Who has the store and not the key
    /// cannot make it.
    pub fn token(&self, id: TokenId) -> String {
        let tag = hmac::sign(&self.mac, format!("token\0{id}").as_bytes());
        format!("wl_{}", BASE64.encode(tag))
    }

    /// Seals `value` for `place`.
    pub fn seal(&self, place: &Place<'_>, value: &str) -> Sealed {
        let mut nonce = [0; NONCE_BYTES];
        SystemRandom::new().fill(&mut nonce).expect("the system has randomness");
        let place = place.text();
        let payload = Payload { msg: value.as_bytes(), aad: place.as_bytes() };
        let sealed = self.cipher.encrypt(XNonce::from_slice(&nonce), payload);
        let sealed = sealed.expect("only values of many gigabytes cannot be sealed");
        Sealed(BASE64.encode([&[VERSION], nonce.as_slice(), &sealed].concat()))
    }

    /// The same; or `before` if that is sealed for `place` and has this value: what did not change looks unchanged.
    pub fn seal_again(&self, place: &Place<'_>, value: &str, before: Option<&Sealed>) -> Sealed {
        let is_same = |before: &&Sealed| self.unseal(place, before).is_ok_and(|old| old == value);
        before.filter(is_same).cloned().unwrap_or_else(|| self.seal(place, value))
    }

    /// The variables of a package; or the name of the first whose value is [`Unreadable`].
    pub fn variables<'a>(
        &self,
        project: ProjectId,
        code: &str,
        sealed: &'a BTreeMap<String, Sealed>,
    ) -> Result<BTreeMap<String, String>, &'a str> {
        let one = |(name, sealed): (&'a String, &Sealed)| {
            let value = self.unseal(&Place::Variable { project, code, name }, sealed);
            Ok((name.clone(), value.map_err(|Unreadable| name.as_str())?))
        };
        sealed.iter().map(one).collect()
    }

    /// The value that was sealed for `place`.
    ///
    /// # Errors
    /// [`Unreadable`], whatever is wrong with it.
    pub fn unseal(&self, place: &Place<'_>, sealed: &Sealed) -> Result<String, Unreadable> {
        let bytes = BASE64.decode(&sealed.0).map_err(|_| Unreadable)?;
        let (&version, rest) = bytes.split_first().ok_or(Unreadable)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_BYTES).ok_or(Unreadable)?;
        if version != VERSION {
            return Err(Unreadable);
        }
        let place = place.text();
        let payload = Payload { msg: sealed, aad: place.as_bytes() };
        let value = self.cipher.decrypt(XNonce::from_slice(nonce), payload).map_err(|_| Unreadable)?;
        String::from_utf8(value).map_err(|_| Unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_model::id::Seq;
    use windlass_store::memory::Memory;

    fn place<'a>(code: &'a str, name: &'a str) -> Place<'a> {
        Place::Variable { project: ProjectId::new(Seq(1), 2), code, name }
    }

    #[tokio::test]
    async fn a_secret_is_opened_where_it_was_sealed_and_nowhere_else() {
        let seal = Seal::open(&Memory::default(), &[7; 32], false).await.unwrap();
        let sealed = seal.seal(&place("w", "KEY"), "open sesame");
        assert_ne!(sealed, seal.seal(&place("w", "KEY"), "open sesame"), "equal values do not look equal");
        assert_eq!(seal.unseal(&place("w", "KEY"), &sealed).as_deref(), Ok("open sesame"));
        assert_eq!(seal.seal_again(&place("w", "KEY"), "open sesame", Some(&sealed)), sealed);
        assert_ne!(seal.seal_again(&place("w", "KEY"), "shut", Some(&sealed)), sealed);
        assert_eq!(seal.unseal(&place("w", "OTHER"), &sealed), Err(Unreadable));
        assert_eq!(seal.unseal(&place("v", "KEY"), &sealed), Err(Unreadable));
        let other = Seal::open(&Memory::default(), &[8; 32], false).await.unwrap();
        assert_eq!(other.unseal(&place("w", "KEY"), &sealed), Err(Unreadable));
        for at in 0..sealed.0.len() {
            let mut changed = sealed.0.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = Sealed(String::from_utf8(changed).unwrap());
            assert_eq!(seal.unseal(&place("w", "KEY"), &changed), Err(Unreadable), "at {at}");
        }
        for never in ["", "open sesame", "AQ", "AgAA"] {
            assert_eq!(seal.unseal(&place("w", "KEY"), &Sealed(never.to_owned())), Err(Unreadable));
        }
    }

    #[tokio::test]
    async fn a_store_keeps_to_its_first_key_until_that_is_given_up() {
        let store = Memory::default();
        let open = async |n: u8, forgotten| Seal::open(&store, &[n; 32], forgotten).await.map(drop);
        open(1, false).await.unwrap();
        open(1, false).await.unwrap();
        assert!(matches!(open(2, false).await, Err(SealError::WrongKey)));
        open(2, true).await.unwrap();
        open(2, false).await.unwrap();
        assert!(matches!(open(1, false).await, Err(SealError::WrongKey)));
    }
}
