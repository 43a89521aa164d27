//! Tasks on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::lenient::{self, Number, Payload, Text};
use super::{BadField, Limits};
use crate::id::{CodeId, ProjectId, RevisionId, ScheduleId, TaskId};
use crate::retry::{MAX_RETRIES, RetryPolicy};
use crate::task::{Priority, Status};
use crate::time::Wire;
use crate::trace::TraceParent;

/// Body of `POST tasks`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(expecting = "an object")]
pub struct QueueRequest {
    /// The tasks; the answer has their ids in this order.
    #[serde(default, deserialize_with = "lenient::objects")]
    pub tasks: Option<Vec<TaskRequest>>,
}

/// A task as a client asks for it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, expecting = "an object")]
pub struct TaskRequest {
    /// Name of the package.
    #[schema(value_type = String)]
    #[serde(skip_serializing_if = "Text::is_unset")]
    pub code_name: Text,
    /// What the worker gets.
    #[schema(value_type = String)]
    pub payload: Payload,
    /// 0, 1 or 2; anything else means the package's default.
    #[schema(value_type = Option<i32>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub priority: Number,
    /// Seconds one attempt may run; 0 or absent: the default.
    #[schema(value_type = Option<f64>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub timeout: Number,
    /// Seconds before it may start.
    #[schema(value_type = Option<f64>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub delay: Number,
    /// The runners it may run on; `default` if absent.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Text::is_unset")]
    pub cluster: Text,
    /// Free text for filters.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Text::is_unset")]
    pub label: Text,
    /// Runs after a failure; the package's setting if absent.
    #[schema(value_type = Option<u32>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub retries: Number,
    /// Seconds between a failure and the next run; the package's setting if absent.
    #[schema(value_type = Option<f64>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub retries_delay: Number,
}

/// A task request whose values hold; what depends on the package is still open.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskOrder {
    /// Name of the package.
    pub code_name: String,
    /// What the worker gets.
    pub payload: Vec<u8>,
    /// None: the package's default.
    pub priority: Option<Priority>,
    /// Longest time one attempt may run.
    pub timeout_s: u32,
    /// Time before it may start.
    pub delay_s: u32,
    /// The runners it may run on.
    pub cluster: String,
    /// Free text for filters.
    pub label: Option<String>,
    /// None: the package's setting.
    pub retries: Option<u32>,
    /// None: the package's setting.
    pub retries_delay_ms: Option<u64>,
}

/// The cluster of whoever names none.
pub const DEFAULT_CLUSTER: &str = "default";

/// Longest label, cluster or name.
pub const MAX_NAME_BYTES: usize = 1024;

impl TaskRequest {
    /// The order that the request means, or the first field that is wrong.
    pub fn validate(self, limits: &Limits) -> Result<TaskOrder, BadField> {
        let code_name =
            self.code_name.non_empty("code_name")?.ok_or_else(|| BadField::missing("code_name"))?;
        check_size("payload", self.payload.0.len(), limits.payload_bytes)?;
        Ok(TaskOrder {
            code_name: code_name.to_owned(),
            priority: priority(&self.priority, "priority")?,
            timeout_s: timeout(&self.timeout, "timeout", limits)?,
            delay_s: delay(&self.delay, "delay", limits)?,
            cluster: cluster(&self.cluster)?,
            label: label(&self.label)?,
            retries: retries(&self.retries, "retries")?,
            retries_delay_ms: retries_delay_ms(&self.retries_delay, "retries_delay", limits)?,
            payload: self.payload.0,
        })
    }
}

impl QueueRequest {
    /// Every order, or the first field that is wrong, as `tasks[3].timeout`.
    pub fn validate(self, limits: &Limits) -> Result<Vec<TaskOrder>, BadField> {
        let tasks = self.tasks.ok_or_else(|| BadField::missing("tasks"))?;
        if tasks.is_empty() {
            return Err(BadField::invalid("tasks", "must not be empty"));
        }
        if tasks.len() > limits.tasks_per_request {
            let problem = format!("has {} tasks, the limit is {}", tasks.len(), limits.tasks_per_request);
            return Err(BadField::invalid("tasks", problem));
        }
        let orders = tasks.into_iter().enumerate();
        orders.map(|(n, task)| task.validate(limits).map_err(|e| e.within(&format!("tasks[{n}]")))).collect()
    }
}

