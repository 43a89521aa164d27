//! Whether a database is whole: everything that must hold between its tables, read from outside.

use std::collections::BTreeMap;

use super::connect::{Address, Connections};
use super::fault::Stop;
use super::param::params;
use super::tx::Tx;
use crate::audit::{OWNED, Places, orphans};
use crate::encoding::status_number;
use crate::error::StoreError;
use windlass_model::task::Status;

/// What does not hold in the database, in words; empty if it is whole. Reads all of it, so it may take minutes; servers
/// may be at work meanwhile.
///
/// # Errors
/// [`StoreError::Unavailable`] if the database cannot be reached.
pub async fn audit(address: &Address) -> Result<Vec<String>, StoreError> {
    let connections = Connections::new(address)?;
    let mut tx = connections.snapshot().await?;
    let problems = read(&mut tx).await;
    tx.roll_back().await;
    Ok(problems?)
}

async fn read(tx: &mut Tx) -> Result<Vec<String>, Stop> {
    // It reads everything, which connections of ours are set against.
    tx.batch(
        "SET LOCAL statement_timeout = 0; SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on",
    )
    .await?;
    let days: Vec<i64> = tx
        .query("SELECT day FROM partition ORDER BY day", params![])
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    let mut problems = Vec::new();
    places(tx, &days, &mut problems).await?;
    counters(tx, &days, &mut problems).await?;
    lanes(tx, &mut problems).await?;
    Ok(problems)
}

/// Each task's key is in exactly one of the tables that say where it stands, and each key there has its task.
async fn places(tx: &mut Tx, days: &[i64], problems: &mut Vec<String>) -> Result<(), Stop> {
    let mut places = Places::default();
    let mut sources: Vec<(String, &'static str)> =
        ["ready", "delayed", "running"].map(|name| (name.to_owned(), name)).into();
    sources.extend(days.iter().map(|day| (format!("done_d{day}"), "done")));
    for (table, name) in sources {
        for row in tx.query(&format!("SELECT seq FROM {table}"), params![]).await? {
            places.found(row.get(0), name);
        }
    }
    for day in days {
        for row in tx.query(&format!("SELECT seq FROM task_d{day}"), params![]).await? {
            places.task(row.get(0), problems);
        }
    }
    places.end(problems);
    for (table, owner) in OWNED {
        let sql = format!("SELECT count(*) FROM {table} WHERE NOT {owner}");
        orphans(table, tx.query_opt(&sql, params![]).await?.map_or(0, |row| row.get(0)), problems);
    }
    Ok(())
}

/// Counters are what they count.
async fn counters(tx: &mut Tx, days: &[i64], problems: &mut Vec<String>) -> Result<(), Stop> {
    let mut counts: BTreeMap<(i32, i32, i16), i64> = BTreeMap::new();
    let (queued, running) = (status_number(Status::Queued), status_number(Status::Running));
    let mut sources = vec![
        (
            format!(
                "SELECT r.code, l.cluster, {queued}::int2, count(*) FROM ready r JOIN lane l ON l.id = r.lane GROUP BY 1, 2"
            ),
            1,
        ),
        (format!("SELECT code, cluster, {queued}::int2, count(*) FROM delayed GROUP BY 1, 2"), 1),
        (format!("SELECT code, cluster, {running}::int2, count(*) FROM running GROUP BY 1, 2"), 1),
        ("SELECT code, cluster, status, n FROM counter".to_owned(), -1),
    ];
    sources.extend(
        days.iter().map(|day| {
            (format!("SELECT code, cluster, status, count(*) FROM done_d{day} GROUP BY 1, 2, 3"), 1)
        }),
    );
    for (sql, sign) in sources {
        for row in tx.query(&sql, params![]).await? {
            *counts.entry((row.get(0), row.get(1), row.get(2))).or_default() += sign * row.get::<_, i64>(3);
        }
    }
    let off = counts.into_iter().filter(|(_, n)| *n != 0);
    problems.extend(off.map(|((code, cluster, status), n)| {
        format!("the counter of package {code}, cluster {cluster}, status {status} is off by {}", -n)
    }));
    Ok(())
}

/// Slots are what is running, and lanes have the keys that belong to them.
async fn lanes(tx: &mut Tx, problems: &mut Vec<String>) -> Result<(), Stop> {
    let sql = "SELECT s.code, s.running, (SELECT count(*) FROM running r WHERE r.code = s.code) FROM slot s \
               WHERE s.running <> (SELECT count(*) FROM running r WHERE r.code = s.code)";
    for row in tx.query(sql, params![]).await? {
        let (code, kept, real): (i32, i32, i64) = (row.get(0), row.get(1), row.get(2));
        problems.push(format!("package {code} has {kept} slots taken, and {real} tasks running"));
    }
    let sql = "SELECT count(*) FROM ready r LEFT JOIN lane l ON l.id = r.lane \
               WHERE l.id IS NULL OR (l.code > 0 AND l.code <> r.code)";
    let strangers: i64 = tx.query_opt(sql, params![]).await?.map_or(0, |row| row.get(0));
    if strangers > 0 {
        problems.push(format!("{strangers} ready tasks are in lanes that are not theirs"));
    }
    Ok(())
}
