//! Payloads and results as people read them: JSON set in lines, what looks like a secret masked.

use serde_json::Value;

use super::show::bytes as size;

/// What stands for a value that is not shown.
const MASK: &str = "••••••";

/// Parts of names whose values are secrets more often than not, without the marks between their words.
const SECRETIVE: [&str; 11] = [
    "token",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "apikey",
    "accesskey",
    "credential",
    "privatekey",
    "authorization",
    "cookie",
];

/// Most bytes that a page shows.
const MOST_BYTES: usize = 64 * 1024;

/// Longest payload that a list looks into for a line of it.
const MOST_IN_LISTS: usize = 16 * 1024;

/// A payload, ready to be shown.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) text: String,
    /// Whether something in it is masked.
    pub(super) is_masked: bool,
    /// Whether only its beginning is shown.
    pub(super) is_cut: bool,
}

/// `bytes` for a page, with secrets only if they are to be revealed.
pub(super) fn content(bytes: &[u8], reveal: bool) -> Content {
    let (text, is_masked) = match serde_json::from_slice::<Value>(bytes) {
        Ok(mut value) if value.is_object() || value.is_array() => {
            let is_masked = !reveal && mask(&mut value);
            (serde_json::to_string_pretty(&value).unwrap_or_default(), is_masked)
        }
        _ => {
            let text = String::from_utf8_lossy(bytes);
            if reveal { (text.into_owned(), false) } else { mask_text(&text) }
        }
    };
    let is_cut = text.len() > MOST_BYTES;
    let text = if is_cut { text[..text.floor_char_boundary(MOST_BYTES)].to_owned() } else { text };
    Content { text, is_masked, is_cut }
}

/// What a list shows of a payload: it has many, so of a long one just that it is there.
pub(super) fn in_list(bytes: &[u8]) -> String {
    match bytes.len() {
        0..=MOST_IN_LISTS => content(bytes, false).text,
        long => format!("{} of payload", size(long as u64)),
    }
}

/// Whether a payload has `text`, which is in lower case, in what may be shown of it.
pub(super) fn has_text(bytes: &[u8], text: &str, reveal: bool) -> bool {
    let has = |shown: &str| shown.to_lowercase().contains(text);
    has(&String::from_utf8_lossy(bytes)) && (reveal || has(&content(bytes, false).text))
}

fn is_secretive(name: &str) -> bool {
    let plain: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    SECRETIVE.iter().any(|part| plain.contains(part))
}

fn mask(value: &mut Value) -> bool {
    match value {
        Value::Object(map) => map.iter_mut().fold(false, |masked, (name, value)| {
            masked | if is_secretive(name) { hide(value) } else { mask(value) }
        }),
        Value::Array(values) => values.iter_mut().fold(false, |masked, value| mask(value) | masked),
        Value::String(text) => mask_within(text),
        _ => false,
    }
}

/// Everything below a secretive name.
fn hide(value: &mut Value) -> bool {
    match value {
        Value::Null => false,
        Value::Object(map) => map.values_mut().fold(false, |hidden, value| hide(value) | hidden),
        Value::Array(values) => values.iter_mut().fold(false, |hidden, value| hide(value) | hidden),
        other => {
            *other = Value::String(MASK.to_owned());
            true
        }
    }
}

/// JSON in a string of JSON.
fn mask_within(text: &mut String) -> bool {
    if !text.starts_with(['{', '[']) {
        return false;
    }
    let Ok(mut inner) = serde_json::from_str::<Value>(text) else { return false };
    let is_masked = mask(&mut inner);
    if is_masked {
        *text = inner.to_string();
    }
    is_masked
}

