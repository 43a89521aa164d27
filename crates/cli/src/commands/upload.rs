//! `windlass upload`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use windlass_client::{OnProgress, Package, Uploads};
use windlass_model::code::{Launch, runtime_of};
use windlass_model::warm::Mode;
use windlass_model::wire::codes::UploadRequest;
use windlass_model::wire::lenient::{Number, Text};

use super::image_archive;
use super::limits::LimitFlags;
use crate::connection::Connection;
use crate::failure::{Doing as _, Failure};
use crate::output::{note, progress, when};
use crate::settings::units;

/// Makes a package of a folder, a zip or a single file, and uploads it: a new worker, or a new revision of the one
/// with this name. With options only, an existing worker keeps its files.
#[derive(Args, Debug)]
pub(crate) struct Upload {
    /// A folder, a zip, or a program of one file
    path: Option<PathBuf>,

    /// The worker's name [default: the name of the folder or file]
    #[arg(long)]
    name: Option<String>,

    #[command(flatten)]
    start: Start,

    /// A container image to run it in
    #[arg(long)]
    image: Option<String>,

    /// The same as a file or folder that is uploaded: an OCI layout, or what `docker save` writes
    #[arg(long, value_name = "FILE|FOLDER")]
    image_archive: Option<PathBuf>,

    /// A variable of its environment, kept secret; may be given many times, and all are replaced: `***` as a value keeps
    /// the one that is there
    #[arg(short, long = "env", value_name = "NAME=VALUE")]
    env: Vec<String>,

    /// Most tasks of it at once, on all runners together; 0: no limit
    #[arg(long, value_name = "N")]
    max_concurrency: Option<u32>,

    /// Runs after a failure, at most 10
    #[arg(long, value_name = "N")]
    retries: Option<u32>,

    /// Time between a failure and the next run, such as 30s
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    retries_delay: Option<std::time::Duration>,

    /// Priority of tasks that name none: 0, 1 or 2, which runs first
    #[arg(long, value_name = "0-2", value_parser = clap::value_parser!(u8).range(0..=2))]
    priority: Option<u8>,

    /// A file that its tasks get as their config
    #[arg(long, value_name = "FILE")]
    config_file: Option<PathBuf>,

    #[command(flatten)]
    keep: KeepFlags,

    #[command(flatten)]
    limits: LimitFlags,

    #[command(flatten)]
    connection: Connection,
}

/// For how long its warm workers are kept.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "For how long a warm worker is kept (0: the default)")]
struct KeepFlags {
    /// Workers that each runner keeps even if they have nothing to do
    #[arg(long, value_name = "N")]
    min_warm: Option<u32>,

    /// Tasks after which it is replaced
    #[arg(long, value_name = "N")]
    max_tasks: Option<u32>,

    /// Time after which it is replaced, such as 1h
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    max_age: Option<std::time::Duration>,

    /// Time after which it is ended that it has had nothing to do
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    idle_timeout: Option<std::time::Duration>,
}

impl KeepFlags {
    /// The request with what the flags say.
    fn add_to(&self, request: UploadRequest) -> UploadRequest {
        let seconds = |time: Option<std::time::Duration>| number(time.map(|time| time.as_secs_f64().ceil()));
        UploadRequest {
            min_warm: number(self.min_warm),
            max_tasks: number(self.max_tasks),
            max_age: seconds(self.max_age),
            idle_timeout: seconds(self.idle_timeout),
            ..request
        }
    }
}

/// How a worker is started.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Start {
    /// Start it by this command line, in the unpacked package
    #[arg(long, value_name = "LINE")]
    command: Option<String>,

    /// Start --file by this interpreter: sh, python, node, ruby, php, perl, java, mono, go or binary; or call --handler
    /// by it: python3, node, or provided, where the package brings a program `bootstrap`
    #[arg(long)]
    runtime: Option<String>,

    /// The file of the package that --runtime starts
    #[arg(long)]
    file: Option<String>,

    /// Keep its process for many tasks, which it takes as an AWS Lambda function does: so the zip of one can be used as
    /// it is
    #[arg(long, visible_alias = "lambda")]
    warm: bool,

    /// What is called for each task, such as app.handler; implies --warm
    #[arg(long, value_name = "FILE.FUNCTION")]
    handler: Option<String>,
}