pub(super) fn check_size(field: &str, size: usize, limit: usize) -> Result<(), BadField> {
    if size > limit { Err(BadField::too_large(field, size, limit)) } else { Ok(()) }
}

pub(super) fn priority(number: &Number, field: &str) -> Result<Option<Priority>, BadField> {
    Ok(number.get(field)?.and_then(|n| Priority::new(n as i64)))
}

pub(super) fn timeout(number: &Number, field: &str, limits: &Limits) -> Result<u32, BadField> {
    Ok(match number.seconds(field)? {
        None | Some(0) => limits.default_timeout_s.min(limits.max_timeout_s),
        Some(seconds) => seconds.min(limits.max_timeout_s),
    })
}

pub(super) fn delay(number: &Number, field: &str, limits: &Limits) -> Result<u32, BadField> {
    let seconds = number.seconds(field)?.unwrap_or(0);
    if seconds > limits.max_delay_s {
        return Err(BadField::invalid(
            field,
            format!("is {seconds} seconds, the limit is {}", limits.max_delay_s),
        ));
    }
    Ok(seconds)
}

/// Longest name of a cluster.
pub const MAX_CLUSTER_BYTES: usize = 128;

pub(super) fn cluster(text: &Text) -> Result<String, BadField> {
    let name = text.non_empty("cluster")?.unwrap_or(DEFAULT_CLUSTER);
    check_cluster(name)?;
    Ok(name.to_owned())
}

/// Whether a cluster may have this name: clients make them up, and each is kept in memory.
pub fn check_cluster(name: &str) -> Result<(), BadField> {
    let is_good = |c: u8| c.is_ascii_alphanumeric() || b"._:/@-".contains(&c);
    if name.is_empty() || name.len() > MAX_CLUSTER_BYTES {
        let problem = format!("must have 1 to {MAX_CLUSTER_BYTES} characters, has {}", name.len());
        return Err(BadField::invalid("cluster", problem));
    }
    match name.bytes().all(is_good) {
        true => Ok(()),
        false => Err(BadField::invalid("cluster", "must be of letters, digits and `. _ : / @ -` only")),
    }
}

pub(super) fn label(text: &Text) -> Result<Option<String>, BadField> {
    let label = text.non_empty("label")?;
    check_size("label", label.map_or(0, str::len), MAX_NAME_BYTES)?;
    Ok(label.map(str::to_owned))
}

pub(super) fn retries(number: &Number, field: &str) -> Result<Option<u32>, BadField> {
    match number.count(field)? {
        Some(n) if n > MAX_RETRIES => {
            Err(BadField::invalid(field, format!("is {n}, the limit is {MAX_RETRIES}")))
        }
        retries => Ok(retries),
    }
}

pub(super) fn retries_delay_ms(
    number: &Number,
    field: &str,
    limits: &Limits,
) -> Result<Option<u64>, BadField> {
    delay(number, field, limits)?;
    Ok(number.get(field)?.map(|seconds| (seconds * 1000.0) as u64))
}

impl TaskOrder {
    /// The retry policy of the task, given its package's.
    pub fn retry(&self, of_package: RetryPolicy) -> RetryPolicy {
        RetryPolicy {
            retries: self.retries.unwrap_or(of_package.retries),
            delay_ms: self.retries_delay_ms.unwrap_or(of_package.delay_ms),
        }
    }
}

/// Answer of `POST tasks` and of a retry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Queued {
    /// `Queued up`.
    pub msg: String,
    /// The ids, in the order of the request.
    pub tasks: Vec<TaskRef>,
}

/// Answer of the webhook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WebhookQueued {
    /// The new task.
    #[schema(value_type = String)]
    pub id: TaskId,
    /// `Queued up.`, with the full stop.
    pub msg: String,
}

/// Names a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskRef {
    /// Its id.
    #[schema(value_type = String)]
    pub id: TaskId,
}

