//! Issue times such as `415 PM EST Tue Nov 24 2026`, and expiry times such as `242115`.

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime, Time},
    tz::Offset,
};

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

/// Hours east of Greenwich for the zone names the offices write.
const ZONES: [(&str, i8); 14] = [
    ("UTC", 0),
    ("GMT", 0),
    ("AST", -4),
    ("EST", -5),
    ("EDT", -4),
    ("CST", -6),
    ("CDT", -5),
    ("PST", -8),
    ("PDT", -7),
    ("AKST", -9),
    ("AKDT", -8),
    ("HST", -10),
    ("SST", -11),
    ("CHST", 10),
];

/// Whether a line is meant as an issue time: digits, then AM or PM.
pub(super) fn looks_like_issue_time(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let clock = words.next().unwrap_or_default();
    (3..=4).contains(&clock.len())
        && clock.bytes().all(|byte| byte.is_ascii_digit())
        && words.next().is_some_and(|half| half.eq_ignore_ascii_case("AM") || half.eq_ignore_ascii_case("PM"))
}

/// Reads an issue time. A second zone's time between slashes is passed over.
pub(super) fn issue_time(line: &str) -> Result<Timestamp, &'static str> {
    let upper = line.to_ascii_uppercase();
    let outside = upper.split('/').step_by(2).collect::<Vec<_>>().join(" ");
    let words: Vec<&str> = outside.split_whitespace().collect();
    let &[clock, half, zone, _weekday, month, day, year] = words.as_slice() else {
        return Err("expected time, AM or PM, time zone, weekday, month, day, year");
    };
    let clock: i16 = clock.parse().map_err(|_| "no such time of day")?;
    if !(1..=12).contains(&(clock / 100)) {
        return Err("no such time of day");
    }
    let hour = clock / 100 % 12 + if half == "PM" { 12 } else { 0 };
    let time = i8::try_from(hour).ok().zip(i8::try_from(clock % 100).ok());
    let time =
        time.and_then(|(hour, minute)| Time::new(hour, minute, 0, 0).ok()).ok_or("no such time of day")?;
    let east = ZONES.iter().find(|(name, _)| *name == zone).ok_or("unknown time zone")?.1;
    let month = (1..).zip(MONTHS).find(|(_, name)| *name == month).ok_or("unknown month")?.0;
    let date =
        day.parse().ok().zip(year.parse().ok()).and_then(|(day, year)| Date::new(year, month, day).ok());
    let local = DateTime::from_parts(date.ok_or("no such day")?, time);
    Offset::constant(east).to_timestamp(local).map_err(|_| "no such day")
}

/// The instant that `ddhhmm` (UTC) names: the first one that is not more than a day before `issued_at`.
pub(super) fn expiry(ddhhmm: &str, issued_at: Timestamp) -> Option<Timestamp> {
    let number = |at: usize| ddhhmm.get(at..at + 2)?.parse::<i8>().ok();
    let (day, time) = (number(0)?, Time::new(number(2)?, number(4)?, 0, 0).ok()?);
    let earliest = issued_at - SignedDuration::from_hours(24);
    let first = Offset::UTC.to_datetime(earliest).date().first_of_month();
    // Two months more than one: a day 31 may have to skip a short month.
    let mut month = first;
    for _ in 0..3 {
        let at = Date::new(month.year(), month.month(), day)
            .ok()
            .and_then(|date| Offset::UTC.to_timestamp(DateTime::from_parts(date, time)).ok());
        if at.is_some_and(|at| at >= earliest) {
            return at;
        }
        month = month.last_of_month().tomorrow().ok()?;
    }
    None
}
