//! The same attacks on a runner without privileges: the level that user namespaces give.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::skip;

/// Those that need no control groups, no network with the internet of the slot's own, and no look at processes of another user.
const ATTACKS: [&str; 19] = [
    "attacks::files::nothing_outside_can_be_written",
    "attacks::files::the_host_and_the_server_cannot_be_read",
    "attacks::files::a_task_sees_only_its_own_payload_and_package",
    "attacks::files::a_result_is_a_file_of_the_tasks_own_or_nothing",
    "attacks::images::an_image_runs_as_it_says",
    "attacks::images::the_contract_holds_in_an_image_too",
    "attacks::images::nothing_of_the_host_is_in_an_image_and_nothing_of_the_image_can_be_changed",
    "attacks::images::tasks_of_zips_and_images_see_nothing_of_each_other",
    "attacks::processes::a_daemon_ends_with_its_attempt",
    "attacks::processes::neither_the_runner_nor_init_can_be_signalled",
    "attacks::processes::only_its_own_processes_are_in_its_list",
    "attacks::kernel::what_is_the_hosts_to_do_a_task_cannot",
    "attacks::network::without_a_network_there_is_nothing_to_reach",
    "attacks::network::without_a_network_there_is_but_a_loopback",
    "attacks::network::who_has_the_hosts_network_is_told",
    "attacks::resources::the_disk_ends_where_its_limit_is_wherever_it_is_filled",
    "attacks::warm::who_was_in_the_slot_before_hears_nothing_of_a_worker",
    "warm::a_worker_takes_one_task_after_another",
    "warm::a_worker_without_a_network_finds_its_runner_all_the_same",
];

#[test]
fn a_runner_without_privileges_holds_against_them_too() {
    if !nix::unistd::geteuid().is_root() {
        // Then they all run without privileges anyway.
        return;
    }
    // Where nobody can reach the programs, there they cannot be run.
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (tests, spawner) = (folder.path().join("tests"), folder.path().join("spawner"));
    std::fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();
    std::fs::copy(crate::support::spawner().program, &spawner).unwrap();
    let home = folder.path().join("home");
    std::fs::create_dir(&home).unwrap();
    let nobody = 65_534;
    std::os::unix::fs::chown(&home, Some(nobody), Some(nobody)).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"])
        .arg(&tests)
        .arg("--exact")
        .args(ATTACKS)
        .current_dir(&home)
        .env("TMPDIR", &home)
        .env("WINDLASS_TEST_SPAWNER", &spawner)
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => return skip(&format!("setpriv: {error}")),
    };
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    if text.contains("NOT TESTED") {
        return skip(&text);
    }
    assert!(text.contains(&format!("{} passed", ATTACKS.len())), "{text}");
}
