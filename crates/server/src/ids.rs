//! Mints ids: rising [`Seq`]s from one clock, tags from the system's randomness.

use parking_lot::Mutex;
use ring::rand::{SecureRandom as _, SystemRandom};
use windlass_model::id::{Seq, SeqClock};
use windlass_model::time::Timestamp;

/// Randomness is asked of the system by the page: a call per id would cost as much as the rest of minting it.
const POOL_BYTES: usize = 4096;

/// Mints ids that are above every id of the store, and random numbers.
#[derive(Debug)]
pub struct Ids {
    minter: Mutex<Minter>,
}

#[derive(Debug)]
struct Minter {
    clock: SeqClock,
    random: SystemRandom,
    pool: Box<[u8; POOL_BYTES]>,
    used: usize,
}

impl Ids {
    /// Mints above `newest`, the highest `Seq` of the store, and beside others that mint for it, if this is a `node`.
    pub fn of_node(node: Option<u8>, newest: Seq) -> Self {
        let clock = SeqClock::of_node(node, newest);
        let pool = Box::new([0; POOL_BYTES]);
        Self { minter: Mutex::new(Minter { clock, random: SystemRandom::new(), pool, used: POOL_BYTES }) }
    }

    /// The two parts of a new id; pass them to the `new` of an id type.
    pub fn mint(&self, now: Timestamp) -> (Seq, u32) {
        let mut minter = self.minter.lock();
        (minter.clock.next(now), minter.u32())
    }

    /// A number from 0 to 1, to spread what would happen at once.
    pub fn jitter(&self) -> f64 {
        f64::from(self.minter.lock().u32()) / f64::from(u32::MAX)
    }
}

impl Minter {
    fn u32(&mut self) -> u32 {
        if self.used + 4 > POOL_BYTES {
            self.random.fill(self.pool.as_mut_slice()).expect("the system has randomness");
            self.used = 0;
        }
        let taken = &mut self.pool[self.used..self.used + 4];
        let value = u32::from_le_bytes([taken[0], taken[1], taken[2], taken[3]]);
        // What was handed out must not be found in memory afterwards.
        taken.fill(0);
        self.used += 4;
        value
    }
}

/// 32 random bytes from the system: a token or a key.
pub fn secret() -> [u8; 32] {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).expect("the system has randomness");
    bytes
}
