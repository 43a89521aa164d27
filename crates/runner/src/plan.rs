//! What to start for a task: a pure function of the task, its revision and the files of its package.

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_model::code::Launch;
use windlass_model::id::ProjectId;
use windlass_model::runner::{Assignment, RevisionSpec};
use windlass_model::time::Timestamp;

/// File in the task's directory that holds the payload.
pub const PAYLOAD_FILE: &str = "__payload__";
/// File in the task's directory that holds the package's configuration.
pub const CONFIG_FILE: &str = "__config__";
/// File in the task's directory that the worker may write its result to.
pub const RESULT_FILE: &str = "__result__";

/// Runtimes that a package may name.
pub const RUNTIMES: [&str; 10] =
    ["sh", "ruby", "python", "php", "node", "perl", "java", "mono", "go", "binary"];

/// Everything needed to start a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What runs.
    pub program: Program,
    /// Its arguments, its own name first.
    pub argv: Vec<String>,
    /// What the shell would come to run, if that can be told: the name or path of a program, which is not in the package,
    /// and its arguments. Where the host has it as a binary, starting it at once means the same for half the cost.
    pub words: Option<Vec<String>>,
    /// Its environment, all of it.
    pub env: BTreeMap<String, String>,
    /// Files to write into the task's directory.
    pub files: Vec<(&'static str, Vec<u8>)>,
    /// A file of the package to be made executable.
    pub executable: Option<String>,
    /// Longest time it may run.
    pub timeout: Duration,
}

/// A program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// One of the host's.
    Host(String),
    /// A file of the package.
    Package(String),
    /// One of the image's, by its path or by a name that is looked for in its environment's `PATH`.
    Image(String),
}

/// What is known of the place a task runs in.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// The task's directory, without a trailing slash.
    pub task_dir: &'a str,
    /// Where the host's programs are, joined by colons.
    pub path: &'a str,
    /// The host's variables that tasks get.
    pub host_env: &'a [(String, String)],
    /// Where the worker reaches the API.
    pub api: &'a ApiAddress,
}

/// Where the API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiAddress {
    /// `http` or `https`.
    pub scheme: String,
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// File of certificates to believe beside those that the system trusts.
    pub ca: Option<String>,
}

impl ApiAddress {
    /// The address in `url`; `None` if it has none.
    pub fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next().filter(|a| !a.is_empty())?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            _ => (authority, if scheme == "https" { 443 } else { 80 }),
        };
        Some(Self { scheme: scheme.to_owned(), host: host.to_owned(), port, ca: None })
    }
}

/// The files of an unpacked package, as far as a plan needs to know them.
pub trait Files {
    /// Whether there is a file `name`, and whether it is executable.
    fn is_executable(&self, name: &str) -> Option<bool>;
    /// The names of some files, for a message.
    fn some_names(&self) -> Vec<String>;
}

/// What to start for `task`, or why it cannot be started, in words for the owner of the package.
pub fn plan(
    task: &Assignment,
    revision: &RevisionSpec,
    files: &impl Files,
    place: &Place<'_>,
    now: Timestamp,
) -> Result<Plan, String> {
    let (program, mut argv, executable) = start(&revision.launch, files)?;
    if revision.launch.command.is_empty() {
        argv.extend(arguments(task, revision, place));
    }
    let plan = Plan {
        program,
        argv,
        words: words(revision, files, place),
        env: environment(task, revision, place, now)?,
        files: first_files(task, revision),
        executable,
        timeout: Duration::from_secs(task.timeout_s.into()),
    };
    check(&plan)?;
    Ok(plan)
}

/// Whether the plan can be told to the kernel.
pub(crate) fn check(plan: &Plan) -> Result<(), String> {
    if let Some(argument) = plan.argv.iter().find(|argument| argument.contains('\0')) {
        return Err(format!("an argument holds a zero byte: {argument:?}"));
    }
    if let Some((name, _)) = plan.env.iter().find(|(_, value)| value.contains('\0')) {
        return Err(format!("the environment variable {name} holds a zero byte"));
    }
    Ok(())
}

