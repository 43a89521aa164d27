//! Writes a forecast as a page, in the layout and the wording of the coastal waters products.

use jiff::tz::Offset;

use super::{dice::Dice, weather::short, zones::Zone};
use crate::forecast::{Direction, Forecast, Height, Period, Range, Surface, Swell, Wind};

/// Lines are broken before this column, as on the teletypes that these pages were made for.
const COLUMNS: usize = 66;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// How an office writes.
struct Style {
    is_upper: bool,
    knots: &'static str,
    feet: &'static str,
    /// Gusts in a sentence of their own.
    has_gust_sentence: bool,
}

/// The page of a forecast. The wording hangs on the zone's number only.
pub(super) fn page(zone: &Zone, nth: u64, forecast: &Forecast) -> String {
    let mut dice = Dice::of(&[nth]);
    let units = dice.pick(&[("kt", "ft"), ("kt", "ft"), ("knots", "feet")]);
    let style = Style {
        is_upper: dice.chance(40),
        knots: units.0,
        feet: units.1,
        has_gust_sentence: dice.chance(50),
    };
    let office = zone.office;
    let utc = Offset::UTC.to_datetime(forecast.issued_at);
    let expires = Offset::UTC.to_datetime(forecast.expires_at);
    let issued = issue_time(zone, forecast);
    let product = if office.awips_id.starts_with("NSH") {
        "Nearshore Marine Forecast"
    } else {
        "Coastal Waters Forecast"
    };
    let mut page = Page { text: String::new(), is_upper: style.is_upper };

    page.line("000");
    page.line(&format!(
        "{} {} {:02}{:02}{:02}",
        office.wmo_id,
        office.icao_id,
        utc.day(),
        utc.hour(),
        utc.minute()
    ));
    page.line(office.awips_id);
    page.line("");
    page.line(&format!("{product} for {}", office.region));
    page.line(&format!("National Weather Service {}", office.town));
    page.line(&issued);
    page.line("");
    page.line(&format!(
        "{}-{:02}{:02}{:02}-",
        forecast.zones.join("-"),
        expires.day(),
        expires.hour(),
        expires.minute()
    ));
    page.line(&format!("{}-", forecast.name));
    page.line(&issued);
    page.line("");
    for headline in &forecast.headlines {
        page.paragraph(&format!("...{headline}..."));
        page.line("");
    }
    if let Some(synopsis) = &forecast.synopsis {
        page.paragraph(&format!(".SYNOPSIS...{synopsis}"));
    }
    for period in &forecast.periods {
        page.paragraph(&format!(".{}...{}", period.name, sentences(period, &style)));
    }
    page.line("");
    page.line("$$");
    page.text
}

