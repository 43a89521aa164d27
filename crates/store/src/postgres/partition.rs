//! The tables of one day and the statements on them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::types::Partition;

/// The partitions that exist, oldest first.
pub(super) type Partitions = BTreeMap<Partition, Arc<Tables>>;

/// The statements on one partition.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) insert_task: String,
    pub(super) move_task: String,
    pub(super) task: String,
    pub(super) claimed_task: String,
    pub(super) insert_done: String,
    pub(super) insert_attempt: String,
    pub(super) attempts: String,
    pub(super) put_result: String,
    pub(super) result: String,
    pub(super) standing: String,
    pub(super) list_merge: String,
    pub(super) list_walk: String,
    pub(super) count_done: String,
    pub(super) newest: String,
    pub(super) any: String,
    pub(super) lock: String,
    pub(super) drop: String,
}

impl Tables {
    pub(super) fn of(partition: Partition) -> Self {
        let day = partition.0.to_string();
        let on = |template: &str| template.replace("{day}", &day);
        Self {
            insert_task: on(include_str!("sql/insert_task.sql")),
            move_task: on(include_str!("sql/move_task.sql")),
            task: on(include_str!("sql/task.sql")),
            claimed_task: on(include_str!("sql/claimed_task.sql")),
            insert_done: on(include_str!("sql/insert_done.sql")),
            insert_attempt: on(include_str!("sql/insert_attempt.sql")),
            attempts: on(include_str!("sql/attempts.sql")),
            put_result: on(include_str!("sql/put_result.sql")),
            result: on("SELECT data FROM result_d{day} WHERE seq = $1"),
            standing: on(include_str!("sql/standing.sql")),
            list_merge: on(include_str!("sql/list_merge.sql")),
            list_walk: on(include_str!("sql/list_walk.sql")),
            count_done: on("SELECT code, cluster, status, count(*) FROM done_d{day} GROUP BY 1, 2, 3"),
            any: on("SELECT 1 FROM task_d{day} LIMIT 1"),
            newest: on("SELECT max(seq) FROM task_d{day}"),
            lock: on(
                "LOCK TABLE task_d{day}, done_d{day}, attempt_d{day}, result_d{day} IN ACCESS EXCLUSIVE MODE",
            ),
            drop: on("DROP TABLE task_d{day}, done_d{day}, attempt_d{day}, result_d{day}"),
        }
    }
}

/// What makes the tables of `partition`.
pub(super) fn creation(partition: Partition) -> String {
    include_str!("sql/partition.sql").replace("{day}", &partition.0.to_string())
}
