//! Code packages on the wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::lenient::{Number, Text};
use super::limits::{LimitsView, bytes, count, cpus, network};
use super::tasks::{MAX_NAME_BYTES, check_size, priority, retries, retries_delay_ms};
use super::warm::{self, KeepView};
use super::{BadField, Limits};
use crate::code::{Launch, Revision};
use crate::id::{CodeId, ProjectId, RevisionId};
use crate::limits::{Changes, Limits as Limit, Policy};
use crate::secret::{Given, MASK, Sealed};
use crate::task::Priority;
use crate::time::Wire;
use crate::warm::{KeepChanges, Mode};

/// Part `data` of an upload, or its whole body where there is no zip.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default, expecting = "an object")]
pub struct UploadRequest {
    /// Unique in the project; an existing one gets a new revision.
    #[schema(value_type = String)]
    #[serde(skip_serializing_if = "Text::is_unset")]
    pub name: Text,
    /// Old-style interpreter.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Text::is_unset")]
    pub runtime: Text,
    /// File that the interpreter runs.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Text::is_unset")]
    pub file_name: Text,
    /// Container image.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Text::is_unset")]
    pub image: Text,
    /// Command line.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Text::is_unset")]
    pub command: Text,
    /// Deprecated language stack.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Text::is_unset")]
    pub stack: Text,
    /// Given to the worker as a file.
    #[schema(value_type = Option<String>)]
    pub config: Option<super::lenient::Payload>,
    /// Take the config away: an empty `config` keeps it, as some clients send one with every upload.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub remove_config: bool,
    /// Most tasks that may run at once; 0: no limit.
    #[schema(value_type = Option<u32>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub max_concurrency: Number,
    /// Runs after a failure.
    #[schema(value_type = Option<u32>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub retries: Number,
    /// Seconds between a failure and the next run.
    #[schema(value_type = Option<f64>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub retries_delay: Number,
    /// Priority of tasks that name none.
    #[schema(value_type = Option<i32>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub default_priority: Number,
    /// Environment of the worker. The value `***`, as answers show every value, keeps the one that is there.
    #[schema(value_type = Option<Object>)]
    pub env_vars: Option<BTreeMap<String, Text>>,
    /// Memory of all processes of a task, in bytes or such as `512M`; 0: the default.
    #[schema(value_type = Option<u64>)]
    #[serde(skip_serializing_if = "Text::is_unset")]
    pub memory: Text,
    /// Processors that a task may keep busy, such as 0.5; 0: the default.
    #[schema(value_type = Option<f64>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub cpu: Number,
    /// Processes and threads of a task; 0: the default.
    #[schema(value_type = Option<u32>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub pids: Number,
    /// What a task may write to files, in bytes or such as `1G`; 0: the default.
    #[schema(value_type = Option<u64>)]
    #[serde(skip_serializing_if = "Text::is_unset")]
    pub disk: Text,
    /// Files that a process of a task may have open; 0: the default.
    #[schema(value_type = Option<u32>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub open_files: Number,
    /// Output of a task that is kept, in bytes or such as `4M`; 0: the default.
    #[schema(value_type = Option<u64>)]
    #[serde(skip_serializing_if = "Text::is_unset")]
    pub output: Text,
    /// Whom a task may talk to: `egress`, `none`, `host`; or `default`.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Text::is_unset")]
    pub network: Text,
    /// `process`: a process for each task; `warm`: one that takes one task after another.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Text::is_unset")]
    pub mode: Text,
    /// What a warm worker calls for each task, such as `app.handler`.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Text::is_unset")]
    pub handler: Text,
    /// Warm workers that a runner keeps even if they have nothing to do; 0: none.
    #[schema(value_type = Option<u32>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub min_warm: Number,
    /// Tasks after which a warm worker is replaced; 0: the default.
    #[schema(value_type = Option<u32>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub max_tasks: Number,
    /// Seconds after which a warm worker is replaced; 0: the default.
    #[schema(value_type = Option<u32>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub max_age: Number,
    /// Seconds after which a warm worker is ended that has nothing to do; 0: the default.
    #[schema(value_type = Option<u32>)]
    #[serde(skip_serializing_if = "Number::is_unset")]
    pub idle_timeout: Number,
}

