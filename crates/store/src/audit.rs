//! What must hold of the keys of tasks, whichever database they are in.

use std::collections::BTreeMap;

/// Where the keys were found that say how tasks stand.
#[derive(Debug, Default)]
pub(crate) struct Places(BTreeMap<i64, Vec<&'static str>>);

/// Tables of tasks that wait or run, and which of their rows belong there.
pub(crate) const OWNED: [(&str, &str); 2] = [
    ("waiting", "seq IN (SELECT seq FROM ready UNION ALL SELECT seq FROM delayed)"),
    ("chunk", "seq IN (SELECT seq FROM running)"),
];

impl Places {
    /// The key is in this table.
    pub(crate) fn found(&mut self, key: i64, table: &'static str) {
        self.0.entry(key).or_default().push(table);
    }

    /// There is a task with the key, which is to be in exactly one table.
    pub(crate) fn task(&mut self, key: i64, problems: &mut Vec<String>) {
        match self.0.remove(&key).as_deref() {
            Some([_]) => {}
            Some(several) => problems.push(format!("task {key} is in {}", several.join(" and "))),
            None => problems.push(format!("task {key} is nowhere")),
        }
    }

    /// That were all tasks: what is left belongs to none.
    pub(crate) fn end(self, problems: &mut Vec<String>) {
        let left = self.0.into_iter();
        problems.extend(left.map(|(key, at)| format!("{} has {key}, which is no task", at.join(" and "))));
    }
}

/// So many rows of one of [`OWNED`] do not belong there.
pub(crate) fn orphans(table: &str, rows: i64, problems: &mut Vec<String>) {
    if rows > 0 {
        problems.push(format!("{table} has {rows} rows of tasks that are elsewhere"));
    }
}
