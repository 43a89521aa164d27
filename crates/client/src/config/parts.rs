//! Values from many places become one token, one project and one address.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::{Config, ConfigError, Found, Sources};

/// What is known so far, by the name it has in `iron.json`.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) values: BTreeMap<&'static str, Found>,
}

/// Names in files, and in variables after their prefix in capitals. Python writes `protocol` for `scheme`.
const NAMES: [(&str, &str); 9] = [
    ("token", "token"),
    ("project_id", "project_id"),
    ("host", "host"),
    ("port", "port"),
    ("protocol", "scheme"),
    ("scheme", "scheme"),
    ("path_prefix", "path_prefix"),
    ("projectid", "project_id"),
    ("ca", "ca"),
];

impl Parts {
    pub(super) fn take(&mut self, name: &'static str, value: Option<&str>, from: &str) {
        if let Some(value) = value.map(str::trim).filter(|v| !v.is_empty()) {
            self.values.insert(name, Found { value: value.to_owned(), from: from.to_owned() });
        }
    }

    /// A whole URL stands for everything that says where the server is.
    pub(super) fn take_url(&mut self, text: &str, from: &str) -> Result<(), ConfigError> {
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = url::Url::parse(&with_scheme)
            .ok()
            .filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| invalid(from, format!("{text:?} is not a URL such as http://127.0.0.1:8080")))?;
        self.take("scheme", Some(url.scheme()), from);
        self.take("host", url.host_str(), from);
        self.take("port", url.port_or_known_default().map(|p| p.to_string()).as_deref(), from);
        self.values.remove("path_prefix");
        self.take("path_prefix", Some(url.path().trim_end_matches('/')), from);
        Ok(())
    }

    pub(super) fn take_variables(&mut self, sources: &Sources, prefix: &str) -> Result<(), ConfigError> {
        for name in ["CLOUD", "URL"] {
            let name = format!("{prefix}{name}");
            if let Some(url) = sources.variable(&name) {
                self.take_url(url, &name)?;
            }
        }
        for (suffix, key) in NAMES {
            let name = format!("{prefix}{}", suffix.to_uppercase());
            self.take(key, sources.variable(&name), &name);
        }
        Ok(())
    }

    /// What an object of the file `path` says.
    pub(super) fn take_object(
        &mut self,
        object: &Map<String, Value>,
        path: &Path,
    ) -> Result<(), ConfigError> {
        let from = &path.display().to_string();
        for name in ["cloud", "url"] {
            if let Some(url) = text(object, name, from)? {
                self.take_url(&url, from)?;
            }
        }
        for (name, key) in NAMES {
            let mut value = text(object, name, from)?;
            if name == "ca" {
                // A file names another as seen from where it is.
                value = value.filter(|ca| !ca.is_empty());
                value = value.map(|ca| path.with_file_name(ca).to_string_lossy().into_owned());
            }
            self.take(key, value.as_deref(), from);
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Config, ConfigError> {
        let host = self.values.remove("host");
        let name = host.as_ref().map_or("127.0.0.1", |h| h.value.as_str());
        let is_local = matches!(name, "127.0.0.1" | "localhost" | "::1" | "[::1]");
        let scheme = match self.values.remove("scheme") {
            Some(s) if matches!(s.value.as_str(), "http" | "https") => s.value,
            Some(s) => {
                return Err(invalid(&s.from, format!("scheme: {:?} is neither http nor https", s.value)));
            }
            // What the existing clients take for granted of any host but this machine.
            None if !is_local => "https".to_owned(),
            None => "http".to_owned(),
        };
        let port = match self.values.remove("port") {
            Some(p) => p
                .value
                .parse::<u16>()
                .map_err(|_| invalid(&p.from, format!("port: {:?} is not a port number", p.value)))?,
            None if scheme == "https" => 443,
            None => 8080,
        };
        let bracketed =
            if name.contains(':') && !name.starts_with('[') { format!("[{name}]") } else { name.to_owned() };
        let prefix = self.values.remove("path_prefix").map_or_else(String::new, |p| {
            let trimmed = p.value.trim_matches('/');
            if trimmed.is_empty() { String::new() } else { format!("/{trimmed}") }
        });
        let from = host.map_or_else(|| "the default".to_owned(), |h| h.from);
        Ok(Config {
            token: self.values.remove("token"),
            project_id: self.values.remove("project_id"),
            ca: self.values.remove("ca"),
            url: Found { value: format!("{scheme}://{bracketed}:{port}{prefix}"), from },
            trace: None,
        })
    }
}

fn text(object: &Map<String, Value>, name: &str, from: &str) -> Result<Option<String>, ConfigError> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(invalid(from, format!("{name}: must be a string or a number"))),
    }
}

pub(super) fn invalid(from: &str, problem: impl Into<String>) -> ConfigError {
    ConfigError::Invalid { from: from.to_owned(), problem: problem.into() }
}
