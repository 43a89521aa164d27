//! Where a site keeps its pages.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The host of the real forecasts and the folders on it.
const NWS_HOST: &str = "tgftp.nws.noaa.gov";
const NWS_PAGES: &str = "https://tgftp.nws.noaa.gov/data/forecasts/marine/coastal/{area}/{zone}.txt";

/// Where a site keeps its pages and, if it has one, its list of zones.
///
/// Written as a URL: either a site with the layout of [`crate::site`], or the real site (any URL on its host), or a
/// template of page addresses in which `{ZONE}` stands for `ANZ230`, `{zone}` for `anz230` and `{area}` for `an`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Layout {
    source: String,
    pages: String,
    index: Option<String>,
}

/// Why a text is no layout.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// Neither `http://` nor `https://` begins it.
    #[error("site {0:?} is not a http or https URL")]
    NotHttp(String),
    /// It is a template, but not of one page per zone.
    #[error("site {0:?} has braces, but neither {{zone}} nor {{ZONE}}")]
    NoZone(String),
}

impl Layout {
    /// The address of a zone's page.
    pub fn page(&self, zone: &ZoneId) -> String {
        let lower = zone.0.to_lowercase();
        let area = lower.get(..2).unwrap_or_default();
        self.pages.replace("{ZONE}", &zone.0).replace("{zone}", &lower).replace("{area}", area)
    }

    /// The address of the list of zones, where the site has one.
    pub fn index(&self) -> Option<&str> {
        self.index.as_deref()
    }
}

impl FromStr for Layout {
    type Err = LayoutError;

    fn from_str(source: &str) -> Result<Self, LayoutError> {
        let source = source.to_owned();
        let Some(rest) = source.strip_prefix("https://").or_else(|| source.strip_prefix("http://")) else {
            return Err(LayoutError::NotHttp(source));
        };
        if source.contains(['{', '}']) {
            if !source.contains("{zone}") && !source.contains("{ZONE}") {
                return Err(LayoutError::NoZone(source));
            }
            return Ok(Self { pages: source.clone(), source, index: None });
        }
        if rest.split(['/', ':']).next() == Some(NWS_HOST) {
            return Ok(Self { source, pages: NWS_PAGES.to_owned(), index: None });
        }
        let base = source.trim_end_matches('/');
        Ok(Self {
            pages: format!("{base}/forecasts/{{ZONE}}.txt"),
            index: Some(format!("{base}/zones.txt")),
            source,
        })
    }
}

impl TryFrom<String> for Layout {
    type Error = LayoutError;

    fn try_from(source: String) -> Result<Self, LayoutError> {
        source.parse()
    }
}

impl From<Layout> for String {
    fn from(layout: Layout) -> Self {
        layout.source
    }
}

/// As it was written, to be passed on.
impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

/// The id of a marine zone: two letters for the area, `Z`, three digits. Safe to put into an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ZoneId(String);

/// Why a text is no zone id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not a zone id such as ANZ230")]
pub struct ZoneIdError(String);

impl FromStr for ZoneId {
    type Err = ZoneIdError;

    fn from_str(text: &str) -> Result<Self, ZoneIdError> {
        match text.to_uppercase().as_bytes() {
            [a, b, b'Z', digits @ ..]
                if a.is_ascii_uppercase()
                    && b.is_ascii_uppercase()
                    && digits.len() == 3
                    && digits.iter().all(u8::is_ascii_digit) =>
            {
                Ok(Self(text.to_uppercase()))
            }
            _ => Err(ZoneIdError(text.to_owned())),
        }
    }
}

impl TryFrom<String> for ZoneId {
    type Error = ZoneIdError;

    fn try_from(text: String) -> Result<Self, ZoneIdError> {
        text.parse()
    }
}

impl From<ZoneId> for String {
    fn from(zone: ZoneId) -> Self {
        zone.0
    }
}

impl fmt::Display for ZoneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_has_pages_and_an_index() {
        for base in ["http://127.0.0.1:8000", "http://127.0.0.1:8000/"] {
            let layout: Layout = base.parse().unwrap();
            assert_eq!(layout.page(&"anz230".parse().unwrap()), "http://127.0.0.1:8000/forecasts/ANZ230.txt");
            assert_eq!(layout.index(), Some("http://127.0.0.1:8000/zones.txt"));
            assert_eq!(layout.to_string(), base);
        }
    }

    #[test]
    fn the_real_site_has_folders_by_area_and_no_index() {
        let layout: Layout = "https://tgftp.nws.noaa.gov".parse().unwrap();
        let page = "https://tgftp.nws.noaa.gov/data/forecasts/marine/coastal/an/anz230.txt";
        assert_eq!(layout.page(&"ANZ230".parse().unwrap()), page);
        assert_eq!(layout.index(), None);
    }

    #[test]
    fn a_template_is_filled() {
        let layout: Layout = "http://mirror/{area}/{zone}?id={ZONE}".parse().unwrap();
        assert_eq!(layout.page(&"PKZ011".parse().unwrap()), "http://mirror/pk/pkz011?id=PKZ011");
    }

    #[test]
    fn what_is_neither_is_refused() {
        assert!("ftp://host/".parse::<Layout>().is_err());
        assert!("http://host/{page}.txt".parse::<Layout>().is_err());
        for id in ["", "ANZ23", "ANZ2300", "ANC230", "../230", "ÄNZ230", "ANZ23x"] {
            assert!(id.parse::<ZoneId>().is_err(), "{id}");
        }
    }
}
