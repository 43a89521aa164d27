//! A project that demands isolation, and a runner that has too little of it.

use crate::windlass::Windlass;

#[test]
fn a_project_that_demands_more_than_its_runner_has_waits_and_says_why() {
    // Its runner isolates nothing.
    let windlass = Windlass::start();
    windlass.upload("w", "echo ran", &[]);
    let said = windlass.ok(&["project", "set", "--min-isolation", "namespaces"]);
    assert!(said.ends_with("runs its tasks in isolation namespaces or better"), "{said}");
    let projects = windlass.json(&["project", "list"]);
    assert_eq!(projects["projects"][0]["min_isolation"], "namespaces");

    let id = windlass.queue("w", &[]);
    let task = windlass.task(&id);
    let why =
        "no runner with isolation \"namespaces\" or better in cluster \"default\": its project demands it";
    assert_eq!((&task["status"], &task["explain"]["explain"]), (&"queued".into(), &why.into()));
    assert!(windlass.ok(&["task", &id]).contains(why));

    let refused = windlass.run(&["project", "set", "--min-isolation", "best"]);
    assert!(refused.code != 0 && refused.err.contains("is one of process, namespaces"), "{}", refused.err);
    windlass.ok(&["project", "set", "--min-isolation", "process"]);
    windlass.task_when(&id, |task| task["status"] == "complete");
}