struct Page {
    text: String,
    is_upper: bool,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(&if self.is_upper { line.to_uppercase() } else { line.to_owned() });
        self.text.push('\n');
    }

    fn paragraph(&mut self, text: &str) {
        let mut line = String::new();
        for word in text.split(' ') {
            if !line.is_empty() && line.len() + 1 + word.len() > COLUMNS {
                self.line(&line);
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(&line);
    }
}

/// `415 PM EST Tue Nov 24 2026`
fn issue_time(zone: &Zone, forecast: &Forecast) -> String {
    let (offset, abbreviation) = zone.office.clock.at(forecast.issued_at);
    let local = offset.to_datetime(forecast.issued_at);
    let (half, hour) = (if local.hour() < 12 { "AM" } else { "PM" }, (local.hour() + 11) % 12 + 1);
    let day = short(local.weekday());
    let (initial, rest) = day.split_at(1);
    let month = MONTHS.get(usize::from(local.month().unsigned_abs()) - 1).unwrap_or(&"");
    format!(
        "{hour}{:02} {half} {abbreviation} {initial}{} {month} {} {}",
        local.minute(),
        rest.to_lowercase(),
        local.day(),
        local.year()
    )
}

fn sentences(period: &Period, style: &Style) -> String {
    let comma = if style.is_upper { "..." } else { ", " };
    let mut text = vec![winds(&period.wind, style, comma)];
    if style.has_gust_sentence
        && let Some(gusts) = period.wind.last().and_then(|wind| wind.gusts.as_ref())
    {
        text.push(format!("Gusts up to {} {}", gusts.max_kt, style.knots));
    }
    text.push(seas(&period.sea, style, comma));
    text.extend(wave_detail(&period.swell, style));
    text.extend(period.weather.iter().map(|sentence| sentence.replace(", ", comma)));
    let is_told = period.weather.iter().any(|sentence| sentence.contains("vsby"));
    if let Some(nm) = period.visibility_nm.filter(|_| !is_told) {
        text.push(format!(
            "Vsby {}",
            if nm.min == 0.0 && nm.max < 1.0 { "1/4 nm or less".into() } else { miles(nm) }
        ));
    }
    text.join(". ") + "."
}

fn winds(winds: &[Wind], style: &Style, comma: &str) -> String {
    let mut text = String::new();
    for (nth, wind) in winds.iter().enumerate() {
        let before = nth.checked_sub(1).and_then(|before| winds.get(before));
        let speed = wind.speed_kt.map(|speed| amount(speed, style.knots, "less than"));
        let from = directions(&wind.from);
        let is_variable = wind.from.is_empty();
        text += &match (before, speed) {
            (None, None) => "Light and variable winds".to_owned(),
            (None, Some(speed)) if is_variable => format!("Variable winds {speed}"),
            (None, Some(speed)) => format!("{from} {} {speed}", noun(wind)),
            (Some(_), None) => format!("{comma}becoming light and variable"),
            (Some(before), Some(speed)) if before.from == wind.from && !is_variable => {
                let is_more =
                    before.speed_kt.is_none_or(|old| Some(old.max) < wind.speed_kt.map(|new| new.max));
                format!("{comma}{} to {speed}", if is_more { "increasing" } else { "diminishing" })
            }
            (Some(before), Some(_)) if before.speed_kt == wind.speed_kt => format!("{comma}becoming {from}"),
            (Some(_), Some(speed)) => format!("{comma}becoming {from} {speed}"),
        };
        let is_last = nth + 1 == winds.len();
        if let Some(gusts) = wind.gusts.as_ref().filter(|_| !(style.has_gust_sentence && is_last)) {
            text += &format!(" with gusts up to {} {}", gusts.max_kt, style.knots);
        }
        if let Some(when) = &wind.when {
            text += &format!(" {when}");
        }
    }
    text
}

/// Twice the middle of a range, to compare by.
fn middle(range: Range<u16>) -> u16 {
    range.min + range.max
}

fn noun(wind: &Wind) -> &'static str {
    match wind.speed_kt.map_or(0, |speed| speed.min) {
        48.. => "storm force winds",
        34.. => "gales",
        _ => "winds",
    }
}

fn directions(from: &[Direction]) -> String {
    if from.is_empty() {
        return "variable".to_owned();
    }
    from.iter().map(|direction| format!("{direction:?}")).collect::<Vec<_>>().join(" to ")
}

fn seas(sea: &[Height], style: &Style, comma: &str) -> String {
    let mut text = String::new();
    for (nth, height) in sea.iter().enumerate() {
        let feet = amount(height.height_ft, style.feet, "");
        let before = nth.checked_sub(1).and_then(|before| sea.get(before));
        text += &match before {
            None => match height.surface {
                Surface::Seas => format!("Seas {feet}"),
                Surface::Waves => format!("Waves {feet}"),
                Surface::WindWaves => format!("Wind waves {feet}"),
            },
            Some(before) if middle(before.height_ft) < middle(height.height_ft) => {
                format!("{comma}building to {feet}")
            }
            Some(_) => format!("{comma}subsiding to {feet}"),
        };
        if let Some(when) = &height.when {
            text += &format!(" {when}");
        }
    }
    text
}

fn wave_detail(swell: &[Swell], style: &Style) -> Option<String> {
    let trains: Vec<String> = swell
        .iter()
        .map(|train| {
            let feet = train.height_ft.max;
            format!("{:?} {feet} {} at {} seconds", train.from, style.feet, train.period_s)
        })
        .collect();
    (!trains.is_empty()).then(|| format!("Wave detail: {}", trains.join(" and ")))
}

/// `10 to 15 kt`, `2 ft or less` (or, with a word for it, `less than 10 kt`), `around 4 ft`.
fn amount(range: Range<u16>, unit: &str, less: &str) -> String {
    match range {
        Range { min: 0, max } if less.is_empty() => format!("{max} {unit} or less"),
        Range { min: 0, max } => format!("{less} {max} {unit}"),
        Range { min, max } if min == max => format!("around {max} {unit}"),
        Range { min, max } => format!("{min} to {max} {unit}"),
    }
}

fn miles(nm: Range<f64>) -> String {
    if nm.min == 0.0 { format!("{} nm or less", nm.max) } else { format!("{} to {} nm", nm.min, nm.max) }
}
