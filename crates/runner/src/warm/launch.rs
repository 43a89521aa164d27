//! What to start for a warm worker: a pure function of its revision and the files of its package.

use std::time::Duration;

use windlass_model::id::ProjectId;
use windlass_model::runner::RevisionSpec;
use windlass_model::warm::Runtime;

use crate::plan::{self, CONFIG_FILE, Files, Place, Plan, Program};

/// Calls a handler in Python: by the package's own client or the host's, if there is one.
pub(super) const PYTHON: &str = include_str!("client.py");
/// The same in Node.
const NODE: &str = include_str!("client.cjs");

/// The program that a package of the runtime `provided` brings, as AWS has it.
const BOOTSTRAP: &str = "bootstrap";

/// What to start for the workers of a revision, which reach their runner at `runtime_api`; or why it cannot be started,
/// in words for the owner of the package.
pub(crate) fn plan(
    project: ProjectId,
    revision: &RevisionSpec,
    files: &impl Files,
    place: &Place<'_>,
    runtime_api: &str,
) -> Result<Plan, String> {
    let (program, argv, executable) = start(revision, files)?;
    let mut env = plan::surroundings(project, None, revision, place)?;
    let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
    set("AWS_LAMBDA_RUNTIME_API", runtime_api.to_owned());
    set("_HANDLER", revision.launch.handler.clone());
    set("LAMBDA_TASK_ROOT", place.task_dir.to_owned());
    set("AWS_LAMBDA_FUNCTION_NAME", revision.code_name.clone());
    set("AWS_LAMBDA_FUNCTION_VERSION", revision.rev.to_string());
    set("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", (revision.limits.memory_bytes >> 20).to_string());
    set("AWS_LAMBDA_LOG_GROUP_NAME", format!("windlass/{}", revision.code_name));
    set("AWS_LAMBDA_LOG_STREAM_NAME", revision.rev.to_string());
    let config = revision.config.as_ref().map(|config| (CONFIG_FILE, config.clone().into_bytes()));
    let plan = Plan {
        program,
        argv,
        words: None,
        env,
        files: config.into_iter().collect(),
        executable,
        timeout: Duration::MAX,
    };
    plan::check(&plan)?;
    Ok(plan)
}

fn start(revision: &RevisionSpec, files: &impl Files) -> Result<plan::Start, String> {
    let launch = &revision.launch;
    if !launch.command.trim().is_empty() {
        return plan::start(launch, files);
    }
    let script = |program: &str, words: &[&str]| {
        let argv = [&[program], words, &[launch.handler.as_str()]].concat();
        (Program::Host(program.to_owned()), argv.into_iter().map(str::to_owned).collect(), None)
    };
    match Runtime::named(&launch.runtime) {
        // Unbuffered, so that what it prints is there when it answers.
        Some(Runtime::Python) => Ok(script("python3", &["-u", "-c", PYTHON])),
        Some(Runtime::Node) => Ok(script("node", &["-e", NODE])),
        Some(Runtime::Provided) if files.is_executable(BOOTSTRAP).is_some() => {
            let path = format!("./{BOOTSTRAP}");
            Ok((Program::Package(path.clone()), vec![path], Some(BOOTSTRAP.to_owned())))
        }
        Some(Runtime::Provided) => {
            let names = files.some_names().join(", ");
            Err(format!(
                "the package has no file `{BOOTSTRAP}`, which the runtime provided starts; it has {names}"
            ))
        }
        None => Err(format!("unknown runtime `{}` for a warm worker", launch.runtime)),
    }
}
