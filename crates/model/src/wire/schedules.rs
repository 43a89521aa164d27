//! Schedules on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::lenient::{self, Number, Payload, Text};
use super::tasks::{MAX_NAME_BYTES, check_size, cluster, delay, label, priority, timeout};
use super::{BadField, Limits};
use crate::id::{ProjectId, ScheduleId};
use crate::schedule::{MIN_RUN_EVERY_S, Template, Timing};
use crate::time::{Timestamp, Wire};

/// Body of `POST schedules`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(expecting = "an object")]
pub struct CreateRequest {
    /// The schedules; the answer has their ids in this order.
    #[serde(default, deserialize_with = "lenient::objects")]
    pub schedules: Option<Vec<ScheduleRequest>>,
}

/// A schedule as a client asks for it, or the fields of it that are to change.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, expecting = "an object")]
pub struct ScheduleRequest {
    /// Name of the package.
    #[schema(value_type = String)]
    #[serde(skip_serializing_if = "Text::is_unset")]
    pub code_name: Text,
    /// What its tasks get.
    #[schema(value_type = Option<String>)]
    pub payload: Option<Payload>,
    /// What people call it.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Text::is_unset")]
    pub name: Text,
    /// First run and anchor of the grid; now (plus `delay`) if absent or in the past.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Text::is_unset")]
    pub start_at: Text,
    /// Seconds before the first run, where there is no `start_at`.
    #[schema(value_type = Option<f64>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub delay: Number,
    /// Seconds between runs, at least 60; absent: it runs once.
    #[schema(value_type = Option<u32>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub run_every: Number,
    /// Most runs; 0 or absent: no limit.
    #[schema(value_type = Option<u32>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub run_times: Number,
    /// No run is due after it.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Text::is_unset")]
    pub end_at: Text,
    /// Of its tasks.
    #[schema(value_type = Option<i32>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub priority: Number,
    /// Of its tasks.
    #[schema(value_type = Option<f64>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub timeout: Number,
    /// Of its tasks.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Text::is_unset")]
    pub cluster: Text,
    /// Of its tasks.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Text::is_unset")]
    pub label: Text,
    /// Kept and shown.
    #[schema(value_type = Option<u32>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub max_concurrency: Number,
    /// Seconds between a run and the earliest start of its task.
    #[schema(value_type = Option<f64>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub task_delay: Number,
}

/// A new schedule whose values hold; the package is still a name.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleOrder {
    /// Name of the package.
    pub code_name: String,
    /// What people call it.
    pub name: String,
    /// When it fires.
    pub timing: Timing,
    /// What it queues, but for the package.
    pub parts: TemplateParts,
}

/// A [`Template`] without its package.
#[derive(Clone, Debug, PartialEq)]
pub struct TemplateParts {
    payload: Vec<u8>,
    priority: Option<crate::task::Priority>,
    timeout_s: u32,
    task_delay_s: u32,
    cluster: String,
    label: Option<String>,
    max_concurrency: Option<u32>,
}

impl TemplateParts {
    /// The template for the package `code`.
    pub fn of(self, code: crate::id::CodeId) -> Template {
        Template {
            code,
            payload: self.payload,
            priority: self.priority,
            timeout_s: self.timeout_s,
            task_delay_s: self.task_delay_s,
            cluster: self.cluster,
            label: self.label,
            max_concurrency: self.max_concurrency,
        }
    }
}

/// The time a field names; unset for nothing, the zero time, and the year 2262 that old clients mean "never" by.
fn instant(text: &Text, field: &str) -> Result<Option<Timestamp>, BadField> {
    let Some(text) = text.non_empty(field)? else { return Ok(None) };
    // The greatest times of Go and .NET mean no end; a start so late must not become one now.
    let is_forever = |text: &str| ["2262-04-11T", "9999-12-31T"].iter().any(|last| text.starts_with(last));
    if text.starts_with("0001-01-01T") || field == "end_at" && is_forever(text) {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|e: crate::time::InvalidTime| BadField::invalid(field, e.to_string()))
}

fn run_every(number: &Number) -> Result<Option<u32>, BadField> {
    match number.count("run_every")? {
        None | Some(0) => Ok(None),
        Some(n) if n < MIN_RUN_EVERY_S => {
            Err(BadField::invalid("run_every", format!("is {n} seconds, the least is {MIN_RUN_EVERY_S}")))
        }
        every => Ok(every),
    }
}

fn at_least_one(number: &Number, field: &str) -> Result<Option<u32>, BadField> {
    Ok(number.count(field)?.filter(|&n| n > 0))
}

