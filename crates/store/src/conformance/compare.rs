//! Comparing what the model and the database say.

use std::collections::HashMap;
use std::fmt::Debug;
use std::time::Duration;

use windlass_model::lease::Fence;
use windlass_model::runner::Held;
use windlass_model::task::Status;
use windlass_model::time::Timestamp;
use windlass_model::usage::{Grain, UsageBy};
use windlass_model::wire::Page;

use super::world::{CLUSTERS, Ids};
use crate::store::{Result, Store};
use crate::types::{Statuses, TaskQuery};

/// Which fence of the database is which of the model.
#[derive(Default)]
pub(super) struct Fences {
    there: HashMap<Fence, Fence>,
    here: HashMap<Fence, Fence>,
}

impl Fences {
    /// The model gave out `here` where the database gave out `there`. Panics if it did so before.
    pub(super) fn learn(&mut self, here: Fence, there: Fence) {
        self.there.insert(here, there);
        assert_eq!(self.here.insert(there, here), None, "{there:?} was handed out twice");
    }

    /// As the database names the attempt.
    pub(super) fn there_one(&self, held: Held) -> Held {
        Held { fence: self.there.get(&held.fence).copied().unwrap_or(held.fence), ..held }
    }

    /// As the database names the attempts.
    pub(super) fn there(&self, held: &[Held]) -> Vec<Held> {
        held.iter().map(|held| self.there_one(*held)).collect()
    }

    /// As the model names the attempts.
    pub(super) fn here(&self, held: &[Held]) -> Vec<Held> {
        held.iter().map(|held| Held { fence: self.here_one(held.fence), ..*held }).collect()
    }

    fn here_one(&self, fence: Fence) -> Fence {
        self.here.get(&fence).copied().unwrap_or(fence)
    }
}

/// Panics unless both said the same; what they said.
pub(super) fn equal<T: PartialEq + Debug>(what: &str, model: Result<T>, subject: Result<T>) -> Option<T> {
    match (model, subject) {
        (Ok(model), Ok(subject)) => {
            assert_eq!(subject, model, "{what}: the database (left) and the model (right) differ");
            Some(model)
        }
        (Err(model), Err(subject)) => {
            assert_eq!(subject.to_string(), model.to_string(), "{what}: the errors differ");
            None
        }
        (model, subject) => panic!("{what}: the model said {model:?}, the database {subject:?}"),
    }
}

/// Compares everything that can be read.
pub(super) async fn everything(
    model: &dyn Store,
    subject: &dyn Store,
    fences: &Fences,
    now: Timestamp,
    ids: &Ids,
) {
    macro_rules! both {
        ($method:ident ( $($arg:expr),* )) => {
            equal(stringify!($method), model.$method($($arg),*).await, subject.$method($($arg),*).await)
        };
    }
    let later = now + Duration::from_secs(100_000_000);
    both!(projects());
    both!(tokens());
    both!(clusters());
    both!(counts(None));
    both!(oldest_ready(None));
    for cluster in CLUSTERS {
        both!(claimable(cluster, 2));
        both!(claimable(cluster, 1_000));
    }
    for limit in [0, 1, 100] {
        both!(due_schedules(now + Duration::from_secs(1_000_000), limit));
    }
    let pages = [Page { skip: 0, limit: 100 }, Page { skip: 1, limit: 2 }];
    for code in &ids.codes {
        both!(code(*code));
        for page in pages {
            both!(revisions(*code, page));
        }
        for rev in 0..4 {
            both!(revision(*code, rev));
        }
        both!(ended_between(*code, now - Duration::from_secs(600), now));
        both!(ended_between(*code, Timestamp::default(), later));
    }
    for schedule in &ids.schedules {
        both!(schedule(*schedule));
    }
    for project in &ids.projects {
        both!(counts(Some(*project)));
        both!(oldest_ready(Some(*project)));
        for page in pages {
            both!(codes(*project, page));
            both!(schedules(*project, page));
        }
        for name in ["code-0", "code-1", "code-2", "other"] {
            both!(code_named(*project, name));
        }
        for by in [UsageBy::Code, UsageBy::Schedule, UsageBy::Day] {
            both!(usage(*project, Timestamp::default(), later, by));
            both!(usage(*project, now - Duration::from_secs(86_400), now, by));
        }
        both!(newest_of(*project, &ids.codes));
        for grain in Grain::ALL {
            both!(rollups(*project, None, Timestamp::default(), later, grain));
            let lately = now - Duration::from_secs(600);
            both!(rollups(*project, ids.codes.first().copied(), lately, now, grain));
        }
        for query in queries(&TaskQuery::of(*project, 1_000), ids, now) {
            equal(&format!("{query:?}"), model.tasks(&query).await, subject.tasks(&query).await);
        }
    }
    for task in &ids.tasks {
        both!(task(*task));
        both!(result(*task));
        both!(ahead_of(*task, 3));
        both!(ahead_of(*task, 1_000));
        both!(log(*task, None, 0));
        for attempt in 0..4 {
            both!(log(*task, Some(attempt), attempt));
        }
        let mut attempts = subject.attempts(*task).await;
        if let Ok(attempts) = &mut attempts {
            attempts.iter_mut().for_each(|attempt| attempt.fence = fences.here_one(attempt.fence));
        }
        equal("attempts", model.attempts(*task).await, attempts);
    }
}

