//! JSON values as clients really send them. Reading one never fails; using one may.

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::fmt;
use std::marker::PhantomData;

use super::BadField;

/// A number, also as a float, in a string, or null.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Number {
    /// Not given, null or an empty string.
    #[default]
    Unset,
    /// A finite number.
    Is(f64),
    /// Something else: what it was.
    Wrong(String),
}

/// Text, also as a number, or null.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Text {
    /// Not given or null.
    #[default]
    Unset,
    /// Text.
    Is(String),
    /// Something else: what it was.
    Wrong(String),
}

impl Number {
    /// Whether nothing was given.
    pub fn is_unset(&self) -> bool {
        *self == Number::Unset
    }

    /// The number, if one was given.
    pub fn get(&self, field: &str) -> Result<Option<f64>, BadField> {
        match self {
            Number::Unset => Ok(None),
            Number::Is(n) => Ok(Some(*n)),
            Number::Wrong(what) => Err(BadField::invalid(field, format!("must be a number, not {what}"))),
        }
    }

    /// Whole seconds of at least 0, rounded up, if a number was given.
    pub fn seconds(&self, field: &str) -> Result<Option<u32>, BadField> {
        match self.get(field)? {
            None => Ok(None),
            Some(n) if n < 0.0 => Err(BadField::invalid(field, format!("must not be negative, is {n}"))),
            Some(n) if n > f64::from(u32::MAX) => {
                Err(BadField::invalid(field, format!("is too large: {n:e}")))
            }
            Some(n) => Ok(Some(n.ceil() as u32)),
        }
    }

    /// A whole number of at least 0, if a number was given.
    pub fn count(&self, field: &str) -> Result<Option<u32>, BadField> {
        match self.get(field)? {
            Some(n) if n.fract() != 0.0 => {
                Err(BadField::invalid(field, format!("must be a whole number, is {n}")))
            }
            _ => self.seconds(field),
        }
    }
}

impl Text {
    /// Whether nothing was given.
    pub fn is_unset(&self) -> bool {
        *self == Text::Unset
    }

    /// The text, if one was given; an empty one counts as not given.
    pub fn non_empty(&self, field: &str) -> Result<Option<&str>, BadField> {
        Ok(self.get(field)?.filter(|t| !t.is_empty()))
    }

    /// The text, if one was given, also an empty one.
    pub fn get(&self, field: &str) -> Result<Option<&str>, BadField> {
        match self {
            Text::Unset => Ok(None),
            Text::Is(text) => Ok(Some(text)),
            Text::Wrong(what) => Err(BadField::invalid(field, format!("must be a string, not {what}"))),
        }
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Number::Is(n) if n.fract() == 0.0 && n.abs() < 1e15 => serializer.serialize_i64(*n as i64),
            Number::Is(n) => serializer.serialize_f64(*n),
            Number::Unset | Number::Wrong(_) => serializer.serialize_none(),
        }
    }
}

impl<T: Into<f64>> From<T> for Number {
    fn from(n: T) -> Self {
        Number::Is(n.into())
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Text::Is(text) => serializer.serialize_str(text),
            Text::Unset | Text::Wrong(_) => serializer.serialize_none(),
        }
    }
}

impl<T: Into<String>> From<T> for Text {
    fn from(text: T) -> Self {
        Text::Is(text.into())
    }
}

/// A `T` that is read from a JSON object and from nothing else: serde takes an array for a struct, too, and reads its
/// fields in the order they happen to be written down here.
#[derive(Clone, Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

/// Reads an array of objects, or null: for `deserialize_with`.
pub(super) fn objects<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    let objects = Option::<Vec<Object<T>>>::deserialize(deserializer)?;
    Ok(objects.map(|objects| objects.into_iter().map(|Object(one)| one).collect()))
}

struct NumberVisitor;

impl<'de> Visitor<'de> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_i64<E>(self, n: i64) -> Result<Number, E> {
        Ok(Number::Is(n as f64))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Number, E> {
        Ok(Number::Is(n as f64))
    }

