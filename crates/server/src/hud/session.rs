//! The session of a browser: a signed cookie that names a token and the time it ends.
//!
//! Nothing is kept of it. The token is looked up with each request, so a session ends with its token: when that is
//! revoked or expires. The cookie is `base64url(token id, 12 bytes · end in ms, 8 · HMAC-SHA-256, 32)`.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, header};
use ring::hmac;
use windlass_model::id::{Id, Seq, TokenId};
use windlass_model::time::Timestamp;

use super::failures::Failures;
use super::guard::is_secure;
use super::pulse::Pulse;
use super::shared::Shared;
use crate::app::App;
use crate::auth::Principal;
use crate::tokens::Token;

/// Name of the cookie. By TLS it has a prefix, with which no browser takes it from a neighbouring host: nobody can be
/// made to use somebody else's session.
pub(super) fn cookie_name(is_secure: bool) -> &'static str {
    if is_secure { "__Host-windlass" } else { "windlass" }
}

/// How long a session lasts after the last page that was asked for, more or less.
const LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// How long a failed login takes, so that guessing is slow however it is done.
pub(super) const FAILURE_DELAY: Duration = Duration::from_secs(1);

/// What the HUD keeps beside the server's own.
#[derive(Debug)]
pub struct Hud {
    key: hmac::Key,
    pub(super) failures: Failures,
    pub(super) pulse: Pulse,
    pub(super) shared: Shared,
}

/// Somebody who is logged in.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// The token that was shown at login.
    pub(super) token: Arc<Token>,
    /// What every form of this session carries.
    pub(super) csrf: String,
    /// When it ends.
    ends_at: Timestamp,
}

impl Hud {
    /// The HUD that signs with `secret`.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            failures: Failures::default(),
            pulse: Pulse::default(),
            shared: Shared::default(),
        }
    }

    /// The value of the cookie of a session with `token` that begins or goes on at `now`.
    pub(super) fn cookie(&self, token: TokenId, now: Timestamp) -> String {
        let mut bytes = Vec::with_capacity(52);
        bytes.extend(token.0.seq.0.to_be_bytes());
        bytes.extend(token.0.tag.to_be_bytes());
        bytes.extend((now + LIFETIME).as_millis().to_be_bytes());
        let signature = hmac::sign(&self.key, &bytes);
        bytes.extend(signature.as_ref());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn read(&self, cookie: &str) -> Option<(TokenId, Timestamp)> {
        let bytes = URL_SAFE_NO_PAD.decode(cookie).ok()?;
        let (claims, signature) = bytes.split_at_checked(20)?;
        hmac::verify(&self.key, claims, signature).ok()?;
        let seq = Seq(i64::from_be_bytes(claims[..8].try_into().ok()?));
        let tag = u32::from_be_bytes(claims[8..12].try_into().ok()?);
        let ends_at = i64::from_be_bytes(claims[12..].try_into().ok()?);
        Some((TokenId(Id { seq, tag }), Timestamp::from_millis(ends_at)))
    }

    /// What the forms of the sessions of `token` carry: another site cannot know it.
    fn csrf(&self, token: TokenId) -> String {
        let signature = hmac::sign(&self.key, format!("csrf {token}").as_bytes());
        URL_SAFE_NO_PAD.encode(signature)
    }

    /// Whether `shown` is what the forms of the sessions of `token` carry.
    pub(super) fn is_csrf(&self, token: TokenId, shown: &str) -> bool {
        let shown = URL_SAFE_NO_PAD.decode(shown).unwrap_or_default();
        hmac::verify(&self.key, format!("csrf {token}").as_bytes(), &shown).is_ok()
    }
}

/// The session that the request belongs to, if it has one that holds at `now`.
pub(super) fn of(app: &App, headers: &HeaderMap, now: Timestamp) -> Option<Session> {
    let (id, ends_at) = app.hud.read(cookie(headers, cookie_name(is_secure(headers)))?)?;
    let token = app.tokens.by_id(id).filter(|token| !token.record.is_expired(now))?;
    (now < ends_at).then(|| Session { csrf: app.hud.csrf(id), token, ends_at })
}

impl Session {
    /// Who acts in it.
    pub(super) fn principal(&self) -> Principal {
        Principal::Token(self.token.clone())
    }

    /// Whether it should be told to go on, which is so when half of it is over.
    pub(super) fn is_half_over(&self, now: Timestamp) -> bool {
        self.ends_at.since(now) < LIFETIME / 2
    }
}

/// The value of a cookie of the request.
pub(super) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    all.flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_signed_is_read() {
        let (hud, token) = (Hud::new(&[1; 32]), TokenId::new(Seq(7), 8));
        let cookie = hud.cookie(token, Timestamp::from_secs(100));
        let (id, ends_at) = hud.read(&cookie).unwrap();
        assert_eq!((id, ends_at), (token, Timestamp::from_secs(100) + LIFETIME));
        assert_eq!(Hud::new(&[2; 32]).read(&cookie), None);
        assert_ne!(hud.csrf(token), Hud::new(&[2; 32]).csrf(token));
        for at in 0..cookie.len() {
            let mut forged = cookie.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert!(hud.read(&forged).is_none() || forged == cookie, "changed at {at}");
        }
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=1; windlass=x".parse().unwrap());
        headers.append(header::COOKIE, "b=2".parse().unwrap());
        assert_eq!((cookie(&headers, "windlass"), cookie(&headers, "b")), (Some("x"), Some("2")));
        assert_eq!(cookie(&headers, "c"), None);
    }
}
