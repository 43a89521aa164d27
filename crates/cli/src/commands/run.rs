//! `windlass run`.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use tokio::sync::watch;
use windlass_model::code::{Kind, Launch};
use windlass_model::exit::Exit;
use windlass_model::log::Stream;
use windlass_runner::{LocalRun, SpawnerCommand, run_local};

use super::limits::LimitFlags;
use super::queue::payload;
use super::serve::block_on;
use super::upload::{Start, variables};
use crate::connection;
use crate::failure::{Doing as _, Failure};
use crate::host::stop;
use crate::output::{Output, note, when};
use crate::settings::{SettingFlags, Settings, units};

/// Runs a worker here, once, as a runner would: the same sandbox, variables, files and capture, without a server. Its
/// output goes to where it would go without us, and what a handler returns follows it; the exit code is its own (128 and the
/// signal's number for a signal, 124 if it ran too long). The worker reaches the API that the other commands would call, with their token.
#[derive(Args, Debug)]
pub(crate) struct Run {
    /// A folder, a zip, or a program of one file
    #[arg(required_unless_present = "image_archive")]
    path: Option<PathBuf>,

    /// A container image to run it in: an OCI layout, or what `docker save` writes
    #[arg(long, value_name = "FILE|FOLDER")]
    image_archive: Option<PathBuf>,

    #[command(flatten)]
    start: Start,

    /// What it gets: text, @FILE, or - for standard input
    #[arg(short, long, value_name = "TEXT|@FILE|-", default_value = "", allow_hyphen_values = true)]
    payload: String,

    /// A variable of its environment; may be given many times
    #[arg(short, long = "env", value_name = "NAME=VALUE")]
    env: Vec<String>,

    /// A file that it gets as its config
    #[arg(long, value_name = "FILE")]
    config_file: Option<PathBuf>,

    /// Longest time it may run
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = units::duration)]
    timeout: std::time::Duration,

    #[command(flatten)]
    limits: LimitFlags,

    /// Print exit, result and usage as JSON when it has ended; its output goes to standard error
    #[arg(long)]
    json: bool,
}

impl Run {
    pub(crate) fn run(self) -> Result<u8, Failure> {
        let named = self.path.as_ref().or(self.image_archive.as_ref()).cloned().unwrap_or_default();
        let doing = format!("run {}", named.display());
        let output = Output::new(self.json);
        let (package, single, _holder) = match &self.path {
            Some(path) => {
                package(path).map(|(path, single, holder)| (Some(path), single, holder)).doing(&doing)?
            }
            None => (None, None, None),
        };
        let single = single.filter(|_| self.image_archive.is_none());
        let launch = self.start.launch(single.as_deref())?;
        if launch == Launch::default() && self.image_archive.is_none() {
            return Err(Failure::usage("how is it started? add --command 'LINE', or --runtime R --file F"));
        }
        let config = self
            .config_file
            .as_ref()
            .map(|path| std::fs::read_to_string(path).doing(format_args!("read {}", path.display())));
        let texts = variables(&self.env)?.into_iter();
        let settings = Settings::new(&SettingFlags::default().layers(|name| std::env::var(name).ok(), &[])?)?;
        let (limits, network) = self.limits.resolve(&settings.limits)?;
        let run = LocalRun {
            package,
            image: self.image_archive,
            limits,
            network,
            code_name: named
                .file_stem()
                .map_or_else(|| "worker".into(), |s| s.to_string_lossy().into_owned()),
            launch,
            payload: payload(&self.payload)?.0,
            config: config.transpose()?,
            env_vars: texts
                .filter_map(|(name, value)| Some((name, value.get("").ok()??.to_owned())))
                .collect(),
            timeout: self.timeout,
            api: connection::api(),
            sandbox: settings.runner.sandbox,
            spawner: SpawnerCommand::own().doing("find the windlass program")?,
        };
        let is_warm = run.launch.kind() == Kind::Warm;
        let end = block_on_end(run, output.json).doing(&doing)?;
        for line in &end.notes {
            note(line);
        }
        let code = exit_code(&end.exit);
        if output.json {
            let result = end.result.as_deref().map(String::from_utf8_lossy);
            let json = serde_json::json!({ "exit": end.exit, "exit_code": code, "usage": end.usage, "result": result });
            output.json(&json)?;
        } else {
            if is_warm && let Some(result) = &end.result {
                // What a handler returns is all that there is to see of most.
                output.bytes(&[result.as_slice(), b"\n"].concat())?;
            }
            let ms = std::time::Duration::from_millis(end.usage.wall_ms);
            let size = end
                .result
                .as_ref()
                .map_or_else(String::new, |r| format!(", result {}", when::size(r.len() as u64)));
            note(format_args!("{} after {}{size}", describe(&end.exit), when::measured(ms)));
        }
        Ok(code)
    }
}

fn block_on_end(run: LocalRun, json: bool) -> Result<windlass_runner::LocalEnd, Failure> {
    let mut end = None;
    block_on(async {
        let stop = stop::on_signal()?;
        let (cancel, cancelled) = watch::channel(false);
        tokio::spawn(async move {
            stop.cancelled().await;
            // Nobody listens any more once it has ended.
            let _ = cancel.send(true);
        });
        end = Some(run_local(run, cancelled, move |stream, bytes| show(stream, bytes, json)).await?);
        Ok(0)
    })?;
    Ok(end.expect("it is set by whoever returned"))
}

fn show(stream: Stream, bytes: &[u8], json: bool) {
    // Whoever stopped reading is no reason to end the worker.
    let _ = match stream {
        Stream::Stdout if !json => {
            std::io::stdout().write_all(bytes).and_then(|()| std::io::stdout().flush())
        }
        _ => std::io::stderr().write_all(bytes),
    };
}

/// The package as the runner takes it, the name of its only file if it was made of one, and what keeps it there.
fn package(path: &Path) -> Result<(PathBuf, Option<String>, Option<tempfile::TempDir>), Failure> {
    if path.is_dir() || std::fs::read(path)?.starts_with(b"PK\x03\x04") {
        return Ok((path.to_owned(), None, None));
    }
    let folder = tempfile::tempdir()?;
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("worker").to_owned();
    std::fs::copy(path, folder.path().join(&name))?;
    Ok((folder.path().to_owned(), Some(name), Some(folder)))
}

fn describe(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Signal(signal) => format!("ended by signal {signal}"),
        Exit::Error { msg, .. } => format!("failed: {msg}"),
        Exit::TimedOut => "ran too long".to_owned(),
        Exit::Cancelled => "cancelled".to_owned(),
        Exit::OutOfMemory { limit_bytes, .. } => {
            format!("out of memory (limit {})", when::size(*limit_bytes))
        }
        Exit::NotStarted(why) => format!("not started: {why}"),
        Exit::Unable(why) => format!("could not be run here: {why}"),
    }
}

fn exit_code(exit: &Exit) -> u8 {
    match exit {
        Exit::Code(code) => u8::try_from(*code).unwrap_or(1),
        Exit::Signal(signal) => u8::try_from(128 + signal).unwrap_or(1),
        Exit::Error { .. } => 1,
        Exit::TimedOut => 124,
        Exit::Cancelled => 130,
        Exit::OutOfMemory { .. } => 137,
        Exit::NotStarted(_) | Exit::Unable(_) => 127,
    }
}