/// A task as clients read it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Task {
    /// Its id.
    #[schema(value_type = String)]
    pub id: TaskId,
    /// Who owns it.
    #[schema(value_type = String)]
    pub project_id: ProjectId,
    /// The package.
    #[schema(value_type = String)]
    pub code_id: CodeId,
    /// The revision.
    #[schema(value_type = String)]
    pub code_history_id: RevisionId,
    /// Name of the package.
    pub code_name: String,
    /// Number of the revision, as a string.
    pub code_rev: String,
    /// Where it stands.
    #[schema(value_type = String)]
    pub status: Status,
    /// When it was queued.
    #[schema(value_type = String)]
    pub created_at: Wire,
    /// When it last changed.
    #[schema(value_type = String)]
    pub updated_at: Wire,
    /// When its newest attempt started.
    #[schema(value_type = String)]
    pub start_time: Wire,
    /// When it ended.
    #[schema(value_type = String)]
    pub end_time: Wire,
    /// `start_time` in milliseconds since the epoch; 0 if unset.
    pub start_time_ms: i64,
    /// `end_time` in milliseconds since the epoch; 0 if unset.
    pub end_time_ms: i64,
    /// Milliseconds from start to end; 0 until then.
    pub duration: i64,
    /// Seconds between falling due and starting.
    pub time_in_queue: i64,
    /// Seconds one attempt may run.
    pub timeout: u32,
    /// What the worker gets.
    pub payload: String,
    /// What the worker reported, or why it ended as it did.
    pub msg: String,
    /// 0 to 100, as the worker reported.
    pub percent: u8,
    /// Attempts so far.
    pub run_times: u32,
    /// 0, 1 or 2.
    pub priority: u8,
    /// Seconds before it might start, as asked for.
    pub delay: u32,
    /// Free text; empty if none.
    pub label: String,
    /// The runners it may run on.
    pub cluster: String,
    /// The schedule that made it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>)]
    pub schedule_id: Option<ScheduleId>,
    /// Retries after failures so far.
    pub retry_count: u32,
    /// Bytes of output of the newest attempt that ended.
    pub log_size: u64,
    /// Class of the failure, such as `Process Exit 1`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error_class: Option<String>,
    /// The runner session of the newest attempt.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub instance_id: Option<String>,
    /// While it waits for a retry or its delay: not before.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>)]
    pub run_at: Option<Wire>,
    /// The task whose attempt queued it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>)]
    pub parent_id: Option<TaskId>,
    /// The task it is a retry of.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>)]
    pub retry_of: Option<TaskId>,
    /// The `traceparent` of the request that queued it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<String>)]
    pub trace: Option<TraceParent>,
    /// Runs after a failure that its policy allows.
    pub retries: u32,
    /// Seconds between a failure and the next run.
    pub retries_delay: f64,
    /// While running: whether somebody asked to cancel it.
    pub cancel_requested: bool,
    /// Always 2.
    pub api_version: u8,
}