/// The files that every task finds in its directory.
pub(crate) fn first_files(task: &Assignment, revision: &RevisionSpec) -> Vec<(&'static str, Vec<u8>)> {
    let config = revision.config.as_ref().map(|config| (CONFIG_FILE, config.clone().into_bytes()));
    [Some((PAYLOAD_FILE, task.payload.0.clone())), config].into_iter().flatten().collect()
}

/// The program, its first arguments, and the file that must be executable.
pub(crate) type Start = (Program, Vec<String>, Option<String>);

/// What a process for a task begins with.
pub(crate) fn start(launch: &Launch, files: &impl Files) -> Result<Start, String> {
    if !launch.command.trim().is_empty() {
        let script = script(launch.command.trim());
        return Ok((Program::Host("sh".to_owned()), texts(&["sh", "-c", &script]), None));
    }
    let name = launch.file_name.trim_start_matches("./");
    if name.is_empty() {
        return Err(if launch.image.is_empty() {
            "the package says nothing to run: give it a command, or a runtime and a file_name".to_owned()
        } else {
            format!(
                "this runner cannot run container images, such as {}: upload a zip with a command",
                launch.image
            )
        });
    }
    let Some(is_executable) = files.is_executable(name) else {
        let names = files.some_names();
        let names = if names.is_empty() { "no files".to_owned() } else { names.join(", ") };
        return Err(format!("the package has no file `{}`; it has {names}", launch.file_name));
    };
    let interpreted = |words: &[&str]| {
        let argv = words.iter().copied().chain([name]).map(str::to_owned).collect();
        Ok((Program::Host(words[0].to_owned()), argv, None))
    };
    match launch.runtime.as_str() {
        "sh" | "ruby" | "php" | "node" | "perl" | "mono" => interpreted(&[&launch.runtime]),
        // What PHP's client calls Node.
        "javascript" => interpreted(&["node"]),
        // Unbuffered, so that the log is live.
        "python" => interpreted(&["python", "-u"]),
        "java" => interpreted(&["java", "-jar"]),
        "go" => interpreted(&["go", "run"]),
        runtime if runtime == "binary" || is_executable => {
            let path = format!("./{name}");
            Ok((Program::Package(path.clone()), vec![path], Some(name.to_owned())))
        }
        "" => Err(format!("`{name}` is not executable, and the package names no runtime to run it with")),
        runtime => Err(format!("unknown runtime `{runtime}`; there are {}", RUNTIMES.join(", "))),
    }
}

/// The script for a command line. The shell is replaced by a simple command, so that it is no process more, and
/// signals reach the worker.
fn script(command: &str) -> String {
    let first = command.split_whitespace().next().unwrap_or_default();
    let is_simple = first.chars().all(|c| c.is_ascii_alphanumeric() || "._-/+".contains(c))
        && !command.contains([';', '&', '|', '\n', '(', ')', '`', '{', '}', '!']);
    let is_word_of_the_shell = matches!(
        first,
        "cd" | "if" | "for" | "while" | "until" | "case" | "exec" | "set" | "export" | "." | "trap"
    );
    if is_simple && !is_word_of_the_shell { format!("exec {command}") } else { command.to_owned() }
}

/// The words of a command line that the shell would only split, look up on the host and run: a program by its name, or
/// by its path in a folder where names are looked up.
///
/// Everything else is left to it: what it expands, a program of the package's, which may be a script that only a shell
/// can run, and a package that decides itself where programs are looked for.
fn words(revision: &RevisionSpec, files: &impl Files, place: &Place<'_>) -> Option<Vec<String>> {
    let command = revision.launch.command.trim();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " \t._-/+:=,@%".contains(c);
    if !command.chars().all(is_plain) || !script(command).starts_with("exec ") {
        return None;
    }
    let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
    let name =
        words.first().filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/'))?;
    let mut folders = place.path.split(':');
    let is_of_host = name.rsplit_once('/').is_none_or(|(folder, _)| folders.any(|known| known == folder))
        && place.path.split(':').all(|folder| folder.starts_with('/'))
        && files.is_executable(name).is_none()
        && files.is_executable(&format!("bin/{name}")).is_none()
        && !["PATH", "PWD"].iter().any(|name| revision.env_vars.contains_key(*name));
    // That it begins with `exec` may be the package's own doing: a word of the shell, no program.
    (is_of_host && name != "exec").then_some(words)
}

