//! Tokens in memory: every request shows one, so none of them may ask the store.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::RwLock;
use sha2::{Digest as _, Sha256};
use windlass_model::id::TokenId;
use windlass_model::project::TokenRecord;
use windlass_model::time::Timestamp;

/// How exactly the time of last use is kept.
const USE_PRECISION_MS: i64 = 60_000;

/// Every token. What the store keeps is changed first, then this.
#[derive(Debug, Default)]
pub struct Tokens(RwLock<All>);

/// By the hash of its text, which requests show, and by its id, which sessions of browsers name.
#[derive(Debug, Default)]
struct All {
    by_hash: HashMap<[u8; 32], Arc<Token>>,
    by_id: BTreeMap<TokenId, Arc<Token>>,
}

/// A token that was shown to us, or rather what is kept of it.
#[derive(Debug)]
pub struct Token {
    /// What is kept of it; its `last_used_at` is as it was when it was loaded.
    pub record: TokenRecord,
    last_used_ms: AtomicI64,
}

impl Token {
    /// Notes a use at `now`. `true`: the store should be told, which is so once a minute at most.
    pub fn note_use(&self, now: Timestamp) -> bool {
        let last = self.last_used_ms.load(Ordering::Relaxed);
        let is_news = now.as_millis() - last >= USE_PRECISION_MS;
        is_news
            && self
                .last_used_ms
                .compare_exchange(last, now.as_millis(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// The record with the newest time of use.
    pub fn current(&self) -> TokenRecord {
        let last = self.last_used_ms.load(Ordering::Relaxed);
        let last_used_at = (last > i64::MIN / 2).then(|| Timestamp::from_millis(last));
        TokenRecord { last_used_at, ..self.record.clone() }
    }
}

impl Tokens {
    /// The tokens that the store keeps.
    pub fn new(records: Vec<TokenRecord>) -> Self {
        let tokens = Self::default();
        for record in records {
            tokens.insert(record);
        }
        tokens
    }

    /// What the store keeps is all there is, but for what was made after `since`: it may have been read before.
    pub fn replace(&self, records: Vec<TokenRecord>, since: Timestamp) {
        let kept: HashSet<TokenId> = records.iter().map(|record| record.id).collect();
        for known in self.all() {
            if !kept.contains(&known.id) && known.created_at <= since {
                self.remove(known.id);
            }
        }
        for record in records {
            if self.by_id(record.id).is_none() {
                self.insert(record);
            }
        }
    }

    /// The token with this text.
    pub fn find(&self, text: &str) -> Option<Arc<Token>> {
        self.0.read().by_hash.get(&hash(text)).cloned()
    }

    /// The token with this id.
    pub fn by_id(&self, id: TokenId) -> Option<Arc<Token>> {
        self.0.read().by_id.get(&id).cloned()
    }

    /// Every token, newest first.
    pub fn all(&self) -> Vec<TokenRecord> {
        self.0.read().by_id.values().rev().map(|t| t.current()).collect()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.read().by_id.len()
    }

    /// Takes in a token that the store keeps.
    pub fn insert(&self, record: TokenRecord) {
        let last = record.last_used_at.map_or(i64::MIN / 2, Timestamp::as_millis);
        let token = Arc::new(Token { record, last_used_ms: AtomicI64::new(last) });
        let mut all = self.0.write();
        all.by_hash.insert(token.record.hash, token.clone());
        all.by_id.insert(token.record.id, token);
    }

    /// Forgets a token that the store has forgotten.
    pub fn remove(&self, id: TokenId) {
        let mut all = self.0.write();
        if let Some(token) = all.by_id.remove(&id) {
            all.by_hash.remove(&token.record.hash);
        }
    }
}

/// SHA-256 of the text of a token, the only thing that is kept of it. A token is 256 random bits, so there is
/// nothing to guess and no need for a slow hash.
pub fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// The text of a new token: `wl_` and 256 random bits. The prefix lets scanners find tokens that leaked.
pub fn fresh() -> String {
    format!("wl_{}", URL_SAFE_NO_PAD.encode(crate::ids::secret()))
}
