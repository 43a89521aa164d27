//! Query strings.

use std::fmt::Write as _;

/// A query that grows by one `name=value` at a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(String);

impl Query {
    /// With `name=value`.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.0.push(if self.0.is_empty() { '?' } else { '&' });
        let value: String = url::form_urlencoded::byte_serialize(value.to_string().as_bytes()).collect();
        let _ = write!(self.0, "{name}={value}");
        self
    }

    /// With `name=value` if there is a value.
    #[must_use]
    pub(crate) fn with_some(self, name: &str, value: Option<impl std::fmt::Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// `path` with the query.
    pub(crate) fn on(&self, path: &str) -> String {
        format!("{path}{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped() {
        let query = Query::default().with("a", "x y&z").with_some("b", None::<u8>).with("c", 1);
        assert_eq!(query.on("/t"), "/t?a=x+y%26z&c=1");
        assert_eq!(Query::default().on("/t"), "/t");
    }
}