/// The arguments of an old-style package. `-d` is the first and ends with a slash: there are workers that rely on it.
fn arguments(task: &Assignment, revision: &RevisionSpec, place: &Place<'_>) -> Vec<String> {
    let dir = place.task_dir;
    let mut arguments =
        texts(&["-d", &format!("{dir}/"), "-e", "production", "-payload", &format!("{dir}/{PAYLOAD_FILE}")]);
    if revision.config.is_some() {
        arguments.extend(texts(&["-config", &format!("{dir}/{CONFIG_FILE}")]));
    }
    arguments.extend(texts(&["-id", &task.task.to_string()]));
    if let Some(schedule) = task.schedule {
        arguments.extend(texts(&["-schedule_id", &schedule.to_string()]));
    }
    arguments
}

/// The whole environment of a process for one task.
pub(crate) fn environment(
    task: &Assignment,
    revision: &RevisionSpec,
    place: &Place<'_>,
    now: Timestamp,
) -> Result<BTreeMap<String, String>, String> {
    let dir = place.task_dir;
    let mut env = surroundings(task.project, Some(&task.token), revision, place)?;
    let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
    set("TASK_ID", task.task.to_string());
    set("PAYLOAD_FILE", format!("{dir}/{PAYLOAD_FILE}"));
    set("RESULT_FILE", format!("{dir}/{RESULT_FILE}"));
    set("ATTEMPT", task.attempt.to_string());
    set("DEADLINE", (now + Duration::from_secs(task.timeout_s.into())).to_string());
    if let Some(schedule) = task.schedule {
        set("SCHEDULE_ID", schedule.to_string());
    }
    if let Some(trace) = task.trace {
        set("TRACEPARENT", trace.to_string());
    }
    Ok(env)
}

/// The environment as far as it is the same for all tasks of a revision: what the package sets wins over what is there
/// for convenience, and the contract wins over both.
pub(crate) fn surroundings(
    project: ProjectId,
    token: Option<&str>,
    revision: &RevisionSpec,
    place: &Place<'_>,
) -> Result<BTreeMap<String, String>, String> {
    let dir = place.task_dir;
    let mut env: BTreeMap<String, String> = place.host_env.iter().cloned().collect();
    let mut set = |name: &str, value: String| env.insert(name.to_owned(), value);
    set("PATH", format!(".:./bin:{}", place.path));
    set("HOME", dir.to_owned());
    for prefix in ["IRON", "WINDLASS"] {
        if let Some(token) = token {
            set(&format!("{prefix}_TOKEN"), token.to_owned());
        }
        set(&format!("{prefix}_PROJECT_ID"), project.to_string());
        set(&format!("{prefix}_HOST"), place.api.host.clone());
        set(&format!("{prefix}_PORT"), place.api.port.to_string());
        set(&format!("{prefix}_SCHEME"), place.api.scheme.clone());
        set(&format!("{prefix}_PROTOCOL"), place.api.scheme.clone());
        set(&format!("{prefix}_API_VERSION"), "2".to_owned());
        if let Some(ca) = &place.api.ca {
            set(&format!("{prefix}_CA"), ca.clone());
        }
    }
    for (name, value) in &revision.env_vars {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(format!("the package's env_vars have an impossible name: {name:?}"));
        }
        set(name, value.clone());
    }
    set("TASK_DIR", format!("{dir}/"));
    set("CODE_NAME", revision.code_name.clone());
    set("CODE_REV", revision.rev.to_string());
    if revision.config.is_some() {
        set("CONFIG_FILE", format!("{dir}/{CONFIG_FILE}"));
    }
    Ok(env)
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[cfg(test)]
mod tests;
