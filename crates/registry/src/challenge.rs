//! What a registry wants of who calls it: the header `WWW-Authenticate`.

/// What is to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Name and password.
    Basic,
    /// A token, which is had by asking there.
    Bearer {
        realm: String,
        /// What the realm is asked with.
        query: Vec<(&'static str, String)>,
    },
}

impl Challenge {
    /// Reads the header; `None`: it asks for something else.
    pub(crate) fn parse(header: &str) -> Option<Self> {
        let (kind, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if kind.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !kind.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut query) = (None, Vec::new());
        for (name, value) in pairs(rest) {
            match name.to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value),
                "service" => query.push(("service", value)),
                "scope" => query.push(("scope", value)),
                _ => {}
            }
        }
        Some(Challenge::Bearer { realm: realm?, query })
    }
}

/// `name="value"` or `name=value`, separated by commas, which a value in quotes may hold.
fn pairs(text: &str) -> Vec<(String, String)> {
    let (mut pairs, mut rest) = (Vec::new(), text);
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',']).to_owned();
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        pairs.push((name, value.trim().to_owned()));
        rest = left;
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_header_is_read() {
        let bearer = |realm: &str, query: &[(&'static str, &str)]| {
            let query = query.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
            Some(Challenge::Bearer { realm: realm.to_owned(), query })
        };
        for (header, expected) in [
            ("Basic realm=\"x\"", Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            (
                "Bearer realm=\"https://auth.h.io/token\",service=\"h.io\",scope=\"repository:a/b:pull,push\"",
                bearer(
                    "https://auth.h.io/token",
                    &[("service", "h.io"), ("scope", "repository:a/b:pull,push")],
                ),
            ),
            ("bearer scope=s, realm=http://r", bearer("http://r", &[("scope", "s")])),
            ("Bearer service=x", None),
            ("Negotiate", None),
            ("", None),
        ] {
            assert_eq!(Challenge::parse(header), expected, "{header}");
        }
    }
}
