//! Queues tasks: the one call of the platform's API that the coordinator needs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{error::Error, http};

/// The platform's API for one project.
pub struct Api {
    tasks_url: String,
    token: String,
}

/// A task to queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewTask {
    /// The code package that is to run.
    pub code_name: String,
    /// What the task finds in its payload file.
    pub payload: String,
    /// How people find it again.
    pub label: String,
    /// How long it may run, in seconds.
    pub timeout: u32,
}

#[derive(Serialize)]
struct Request<'a> {
    tasks: &'a [NewTask],
}

#[derive(Deserialize)]
struct Answer {
    tasks: Vec<Queued>,
}

#[derive(Deserialize)]
struct Queued {
    id: String,
}

impl Api {
    /// The API at `base`, such as `http://127.0.0.1:8080`.
    pub fn new(base: &str, project_id: &str, token: &str) -> Self {
        Self { tasks_url: format!("{base}/2/projects/{project_id}/tasks"), token: token.to_owned() }
    }

    /// Queues all of `tasks` or none, in one request, and returns their ids in the same order.
    ///
    /// With a `key` a repeated call queues nothing twice, where the platform knows such keys.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] leaves open whether they are queued; [`Error::Refused`] says that they are not.
    pub fn queue(&self, tasks: &[NewTask], key: Option<&str>) -> Result<Vec<String>, Error> {
        let answer_error = |source| Error::Answer { url: self.tasks_url.clone(), source };
        let body = serde_json::to_vec(&Request { tasks }).map_err(answer_error)?;
        let answer = http::post(&self.tasks_url, &format!("OAuth {}", self.token), key, &body)?;
        let answer: Answer = serde_json::from_slice(&answer).map_err(answer_error)?;
        Ok(answer.tasks.into_iter().map(|task| task.id).collect())
    }
}

/// Without the token.
impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("tasks_url", &self.tasks_url).finish_non_exhaustive()
    }
}
