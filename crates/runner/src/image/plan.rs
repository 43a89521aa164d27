//! What to start for a task in an image: a pure function, as for packages.

use std::time::Duration;

use windlass_model::code::Launch;
use windlass_model::image::{RunConfig, command};
use windlass_model::runner::{Assignment, RevisionSpec};
use windlass_model::time::Timestamp;

use crate::plan::{Files, Place, Plan, Program, check, environment, first_files, start};

/// Where programs are looked for if the image does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What to start for `task` in an image, or why it cannot be started, in words for the owner of the package. `files` are
/// those that the package brings beside the image, if any.
///
/// The environment is the image's, under what the package sets, under the contract with the worker.
pub(crate) fn plan(
    task: &Assignment,
    revision: &RevisionSpec,
    (config, files): (&RunConfig, &impl Files),
    place: &Place<'_>,
    now: Timestamp,
) -> Result<Plan, String> {
    let argv = argv(&revision.launch, config, files)?;
    let has_files = !files.some_names().is_empty();
    let pairs = config.env.iter().filter_map(|entry| entry.split_once('='));
    let own: Vec<_> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let of_image = |name: &str| own.iter().rev().find(|(own, _)| own == name).map(|(_, value)| value.clone());
    let path = of_image("PATH").unwrap_or_else(|| DEFAULT_PATH.to_owned());
    let place = Place { host_env: &own, path: &path, ..place.clone() };
    let mut env = environment(task, revision, &place, now)?;
    if !has_files && !revision.env_vars.contains_key("PATH") {
        env.insert("PATH".to_owned(), path.clone());
    }
    if let Some(home) = of_image("HOME").filter(|_| !revision.env_vars.contains_key("HOME")) {
        env.insert("HOME".to_owned(), home);
    }
    let program = argv[0].clone();
    let file = program.trim_start_matches("./");
    let plan = Plan {
        executable: files.is_executable(file).map(|_| file.to_owned()),
        program: Program::Image(program.clone()),
        argv,
        words: None,
        env,
        files: first_files(task, revision),
        timeout: Duration::from_secs(task.timeout_s.into()),
    };
    check(&plan)?;
    Ok(plan)
}

/// At least one word.
fn argv(launch: &Launch, config: &RunConfig, files: &impl Files) -> Result<Vec<String>, String> {
    if launch.command.trim().is_empty() && !launch.file_name.is_empty() {
        // A worker of the old style, run by an interpreter of the image's.
        let (_, argv, _) = start(launch, files)?;
        return Ok(argv);
    }
    command::argv(config, &launch.command)
}
