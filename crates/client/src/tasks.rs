//! Tasks: queue, look, wait, cancel, try again.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use windlass_model::id::{ScheduleId, TaskId};
use windlass_model::task::Status;
use windlass_model::time::Timestamp;
use windlass_model::wire::tasks::{
    Attempt, AttemptList, BulkCancelled, BulkRetried, Explanation, QueueRequest, Queued, Task, TaskList,
    TaskRequest,
};

use crate::query::Query;
use crate::{Client, ClientError};

/// Which tasks: those for which everything that is given holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Of this package.
    pub code_name: Option<String>,
    /// In any of these statuses; empty: in any.
    pub statuses: Vec<Status>,
    /// With this label.
    pub label: Option<String>,
    /// For this cluster.
    pub cluster: Option<String>,
    /// Made by this schedule.
    pub schedule: Option<ScheduleId>,
    /// Queued by the worker of this task.
    pub parent: Option<TaskId>,
    /// Created at or after, to the second.
    pub from: Option<Timestamp>,
    /// Created at or before, to the second.
    pub to: Option<Timestamp>,
}

impl TaskFilter {
    fn query(&self) -> Query {
        let seconds = |t: Timestamp| t.as_millis().div_euclid(1000);
        let query = Query::default()
            .with_some("code_name", self.code_name.as_deref())
            .with_some("label", self.label.as_deref())
            .with_some("cluster", self.cluster.as_deref())
            .with_some("schedule_id", self.schedule)
            .with_some("parent_id", self.parent)
            .with_some("from_time", self.from.map(seconds))
            .with_some("to_time", self.to.map(seconds));
        self.statuses.iter().fold(query, |query, status| query.with(status.as_str(), 1))
    }
}

/// Waits before a call that may be repeated is repeated.
const REPEAT_AFTER_MS: [u64; 4] = [100, 300, 600, 1000];

/// Longest time one call waits for a task to end; below the idle limits of common proxies.
const WAIT_PER_CALL: Duration = Duration::from_secs(25);

impl Client {
    /// Queues the tasks, all or none, and returns their ids in the same order. They are kept when this returns.
    ///
    /// With a `key`, repeating the call with the same key queues nothing twice and answers as the first time; so a call
    /// that broke off is repeated here, for about two seconds. Without one, a call that failed with
    /// [`ClientError::Unreachable`] may have queued them.
    pub async fn queue(
        &self,
        tasks: Vec<TaskRequest>,
        key: Option<&str>,
    ) -> Result<Vec<TaskId>, ClientError> {
        let path = self.in_project("tasks");
        let request = QueueRequest { tasks: Some(tasks) };
        let json = serde_json::to_vec(&request).map_err(|e| self.unexpected(&path, e.to_string()))?;
        let json = Bytes::from(json);
        let headers: Vec<(&str, &str)> = key.map(|key| ("idempotency-key", key)).into_iter().collect();
        let mut waits = if key.is_some() { REPEAT_AFTER_MS.iter() } else { [].iter() };
        loop {
            let attempt = async {
                let body = Some(("application/json", crate::transport::whole(json.clone())));
                let answer = self.send_with(Method::POST, &path, &headers, body).await?;
                self.read::<Queued>(&path, answer).await
            };
            match (attempt.await, waits.next()) {
                (Ok(queued), _) => return Ok(queued.tasks.into_iter().map(|t| t.id).collect()),
                (Err(ClientError::Unreachable { .. } | ClientError::Busy { .. }), Some(&ms)) => {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                }
                (Err(e), _) => return Err(e),
            }
        }
    }

    /// A page of tasks, newest created first. `cursor` is that of the page before; none for the first.
    pub async fn tasks(
        &self,
        filter: &TaskFilter,
        per_page: Option<u32>,
        cursor: Option<&str>,
    ) -> Result<TaskList, ClientError> {
        let query = filter.query().with_some("per_page", per_page).with_some("cursor", cursor);
        self.get(&query.on(&self.in_project("tasks"))).await
    }

    /// The task.
    pub async fn task(&self, id: TaskId) -> Result<Task, ClientError> {
        self.get(&self.of_task(id, "")).await
    }

    /// The task once it has ended, or as it is after `limit`. Costs the server nothing while nothing happens.
    pub async fn wait(&self, id: TaskId, limit: Option<Duration>) -> Result<Task, ClientError> {
        let start = std::time::Instant::now();
        loop {
            let left = limit.map(|limit| limit.saturating_sub(start.elapsed()));
            let wait = left.unwrap_or(WAIT_PER_CALL).min(WAIT_PER_CALL);
            let query = Query::default().with("wait", wait.as_secs_f64());
            let task: Task = self.get(&query.on(&self.of_task(id, ""))).await?;
            if task.status.is_final() || left.is_some_and(|left| left.is_zero()) {
                return Ok(task);
            }
        }
    }

