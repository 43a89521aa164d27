//! Where each setting comes from: flags over variables over a file over the embedded default.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

/// The commented default: the one list of what can be set.
pub(crate) const DEFAULT: &str = include_str!("../windlass.default.toml");

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nowhere else.
    Default,
    /// In a file.
    File {
        /// Which.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// In the environment, by this name.
    Variable(String),
    /// On the command line, by this name.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Variable(name) | Origin::Flag(name) => f.write_str(name),
        }
    }
}

/// Why the settings cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadSetting {
    /// What is wrong, beginning with where.
    pub(crate) problem: String,
}

impl fmt::Display for BadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

fn bad(at: impl fmt::Display, problem: impl fmt::Display) -> BadSetting {
    BadSetting { problem: format!("{at}: {problem}") }
}

/// Every setting as text with where it came from, by its dotted name.
#[derive(Clone, Debug)]
pub(crate) struct Layers {
    values: BTreeMap<String, (String, Origin)>,
}

impl Layers {
    /// The embedded default.
    pub(crate) fn defaults() -> Self {
        let mut values = BTreeMap::new();
        let table = DeTable::parse(DEFAULT).expect("a test reads the embedded default");
        flatten(table.get_ref(), "", &mut |key, value, _| {
            values.insert(key, (value.unwrap_or_default(), Origin::Default));
            Ok(())
        })
        .expect("keeping a value cannot fail");
        Self { values }
    }

    /// The file over what is there. Every key must be known.
    pub(crate) fn add_file(&mut self, path: &Path, text: &str) -> Result<(), BadSetting> {
        let line_of = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
        let at = |offset: usize| Origin::File { path: path.to_owned(), line: line_of(offset) };
        let table = DeTable::parse(text).map_err(|e| {
            bad(at(e.span().map_or(0, |s| s.start)), e.message().lines().next().unwrap_or_default())
        })?;
        flatten(table.get_ref(), "", &mut |key, value, offset| {
            let value = value.ok_or_else(|| bad(at(offset), format!("{key} must be text or a number")))?;
            match self.values.get_mut(&key) {
                Some(slot) => *slot = (value, at(offset)),
                None => return Err(bad(at(offset), self.unknown(&key))),
            }
            Ok(())
        })
    }

    /// The variables over what is there: `WINDLASS_` and the name in capitals, with `_` for each dot.
    pub(crate) fn add_variables(&mut self, variable: impl Fn(&str) -> Option<String>) {
        for (key, slot) in &mut self.values {
            let name = format!("WINDLASS_{}", key.replace('.', "_").to_uppercase());
            if let Some(value) = variable(&name).filter(|v| !v.is_empty()) {
                *slot = (value, Origin::Variable(name));
            }
        }
    }

    /// One value from the command line over what is there.
    pub(crate) fn add_flag(&mut self, key: &str, value: String, flag: &str) -> Result<(), BadSetting> {
        match self.values.get_mut(key) {
            Some(slot) => *slot = (value, Origin::Flag(flag.to_owned())),
            None => return Err(bad(flag, self.unknown(key))),
        }
        Ok(())
    }

    /// The value of `key` through `read`, whose complaint is put after where the value stands.
    pub(crate) fn read<T>(
        &self,
        key: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, BadSetting> {
        let (value, origin) = &self.values[key];
        read(value).map_err(|problem| match origin {
            // Such a flag says what it sets.
            Origin::Flag(name) if name != "--set" => bad(origin, problem),
            _ => bad(origin, format!("{key}: {problem}")),
        })
    }

    /// The text and origin of `key`, which must be one of the default's.
    pub(crate) fn text(&self, key: &str) -> (&str, &Origin) {
        let (value, origin) = &self.values[key];
        (value, origin)
    }

    /// Every setting: name, value, origin.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &str, &Origin)> {
        self.values.iter().map(|(key, (value, origin))| (key.as_str(), value.as_str(), origin))
    }

    fn unknown(&self, key: &str) -> String {
        let last = key.rsplit('.').next().unwrap_or(key);
        let near = self.values.keys().find(|known| known.rsplit('.').next() == Some(last));
        match near {
            Some(near) => format!("there is no setting {key:?}; is {near:?} meant?"),
            None => format!("there is no setting {key:?}; `windlass config` lists them"),
        }
    }
}

type Each<'a> = &'a mut dyn FnMut(String, Option<String>, usize) -> Result<(), BadSetting>;

/// Calls `each` with the dotted name, the value as text (none for what has no text form) and the offset of every leaf.
fn flatten(table: &DeTable<'_>, prefix: &str, each: Each<'_>) -> Result<(), BadSetting> {
    for (name, value) in table {
        let key = format!("{prefix}{}", name.get_ref());
        let text = match value.get_ref() {
            DeValue::Table(inner) => {
                flatten(inner, &format!("{key}."), each)?;
                continue;
            }
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(number) => Some(number.to_string()),
            DeValue::Float(number) => Some(number.to_string()),
            DeValue::Boolean(flag) => Some(flag.to_string()),
            DeValue::Datetime(_) | DeValue::Array(_) => None,
        };
        each(key, text, name.span().start)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        Layers::defaults().add_file(Path::new("w.toml"), text).unwrap_err().problem
    }

    #[test]
    fn the_stronger_layer_wins_and_says_so() {
        let mut layers = Layers::defaults();
        assert_eq!(layers.text("listen"), ("127.0.0.1:8080", &Origin::Default));
        layers.add_file(Path::new("w.toml"), "# mine\nlisten = \"a:1\"\n[runner]\nslots = 3\n").unwrap();
        assert_eq!(layers.text("listen").1.to_string(), "w.toml:2");
        assert_eq!(
            (layers.text("runner.slots").0, layers.text("runner.slots").1.to_string()),
            ("3", "w.toml:4".to_owned())
        );
        layers.add_variables(|name| (name == "WINDLASS_LISTEN").then(|| "b:2".to_owned()));
        assert_eq!(layers.text("listen"), ("b:2", &Origin::Variable("WINDLASS_LISTEN".to_owned())));
        layers.add_flag("listen", "c:3".to_owned(), "--listen").unwrap();
        assert_eq!(layers.text("listen"), ("c:3", &Origin::Flag("--listen".to_owned())));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        assert_eq!(
            problem("\n[runner]\nslot = 3"),
            "w.toml:3: there is no setting \"runner.slot\"; `windlass config` lists them"
        );
        assert_eq!(
            problem("slots = 3"),
            "w.toml:1: there is no setting \"slots\"; is \"runner.slots\" meant?"
        );
        assert_eq!(problem("listen = [1]"), "w.toml:1: listen must be text or a number");
        assert!(problem("a = 1\nlisten = ").starts_with("w.toml:2: "), "{}", problem("a = 1\nlisten = "));
        let unknown = Layers::defaults().add_flag("no.such", String::new(), "--set").unwrap_err().problem;
        assert_eq!(unknown, "--set: there is no setting \"no.such\"; `windlass config` lists them");
    }
}
