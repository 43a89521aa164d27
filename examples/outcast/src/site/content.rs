//! The index and the pages.

use std::{collections::BTreeMap, fmt::Write as _};

use jiff::{SignedDuration, Timestamp};

use super::{
    dice::Dice,
    fault::Fault,
    render, weather,
    zones::{Zone, zones},
};
use crate::forecast::Forecast;

/// How many pages are only bad at first.
const FLAKY_COUNT: usize = 4;

/// The site as it is after one issue of forecasts.
#[derive(Debug, Clone)]
pub struct Site {
    issued_at: Timestamp,
    zones: Vec<Zone>,
    numbers: BTreeMap<String, usize>,
    bad: BTreeMap<usize, Fault>,
    flaky: BTreeMap<usize, Flaky>,
}

/// A page that is bad at first and then good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flaky {
    /// What is wrong at first.
    pub fault: Fault,
    /// How many fetches find it so.
    pub bad_fetches: u32,
}

impl Site {
    /// The site with all forecasts issued at `issued_at`; seconds are dropped, as pages have none.
    pub fn new(issued_at: Timestamp) -> Self {
        let issued_at =
            issued_at - SignedDuration::from_nanos_i128(issued_at.as_nanosecond().rem_euclid(60_000_000_000));
        let zones = zones();
        let numbers = zones.iter().enumerate().map(|(nth, zone)| (zone.id.clone(), nth)).collect();
        // Each zone draws a lot, and the lowest lots are out of luck: so their number never varies.
        let seed = issued_at.as_second().unsigned_abs();
        let mut lots: Vec<(u64, usize)> =
            (0..zones.len()).map(|nth| (Dice::of(&[nth as u64, seed, 1]).next(), nth)).collect();
        lots.sort_unstable();
        let mut unlucky = lots.into_iter().map(|(_, nth)| nth);
        let bad = unlucky.by_ref().zip(Fault::ALL).collect();
        let flaky = unlucky
            .take(FLAKY_COUNT)
            .zip(Fault::ALL.into_iter().skip(1).zip([1, 2].into_iter().cycle()))
            .map(|(nth, (fault, bad_fetches))| (nth, Flaky { fault, bad_fetches }))
            .collect();
        Self { issued_at, zones, numbers, bad, flaky }
    }

    /// When the forecasts were issued.
    pub fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// The zones in the order of the index.
    pub fn zones(&self) -> &[Zone] {
        &self.zones
    }

    /// The text of `/zones.txt`: an id, a space and a name on each line.
    pub fn index(&self) -> String {
        self.zones.iter().fold(String::new(), |mut index, zone| {
            // Writing to a string cannot fail.
            let _ = writeln!(index, "{} {}", zone.id, zone.name);
            index
        })
    }

    /// What the page of a zone says, or would say if nothing were wrong with it; `None` if there is no such zone.
    pub fn forecast(&self, zone: &str) -> Option<Forecast> {
        let nth = *self.numbers.get(zone)?;
        Some(weather::forecast(&self.zones[nth], nth as u64, self.issued_at))
    }

    /// The page of a zone as its fetch number `fetch` (from one) gets it; `None` where the server answers 404.
    pub fn page(&self, zone: &str, fetch: u32) -> Option<Vec<u8>> {
        let nth = *self.numbers.get(zone)?;
        let page = render::page(&self.zones[nth], nth as u64, &self.forecast(zone)?);
        let flaky = self.flaky.get(&nth).filter(|flaky| fetch <= flaky.bad_fetches).map(|flaky| flaky.fault);
        match self.bad.get(&nth).copied().or(flaky) {
            Some(fault) => fault.spoil(zone, &page),
            None => Some(page.into_bytes()),
        }
    }

    /// The zones whose pages stay bad however often they are fetched: so many tasks of a run end in error.
    pub fn expected_failures(&self) -> Vec<(&str, Fault)> {
        self.bad.iter().map(|(nth, fault)| (self.zones[*nth].id.as_str(), *fault)).collect()
    }

    /// The zones whose pages are bad at first: their tasks need a retry, and then succeed.
    pub fn expected_retries(&self) -> Vec<(&str, Flaky)> {
        self.flaky.iter().map(|(nth, flaky)| (self.zones[*nth].id.as_str(), *flaky)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::parse;

    fn issue_times() -> impl Iterator<Item = Timestamp> {
        let start: Timestamp = "2026-11-24T21:15:00Z".parse().unwrap();
        // Steps that visit every hour of the day, both halves of the year, and the ends of months.
        (0..6).map(move |nth| start + SignedDuration::from_hours(nth * 997))
    }

    #[test]
    fn every_good_page_parses_to_the_forecast_it_was_written_from() {
        for site in issue_times().map(Site::new) {
            let bad = site.expected_failures();
            for zone in site.zones().iter().filter(|zone| bad.iter().all(|(id, _)| *id != zone.id)) {
                let page = site.page(&zone.id, u32::MAX).unwrap();
                let expected = site.forecast(&zone.id).unwrap();
                match parse(&page) {
                    Ok(parsed) if parsed == expected => {}
                    other => panic!("{}\n{other:#?}\n{expected:#?}", String::from_utf8_lossy(&page)),
                }
            }
        }
    }

    #[test]
    fn as_many_pages_are_bad_as_the_site_expects() {
        for site in issue_times().map(Site::new) {
            let is_bad = |fetch| {
                let good = |zone: &&Zone| site.page(&zone.id, fetch).is_some_and(|page| parse(&page).is_ok());
                site.zones()
                    .iter()
                    .filter(|zone| !good(zone))
                    .map(|zone| zone.id.as_str())
                    .collect::<Vec<_>>()
            };
            let bad: Vec<_> = site.expected_failures().into_iter().map(|(zone, _)| zone).collect();
            assert_eq!(bad.len(), 7);
            assert_eq!(is_bad(u32::MAX), bad);
            assert_eq!(is_bad(1).len(), bad.len() + site.expected_retries().len());
        }
    }

    #[test]
    fn the_same_issue_time_gives_the_same_site() {
        for at in issue_times() {
            let (one, other) = (Site::new(at), Site::new(at + SignedDuration::from_secs(30)));
            assert_eq!(one.index(), other.index());
            assert!(one.zones().iter().all(|zone| one.page(&zone.id, 1) == other.page(&zone.id, 1)));
        }
    }

    #[test]
    fn an_unknown_zone_has_no_page() {
        let site = Site::new(Timestamp::UNIX_EPOCH);
        assert_eq!(site.page("ANZ999", 1), None);
        assert_eq!(site.forecast("../etc"), None);
    }
}
