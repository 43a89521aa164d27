//! Query strings: the last value of a key counts, and an empty one counts as absent.

use std::borrow::Cow;
use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;
use windlass_model::id::Id;
use windlass_model::time::Timestamp;
use windlass_model::wire::lenient::is_on;
use windlass_model::wire::{BadField, Page};

/// The query of a request.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query string. What is not UTF-8 after decoding is replaced, never refused.
    pub fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Query(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(k, v)| (decode(k), decode(v)))
                .collect(),
        )
    }

    /// The value of `key`; none where it is absent or empty.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    /// Every value of `key` that is not empty, in order.
    pub fn all<'q>(&'q self, key: &'q str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |(k, v)| k == key && !v.is_empty()).map(|(_, v)| v.as_str())
    }

    /// Whether the flag `key` is on: by any value but `0`, `false` and nothing.
    pub fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(is_on)
    }

    /// `page` and `per_page`.
    pub fn page(&self) -> Page {
        Page::from_query(self.get("page"), self.get("per_page"))
    }

    /// A number that must be one if it is there.
    pub fn number(&self, key: &str) -> Result<Option<f64>, BadField> {
        let Some(text) = self.get(key) else { return Ok(None) };
        match text.trim().parse::<f64>() {
            Ok(n) if n.is_finite() => Ok(Some(n)),
            _ => Err(BadField::invalid(key, format!("must be a number, not {text:?}"))),
        }
    }

    /// A time in seconds since the epoch.
    pub fn seconds(&self, key: &str) -> Result<Option<Timestamp>, BadField> {
        Ok(self.number(key)?.map(|n| Timestamp::from_secs(n as i64)))
    }

    /// An id.
    pub fn id(&self, key: &str) -> Result<Option<Id>, BadField> {
        let id = self.get(key).map(str::parse::<Id>).transpose();
        id.map_err(|e| BadField::invalid(key, e.to_string()))
    }

    /// Adds `key` unless it is there with a value.
    pub fn set_default(&mut self, key: &str, value: String) {
        if self.get(key).is_none() {
            self.0.push((key.to_owned(), value));
        }
    }

    /// Adds a value of `key`.
    pub fn add(&mut self, key: &str, value: &str) {
        self.0.push((key.to_owned(), value.to_owned()));
    }

    /// Every key, once for each time it was given.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| key.as_str())
    }

    /// Whether any of `keys` has a value.
    pub fn has_any(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.get(key).is_some())
    }
}

/// The decoded value of `key` in a raw query string, without reading the others.
pub fn value_of<'q>(query: &'q str, key: &str) -> Option<Cow<'q, str>> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(k, v)| *k == key && !v.is_empty())?;
    Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy())
}

fn decode(text: &str) -> String {
    let spaced: Cow<'_, str> =
        if text.contains('+') { Cow::Owned(text.replace('+', " ")) } else { Cow::Borrowed(text) };
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Query::parse(parts.uri.query().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_queries_are_read() {
        let q = Query::parse(
            "code_name=&label=a+b%2Fc&complete=%25%21d%28bool%3Dtrue%29&queued=0&page=2&x&=y&%ff=1",
        );
        assert_eq!((q.get("code_name"), q.get("label")), (None, Some("a b/c")));
        assert!(q.flag("complete") && !q.flag("queued") && !q.flag("running"));
        assert_eq!(q.page().skip, 60);
        assert_eq!(value_of("a=1&oauth=x%2By", "oauth").as_deref(), Some("x+y"));
    }

    #[test]
    fn what_must_be_a_number_is_named() {
        let q = Query::parse("from_time=NaN&schedule_id=12");
        assert_eq!(
            q.seconds("from_time").unwrap_err().to_string(),
            "from_time: must be a number, not \"NaN\""
        );
        assert!(q.id("schedule_id").is_err());
    }
}
