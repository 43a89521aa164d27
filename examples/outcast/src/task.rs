//! A worker's side of the contract with the platform: payload in, result and exit code out.

use std::{
    collections::HashMap,
    env,
    error::Error as _,
    fmt::Display,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{error::Error, queue::Api};

/// Payload fields that may be given as `--site URL` and so on, to run a worker by hand.
const FLAGS: [(&str, &str); 3] = [("--site", "site"), ("--zone", "zone"), ("--index", "index")];

/// The task that this process runs, as the platform's variables and arguments tell of it.
pub struct Task {
    variables: HashMap<String, String>,
    args: Vec<String>,
}

impl Task {
    /// The task of this process.
    pub fn from_env() -> Self {
        Self::new(
            env::vars_os().filter_map(|(name, value)| name.into_string().ok().zip(value.into_string().ok())),
            env::args(),
        )
    }

    /// A task with these variables and arguments.
    pub fn new(
        variables: impl IntoIterator<Item = (String, String)>,
        args: impl IntoIterator<Item = String>,
    ) -> Self {
        let variables = variables.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        Self { variables, args: args.into_iter().collect() }
    }

    /// The task's id; `None` when run by hand.
    pub fn id(&self) -> Option<&str> {
        self.variable("TASK_ID")
    }

    /// The payload with the fields given as arguments put over it. Other arguments are the platform's and are passed
    /// over.
    ///
    /// # Errors
    ///
    /// [`Error::File`] when there is a payload and it cannot be read, [`Error::Payload`] when it is not a `T` in JSON.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let mut fields = match self.variable("PAYLOAD_FILE").or_else(|| self.argument("-payload")) {
            Some(path) => read_fields(Path::new(path))?,
            None => Map::new(),
        };
        for (flag, field) in FLAGS {
            if let Some(value) = self.argument(flag) {
                fields.insert(field.to_owned(), value.into());
            }
        }
        serde_json::from_value(fields.into()).map_err(Error::Payload)
    }

    /// Writes the result, as JSON, where the platform keeps it from; by hand, to standard output.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub fn save_result<T: Serialize>(&self, result: &T) -> Result<(), Error> {
        let write = |path: &Path| match serde_json::to_vec(result) {
            Ok(json) if path.as_os_str() == "-" => {
                io::stdout().write_all(&json).and_then(|()| io::stdout().write_all(b"\n"))
            }
            Ok(json) => fs::write(path, json),
            Err(error) => Err(error.into()),
        };
        let path = PathBuf::from(self.variable("RESULT_FILE").unwrap_or("-"));
        write(&path).map_err(|source| Error::File { path, action: "written", source })
    }

    /// The platform's API, with the token minted for this attempt.
    ///
    /// # Errors
    ///
    /// [`Error::Environment`] names the variable that is missing.
    pub fn api(&self) -> Result<Api, Error> {
        let needed = |name| self.variable(name).ok_or(Error::Environment(name));
        let scheme =
            self.variable("IRON_SCHEME").or_else(|| self.variable("IRON_PROTOCOL")).unwrap_or("https");
        let host = needed("IRON_HOST")?;
        let base = match self.variable("IRON_PORT") {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        };
        Ok(Api::new(&base, needed("IRON_PROJECT_ID")?, needed("IRON_TOKEN")?))
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    fn argument(&self, flag: &str) -> Option<&str> {
        let at = self.args.iter().position(|arg| arg == flag)?;
        self.args.get(at + 1).map(String::as_str)
    }
}

/// Tells people how it went, and the platform by exit code: on failure one line on standard error, from which the
/// platform takes its message, and 1.
pub(crate) fn conclude(worker: &str, outcome: Result<impl Display, Error>) -> ExitCode {
    let (written, code) = match outcome {
        Ok(done) => (writeln!(io::stdout(), "{done}"), ExitCode::SUCCESS),
        Err(error) => (writeln!(io::stderr(), "{worker}: {}", with_causes(&error)), ExitCode::FAILURE),
    };
    // Nobody listening is no reason to fail.
    drop(written);
    code
}

/// An error and what it came from in one line. A cause that its effect already quotes is not repeated.
fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

/// A payload's fields; an empty payload has none.
fn read_fields(path: &Path) -> Result<Map<String, Value>, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::File {
        path: path.to_owned(),
        action: "read",
        source,
    })?;
    if text.trim().is_empty() { Ok(Map::new()) } else { serde_json::from_str(&text).map_err(Error::Payload) }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Payload {
        site: String,
        zone: Option<String>,
    }

    fn task(variables: &[(&str, &str)], args: &[&str]) -> Task {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Task::new(variables, args.iter().map(|arg| (*arg).to_owned()))
    }

    #[test]
    fn arguments_go_over_the_payload_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("payload");
        fs::write(&file, r#"{"site":"http://a","zone":"ANZ230","more":1}"#).unwrap();
        let file = file.to_str().unwrap();
        let payload = |task: &Task| task.payload::<Payload>().unwrap();
        let expected = |site: &str| Payload { site: site.into(), zone: Some("ANZ230".into()) };
        assert_eq!(payload(&task(&[("PAYLOAD_FILE", file)], &[])), expected("http://a"));
        assert_eq!(
            payload(&task(&[], &["x", "-d", "/t/", "-payload", file, "-id", "1"])),
            expected("http://a")
        );
        assert_eq!(payload(&task(&[("PAYLOAD_FILE", file)], &["--site", "http://b"])), expected("http://b"));
    }

    #[test]
    fn an_empty_payload_lacks_a_field() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let task = task(&[("PAYLOAD_FILE", file.path().to_str().unwrap())], &[]);
        let error = task.payload::<Payload>().unwrap_err();
        assert_eq!(with_causes(&error), "bad payload: missing field `site`");
    }

    #[test]
    fn the_api_needs_a_token_and_keeps_it() {
        let mut variables = vec![("IRON_HOST", "localhost"), ("IRON_PROJECT_ID", "p")];
        let error = task(&variables, &[]).api().unwrap_err().to_string();
        assert_eq!(error, "IRON_TOKEN is not set: run this as a task, or set it by hand");
        variables.extend([("IRON_TOKEN", "secret"), ("IRON_SCHEME", "http"), ("IRON_PORT", "8080")]);
        let api = format!("{:?}", task(&variables, &[]).api().unwrap());
        assert!(api.contains("http://localhost:8080") && !api.contains("secret"), "{api}");
    }
}
