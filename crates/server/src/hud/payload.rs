//! Payloads and results as people read them: JSON set in lines, what looks like a secret masked.

use serde_json::Value;

/// What stands for a value that is not shown.
const MASK: &str = "••••••";

/// Parts of names whose values are secrets more often than not.
const SECRETIVE: [&str; 9] = [
    "token",
    "password",
    "passwd",
    "secret",
    "apikey",
    "api_key",
    "credential",
    "private_key",
    "authorization",
];

/// Most bytes that a page shows.
const MOST_BYTES: usize = 64 * 1024;

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
    let mut is_masked = false;
    let text = match serde_json::from_slice::<Value>(bytes) {
        Ok(mut value) if value.is_object() || value.is_array() => {
            if !reveal {
                is_masked = mask(&mut value);
            }
            serde_json::to_string_pretty(&value).unwrap_or_default()
        }
        _ => String::from_utf8_lossy(bytes).into_owned(),
    };
    let is_cut = text.len() > MOST_BYTES;
    let text = if is_cut { text[..text.floor_char_boundary(MOST_BYTES)].to_owned() } else { text };
    Content { text, is_masked, is_cut }
}

fn mask(value: &mut Value) -> bool {
    match value {
        Value::Object(map) => map.iter_mut().fold(false, |masked, (name, value)| {
            let name = name.to_ascii_lowercase();
            let is_secret =
                SECRETIVE.iter().any(|part| name.contains(part)) && !value.is_object() && !value.is_array();
            if is_secret && !value.is_null() {
                *value = Value::String(MASK.to_owned());
                return true;
            }
            mask(value) | masked
        }),
        Value::Array(values) => values.iter_mut().fold(false, |masked, value| mask(value) | masked),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