impl Start {
    fn is_warm(&self) -> bool {
        self.warm || self.handler.is_some()
    }

    /// The same as a package keeps it; a program of one file, `single`, says how it is started as far as nobody else
    /// does. Nothing if nothing says.
    pub(super) fn launch(&self, single: Option<&str>) -> Result<Launch, Failure> {
        let (mut runtime, mut file) = (self.runtime.clone(), self.file.clone());
        if self.is_warm() {
            let runtime = runtime.or_else(|| single.map(|single| runtime_of(single).to_owned()));
            return Ok(Launch {
                mode: Mode::Warm,
                handler: self.handler.clone().unwrap_or_default(),
                runtime: runtime.unwrap_or_default(),
                file_name: file.unwrap_or_default(),
                command: self.command.clone().unwrap_or_default(),
                ..Launch::default()
            });
        }
        if let (None, Some(single)) = (&self.command, single) {
            runtime = runtime.or_else(|| Some(runtime_of(single).to_owned()));
            file = file.or_else(|| Some(single.to_owned()));
        }
        match (&runtime, &file) {
            (Some(runtime), None) if self.command.is_none() => {
                let problem = format_args!("--runtime {runtime} needs the --file that it is to start");
                Err(Failure::usage(problem))
            }
            (None, Some(file)) => {
                Err(Failure::usage(format_args!("--file {file} needs the --runtime that is to start it")))
            }
            _ => Ok(Launch {
                runtime: runtime.unwrap_or_default(),
                file_name: file.unwrap_or_default(),
                command: self.command.clone().unwrap_or_default(),
                ..Launch::default()
            }),
        }
    }
}

impl Upload {
    pub(crate) async fn run(self) -> Result<u8, Failure> {
        let output = self.connection.output();
        let client = self.connection.client()?;
        let (request, files) = self.request()?;
        let name = request.name.get("name").ok().flatten().unwrap_or_default().to_owned();
        let sizes = [&files.zip, &files.image_archive].into_iter().flatten().map(|file| file.len() as u64);
        let bar = progress::bytes(sizes.sum());
        let moving = bar.clone();
        let on_progress: OnProgress =
            Box::new(move |sent| moving.set_position(sent.min(moving.length().unwrap_or(0))));
        let uploaded = client.upload_with(&request, files, Some(on_progress)).await;
        bar.finish_and_clear();
        let code = uploaded.doing(format_args!("upload {name}"))?;
        if output.json {
            output.json(&code)?;
        } else {
            let size = when::size(code.code_size + code.image_size);
            output.line(&format!("uploaded {} revision {} ({size}, id {})", code.name, code.rev, code.id))?;
            if output.terminal {
                note(format_args!("  next: windlass queue {} --wait", code.name));
            }
        }
        Ok(0)
    }

    fn request(&self) -> Result<(UploadRequest, Uploads), Failure> {
        let mut found = Found::default();
        if let Some(path) = &self.path {
            found = Found::at(path).doing(format_args!("package {}", path.display()))?;
        }
        let image_archive = self.image_archive.as_ref();
        let stem = || Some(image_archive?.file_stem()?.to_string_lossy().into_owned());
        let name = self.name.clone().or(found.name).or_else(|| self.image.as_deref().map(image_name));
        let name = name.or_else(stem);
        let name = name.ok_or_else(|| {
            Failure::usage("upload what? name a folder, a zip, a file, --image or --image-archive")
        })?;
        let has_image = self.image.is_some() || image_archive.is_some();
        let single = found.single.as_deref().filter(|_| !has_image);
        let launch = Launch { image: self.image.clone().unwrap_or_default(), ..self.start.launch(single)? };
        if self.path.is_some() && launch == Launch::default() && !has_image {
            return Err(Failure::usage("how is it started? add --command 'LINE', or --runtime R --file F"));
        }
        let config = self
            .config_file
            .as_ref()
            .map(|path| std::fs::read(path).doing(format_args!("read {}", path.display())).map(Into::into));
        let request = UploadRequest {
            name: name.into(),
            runtime: given(launch.runtime),
            file_name: given(launch.file_name),
            command: given(launch.command),
            image: given(launch.image),
            stack: Text::Unset,
            mode: if launch.mode == Mode::Warm { Mode::Warm.as_str().into() } else { Text::Unset },
            handler: given(launch.handler),
            config: config.transpose()?,
            max_concurrency: number(self.max_concurrency),
            retries: number(self.retries),
            retries_delay: number(self.retries_delay.map(|d| d.as_secs_f64())),
            default_priority: number(self.priority),
            env_vars: if self.env.is_empty() { None } else { Some(variables(&self.env)?) },
            ..UploadRequest::default()
        };
        let image_archive = image_archive
            .map(|path| image_archive::read(path).doing(format_args!("read {}", path.display())))
            .transpose()?;
        Ok((self.limits.add_to(self.keep.add_to(request)), Uploads { zip: found.zip, image_archive }))
    }
}

