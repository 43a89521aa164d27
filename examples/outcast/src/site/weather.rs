//! Makes up the weather of a zone. No two offices would agree with it.

use jiff::{
    SignedDuration, Timestamp, ToSpan,
    civil::{DateTime, Weekday},
};

use super::{dice::Dice, zones::Zone};
use crate::forecast::{
    Direction, Forecast, Gust, Hazard, Height, Period, Phenomenon, Range, Significance, Surface, Swell, Wind,
};

const COMPASS: [Direction; 8] = [
    Direction::N,
    Direction::NE,
    Direction::E,
    Direction::SE,
    Direction::S,
    Direction::SW,
    Direction::W,
    Direction::NW,
];
const LATER_BY_DAY: [&str; 4] = ["in the afternoon", "by noon", "late", "by evening"];
const LATER_BY_NIGHT: [&str; 5] =
    ["after midnight", "late", "by daybreak", "late in the evening", "early in the morning"];
const WARM_SKY: [&str; 6] = [
    "A chance of showers",
    "Scattered showers and thunderstorms",
    "A slight chance of thunderstorms, mainly near shore",
    "Isolated thunderstorms with gusty winds",
    "Showers likely early, then mostly dry",
    "Numerous showers, some with heavy rain",
];
const MILD_SKY: [&str; 6] = [
    "Rain likely",
    "A chance of showers",
    "Rain, ending late",
    "Scattered showers, mainly near shore",
    "A slight chance of thunderstorms",
    "Patchy drizzle",
];
const COLD_SKY: [&str; 6] = [
    "Snow likely",
    "A chance of snow showers",
    "Rain and snow, mixed with sleet at times",
    "Rain, changing to snow late",
    "Scattered snow showers, mainly near shore",
    "A chance of flurries",
];
const SYNOPSES: [&str; 4] = [
    "Low pressure passes to the south tonight. High pressure builds over the waters after that",
    "A cold front crosses the waters late tonight, with gusty winds behind it",
    "High pressure remains nearly stationary into next week",
    "A deepening low moves northeast. A trough lingers behind it. Conditions improve over the weekend",
];

/// The forecast of a zone: always the same for the same zone and issue time.
pub(super) fn forecast(zone: &Zone, nth: u64, issued_at: Timestamp) -> Forecast {
    let mut dice = Dice::of(&[nth, issued_at.as_second().unsigned_abs()]);
    let mut mood = Mood {
        compass: usize::from(dice.below(8)),
        speed_kt: 5 * (dice.below(4) + dice.below(4)),
        is_sheltered: zone.is_sheltered,
        is_lake: zone.office.family.starts_with('L'),
        has_detail: dice.chance(40),
        sky: sky(zone, issued_at),
    };
    let synopsis = dice.chance(25).then(|| format!("{}.", dice.pick(&SYNOPSES)));
    let periods: Vec<Period> =
        period_names(zone, issued_at).into_iter().map(|name| period(name, &mut mood, &mut dice)).collect();
    let tomorrow = long(local_time(zone, issued_at).weekday().next());
    let (headlines, hazards) = hazards(&periods, tomorrow, &mut dice);
    let quarters = i64::from(24 + dice.below(16));
    let expires_at = issued_at + SignedDuration::from_mins(15 * quarters);
    Forecast {
        zones: vec![zone.id.clone()],
        name: zone.name.clone(),
        issued_at,
        // Expiry times are kept on the quarter of the hour.
        expires_at: expires_at - SignedDuration::from_secs(expires_at.as_second().rem_euclid(900)),
        headlines,
        hazards,
        synopsis,
        periods,
    }
}

/// What carries over from one period to the next.
struct Mood {
    compass: usize,
    speed_kt: u16,
    is_sheltered: bool,
    is_lake: bool,
    has_detail: bool,
    sky: &'static [&'static str],
}