/// An upload whose values hold. `None` keeps what the previous revision has. Its secrets are text as they come in a
/// request, and sealed on the way to the store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UploadOrder<Secret = String> {
    /// Name of the package.
    pub name: String,
    /// How it is started; none where the request says nothing of it.
    pub launch: Option<Launch>,
    /// Given to the worker as a file; empty: none any more.
    pub config: Option<String>,
    /// `Some(None)`: no limit.
    pub max_concurrency: Option<Option<u32>>,
    /// Runs after a failure.
    pub retries: Option<u32>,
    /// Time between a failure and the next run.
    pub retries_delay_ms: Option<u64>,
    /// Priority of tasks that name none.
    pub default_priority: Option<Priority>,
    /// Environment of the worker.
    pub env_vars: Option<BTreeMap<String, Given<Secret>>>,
    /// What its attempts may take.
    pub limits: Changes,
    /// For how long its warm workers are kept.
    pub keep: KeepChanges,
}

impl<Secret> UploadOrder<Secret> {
    /// The same with every new secret, which has this name, made into another form of it.
    pub fn with_secrets<Other>(self, mut other: impl FnMut(&str, Secret) -> Other) -> UploadOrder<Other> {
        let one = |(name, given): (String, Given<Secret>)| {
            let given = match given {
                Given::New(value) => Given::New(other(&name, value)),
                Given::Kept => Given::Kept,
            };
            (name, given)
        };
        UploadOrder {
            env_vars: self.env_vars.map(|vars| vars.into_iter().map(one).collect()),
            name: self.name,
            launch: self.launch,
            config: self.config,
            max_concurrency: self.max_concurrency,
            retries: self.retries,
            retries_delay_ms: self.retries_delay_ms,
            default_priority: self.default_priority,
            limits: self.limits,
            keep: self.keep,
        }
    }
}

impl UploadRequest {
    /// The order that the request means, or the first field that is wrong.
    pub fn validate(self, limits: &Limits) -> Result<UploadOrder, BadField> {
        let attempts = self.limits(&limits.attempts)?;
        let keep = warm::keep(&self.min_warm, &self.max_tasks, &self.max_age, &self.idle_timeout)?;
        let name = self.name.non_empty("name")?.ok_or_else(|| BadField::missing("name"))?;
        check_size("name", name.len(), MAX_NAME_BYTES)?;
        no_zero_byte("name", name)?;
        let text = |text: &Text, field: &str| -> Result<String, BadField> {
            let text = text.get(field)?.unwrap_or_default();
            check_size(field, text.len(), limits.config_bytes)?;
            no_zero_byte(field, text)?;
            Ok(text.to_owned())
        };
        let launch = Launch {
            runtime: text(&self.runtime, "runtime")?,
            file_name: text(&self.file_name, "file_name")?,
            command: text(&self.command, "command")?,
            image: text(&self.image, "image")?,
            stack: text(&self.stack, "stack")?,
            mode: self.mode.non_empty("mode")?.map_or(Ok(Mode::Process), |mode| {
                mode.parse().map_err(|e| BadField::invalid("mode", format!("{e}, not {mode:?}")))
            })?,
            handler: text(&self.handler, "handler")?,
            archive: None,
            digest: None,
        };
        warm::check(&launch)?;
        let config = self.config.filter(|c| !c.0.is_empty());
        check_size("config", config.as_ref().map_or(0, |c| c.0.len()), limits.config_bytes)?;
        let config = match (config, self.remove_config) {
            (Some(_), true) => {
                return Err(BadField::invalid("remove_config", "cannot go with a new config"));
            }
            (None, true) => Some(String::new()),
            (config, false) => config.map(|c| String::from_utf8_lossy(&c.0).into_owned()),
        };
        Ok(UploadOrder {
            name: name.to_owned(),
            launch: (launch != Launch::default()).then_some(launch),
            config,
            max_concurrency: self.max_concurrency.count("max_concurrency")?.map(|n| (n > 0).then_some(n)),
            retries: retries(&self.retries, "retries")?,
            retries_delay_ms: retries_delay_ms(&self.retries_delay, "retries_delay", limits)?,
            default_priority: priority(&self.default_priority, "default_priority")?,
            limits: attempts,
            keep,
            env_vars: self.env_vars.map(env_vars).transpose()?,
        })
    }
}