/// Text that is no JSON: `password=…`, `api-key: …`, `"token": "…` and the like, up to where the value seems to end.
fn mask_text(text: &str) -> (String, bool) {
    let mut shown = String::with_capacity(text.len());
    let (mut rest, mut is_masked) = (text, false);
    while let Some(at) = rest.find([':', '=']) {
        let (name, value) = (&rest[..at], &rest[at + 1..]);
        shown.push_str(&rest[..=at]);
        rest = value;
        let name = name.trim_end_matches(['"', '\'', ' ', '\\']);
        let from = name.rfind(|c: char| !(c.is_alphanumeric() || "_-.".contains(c))).map_or(0, |n| n + 1);
        let Some(name) = name.get(from..) else { continue };
        if !is_secretive(name) {
            continue;
        }
        let body = value.trim_start_matches([' ', '\t', '\\', '"', '\'']);
        let quote = value[..value.len() - body.len()].chars().last().filter(|c| matches!(c, '"' | '\''));
        let is_end = |c: char| match quote {
            Some(quote) => c == quote || c == '\n',
            None => c.is_whitespace() || "&,;}])".contains(c),
        };
        // `Authorization: Bearer …` has the secret in its second word.
        let words = if is_scheme(body) { body.find(' ').map_or(0, |space| space + 1) } else { 0 };
        let end = body[words..].find(is_end).map_or(body.len(), |end| words + end);
        if end > 0 {
            shown.push_str(&value[..value.len() - body.len()]);
            shown.push_str(MASK);
            is_masked = true;
            rest = &body[end..];
        }
    }
    shown.push_str(rest);
    (shown, is_masked)
}

fn is_scheme(text: &str) -> bool {
    let word = text.split(' ').next().unwrap_or_default();
    ["bearer", "basic", "oauth", "jwt", "token"].iter().any(|scheme| scheme.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn secrets_are_masked_wherever_they_are() {
        let payload =
            br#"{"zone":"ANZ230","auth":{"API_Token":"abc"},"list":[{"db_password":1}],"token":null}"#;
        let shown = content(payload, false);
        assert!(shown.is_masked && !shown.text.contains("abc") && shown.text.contains("ANZ230"));
        assert!(shown.text.contains("\"db_password\": \"••••••\"") && shown.text.contains("\"token\": null"));
        let shown = content(payload, true);
        assert!(!shown.is_masked && shown.text.contains("abc"));
        assert_eq!(content(b"plain \xff", false).text, "plain \u{fffd}");
    }

    #[test]
    fn nothing_below_a_secretive_name_gets_through() {
        for payload in [
            r#"{"secrets":["hush",{"a":"hush"}]}"#,
            r#"{"credentials":{"user":"hush","pass":"hush"}}"#,
            r#"{"Api-Key":"hush"}"#,
            r#"{"body":"{\"token\":\"hush\"}"}"#,
        ] {
            let shown = content(payload.as_bytes(), false);
            assert!(shown.is_masked && !shown.text.contains("hush"), "{payload}: {}", shown.text);
        }
    }

    #[test]
    fn text_that_is_no_json_is_masked_too() {
        let deep = format!("{}\"token\": \"hush\"{}", "{\"a\":".repeat(200) + "{", "}".repeat(201));
        for payload in [
            "user=me&password=hush&zone=3",
            "API-KEY: hush\nzone: 3",
            "{\"token\": \"hush\", \"zone\": 3} and more",
            "{'secret': 'hush', 'zone': 3}",
            "Authorization: Bearer hush zone",
            "db.password = \"hush and hush\" zone",
            "\"{\\\"token\\\":\\\"hush\\\"} zone\"",
            deep.as_str(),
        ] {
            let shown = content(payload.as_bytes(), false);
            assert!(shown.is_masked && !shown.text.contains("hush"), "{payload}: {}", shown.text);
            assert!(payload.starts_with("{\"a\"") || shown.text.contains("zone"), "{}", shown.text);
        }
        assert_eq!(
            mask_text("a: b, c=d; at 12:30 the secret is out"),
            ("a: b, c=d; at 12:30 the secret is out".into(), false)
        );
    }

    #[test]
    fn a_search_finds_what_may_be_shown() {
        let payload = br#"{"zone":"ANZ","token":"hush"}"#;
        assert!(has_text(payload, "anz", false) && has_text(payload, "hush", true));
        assert!(!has_text(payload, "hush", false));
    }

    proptest! {
        #[test]
        fn any_text_is_shown_somehow(text: String) {
            let (shown, is_masked) = mask_text(&text);
            prop_assert!(is_masked || shown == text);
        }
    }
}