impl ScheduleRequest {
    /// The new schedule that the request means at `now`, or the first field that is wrong.
    pub fn validate(self, limits: &Limits, now: Timestamp) -> Result<ScheduleOrder, BadField> {
        let code_name =
            self.code_name.non_empty("code_name")?.ok_or_else(|| BadField::missing("code_name"))?;
        let name = self.name.get("name")?.unwrap_or_default();
        check_size("name", name.len(), MAX_NAME_BYTES)?;
        let payload = self.payload.as_ref().map(|p| p.0.clone()).unwrap_or_default();
        check_size("payload", payload.len(), limits.payload_bytes)?;
        let wait = std::time::Duration::from_secs(u64::from(delay(&self.delay, "delay", limits)?));
        let start_at = instant(&self.start_at, "start_at")?.unwrap_or(now + wait).max(now);
        Ok(ScheduleOrder {
            code_name: code_name.to_owned(),
            name: name.to_owned(),
            timing: Timing {
                start_at,
                run_every_s: run_every(&self.run_every)?,
                run_times: at_least_one(&self.run_times, "run_times")?,
                end_at: instant(&self.end_at, "end_at")?,
            },
            parts: TemplateParts {
                payload,
                priority: priority(&self.priority, "priority")?,
                timeout_s: timeout(&self.timeout, "timeout", limits)?,
                task_delay_s: delay(&self.task_delay, "task_delay", limits)?,
                cluster: cluster(&self.cluster)?,
                label: label(&self.label)?,
                max_concurrency: at_least_one(&self.max_concurrency, "max_concurrency")?,
            },
        })
    }

    /// Changes `timing`, `template` and `name` where the request has a value. Returns whether the timing changed.
    ///
    /// `code` is the package that the request's `code_name` names, where it has one.
    pub fn apply(
        &self,
        schedule: &mut crate::schedule::Schedule,
        code: Option<crate::id::CodeId>,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<bool, BadField> {
        let before = schedule.timing;
        let (timing, template) = (&mut schedule.timing, &mut schedule.template);
        if let Some(start_at) = instant(&self.start_at, "start_at")? {
            timing.start_at = if start_at == before.start_at { start_at } else { start_at.max(now) };
        }
        if self.run_every != Number::Unset {
            timing.run_every_s = run_every(&self.run_every)?;
        }
        if self.run_times != Number::Unset {
            timing.run_times = at_least_one(&self.run_times, "run_times")?;
        }
        if self.end_at != Text::Unset {
            timing.end_at = instant(&self.end_at, "end_at")?;
        }
        if let Some(payload) = &self.payload {
            check_size("payload", payload.0.len(), limits.payload_bytes)?;
            template.payload = payload.0.clone();
        }
        if self.priority != Number::Unset {
            template.priority = priority(&self.priority, "priority")?;
        }
        if self.timeout != Number::Unset {
            template.timeout_s = timeout(&self.timeout, "timeout", limits)?;
        }
        if self.task_delay != Number::Unset {
            template.task_delay_s = delay(&self.task_delay, "task_delay", limits)?;
        }
        if self.max_concurrency != Number::Unset {
            template.max_concurrency = at_least_one(&self.max_concurrency, "max_concurrency")?;
        }
        if self.cluster != Text::Unset {
            template.cluster = cluster(&self.cluster)?;
        }
        if self.label != Text::Unset {
            template.label = label(&self.label)?;
        }
        if let Some(code) = code {
            template.code = code;
        }
        if let Some(name) = self.name.get("name")? {
            check_size("name", name.len(), MAX_NAME_BYTES)?;
            name.clone_into(&mut schedule.name);
        }
        Ok(schedule.timing != before)
    }
}

/// Answer of `POST schedules`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Scheduled {
    /// `Scheduled`.
    pub msg: String,
    /// The ids, in the order of the request.
    pub schedules: Vec<ScheduleRef>,
}

/// Names a schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScheduleRef {
    /// Its id.
    #[schema(value_type = String)]
    pub id: ScheduleId,
}

