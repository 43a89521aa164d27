//! A task as the AWS Lambda Runtime API describes it.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use windlass_model::runner::{Assignment, RevisionSpec};
use windlass_model::time::Timestamp;
use windlass_model::trace::TraceParent;

use super::protocol::Event;

/// The task as an event that ends at its timeout from `now` on.
///
/// What AWS has no header for is in headers of our own, and again in the client's context, which is what handlers get
/// to see: the token of the attempt above all.
pub(crate) fn event(task: &Assignment, revision: &RevisionSpec, now: Timestamp) -> Event {
    let id = request_id(task);
    let deadline = now + Duration::from_secs(task.timeout_s.into());
    let mut own = vec![
        ("task-id", task.task.to_string()),
        ("task-attempt", task.attempt.to_string()),
        ("task-project-id", task.project.to_string()),
        ("task-token", task.token.clone()),
        ("task-deadline", deadline.to_string()),
    ];
    own.extend(task.schedule.map(|schedule| ("task-schedule-id", schedule.to_string())));
    let custom: serde_json::Map<String, serde_json::Value> =
        own.iter().map(|(name, value)| (name.replace('-', "_"), value.as_str().into())).collect();

    let mut headers = HeaderMap::with_capacity(16);
    let mut set = |name: &'static str, value: &str| {
        // Whatever cannot be in a header is no id or token of ours.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    set("lambda-runtime-aws-request-id", &id);
    set("lambda-runtime-deadline-ms", &deadline.as_millis().to_string());
    set("lambda-runtime-invoked-function-arn", &arn(task, revision));
    set("lambda-runtime-client-context", &serde_json::json!({ "custom": custom }).to_string());
    if let Some(trace) = task.trace {
        set("lambda-runtime-trace-id", &xray(trace));
        set("traceparent", &trace.to_string());
    }
    for (name, value) in own {
        set(name, &value);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // A task without a payload is none of AWS's: its clients take nothing but JSON.
    let payload = match task.payload.0.as_slice() {
        [] => Bytes::from_static(b"{}"),
        payload => Bytes::copy_from_slice(payload),
    };
    Event { id, headers, payload }
}

/// Names an attempt of a task: an answer to an earlier attempt is none to this one.
fn request_id(task: &Assignment) -> String {
    format!("{}-{}", task.task, task.attempt)
}

/// A name as AWS gives its functions, for programs that take it apart. The region is none of theirs, the account the
/// project.
fn arn(task: &Assignment, revision: &RevisionSpec) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_./".contains(c) { c } else { '_' };
    let name: String = revision.code_name.chars().map(plain).collect();
    format!("arn:aws:lambda:windlass:{}:function:{name}:{}", task.project, revision.rev)
}

/// The trace as AWS X-Ray writes it.
fn xray(trace: TraceParent) -> String {
    let text = trace.to_string();
    let mut parts = text.split('-').skip(1);
    let (root, parent) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let is_sampled =
        parts.next().is_some_and(|flags| flags.ends_with(['1', '3', '5', '7', '9', 'b', 'd', 'f']));
    let (time, rest) = root.split_at(root.len().min(8));
    format!("Root=1-{time}-{rest};Parent={parent};Sampled={}", u8::from(is_sampled))
}

#[cfg(test)]
mod tests {
    use windlass_model::bytes::Bytes as Content;
    use windlass_model::id::{CodeId, ProjectId, RevisionId, Seq, TaskId};
    use windlass_model::lease::Fence;

    use super::*;

    #[test]
    fn an_event_says_what_a_process_finds_in_its_environment() {
        let revision = RevisionSpec {
            id: RevisionId::new(Seq(3), 4),
            code: CodeId::new(Seq(5), 6),
            code_name: "mail out".to_owned(),
            rev: 2,
            package: None,
            launch: Default::default(),
            config: None,
            env_vars: Default::default(),
            limits: Default::default(),
            network: Default::default(),
            keep: Default::default(),
            login: None,
        };
        let task = Assignment {
            task: TaskId::new(Seq(1), 2),
            fence: Fence(9),
            attempt: 3,
            project: ProjectId::new(Seq(7), 8),
            revision: revision.id,
            schedule: None,
            trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().ok(),
            payload: Content(b"{}".to_vec()),
            timeout_s: 60,
            token: "secret".to_owned(),
        };
        let Event { id, headers, payload } = event(&task, &revision, Timestamp::from_secs(1000));
        assert_eq!((id.as_str(), &payload[..]), ("000000000000000100000002-3", &b"{}"[..]));
        let lines: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        insta::assert_snapshot!(lines.join("\n"));
        let without = Assignment { payload: Content(Vec::new()), ..task };
        assert_eq!(&event(&without, &revision, Timestamp::from_secs(1000)).payload[..], b"{}");
    }
}