impl UploadRequest {
    fn limits(&self, policy: &Policy) -> Result<Changes, BadField> {
        let (least, most) = (&Limit::MIN, &policy.maxima);
        Ok(Changes {
            memory_bytes: bytes("memory", &self.memory, least.memory_bytes, most.memory_bytes)?,
            cpu_millis: cpus("cpu", &self.cpu, least.cpu_millis, most.cpu_millis)?,
            processes: count("pids", &self.pids, least.processes, most.processes)?,
            disk_bytes: bytes("disk", &self.disk, least.disk_bytes, most.disk_bytes)?,
            open_files: count("open_files", &self.open_files, least.open_files, most.open_files)?,
            output_bytes: bytes("output", &self.output, least.output_bytes, most.output_bytes)?,
            network: network("network", &self.network, policy.allow_host)?,
        })
    }
}

/// Arguments and variables of a process cannot hold one: every task would fail.
fn no_zero_byte(field: &str, text: &str) -> Result<(), BadField> {
    if text.contains('\0') {
        return Err(BadField::invalid(field, "must not contain a zero byte"));
    }
    Ok(())
}

fn env_vars(vars: BTreeMap<String, Text>) -> Result<BTreeMap<String, Given<String>>, BadField> {
    let one = |(name, value): (String, Text)| {
        let field = format!("env_vars.{name}");
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(BadField::invalid(field, "is not a name for a variable"));
        }
        let value = value.get(&field)?.unwrap_or_default();
        no_zero_byte(&field, value)?;
        Ok((name, Given::of(value)))
    };
    vars.into_iter().map(one).collect()
}

/// The names, with the mask for each value.
fn masked(vars: &BTreeMap<String, Sealed>) -> BTreeMap<String, String> {
    vars.keys().map(|name| (name.clone(), MASK.to_owned())).collect()
}

/// A code package as clients read it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Code {
    /// Its id.
    #[schema(value_type = String)]
    pub id: CodeId,
    /// Who owns it.
    #[schema(value_type = String)]
    pub project_id: ProjectId,
    /// Its name.
    pub name: String,
    /// Number of the newest revision.
    pub rev: u32,
    /// Id of the newest revision.
    #[schema(value_type = String)]
    pub latest_history_id: RevisionId,
    /// When the newest revision was uploaded.
    #[schema(value_type = String)]
    pub latest_change: Wire,
    /// MD5 of its zip; empty without one.
    pub latest_checksum: String,
    /// When the package was first uploaded.
    #[schema(value_type = String)]
    pub created_at: Wire,
    /// When it last changed.
    #[schema(value_type = String)]
    pub updated_at: Wire,
    /// Always unset.
    #[schema(value_type = String)]
    pub archived_at: Wire,
    /// Old-style interpreter.
    pub runtime: String,
    /// File that the interpreter runs.
    pub file_name: String,
    /// Command line.
    pub command: String,
    /// Container image.
    pub image: String,
    /// Deprecated language stack.
    pub stack: String,
    /// `process`: a process for each task; `warm`: one that takes one task after another.
    pub mode: String,
    /// What a warm worker calls for each task.
    pub handler: String,
    /// Given to the worker as a file.
    pub config: String,
    /// Environment of the worker: every name, and `***` for each value.
    #[schema(value_type = Object)]
    pub env_vars: BTreeMap<String, String>,
    /// Most tasks that may run at once; 0: no limit.
    pub max_concurrency: u32,
    /// Runs after a failure.
    pub retries: u32,
    /// Seconds between a failure and the next run.
    pub retries_delay: u64,
    /// Priority of tasks that name none.
    pub default_priority: u8,
    /// Whether its tasks are kept from starting.
    pub paused: bool,
    /// Length of its zip in bytes.
    pub code_size: u64,
    /// Length of the archive of its image in bytes; 0: it has none, or the image is elsewhere.
    #[serde(default)]
    pub image_size: u64,
    /// What its image's name meant when it was uploaded; empty: its registry did not say.
    #[serde(default)]
    pub image_digest: String,
    /// What its attempts may take, with defaults and maxima.
    #[serde(flatten)]
    pub limits: LimitsView,
    /// For how long its warm workers are kept, with defaults.
    #[serde(flatten)]
    pub keep: KeepView,
}

