//! What a forecast page says, as data.

use jiff::Timestamp;
use serde::Serialize;

/// The forecast of a marine zone, or of a few that share one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    /// The ids of the zones it is for, such as `ANZ230`; never empty.
    pub zones: Vec<String>,
    /// Their names, such as `Boston Harbor`.
    pub name: String,
    /// When the forecast was issued.
    pub issued_at: Timestamp,
    /// When the next one is due, and this one stops being good.
    pub expires_at: Timestamp,
    /// The lines between three full stops, in upper case, in the page's order.
    pub headlines: Vec<String>,
    /// The warnings, watches and advisories named in the headlines.
    pub hazards: Vec<Hazard>,
    /// The weather pattern in a few sentences, where the page carries one.
    pub synopsis: Option<String>,
    /// The periods in order; never empty.
    pub periods: Vec<Period>,
}

/// A warning, watch or advisory in force or announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Hazard {
    /// What is feared.
    pub phenomenon: Phenomenon,
    /// How sure and how bad.
    pub significance: Significance,
}

/// What a marine warning is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the phrases of the headlines")]
pub enum Phenomenon {
    SmallCraft,
    Gale,
    Storm,
    HurricaneForceWind,
    Hurricane,
    TropicalStorm,
    HazardousSeas,
    BriskWind,
    DenseFog,
    DenseSmoke,
    FreezingSpray,
    HeavyFreezingSpray,
    RoughBar,
    LowWater,
}

/// How urgent a hazard is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Significance {
    /// It is happening, or about to.
    Warning,
    /// It is happening and is a nuisance more than a danger.
    Advisory,
    /// It may happen.
    Watch,
}

/// One period of a forecast, such as `TONIGHT`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Period {
    /// The period's name in upper case.
    pub name: String,
    /// The wind, and what it becomes, in the order it happens. Empty where the page does not say.
    pub wind: Vec<Wind>,
    /// Seas or waves, and what they become.
    pub sea: Vec<Height>,
    /// The single wave trains the sea is made of, where the page tells them apart.
    pub swell: Vec<Swell>,
    /// The lowest visibility mentioned, in nautical miles.
    pub visibility_nm: Option<Range<f64>>,
    /// Every other sentence, without its full stop.
    pub weather: Vec<String>,
}

/// The wind during a part of a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wind {
    /// Where it blows from; two where the page gives a range. Empty means variable.
    pub from: Vec<Direction>,
    /// Its speed in knots; `None` where the page only says that it is light.
    pub speed_kt: Option<Range<u16>>,
    /// Its gusts, where given.
    pub gusts: Option<Gust>,
    /// When this part begins or applies, in the page's words and lower case; `None` for the whole period.
    pub when: Option<String>,
}

/// Gusts on top of a wind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gust {
    /// The strongest, in knots.
    pub max_kt: u16,
    /// When, in the page's words and lower case.
    pub when: Option<String>,
}

/// The height of the sea during a part of a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Height {
    /// Which height the page speaks of.
    pub surface: Surface,
    /// The height in feet.
    pub height_ft: Range<u16>,
    /// When this part begins or applies, in the page's words and lower case.
    pub when: Option<String>,
}

/// The word a page uses for the state of the sea.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Surface {
    /// Wind waves and swell together, on the open sea.
    Seas,
    /// Waves in bays, sounds and lakes.
    Waves,
    /// The part of the sea that the local wind makes.
    WindWaves,
}

/// One wave train.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Swell {
    /// Where it comes from.
    pub from: Direction,
    /// Its height in feet.
    pub height_ft: Range<u16>,
    /// The time between two crests, in seconds.
    pub period_s: u16,
}

/// An amount between two bounds, both included; equal bounds mean "around".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Range<T> {
    /// The lower bound; zero for "or less".
    pub min: T,
    /// The upper bound.
    pub max: T,
}

/// A point of the compass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the names are the points of the compass")]
pub enum Direction {
    N,
    NNE,
    NE,
    ENE,
    E,
    ESE,
    SE,
    SSE,
    S,
    SSW,
    SW,
    WSW,
    W,
    WNW,
    NW,
    NNW,
}