impl Mood {
    fn drift(&mut self, dice: &mut Dice) {
        self.compass = (self.compass + usize::from(dice.pick(&[7_u16, 8, 8, 9, 10]))) % COMPASS.len();
        let ceiling = if self.is_sheltered { 40 } else { 55 };
        let up = dice.pick(&[0, 0, 5, 5, 10]);
        let down = dice.pick(&[0, 5, 5, 10]);
        self.speed_kt = (self.speed_kt + up).saturating_sub(down).min(ceiling);
    }

    fn wind(&self, when: Option<&str>, dice: &mut Dice) -> Wind {
        let from = COMPASS[self.compass];
        let next = COMPASS[(self.compass + 1) % COMPASS.len()];
        let speed = |min, max| Some(Range { min, max });
        let (from, speed_kt) = match self.speed_kt {
            0 if dice.chance(50) => (vec![], None),
            0 => (vec![], speed(0, 10)),
            5 => (vec![from], speed(0, 10)),
            knots if dice.chance(15) => (vec![from, next], speed(knots, knots + 5)),
            knots if dice.chance(10) => (vec![from], speed(knots, knots)),
            knots if dice.chance(10) => (vec![from], speed(knots, knots + 10)),
            knots => (vec![from], speed(knots, knots + 5)),
        };
        let gusts = (self.speed_kt >= 15 && dice.chance(60))
            .then(|| Gust { max_kt: self.speed_kt + 10 + 5 * dice.below(2), when: None });
        Wind { from, speed_kt, gusts, when: when.map(str::to_owned) }
    }

    /// Seas as the wind would raise them in a day: roughly the square of its speed.
    fn height(&self, when: Option<&str>, dice: &mut Dice) -> Height {
        let full = self.speed_kt * self.speed_kt / 100 + if self.is_sheltered { 0 } else { 2 };
        let feet = if self.is_sheltered { full / 2 } else { full };
        let height_ft = match feet {
            0 | 1 => Range { min: 0, max: feet + 1 },
            _ if dice.chance(20) => Range { min: feet, max: feet },
            _ => Range { min: feet, max: feet + 1 + feet / 3 },
        };
        let surface = if self.is_sheltered || self.is_lake { Surface::Waves } else { Surface::Seas };
        Height { surface, height_ft, when: when.map(str::to_owned) }
    }
}

fn period(name: String, mood: &mut Mood, dice: &mut Dice) -> Period {
    let (mut wind, mut sea) = (Vec::new(), Vec::new());
    mood.drift(dice);
    wind.push(mood.wind(None, dice));
    sea.push(mood.height(None, dice));
    if dice.chance(45) {
        mood.drift(dice);
        let is_night = name.ends_with("NIGHT");
        let when = if is_night { dice.pick(&LATER_BY_NIGHT) } else { dice.pick(&LATER_BY_DAY) };
        let next = mood.wind(Some(when), dice);
        if (&next.from, next.speed_kt) != (&wind[0].from, wind[0].speed_kt) {
            wind.push(next);
        }
        let next = mood.height(Some(when), dice);
        if next.height_ft != sea[0].height_ft {
            sea.push(next);
        }
    }
    let swell =
        if mood.has_detail && !mood.is_sheltered && !mood.is_lake { swell(mood, dice) } else { Vec::new() };
    let mut weather: Vec<String> = Vec::new();
    if dice.chance(50) {
        weather.push(dice.pick(mood.sky).to_owned());
    }
    let mut visibility_nm = None;
    if dice.chance(15) {
        let (text, min, max) =
            dice.pick(&[("1 to 3 nm", 1.0, 3.0), ("1 nm or less", 0.0, 1.0), ("1/4 nm or less", 0.0, 0.25)]);
        visibility_nm = Some(Range { min, max });
        if dice.chance(50) {
            weather.push(format!("Patchy fog with vsby {text}"));
        }
    }
    Period { name, wind, sea, swell, visibility_nm, weather }
}

