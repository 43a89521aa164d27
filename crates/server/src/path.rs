//! Request targets as clients build them: doubled slashes, a slash at the end, the whole URL.

use http::Uri;
use http::uri::PathAndQuery;

/// The target that `uri` means, or `None` where it is fine as it is.
///
/// Slashes are folded in the path only; the query is kept to the byte. A target in absolute form needs no care for
/// routing, which looks at the path alone.
pub fn normalize(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    let is_plain = path.len() < 2 || !(path.ends_with('/') || path.contains("//"));
    if is_plain {
        return None;
    }
    let mut folded = String::with_capacity(uri.path_and_query().map_or(0, |p| p.as_str().len()));
    for segment in path.split('/').filter(|s| !s.is_empty()) {
        folded.push('/');
        folded.push_str(segment);
    }
    if folded.is_empty() {
        folded.push('/');
    }
    if let Some(query) = uri.query() {
        folded.push('?');
        folded.push_str(query);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::from_maybe_shared(folded).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_are_folded_and_nothing_else() {
        for (given, meant) in [
            ("//2//projects/", "/2/projects"),
            ("/2/projects/?a=//b/", "/2/projects?a=//b/"),
            ("http://host:1//2/stacks/", "http://host:1/2/stacks"),
            ("//", "/"),
        ] {
            assert_eq!(normalize(&given.parse().unwrap()).unwrap().to_string(), meant, "{given}");
        }
        for fine in ["/", "/2/projects", "/2/projects?x=a//b", "http://host/2/stacks"] {
            assert_eq!(normalize(&fine.parse().unwrap()), None, "{fine}");
        }
    }
}