    fn visit_f64<E>(self, n: f64) -> Result<Number, E> {
        Ok(if n.is_finite() { Number::Is(n) } else { Number::Wrong(n.to_string()) })
    }

    fn visit_str<E>(self, text: &str) -> Result<Number, E> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Ok(Number::Unset);
        }
        match trimmed.parse::<f64>() {
            Ok(n) if n.is_finite() => Ok(Number::Is(n)),
            _ => Ok(Number::Wrong(format!("{:?}", text.chars().take(40).collect::<String>()))),
        }
    }

    fn visit_bool<E>(self, b: bool) -> Result<Number, E> {
        Ok(Number::Wrong(b.to_string()))
    }

    fn visit_unit<E>(self) -> Result<Number, E> {
        Ok(Number::Unset)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Number, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Number::Wrong("an array".to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Number, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Number::Wrong("an object".to_owned()))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(Text::Is(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Text, E> {
        Ok(Text::Is(text))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Text, E> {
        Ok(Text::Is(n.to_string()))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Text, E> {
        Ok(Text::Is(n.to_string()))
    }

    fn visit_f64<E>(self, n: f64) -> Result<Text, E> {
        Ok(Text::Is(n.to_string()))
    }

    fn visit_bool<E>(self, b: bool) -> Result<Text, E> {
        Ok(Text::Wrong(b.to_string()))
    }

    fn visit_unit<E>(self) -> Result<Text, E> {
        Ok(Text::Unset)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Text, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Text::Wrong("an array".to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Text::Wrong("an object".to_owned()))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

/// A payload: a string as it is, anything else as its JSON text, null as nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload(pub Vec<u8>);

impl<T: Into<Vec<u8>>> From<T> for Payload {
    fn from(bytes: T) -> Self {
        Payload(bytes.into())
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        let json = raw.get();
        Ok(Payload(match json.as_bytes().first() {
            Some(b'"') => {
                serde_json::from_str::<String>(json).map_err(serde::de::Error::custom)?.into_bytes()
            }
            _ if json == "null" => Vec::new(),
            _ => json.as_bytes().to_vec(),
        }))
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(&self.0))
    }
}

/// Whether a query value switches a filter on: anything but `0`, `false` and nothing, as one client sends
/// `%!d(bool=true)`.
pub fn is_on(value: &str) -> bool {
    !matches!(value, "" | "0" | "false")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::from_str;

    #[test]
    fn numbers_in_every_form() {
        for json in ["60", "60.0", "\"60\"", "\" 60.0 \""] {
            assert_eq!(from_str::<Number>(json).unwrap(), Number::Is(60.0), "{json}");
        }
        for json in ["null", "\"\""] {
            assert_eq!(from_str::<Number>(json).unwrap(), Number::Unset, "{json}");
        }
        for json in ["\"soon\"", "true", "[1]", "{\"a\":1}", "\"NaN\"", "\"inf\""] {
            assert!(matches!(from_str::<Number>(json).unwrap(), Number::Wrong(_)), "{json}");
        }
        assert_eq!(from_str::<Number>("0.5").unwrap().seconds("delay"), Ok(Some(1)), "never early");
        assert!(from_str::<Number>("-3").unwrap().seconds("delay").is_err());
        assert!(from_str::<Number>("1e300").unwrap().seconds("delay").is_err());
    }

    #[test]
    fn a_payload_that_is_not_text_is_kept_as_its_json() {
        assert_eq!(from_str::<Payload>(r#""a\n\u00e9""#).unwrap().0, "a\né".as_bytes());
        assert_eq!(from_str::<Payload>(r#"{"b":1,  "a":[2]}"#).unwrap().0, br#"{"b":1,  "a":[2]}"#);
        assert_eq!(from_str::<Payload>("null").unwrap().0, b"");
        assert_eq!(from_str::<Payload>("17").unwrap().0, b"17");
    }

    #[test]
    fn a_filter_is_on_for_odd_values_too() {
        assert!(is_on("1") && is_on("%!d(bool=true)") && is_on("true"));
        assert!(!is_on("0") && !is_on("false") && !is_on(""));
    }
}
