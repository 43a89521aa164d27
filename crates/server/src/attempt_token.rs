//! Tokens of attempts: minted with a claim, kept nowhere, dead with the attempt.
//!
//! A token is base64url (no padding) of: task id (12 bytes), fence (8), project id (12), HMAC-SHA-256 of those (32),
//! under a key that the store keeps. The signature says that we minted it; whether the attempt is still the current
//! one of its task is asked of the store at each use.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use windlass_model::id::{Id, ProjectId, Seq, TaskId};
use windlass_model::lease::Fence;
use windlass_model::runner::Held;

const CLAIMS: usize = 32;
const PREFIX: &str = "wla_";

/// Mints and reads tokens of attempts.
#[derive(Debug)]
pub struct AttemptKey(hmac::Key);

/// What a token of an attempt says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The attempt.
    pub held: Held,
    /// The project that it may act in.
    pub project: ProjectId,
}

impl AttemptKey {
    /// The key made of a secret.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The token of the attempt.
    pub fn mint(&self, attempt: &Attempt) -> String {
        let mut bytes = Vec::with_capacity(CLAIMS + 32);
        bytes.extend(id_bytes(attempt.held.task.0));
        bytes.extend(attempt.held.fence.0.to_be_bytes());
        bytes.extend(id_bytes(attempt.project.0));
        let signature = hmac::sign(&self.0, &bytes);
        bytes.extend(signature.as_ref());
        let mut token = PREFIX.to_owned();
        URL_SAFE_NO_PAD.encode_string(&bytes, &mut token);
        token
    }

    /// What the token says, if it is one that this key minted.
    pub fn read(&self, token: &str) -> Option<Attempt> {
        let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX)?).ok()?;
        let (claims, signature) = bytes.split_at_checked(CLAIMS)?;
        hmac::verify(&self.0, claims, signature).ok()?;
        let fence = i64::from_be_bytes(claims[12..20].try_into().ok()?);
        Some(Attempt {
            held: Held { task: TaskId(id_of(&claims[..12])?), fence: Fence(fence) },
            project: ProjectId(id_of(&claims[20..])?),
        })
    }
}

fn id_bytes(id: Id) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&id.seq.0.to_be_bytes());
    bytes[8..].copy_from_slice(&id.tag.to_be_bytes());
    bytes
}

fn id_of(bytes: &[u8]) -> Option<Id> {
    let (seq, tag) = bytes.split_at_checked(8)?;
    Some(Id {
        seq: Seq(i64::from_be_bytes(seq.try_into().ok()?)),
        tag: u32::from_be_bytes(tag.try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_minted_is_read() {
        let key = AttemptKey::new(&[7; 32]);
        let attempt = Attempt {
            held: Held { task: TaskId::new(Seq(5), 6), fence: Fence(9) },
            project: ProjectId::new(Seq(3), 4),
        };
        let token = key.mint(&attempt);
        assert_eq!(key.read(&token), Some(attempt));
        assert_eq!(AttemptKey::new(&[8; 32]).read(&token), None);
        for end in 0..token.len() {
            assert_eq!(key.read(&token[..end]), None);
        }
        let mut forged = token.into_bytes();
        forged[10] ^= 1;
        assert_eq!(key.read(std::str::from_utf8(&forged).unwrap()), None);
    }
}