impl Code {
    /// The package as clients read it.
    pub fn present(code: &crate::code::Code, policy: &Policy) -> Self {
        let latest = &code.latest;
        Self {
            id: code.id,
            project_id: code.project,
            name: code.name.clone(),
            rev: latest.rev,
            latest_history_id: latest.id,
            latest_change: latest.created_at.into(),
            latest_checksum: latest.checksum.clone(),
            created_at: code.created_at.into(),
            updated_at: code.updated_at.into(),
            archived_at: Wire(code.deleted_at),
            runtime: latest.launch.runtime.clone(),
            file_name: latest.launch.file_name.clone(),
            command: latest.launch.command.clone(),
            image: latest.launch.image.clone(),
            stack: latest.launch.stack.clone(),
            mode: latest.launch.mode.to_string(),
            handler: latest.launch.handler.clone(),
            config: latest.config.clone().unwrap_or_default(),
            env_vars: masked(&latest.env_vars),
            max_concurrency: code.max_concurrency.unwrap_or(0),
            retries: latest.retry.retries,
            retries_delay: latest.retry.delay_ms.div_ceil(1000),
            default_priority: latest.default_priority.get(),
            paused: code.is_paused,
            code_size: latest.package.as_ref().map_or(0, |p| p.size_bytes),
            image_size: latest.launch.archive.as_ref().map_or(0, |a| a.size_bytes),
            image_digest: latest.launch.digest.as_ref().map(ToString::to_string).unwrap_or_default(),
            limits: LimitsView::present(&latest.wishes, policy),
            keep: KeepView::present(&latest.keep),
        }
    }
}

/// Answer of an upload: the package and `Upload successful.`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Uploaded {
    /// `Upload successful.`.
    pub msg: String,
    /// The package.
    #[serde(flatten)]
    pub code: Code,
}

/// Answer of `GET codes`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CodeList {
    /// Newest change first.
    pub codes: Vec<Code>,
}

/// A revision as clients read it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RevisionView {
    /// Its id.
    #[schema(value_type = String)]
    pub id: RevisionId,
    /// The package.
    #[schema(value_type = String)]
    pub code_id: CodeId,
    /// Who owns it.
    #[schema(value_type = String)]
    pub project_id: ProjectId,
    /// Name of the package.
    pub name: String,
    /// Its number.
    pub rev: u32,
    /// When it was uploaded.
    #[schema(value_type = String)]
    pub created_at: Wire,
    /// The same: revisions do not change.
    #[schema(value_type = String)]
    pub updated_at: Wire,
    /// Old-style interpreter.
    pub runtime: String,
    /// File that the interpreter runs.
    pub file_name: String,
    /// Command line.
    pub command: String,
    /// Container image.
    pub image: String,
    /// Deprecated language stack.
    pub stack: String,
    /// `process`: a process for each task; `warm`: one that takes one task after another.
    pub mode: String,
    /// What a warm worker calls for each task.
    pub handler: String,
    /// MD5 of its zip; empty without one.
    pub checksum: String,
    /// Length of its zip in bytes.
    pub code_size: u64,
    /// Length of the archive of its image in bytes; 0: it has none, or the image is elsewhere.
    #[serde(default)]
    pub image_size: u64,
    /// What its image's name meant when it was uploaded; empty: its registry did not say.
    #[serde(default)]
    pub image_digest: String,
    /// Given to the worker as a file.
    pub config: String,
    /// Environment of the worker: every name, and `***` for each value.
    #[schema(value_type = Object)]
    pub env_vars: BTreeMap<String, String>,
    /// Runs after a failure.
    pub retries: u32,
    /// Seconds between a failure and the next run.
    pub retries_delay: u64,
    /// Priority of tasks that name none.
    pub default_priority: u8,
    /// What its attempts may take, with defaults and maxima.
    #[serde(flatten)]
    pub limits: LimitsView,
    /// For how long its warm workers are kept, with defaults.
    #[serde(flatten)]
    pub keep: KeepView,
}

impl RevisionView {
    /// The revision of `code` as clients read it.
    pub fn present(code: &crate::code::Code, revision: &Revision, policy: &Policy) -> Self {
        Self {
            id: revision.id,
            code_id: code.id,
            project_id: code.project,
            name: code.name.clone(),
            rev: revision.rev,
            created_at: revision.created_at.into(),
            updated_at: revision.created_at.into(),
            runtime: revision.launch.runtime.clone(),
            file_name: revision.launch.file_name.clone(),
            command: revision.launch.command.clone(),
            image: revision.launch.image.clone(),
            stack: revision.launch.stack.clone(),
            mode: revision.launch.mode.to_string(),
            handler: revision.launch.handler.clone(),
            checksum: revision.checksum.clone(),
            code_size: revision.package.as_ref().map_or(0, |p| p.size_bytes),
            image_size: revision.launch.archive.as_ref().map_or(0, |a| a.size_bytes),
            image_digest: revision.launch.digest.as_ref().map(ToString::to_string).unwrap_or_default(),
            config: revision.config.clone().unwrap_or_default(),
            env_vars: masked(&revision.env_vars),
            retries: revision.retry.retries,
            retries_delay: revision.retry.delay_ms.div_ceil(1000),
            default_priority: revision.default_priority.get(),
            limits: LimitsView::present(&revision.wishes, policy),
            keep: KeepView::present(&revision.keep),
        }
    }
}