impl Task {
    /// The task as clients read it; `code_name` and `revision` belong to its package.
    pub fn present(task: &crate::task::Task, code_name: &str, revision: RevisionId) -> Self {
        let (new, state) = (&task.new, &task.state);
        let ms = |t: Option<crate::time::Timestamp>| t.map_or(0, crate::time::Timestamp::as_millis);
        let span = |from: Option<crate::time::Timestamp>, to: Option<crate::time::Timestamp>| match (from, to)
        {
            (Some(from), Some(to)) => to.since(from).as_millis() as i64,
            _ => 0,
        };
        Self {
            id: new.id,
            project_id: new.project,
            code_id: new.code,
            code_history_id: revision,
            code_name: code_name.to_owned(),
            code_rev: new.rev.to_string(),
            status: state.status,
            created_at: new.created_at.into(),
            updated_at: state.updated_at.into(),
            start_time: Wire(state.started_at),
            end_time: Wire(state.ended_at),
            start_time_ms: ms(state.started_at),
            end_time_ms: ms(state.ended_at),
            duration: span(state.started_at, state.ended_at),
            time_in_queue: span(Some(state.run_at), state.started_at) / 1000,
            timeout: new.timeout_s,
            payload: String::from_utf8_lossy(&new.payload).into_owned(),
            msg: state.msg.clone(),
            percent: state.percent,
            run_times: state.attempts,
            priority: new.priority.get(),
            delay: new.run_at.since(new.created_at).as_secs() as u32,
            label: new.label.clone().unwrap_or_default(),
            cluster: new.cluster.clone(),
            schedule_id: new.schedule,
            retry_count: state.retries,
            log_size: state.log_size_bytes,
            error_class: state.error_class.clone(),
            instance_id: state.runner.map(|r| r.to_string()),
            run_at: (state.status == Status::Queued && state.run_at > new.created_at)
                .then(|| state.run_at.into()),
            parent_id: new.parent,
            retry_of: new.retry_of,
            trace: new.trace,
            retries: new.retry.retries,
            retries_delay: new.retry.delay_ms as f64 / 1000.0,
            cancel_requested: state.cancel_requested,
            api_version: 2,
        }
    }
}

/// Answer of `GET tasks`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskList {
    /// Newest created first.
    pub tasks: Vec<Task>,
    /// Where the next page begins: pass it as `cursor`. Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cursor: Option<String>,
}

/// Body of `POST tasks/{id}/progress`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, expecting = "an object")]
pub struct ProgressRequest {
    /// 0 to 100.
    #[schema(value_type = Option<u8>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub percent: Number,
    /// What to show.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Text::is_unset")]
    pub msg: Text,
}

impl ProgressRequest {
    /// Percent and message, each if given; a percent beyond 0 to 100 is brought within.
    pub fn validate(&self, limits: &Limits) -> Result<(Option<u8>, Option<String>), BadField> {
        let msg = self.msg.get("msg")?;
        check_size("msg", msg.map_or(0, str::len), limits.msg_bytes)?;
        let percent = self.percent.get("percent")?.map(|n| n.clamp(0.0, 100.0) as u8);
        Ok((percent, msg.map(str::to_owned)))
    }
}

/// Body of `POST tasks/{id}/retry`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, expecting = "an object")]
pub struct RetryRequest {
    /// Seconds before it may start.
    #[schema(value_type = Option<f64>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub delay: Number,
}

impl RetryRequest {
    /// The delay, 0 if none was given.
    pub fn validate(&self, limits: &Limits) -> Result<u32, BadField> {
        delay(&self.delay, "delay", limits)
    }
}

/// An attempt as clients read it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// 1 for the first.
    pub attempt: u32,
    /// `complete`, `error`, `timeout`, `cancelled`, or `lost` where the runner was.
    pub outcome: String,
    /// Exit code, where its process ended by itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exit_code: Option<i32>,
    /// Signal that ended it, where one did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub signal: Option<i32>,
    /// Why, in words.
    pub msg: String,
    /// When it was claimed.
    #[schema(value_type = String)]
    pub start_time: Wire,
    /// When it ended.
    #[schema(value_type = String)]
    pub end_time: Wire,
    /// The runner session.
    pub runner_id: String,
    /// What it used.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<Object>)]
    pub usage: Option<crate::exit::Usage>,
    /// How it was isolated.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<Object>)]
    pub isolation: Option<crate::runner::Isolation>,
    /// Bytes of output.
    pub log_size: u64,
}