    /// What the task's worker left as its result; `None` if it left none.
    pub async fn result(&self, id: TaskId) -> Result<Option<Bytes>, ClientError> {
        match self.send(Method::GET, &self.of_task(id, "/result"), None).await {
            Ok(answer) => self.collect(answer).await.map(Some),
            // A task that is not there has no result either, but that is worth an error.
            Err(e) if e.status() == Some(404) => self.task(id).await.map(|_| None),
            Err(e) => Err(e),
        }
    }

    /// Cancels the task: at once if it is queued; if it is running, it ends as soon as its process is dead. A task that
    /// has ended stays as it is.
    pub async fn cancel(&self, id: TaskId) -> Result<(), ClientError> {
        self.command(&format!("tasks/{id}/cancel")).await.map(drop)
    }

    /// Queues a new task like this one and returns its id.
    pub async fn retry(&self, id: TaskId, delay: Option<Duration>) -> Result<TaskId, ClientError> {
        let path = self.of_task(id, "/retry");
        let body = match delay {
            Some(delay) => serde_json::json!({ "delay": delay.as_secs_f64() }),
            None => serde_json::json!({}),
        };
        let queued: Queued = self.post(&path, &body).await?;
        let first = queued.tasks.into_iter().next();
        first.map(|t| t.id).ok_or_else(|| self.unexpected(&path, "no task in the answer".to_owned()))
    }

    /// The attempts of the task that have ended, first first.
    pub async fn attempts(&self, id: TaskId) -> Result<Vec<Attempt>, ClientError> {
        let answer: AttemptList = self.get(&self.of_task(id, "/attempts")).await?;
        Ok(answer.attempts)
    }

    /// Why the task is where it is, above all: why it is not running.
    pub async fn explain(&self, id: TaskId) -> Result<Explanation, ClientError> {
        self.get(&self.of_task(id, "/explain")).await
    }

    /// Cancels every task that the filter means; without a status, those that have not ended. Returns how many.
    ///
    /// # Errors
    /// A filter that means every task is refused.
    pub async fn cancel_matching(&self, filter: &TaskFilter) -> Result<u64, ClientError> {
        let path = filter.query().on(&self.in_project("tasks/cancel"));
        let answer: BulkCancelled = self.json(Method::POST, &path, None::<&()>).await?;
        Ok(answer.cancelled)
    }

    /// Queues a new task like each that the filter means; without a status, like those that failed. Returns the new
    /// ids.
    ///
    /// # Errors
    /// A filter that means every task is refused. After any other error, some may have been queued.
    pub async fn retry_matching(&self, filter: &TaskFilter) -> Result<Vec<TaskId>, ClientError> {
        let mut ids = Vec::new();
        let mut cursor = None;
        loop {
            let query = filter.query().with_some("cursor", cursor.as_deref());
            let path = query.on(&self.in_project("tasks/retry"));
            let answer: BulkRetried = self.json(Method::POST, &path, None::<&()>).await?;
            ids.extend(answer.tasks.into_iter().map(|t| t.id));
            match answer.cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(ids),
            }
        }
    }

    pub(crate) fn of_task(&self, id: TaskId, rest: &str) -> String {
        self.in_project(&format!("tasks/{id}{rest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Breaks off after having taken the first request, then answers; keeps the keys it was shown.
    struct Flaky(std::sync::Mutex<Vec<String>>);

    #[async_trait::async_trait]
    impl crate::transport::Transport for Flaky {
        async fn send(
            &self,
            request: http::Request<crate::transport::Body>,
        ) -> Result<http::Response<crate::transport::Body>, crate::transport::BoxError> {
            let key = request.headers().get("idempotency-key").map(|k| k.to_str().unwrap().to_owned());
            let mut keys = self.0.lock().unwrap();
            keys.push(key.unwrap_or_default());
            if keys.len() == 1 {
                return Err("connection reset".into());
            }
            let answer = r#"{"msg":"Queued up","tasks":[{"id":"000000000000000000000001"}]}"#;
            Ok(http::Response::new(crate::transport::whole(answer)))
        }

        fn url(&self) -> &str {
            "flaky"
        }
    }

    #[tokio::test]
    async fn a_request_that_broke_off_is_repeated_with_its_key_only() {
        let task = TaskRequest { code_name: "w".into(), ..TaskRequest::default() };
        let flaky = std::sync::Arc::new(Flaky(std::sync::Mutex::default()));
        let client = Client::new(flaky.clone(), "t", "p");
        assert_eq!(client.queue(vec![task.clone()], Some("k")).await.unwrap().len(), 1);
        assert_eq!(*flaky.0.lock().unwrap(), ["k", "k"]);
        flaky.0.lock().unwrap().clear();
        let unknown = client.queue(vec![task], None).await.unwrap_err();
        assert!(matches!(unknown, ClientError::Unreachable { .. }), "{unknown}");
    }

    #[test]
    fn a_filter_becomes_the_query_that_the_api_knows() {
        let filter = TaskFilter {
            code_name: Some("a/b".to_owned()),
            statuses: vec![Status::Error, Status::Timeout],
            from: Some(Timestamp::from_millis(1_999)),
            ..TaskFilter::default()
        };
        assert_eq!(filter.query().on("t"), "t?code_name=a%2Fb&from_time=1&error=1&timeout=1");
    }
}