/// A schedule as clients read it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Schedule {
    /// Its id.
    #[schema(value_type = String)]
    pub id: ScheduleId,
    /// Who owns it.
    #[schema(value_type = String)]
    pub project_id: ProjectId,
    /// Name of the package.
    pub code_name: String,
    /// What people call it.
    pub name: String,
    /// What its tasks get.
    pub payload: String,
    /// `scheduled`, `complete` or `cancelled`.
    pub status: String,
    /// Why it ended.
    pub msg: String,
    /// When it was made.
    #[schema(value_type = String)]
    pub created_at: Wire,
    /// When it last changed.
    #[schema(value_type = String)]
    pub updated_at: Wire,
    /// First run and anchor of the grid.
    #[schema(value_type = String)]
    pub start_at: Wire,
    /// No run is due after it.
    #[schema(value_type = String)]
    pub end_at: Wire,
    /// Its next run.
    #[schema(value_type = String)]
    pub next_start: Wire,
    /// Its last run.
    #[schema(value_type = String)]
    pub last_run_time: Wire,
    /// Seconds between runs; absent if it runs once.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run_every: Option<u32>,
    /// Most runs; absent: no limit.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run_times: Option<u32>,
    /// Runs so far.
    pub run_count: u32,
    /// Of its tasks.
    pub timeout: u32,
    /// Always 0: a delay becomes part of `start_at`.
    pub delay: u32,
    /// Seconds between a run and the earliest start of its task.
    pub task_delay: u32,
    /// Of its tasks; 0 where the package decides.
    pub priority: u8,
    /// Of its tasks.
    pub cluster: String,
    /// Of its tasks.
    pub label: String,
    /// As asked for; 0 if it was not.
    pub max_concurrency: u32,
    /// Always 0: a run that cannot be queued is tried again, not skipped.
    pub error_count: u32,
}

impl Schedule {
    /// The schedule as clients read it; `code_name` belongs to its package.
    pub fn present(schedule: &crate::schedule::Schedule, code_name: &str) -> Self {
        let crate::schedule::Schedule { timing, template, state, .. } = schedule;
        Self {
            id: schedule.id,
            project_id: schedule.project,
            code_name: code_name.to_owned(),
            name: schedule.name.clone(),
            payload: String::from_utf8_lossy(&template.payload).into_owned(),
            status: state.status.as_str().to_owned(),
            msg: state.msg.clone(),
            created_at: schedule.created_at.into(),
            updated_at: schedule.updated_at.into(),
            start_at: timing.start_at.into(),
            end_at: Wire(timing.end_at),
            next_start: Wire(state.next_at),
            last_run_time: Wire(state.last_run_at),
            run_every: timing.run_every_s,
            run_times: timing.run_times,
            run_count: state.run_count,
            timeout: template.timeout_s,
            delay: 0,
            task_delay: template.task_delay_s,
            priority: template.priority.map_or(0, crate::task::Priority::get),
            cluster: template.cluster.clone(),
            label: template.label.clone().unwrap_or_default(),
            max_concurrency: template.max_concurrency.unwrap_or(0),
            error_count: 0,
        }
    }
}

/// Answer of `GET schedules`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScheduleList {
    /// Newest first.
    pub schedules: Vec<Schedule>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_592_905_667);

    fn order(json: &str) -> Result<ScheduleOrder, BadField> {
        serde_json::from_str::<ScheduleRequest>(json).unwrap().validate(&Limits::default(), NOW)
    }

    #[test]
    fn absent_or_past_start_is_now() {
        for json in [
            r#"{"code_name":"w"}"#,
            r#"{"code_name":"w","name":"","run_times":0,"delay":0,"payload":"{}"}"#,
            r#"{"code_name":"w","start_at":"2001-01-01T00:00:00Z"}"#,
            r#"{"code_name":"w","start_at":"0001-01-01T00:00:00Z","end_at":"2262-04-11T23:47:16Z"}"#,
            r#"{"code_name":"w","end_at":"9999-12-31T23:59:59.9999999Z"}"#,
        ] {
            let timing = order(json).unwrap().timing;
            assert_eq!((timing.start_at, timing.run_times, timing.end_at), (NOW, None, None), "{json}");
        }
        assert_eq!(
            order(r#"{"code_name":"w","delay":30}"#).unwrap().timing.start_at,
            NOW + std::time::Duration::from_secs(30)
        );
        let never = order(r#"{"code_name":"w","start_at":"2262-04-11T23:47:16Z"}"#).unwrap();
        assert_eq!(never.timing.start_at.to_string(), "2262-04-11T23:47:16.000Z");
        let python = order(r#"{"code_name":"w","start_at":"2020-06-24T09:47:47.123456+00:00"}"#).unwrap();
        assert_eq!(python.timing.start_at.to_string(), "2020-06-24T09:47:47.123Z");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let problem = |json| order(json).unwrap_err().to_string();
        assert_eq!(
            problem(r#"{"code_name":"w","run_every":59}"#),
            "run_every: is 59 seconds, the least is 60"
        );
        assert_eq!(
            problem(r#"{"code_name":"w","start_at":"noon"}"#),
            "start_at: a time is RFC 3339, such as 2026-01-31T12:00:00Z"
        );
    }
}
