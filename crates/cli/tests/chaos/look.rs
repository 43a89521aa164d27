//! What the database and the workers say in the end, as events.

use std::path::Path;

use windlass_scratch::Postgres;
use windlass_store::postgres::audit;

use crate::database::sql;
use crate::history::{Event, History, now};

/// Adds all that the journal of the workers has.
pub(crate) fn journal(path: &Path, history: &History) {
    for line in std::fs::read_to_string(path).unwrap_or_default().lines() {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or_else(|| panic!("a line of the journal is cut off: {line}"));
        let (what, id, attempt, at) = (word(), word(), word(), word());
        let task = i64::from_str_radix(&id[..16], 16).unwrap();
        let (attempt, at) = (attempt.parse().unwrap(), at.parse().unwrap());
        history.add(Event::Ran { at, task, attempt, is_end: what == "end" });
    }
}

/// Whether no task waits or runs.
pub(crate) fn is_idle(database: &Postgres) -> bool {
    let sql = "SELECT (SELECT count(*) FROM ready) + (SELECT count(*) FROM delayed) + (SELECT count(*) FROM running)";
    self::sql(database, sql).is_some_and(|n| n.trim() == "0")
}

/// Adds every row that says how a task stands, and what is not as it must be among them.
pub(crate) fn database(database: &Postgres, history: &History) {
    history.add(Event::Looked { at: now() });
    let days = sql(database, "SELECT day FROM partition ORDER BY day").expect("the database is there");
    let mut queries = vec![
        "SELECT json_build_object('event', 'waiting', 'task', seq, 'run_at', run_at) FROM delayed".to_owned(),
        "SELECT json_build_object('event', 'waiting', 'task', seq, 'run_at', 0) FROM ready".to_owned(),
        "SELECT json_build_object('event', 'running', 'task', r.seq, 'fence', r.fence, 'lease_until', s.lease_until) \
         FROM running r LEFT JOIN session s ON s.id = r.runner AND s.gone_at IS NULL"
            .to_owned(),
    ];
    for day in days.lines() {
        queries.push(format!(
            "SELECT json_build_object('event', 'task', 'task', seq, 'label', label, \
             'schedule', encode(schedule, 'hex'), 'created', created) FROM task_d{day}"
        ));
        queries.push(format!(
            "SELECT json_build_object('event', 'ended', 'task', seq, 'status', status, 'attempts', attempts, \
             'started', started, 'ended', ended, 'fence', fence) FROM done_d{day}"
        ));
        queries.push(format!(
            "SELECT json_build_object('event', 'attempt', 'task', seq, 'n', n, 'fence', fence, 'started', started, \
             'ended', ended) FROM attempt_d{day}"
        ));
    }
    for query in queries {
        for line in sql(database, &query).expect("the database is there").lines() {
            history.add(serde_json::from_str(line).unwrap());
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let problems = runtime.block_on(audit(&database.url("postgres").parse().unwrap())).unwrap();
    for problem in problems {
        history.add(Event::Unsound { problem });
    }
}