/// Answer of `GET codes/{id}/revisions`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RevisionList {
    /// First revision first.
    pub revisions: Vec<RevisionView>,
}

/// Answer of `GET codes/{id}/stats`: tasks by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stats {
    /// Waiting now.
    pub queued: u64,
    /// Being prepared now.
    pub preparing: u64,
    /// Running now.
    pub running: u64,
    /// Ended so within the time asked for.
    pub complete: u64,
    /// Ended so within the time asked for.
    pub error: u64,
    /// Ended so within the time asked for.
    pub timeout: u64,
    /// Ended so within the time asked for.
    pub cancelled: u64,
    /// Ended so within the time asked for.
    pub killed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Network;

    fn order(json: &str) -> Result<UploadOrder, BadField> {
        serde_json::from_str::<UploadRequest>(json).unwrap().validate(&Limits::default())
    }

    #[test]
    fn every_clients_upload_is_understood() {
        let cli = order(r#"{"name":"user/image","image":"i","runtime":"","file_name":"","command":"","stack":"","default_priority":-1000,"max_concurrency":0,"retries":0,"retries_delay":0,"config":"","env_vars":null}"#).unwrap();
        assert_eq!((cli.default_priority, cli.max_concurrency, &cli.env_vars), (None, Some(None), &None));
        let go = order(r#"{"name":"w","runtime":"sh","file_name":"__runner__.sh","retries_delay":1.5,"max_concurrency":3.0}"#).unwrap();
        assert_eq!((go.retries_delay_ms, go.max_concurrency), (Some(1_500), Some(Some(3))));
        let php = order(r#"{"name":"w","code_name":"w","standalone":true,"version":null,"options":[],"runtime":"php","file_name":"runner.php","config":{"a":1}}"#).unwrap();
        assert_eq!(php.config.as_deref(), Some(r#"{"a":1}"#));
        let removed = order(r#"{"name":"w","config":"","remove_config":true}"#).unwrap();
        assert_eq!(removed.config.as_deref(), Some(""));
        assert!(order(r#"{"name":"w","config":"c","remove_config":true}"#).is_err());
        let shown = order(r#"{"name":"w","env_vars":{"A":"***","B":"****"}}"#).unwrap().env_vars.unwrap();
        assert_eq!((&shown["A"], &shown["B"]), (&Given::Kept, &Given::New("****".to_owned())));
    }

    #[test]
    fn limits_are_taken_in_every_form_and_zero_is_the_default_again() {
        let limits = |json: &str| order(&format!(r#"{{"name":"w",{json}}}"#)).map(|order| order.limits);
        let wishes = limits(
            r#""memory":"512M","cpu":"0.5","pids":20.0,"disk":1048576.0,"open_files":"64","output":"1 MiB","network":"none""#,
        );
        let expected = Changes {
            memory_bytes: Some(Some(512 << 20)),
            cpu_millis: Some(Some(500)),
            processes: Some(Some(20)),
            disk_bytes: Some(Some(1 << 20)),
            open_files: Some(Some(64)),
            output_bytes: Some(Some(1 << 20)),
            network: Some(Some(Network::None)),
        };
        assert_eq!(wishes, Ok(expected));
        assert_eq!(
            limits(r#""memory":null,"cpu":null,"pids":"","disk":"","network":"""#),
            Ok(Changes::default())
        );
        let defaults = limits(r#""memory":0,"cpu":"0","pids":0.0,"network":"default""#).unwrap();
        let expected = Changes {
            memory_bytes: Some(None),
            cpu_millis: Some(None),
            processes: Some(None),
            network: Some(None),
            ..Changes::default()
        };
        assert_eq!(defaults, expected);
        let problem = |json: &str| limits(json).unwrap_err().to_string();
        for (json, said) in [
            (r#""memory":512"#, "memory: is 512 B, the least is 4 MiB"),
            (r#""memory":"65G""#, "memory: is 65 GiB, the most is 64 GiB"),
            (r#""memory":"lots""#, "memory: \"lots\" is not a size such as 64KiB or 256MiB"),
            (r#""disk":true"#, "disk: must be a string, not true"),
            (r#""disk":-1"#, "disk: \"-1\" is not a size such as 64KiB or 256MiB"),
            (r#""cpu":65"#, "cpu: is 65, the most is 64"),
            (r#""cpu":0.001"#, "cpu: is 0.001, the least is 0.01"),
            (r#""pids":1.5"#, "pids: must be a whole number, is 1.5"),
            (r#""pids":100000"#, "pids: is 100000, the most is 32768"),
            (r#""open_files":3"#, "open_files: is 3, the least is 16"),
            (r#""network":"bridge""#, "network: is one of egress, none, host, not \"bridge\""),
            (r#""network":"host""#, "network: host is not allowed here; the setting network.host allows it"),
        ] {
            assert_eq!(problem(json), said);
        }
    }

    #[test]
    fn a_warm_worker_says_what_is_called_for_a_task() {
        let warm = order(
            r#"{"name":"w","mode":"warm","runtime":"python3","handler":"app.handler","max_tasks":5,"max_age":0}"#,
        );
        let warm = warm.unwrap();
        let launch = warm.launch.unwrap();
        assert_eq!((launch.mode, launch.handler.as_str()), (Mode::Warm, "app.handler"));
        let keep = KeepChanges { max_tasks: Some(Some(5)), max_age_s: Some(None), ..KeepChanges::default() };
        assert_eq!(warm.keep, keep);
        let options = order(r#"{"name":"w","idle_timeout":60}"#).unwrap();
        assert_eq!((options.launch, options.keep.idle_timeout_s), (None, Some(Some(60))));
        for fine in [
            r#""runtime":"nodejs22.x","handler":"src/index.handler""#,
            r#""runtime":"provided""#,
            r#""command":"./serve --fast""#,
        ] {
            order(&format!(r#"{{"name":"w","mode":"warm",{fine}}}"#)).unwrap();
        }
        let problem = |json: &str| order(&format!(r#"{{"name":"w",{json}}}"#)).unwrap_err().to_string();
        for (json, said) in [
            (r#""mode":"hot""#, r#"mode: is one of process, warm, not "hot""#),
            (r#""handler":"app.handler""#, "handler: is for the mode warm"),
            (r#""mode":"warm""#, r#"runtime: is one of python3, node, provided for the mode warm, not """#),
            (
                r#""mode":"warm","runtime":"ruby""#,
                r#"runtime: is one of python3, node, provided for the mode warm, not "ruby""#,
            ),
            (
                r#""mode":"warm","runtime":"python3""#,
                "handler: is required for the mode warm, such as app.handler",
            ),
            (
                r#""mode":"warm","runtime":"node","handler":"app""#,
                r#"handler: names a file and its function, such as app.handler, not "app""#,
            ),
            (
                r#""mode":"warm","runtime":"node","handler":"../app.handler""#,
                r#"handler: names a file and its function, such as app.handler, not "../app.handler""#,
            ),
            (
                r#""mode":"warm","image":"i","runtime":"provided""#,
                "mode: warm is for packages with a zip, not for images",
            ),
            (
                r#""mode":"warm","file_name":"w.sh","runtime":"provided""#,
                "file_name: is for the mode process; warm has a handler",
            ),
            (r#""max_tasks":2000000"#, "max_tasks: is 2000000, the most is 1000000"),
        ] {
            assert_eq!(problem(json), said);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let problem = |json| order(json).unwrap_err().to_string();
        assert_eq!(problem("{}"), "name: is required");
        assert_eq!(problem(r#"{"name":"w\u0000"}"#), "name: must not contain a zero byte");
        assert_eq!(problem(r#"{"name":"w","command":"a\u0000"}"#), "command: must not contain a zero byte");
        assert_eq!(problem(r#"{"name":"w","retries":11}"#), "retries: is 11, the limit is 10");
        assert_eq!(
            problem(r#"{"name":"w","env_vars":{"a=b":"c"}}"#),
            "env_vars.a=b: is not a name for a variable"
        );
    }
}