/// Every filter alone, and some together.
fn queries(all: &TaskQuery, ids: &Ids, now: Timestamp) -> Vec<TaskQuery> {
    let mut queries = vec![
        all.clone(),
        TaskQuery { skip: 2, limit: 3, ..all.clone() },
        TaskQuery { limit: 0, ..all.clone() },
        TaskQuery { statuses: Statuses::NONE, ..all.clone() },
        TaskQuery { from: Some(now - Duration::from_secs(60)), ..all.clone() },
        TaskQuery { to: Some(now - Duration::from_secs(60)), ..all.clone() },
        TaskQuery { from: Some(now - Duration::from_secs(90_000)), to: Some(now), limit: 5, ..all.clone() },
    ];
    let of_status = |status| TaskQuery { statuses: Statuses::NONE.with(status), ..all.clone() };
    queries.extend(Status::ALL.map(of_status));
    queries.extend(CLUSTERS.map(|cluster| TaskQuery { cluster: Some(cluster.to_owned()), ..all.clone() }));
    for label in ["label-1", "label-2"] {
        let labelled = TaskQuery { label: Some(label.to_owned()), ..all.clone() };
        queries.push(TaskQuery { skip: 1, limit: 2, ..labelled.clone() });
        queries.push(TaskQuery { statuses: Statuses::NONE.with(Status::Complete), ..labelled.clone() });
        queries.push(TaskQuery { statuses: Statuses::NONE.with(Status::Queued), ..labelled.clone() });
        queries.extend(ids.schedules.iter().map(|id| TaskQuery { schedule: Some(*id), ..labelled.clone() }));
        queries.push(labelled);
    }
    queries.extend(ids.schedules.iter().map(|id| TaskQuery { schedule: Some(*id), ..all.clone() }));
    for task in &ids.tasks {
        let queued_by = TaskQuery { parent: Some(*task), ..all.clone() };
        let schedule = ids.schedules.first().copied();
        queries.push(TaskQuery {
            schedule,
            label: Some("label-1".to_owned()),
            limit: 2,
            ..queued_by.clone()
        });
        queries.push(queued_by);
    }
    for code in &ids.codes {
        let of_code = TaskQuery { code: Some(*code), ..all.clone() };
        let statuses = Statuses::NONE.with(Status::Error).with(Status::Queued).with(Status::Running);
        queries.push(TaskQuery { statuses, limit: 2, ..of_code.clone() });
        queries.push(TaskQuery { cluster: Some(CLUSTERS[1].to_owned()), ..of_code.clone() });
        queries.push(of_code);
    }
    let middle = ids.tasks.get(ids.tasks.len() / 2);
    queries.extend(middle.map(|task| TaskQuery { before: Some(task.seq()), ..all.clone() }));
    queries
}