impl Attempt {
    /// The attempt as clients read it.
    pub fn present(attempt: &crate::task::Attempt) -> Self {
        use crate::exit::{Exit, Outcome};
        let (outcome, exit_code, signal) = match &attempt.outcome {
            Outcome::Lost => ("lost", None, None),
            Outcome::Exited(Exit::Code(0)) => ("complete", Some(0), None),
            Outcome::Exited(Exit::Code(code)) => ("error", Some(*code), None),
            Outcome::Exited(Exit::Signal(signal)) => ("error", None, Some(*signal)),
            Outcome::Exited(Exit::TimedOut) => ("timeout", None, None),
            Outcome::Exited(Exit::Cancelled) => ("cancelled", None, None),
            Outcome::Exited(Exit::Unable(_)) => ("unable", None, None),
            Outcome::Exited(Exit::OutOfMemory { .. } | Exit::Error { .. } | Exit::NotStarted(_)) => {
                ("error", None, None)
            }
        };
        Self {
            attempt: attempt.n,
            outcome: outcome.to_owned(),
            exit_code,
            signal,
            msg: attempt.msg.clone(),
            start_time: attempt.started_at.into(),
            end_time: attempt.ended_at.into(),
            runner_id: attempt.runner.to_string(),
            usage: attempt.usage,
            isolation: attempt.isolation.clone(),
            log_size: attempt.log_size_bytes,
        }
    }
}

/// Answer of `GET tasks/{id}/attempts`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AttemptList {
    /// The ended attempts, first first.
    pub attempts: Vec<Attempt>,
}

/// Answer of `GET tasks/{id}/explain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// Where the task stands.
    #[schema(value_type = String)]
    pub status: Status,
    /// One word for the cause: `ended`, `running`, `cancelling`, `delayed`, `retrying`, `unable`, `paused`, `concurrency`,
    /// `no_runner`, `draining`, `busy` or `starting`.
    pub cause: String,
    /// The cause as a sentence.
    pub explain: String,
}

/// Answer of `POST tasks/cancel`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BulkCancelled {
    /// `Cancelled`.
    pub msg: String,
    /// Tasks that are cancelled now, or will be when their process is dead.
    pub cancelled: u64,
}

/// Answer of `POST tasks/retry`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BulkRetried {
    /// `Queued up`.
    pub msg: String,
    /// The new tasks.
    pub tasks: Vec<TaskRef>,
    /// Where to go on, where there were more than one request may retry: pass it as `cursor`. Absent when all are done.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(json: &str) -> Result<TaskOrder, BadField> {
        serde_json::from_str::<TaskRequest>(json).unwrap().validate(&Limits::default())
    }

    #[test]
    fn every_clients_task_is_understood() {
        let plain = order(r#"{"code_name":"w","payload":"p"}"#).unwrap();
        for json in [
            r#"{"code_name":"w","payload":"p","priority":-3,"timeout":0,"cluster":"","label":""}"#,
            r#"{"code_name":"w","name":"w","payload":"p","sync":false,"label":null,"cluster":null,"delay":0.0}"#,
            r#"{"code_name":"w","payload":"p","priority":-1000,"encryptionKey":"k","options":[],"oauth":"t"}"#,
        ] {
            assert_eq!(order(json).unwrap(), plain, "{json}");
        }
        assert_eq!(order(r#"{"code_name":"w","delay":1.2,"timeout":"20"}"#).unwrap().delay_s, 2);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let problem = |json| order(json).unwrap_err().to_string();
        assert_eq!(problem(r#"{"payload":"p"}"#), "code_name: is required");
        assert_eq!(
            problem(r#"{"code_name":"w","timeout":"soon"}"#),
            r#"timeout: must be a number, not "soon""#
        );
        assert_eq!(problem(r#"{"code_name":"w","delay":1e12}"#), "delay: is too large: 1e12");
        assert_eq!(problem(r#"{"code_name":"w","delay":-1}"#), "delay: must not be negative, is -1");
        assert_eq!(problem(r#"{"code_name":{}}"#), "code_name: must be a string, not an object");
        let body: QueueRequest = serde_json::from_str(r#"{"tasks":[{"code_name":"w"},{}]}"#).unwrap();
        assert_eq!(
            body.validate(&Limits::default()).unwrap_err().to_string(),
            "tasks[1].code_name: is required"
        );
    }

    #[test]
    fn a_payload_over_the_limit_is_too_large() {
        let request = TaskRequest {
            code_name: Text::Is("w".into()),
            payload: Payload(vec![b'x'; 11]),
            ..Default::default()
        };
        let limits = Limits { payload_bytes: 10, ..Limits::default() };
        assert_eq!(request.validate(&limits).unwrap_err().kind, super::super::BadKind::TooLarge);
    }
}