/// What a path holds, and what follows from it.
#[derive(Default)]
struct Found {
    zip: Option<Bytes>,
    name: Option<String>,
    /// Its only file, if it was made of one.
    single: Option<String>,
}

impl Found {
    fn at(path: &Path) -> Result<Self, Failure> {
        let full = std::fs::canonicalize(path)?;
        let stem = |path: &Path| path.file_stem().map(|s| s.to_string_lossy().into_owned());
        if full.is_dir() {
            let package = Package::folder(path)?;
            if !package.left_out().is_empty() {
                note(format_args!("left out: {}", package.left_out().join(", ")));
            }
            let name = full.file_name().map(|n| n.to_string_lossy().into_owned());
            return Ok(Self { zip: Some(package.zip()?), name, ..Self::default() });
        }
        let bytes = std::fs::read(path)?;
        if bytes.starts_with(b"PK\x03\x04") && full.extension().is_none_or(|e| e != "jar") {
            return Ok(Self { zip: Some(bytes.into()), name: stem(&full), ..Self::default() });
        }
        let name = full.file_name().and_then(|n| n.to_str()).unwrap_or("worker").to_owned();
        Ok(Self {
            zip: Some(Package::new().file(name.clone(), path).zip()?),
            name: stem(&full),
            single: Some(name),
        })
    }
}

/// `user/image:tag` is called `user/image`.
fn image_name(image: &str) -> String {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name.to_owned(),
        _ => image.to_owned(),
    }
}

pub(super) fn variables(pairs: &[String]) -> Result<BTreeMap<String, Text>, Failure> {
    let pair = |pair: &String| match pair.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.into())),
        _ => Err(Failure::usage(format_args!("--env {pair}: must be NAME=VALUE"))),
    };
    pairs.iter().map(pair).collect()
}

/// The field of a request, if there is a value for it.
pub(super) fn text(value: Option<String>) -> Text {
    value.map_or(Text::Unset, Text::Is)
}

fn given(value: String) -> Text {
    if value.is_empty() { Text::Unset } else { Text::Is(value) }
}

/// The field of a request, if there is a value for it.
pub(super) fn number(value: Option<impl Into<f64>>) -> Number {
    value.map_or(Number::Unset, |n| Number::Is(n.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_called_without_its_tag() {
        assert_eq!(image_name("user/image:1.2"), "user/image");
        assert_eq!(image_name("host:5000/image"), "host:5000/image");
    }

    #[test]
    fn a_program_of_one_file_says_how_it_is_started() {
        let dir = tempfile::tempdir().unwrap();
        for (name, runtime) in [("hello.py", "python"), ("run.sh", "sh"), ("tool", "binary")] {
            std::fs::write(dir.path().join(name), "x").unwrap();
            let found = Found::at(&dir.path().join(name)).unwrap();
            assert_eq!(found.name.as_deref(), name.split('.').next());
            let launch = Start::default().launch(found.single.as_deref()).unwrap();
            assert_eq!((launch.runtime.as_str(), launch.file_name.as_str()), (runtime, name));
        }
    }
}
