//! The tables of one day and the statements on them.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::Connection;

use crate::types::Partition;

/// The partitions that exist, oldest first.
pub(super) type Partitions = BTreeMap<Partition, Arc<Tables>>;

/// The statements on one partition.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) insert_task: String,
    pub(super) insert_payload: String,
    pub(super) payload: String,
    pub(super) task: String,
    pub(super) claimed_task: String,
    pub(super) insert_done: String,
    pub(super) insert_attempt: String,
    pub(super) attempts: String,
    pub(super) put_result: String,
    pub(super) result: String,
    pub(super) tag: String,
    pub(super) place: String,
    pub(super) list_done: String,
    pub(super) list_label: String,
    pub(super) list_schedule: String,
    pub(super) list_parent: String,
    pub(super) count_done: String,
    pub(super) newest: String,
    pub(super) after: String,
    pub(super) drop: String,
}

impl Tables {
    fn of(partition: Partition) -> Self {
        let day = partition.0.to_string();
        let on = |template: &str| template.replace("{day}", &day);
        Self {
            insert_task: on(include_str!("sql/insert_task.sql")),
            insert_payload: on("INSERT INTO payload_d{day}(seq, payload) VALUES (?1, ?2)"),
            payload: on("SELECT payload FROM payload_d{day} WHERE seq = ?1"),
            task: on(include_str!("sql/task.sql")),
            claimed_task: on(include_str!("sql/claimed_task.sql")),
            insert_done: on(include_str!("sql/insert_done.sql")),
            insert_attempt: on(include_str!("sql/insert_attempt.sql")),
            attempts: on(include_str!("sql/attempts.sql")),
            put_result: on("INSERT OR REPLACE INTO result_d{day}(seq, data) VALUES (?1, ?2)"),
            result: on("SELECT data FROM result_d{day} WHERE seq = ?1"),
            tag: on("SELECT tag FROM task_d{day} WHERE seq = ?1"),
            place: on("SELECT status FROM done_d{day} WHERE seq = ?1"),
            list_done: on(
                "SELECT seq FROM done_d{day} WHERE lane = ?1 AND status = ?2 AND seq < ?3 ORDER BY seq DESC LIMIT ?4",
            ),
            list_label: on(
                "SELECT seq, lane FROM task_d{day} WHERE label = ?1 AND seq < ?2 ORDER BY seq DESC",
            ),
            list_schedule: on(
                "SELECT seq, lane FROM task_d{day} WHERE schedule = ?1 AND seq < ?2 ORDER BY seq DESC",
            ),
            list_parent: on(
                "SELECT seq, lane FROM task_d{day} WHERE parent = ?1 AND seq < ?2 ORDER BY seq DESC",
            ),
            count_done: on("SELECT lane, status, count(*) FROM done_d{day} GROUP BY lane, status"),
            newest: on("SELECT max(seq) FROM task_d{day}"),
            after: on("SELECT seq FROM task_d{day} WHERE seq > ?1 ORDER BY seq LIMIT ?2"),
            drop: on(include_str!("sql/drop_partition.sql")),
        }
    }
}

/// Makes the tables of `partition`, in the transaction that needs them.
pub(super) fn create(conn: &Connection, partition: Partition) -> rusqlite::Result<Arc<Tables>> {
    let day = partition.0.to_string();
    conn.execute_batch(&include_str!("sql/partition.sql").replace("{day}", &day))?;
    Ok(Arc::new(Tables::of(partition)))
}

/// The partitions that are in the database.
pub(super) fn load(conn: &Connection) -> rusqlite::Result<Partitions> {
    let mut names = conn
        .prepare("SELECT substr(name, 7) FROM sqlite_master WHERE type = 'table' AND name GLOB 'task_d*'")?;
    let days = names.query_map([], |row| row.get::<_, String>(0))?;
    let mut partitions = Partitions::new();
    for day in days {
        if let Ok(day) = day?.parse() {
            partitions.insert(Partition(day), Arc::new(Tables::of(Partition(day))));
        }
    }
    Ok(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_statement_on_a_partition_looks_at_all_of_it() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(include_str!("migrations/0001_tables.sql")).unwrap();
        create(&conn, Partition(7)).unwrap();
        let t = Tables::of(Partition(7));
        for sql in [
            &t.payload,
            &t.task,
            &t.claimed_task,
            &t.attempts,
            &t.result,
            &t.tag,
            &t.place,
            &t.list_done,
            &t.list_label,
            &t.list_schedule,
            &t.list_parent,
            &t.newest,
        ] {
            let mut plan = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let unbound = plan.parameter_count();
            (1..=unbound).for_each(|at| plan.raw_bind_parameter(at, 1).unwrap());
            let mut rows = plan.raw_query();
            while let Some(row) = rows.next().unwrap() {
                let step: String = row.get(3).unwrap();
                assert!(!step.starts_with("SCAN"), "{step} in {sql}");
            }
        }
    }

    #[test]
    fn partitions_are_found_again() {
        let conn = Connection::open_in_memory().unwrap();
        create(&conn, Partition(20_454)).unwrap();
        create(&conn, Partition(7)).unwrap();
        let days: Vec<i64> = load(&conn).unwrap().keys().map(|partition| partition.0).collect();
        assert_eq!(days, [7, 20_454]);
    }
}
