//! The commands and their arguments.

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::commands;
use crate::failure::Failure;

/// What every page of help ends with.
const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 it failed, and standard error says why and how to fix it; 2 wrong usage.
`queue --wait`: 0 complete, 1 error, 3 timeout, 4 cancelled, 5 killed, 130 interrupted. `run`: the worker's own.";

/// A self-hosted task platform: upload a worker, queue tasks for it, and each runs on whichever machine has room.
#[derive(Parser, Debug)]
#[command(name = "windlass", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Start a server and a runner in one process
    Up(commands::up::Up),
    /// Start a server without a runner
    Serve(commands::serve::Serve),
    /// Start a runner that takes tasks from a server
    Runner(commands::runner::Runner),
    /// Show what Windlass is for: 472 forecasts, one task each
    Demo(commands::demo::Demo),
    /// Upload a worker: a folder, a zip, a file or an image
    Upload(commands::upload::Upload),
    /// Queue tasks
    Queue(commands::queue::Queue),
    /// Run a worker here, once, as a runner would
    Run(commands::run::Run),
    /// List tasks
    Tasks(commands::tasks::Tasks),
    /// Show a task: facts, attempts, and why it is not running
    Task(commands::task::Task),
    /// Show the log of a task
    Logs(commands::logs::Logs),
    /// Cancel tasks
    Cancel(commands::cancel::Cancel),
    /// Queue tasks again that have ended
    Retry(commands::retry::Retry),
    /// List and manage uploaded workers
    Codes(commands::codes::Codes),
    /// Create and manage schedules
    Schedule(commands::schedule::Schedule),
    /// Show the compute time that tasks took
    Usage(commands::usage::Usage),
    /// List and manage clusters of runners
    Clusters(commands::clusters::Clusters),
    /// List and drain runners
    Runners(commands::runners::Runners),
    /// Create, list and revoke tokens
    Token(commands::token::Token),
    /// Create and list projects
    Project(commands::project::Project),
    /// Bring the tables in PostgreSQL up to date
    Migrate(commands::migrate::Migrate),
    /// Move everything from the embedded store to PostgreSQL
    MigrateStore(commands::migrate_store::MigrateStore),
    /// Measure this machine, beside its bare limits
    Bench(commands::bench::Bench),
    /// The bare handler that a benchmark is compared to
    #[command(hide = true)]
    BenchParser,
    /// Say what this host can do, and what to change
    Doctor(commands::doctor::Doctor),
    /// Show every setting, what it is and where it was set
    Config(commands::config::Config),
    /// Print a completion script for a shell
    Completions(commands::completions::Completions),
}

/// Reads the command line and does what it says. Returns the exit code.
pub(crate) fn run() -> Result<u8, Failure> {
    match Cli::parse().command {
        Command::Up(command) => command.run(),
        Command::Serve(command) => command.run(),
        Command::Runner(command) => command.run(),
        Command::Run(command) => command.run(),
        Command::Doctor(command) => calling(command.run()),
        Command::Config(command) => command.run(),
        Command::Completions(command) => command.run(&mut Cli::command()),
        Command::Demo(command) => calling(command.run()),
        Command::Migrate(command) => command.run(),
        Command::MigrateStore(command) => command.run(),
        Command::Bench(command) => spread(command.run()),
        Command::BenchParser => spread(commands::bench::serve_parser()),
        Command::Upload(command) => calling(command.run()),
        Command::Queue(command) => calling(command.run()),
        Command::Tasks(command) => calling(command.run()),
        Command::Task(command) => calling(command.run()),
        Command::Logs(command) => calling(command.run()),
        Command::Cancel(command) => calling(command.run()),
        Command::Retry(command) => calling(command.run()),
        Command::Codes(command) => calling(command.run()),
        Command::Schedule(command) => calling(command.run()),
        Command::Usage(command) => calling(command.run()),
        Command::Clusters(command) => calling(command.run()),
        Command::Runners(command) => calling(command.run()),
        Command::Token(command) => calling(command.run()),
        Command::Project(command) => calling(command.run()),
    }
}

/// Runs a command that calls a server: one thread is enough, and starts fastest.
fn calling(command: impl Future<Output = Result<u8, Failure>>) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(command)
}

/// Runs a command that works on every processor.
fn spread(command: impl Future<Output = Result<u8, Failure>>) -> Result<u8, Failure> {
    tokio::runtime::Runtime::new()?.block_on(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_arguments_contradict_each_other() {
        Cli::command().debug_assert();
    }

    /// Every command's help, as `docs/cli.md` shows it.
    fn reference() -> String {
        let mut root = Cli::command().term_width(100);
        root.build();
        let mut pages = Vec::new();
        collect(&mut root, "windlass", &mut pages);
        pages.join("\n")
    }

    fn collect(command: &mut clap::Command, path: &str, pages: &mut Vec<String>) {
        let help = command.render_help().to_string();
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        pages.push(format!("### `{path}`\n\n```text\n{}\n```\n", help.join("\n").trim_end()));
        let names: Vec<String> = command
            .get_subcommands()
            .filter(|c| !c.is_hide_set() && c.get_name() != "help")
            .map(|c| c.get_name().to_owned())
            .collect();
        for name in names {
            if let Some(inner) = command.find_subcommand_mut(&name) {
                collect(inner, &format!("{path} {name}"), pages);
            }
        }
    }

    /// `UPDATE_DOCS=1 cargo test -p windlass` writes the page anew.
    #[test]
    fn the_page_about_the_command_line_is_up_to_date() {
        const MARK: &str = "<!-- From here on made from the program by a test. -->\n\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (written, made) = page.split_once(MARK).unwrap();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, format!("{written}{MARK}{}", reference())).unwrap();
        } else {
            assert!(
                made == reference(),
                "docs/cli.md is not what the program says; run the test with UPDATE_DOCS=1"
            );
        }
        assert!(written.contains(EXIT_CODES), "docs/cli.md must show the exit codes as the program does");
    }
}