fn swell(mood: &Mood, dice: &mut Dice) -> Vec<Swell> {
    (0..=usize::from(dice.below(2)))
        .map(|nth| {
            let feet = 1 + dice.below(5);
            let height_ft = Range { min: feet, max: feet };
            let period_s = if nth == 0 { 4 + dice.below(5) } else { 9 + dice.below(6) };
            Swell { from: COMPASS[(mood.compass + 2 * nth) % COMPASS.len()], height_ft, period_s }
        })
        .collect()
}

/// What falls from the sky there at that time of the year.
fn sky(zone: &Zone, issued_at: Timestamp) -> &'static [&'static str] {
    let is_winter = matches!(local_time(zone, issued_at).month(), 11 | 12 | 1..=3);
    match zone.office.family {
        "AMZ" | "GMZ" | "PHZ" | "PMZ" => &WARM_SKY,
        "PZZ" => &MILD_SKY,
        _ if is_winter => &COLD_SKY,
        _ => &MILD_SKY,
    }
}

fn local_time(zone: &Zone, at: Timestamp) -> DateTime {
    zone.office.clock.at(at).0.to_datetime(at)
}

/// What is left of today, two days with their nights, and two days as a whole.
fn period_names(zone: &Zone, issued_at: Timestamp) -> Vec<String> {
    let local = local_time(zone, issued_at);
    let mut names: Vec<String> = match local.hour() {
        0..=11 => vec!["TODAY".into(), "TONIGHT".into()],
        12..=15 => vec!["THIS AFTERNOON".into(), "TONIGHT".into()],
        _ => vec!["TONIGHT".into()],
    };
    for ahead in 1..=4_i64 {
        let day = short((local.date().saturating_add(ahead.days())).weekday());
        names.push(day.to_owned());
        if ahead <= 2 {
            names.push(format!("{day} NIGHT"));
        }
    }
    names
}

/// A weekday in three capitals.
pub(super) fn short(day: Weekday) -> &'static str {
    long(day).split_at(3).0
}

fn long(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "MONDAY",
        Weekday::Tuesday => "TUESDAY",
        Weekday::Wednesday => "WEDNESDAY",
        Weekday::Thursday => "THURSDAY",
        Weekday::Friday => "FRIDAY",
        Weekday::Saturday => "SATURDAY",
        Weekday::Sunday => "SUNDAY",
    }
}

/// The headlines that the first four periods deserve.
fn hazards(periods: &[Period], tomorrow: &str, dice: &mut Dice) -> (Vec<String>, Vec<Hazard>) {
    use Phenomenon::{DenseFog, Gale, SmallCraft, Storm};
    use Significance::{Advisory, Warning, Watch};
    let worst = |periods: &[Period]| {
        let knots = periods.iter().flat_map(|period| &period.wind).filter_map(|wind| wind.speed_kt);
        knots.map(|speed| speed.max).max().unwrap_or_default()
    };
    let (soon, later) = (worst(&periods[..2]), worst(&periods[2..4]));
    let until = [
        format!("IN EFFECT THROUGH {tomorrow} EVENING"),
        "IN EFFECT UNTIL MIDNIGHT TONIGHT".to_owned(),
        format!("IN EFFECT FROM LATE TONIGHT THROUGH {tomorrow} NIGHT"),
    ];
    let mut found = Vec::new();
    match soon {
        48.. => found.push((Storm, Warning, "STORM WARNING")),
        34.. => found.push((Gale, Warning, "GALE WARNING")),
        25.. => found.push((SmallCraft, Advisory, "SMALL CRAFT ADVISORY")),
        _ => {}
    }
    if later >= 34 && later > soon {
        found.push((Gale, Watch, "GALE WATCH"));
    }
    if periods[..2].iter().any(|period| period.visibility_nm.is_some_and(|nm| nm.max < 1.0)) {
        found.push((DenseFog, Advisory, "DENSE FOG ADVISORY"));
    }
    let headlines =
        found.iter().map(|(_, _, name)| format!("{name} {}", until[usize::from(dice.below(3))])).collect();
    let hazards =
        found.iter().map(|&(phenomenon, significance, _)| Hazard { phenomenon, significance }).collect();
    (headlines, hazards)
}
