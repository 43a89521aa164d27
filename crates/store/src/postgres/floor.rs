//! How far claims have come, so that they need not walk over what is gone.
//!
//! Deleted keys stay at the head of `ready` for as long as any session can see them: while somebody holds an old snapshot,
//! every claim would walk over all tasks that were taken since. When a look at whole lanes takes long, the looks after it
//! begin where tasks were taken last, some time before the newest of them. What was queued long ago and is due only now is
//! below that: a look at whole lanes comes back for it after some seconds at most, and every look is one while nobody
//! holds an old snapshot.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use windlass_model::id::Seq;
use windlass_model::time::Timestamp;

/// What a look at whole lanes may take beyond its rows.
const QUICK: Duration = Duration::from_millis(3);
/// What a row that is taken may take.
const ROW: Duration = Duration::from_micros(30);
/// Looks that begin higher up last this many times longer than the one at whole lanes that took long: it is one of 300
/// claims that are slow, at most.
const TIMES: u32 = 300;
/// And no longer than this, as a busy machine makes looks slow as well: what is below waits for so long at most.
const LONGEST: Duration = Duration::from_secs(5);
/// Clocks of servers that queue, and their commits, may be this far apart.
const SLACK: Duration = Duration::from_secs(2);

/// Where to begin, by lane and rank.
#[derive(Debug, Default)]
pub(super) struct Floors {
    begin: HashMap<(i32, i16), i64>,
    /// Until when lanes are not looked at whole.
    until: Option<Instant>,
}

impl Floors {
    /// Lanes, ranks and the keys to begin with there; none if lanes are to be looked at whole.
    pub(super) fn at(&self, now: Instant) -> Option<(Vec<i32>, Vec<i16>, Vec<i64>)> {
        self.until.filter(|until| now < *until)?;
        let mut columns = (Vec::new(), Vec::new(), Vec::new());
        for (&(lane, prank), &seq) in &self.begin {
            columns.0.push(lane);
            columns.1.push(prank);
            columns.2.push(seq);
        }
        Some(columns)
    }

    /// A look that took `took` found these, by lane, rank and key.
    pub(super) fn found(
        &mut self,
        found: impl ExactSizeIterator<Item = (i32, i16, i64)>,
        was_whole: bool,
        took: Duration,
        now: Instant,
    ) {
        if was_whole {
            let rows = u32::try_from(found.len()).unwrap_or(u32::MAX);
            self.until = (took > QUICK + ROW * rows).then(|| now + (took * TIMES).min(LONGEST));
        }
        for (lane, prank, seq) in found {
            let begin = self.begin.entry((lane, prank)).or_insert(0);
            *begin = (*begin).max(before(seq));
        }
    }
}

/// The first key of the time that is [`SLACK`] earlier.
fn before(seq: i64) -> i64 {
    let at = Seq(seq).created_at().as_millis() - SLACK.as_millis() as i64;
    Seq::at(Timestamp::from_millis(at.max(0))).0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(ms: i64) -> i64 {
        Seq::at(Timestamp::from_millis(ms)).0
    }

    #[test]
    fn looks_begin_higher_up_only_while_whole_ones_are_slow() {
        let (mut floors, now) = (Floors::default(), Instant::now());
        let found = [(1, 2, key(10_000)), (1, 2, key(11_000))];
        floors.found(found.into_iter(), true, Duration::from_millis(1), now);
        assert_eq!(floors.at(now), None);
        // Ranks that had tasks before count, too.
        floors.found([(1, 2, key(9_500))].into_iter(), true, Duration::from_millis(1), now);
        let slow = Duration::from_millis(10);
        floors.found(found.into_iter(), true, slow, now);
        assert_eq!(floors.at(now), Some((vec![1], vec![2], vec![key(9_000)])));
        floors.found([(1, 2, key(15_000))].into_iter(), false, slow, now);
        assert_eq!(floors.at(now), Some((vec![1], vec![2], vec![key(13_000)])));
        let later = now + slow * TIMES;
        assert_eq!(floors.at(later), None);
        floors.found(found.into_iter(), true, Duration::from_millis(1), later);
        assert_eq!(floors.at(later), None);
    }
}
