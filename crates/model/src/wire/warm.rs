//! Warm workers on the wire: how they are started, and for how long they are kept.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::BadField;
use super::lenient::Number;
use super::limits::count;
use crate::code::Launch;
use crate::warm::{Keep, KeepChanges, KeepWishes, Mode, Runtime};

/// For how long the warm workers of a package are kept, with defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct KeepView {
    /// Warm workers that a runner keeps even if they have nothing to do, once it has started them.
    pub min_warm: u32,
    /// Tasks after which a warm worker is replaced.
    pub max_tasks: u32,
    /// Seconds after which a warm worker is replaced.
    pub max_age: u32,
    /// Seconds after which a warm worker is ended that has nothing to do.
    pub idle_timeout: u32,
}

impl KeepView {
    /// What becomes of the wishes.
    pub fn present(wishes: &KeepWishes) -> Self {
        let Keep { min_warm, max_tasks, max_age_s, idle_timeout_s } = wishes.resolve();
        Self { min_warm, max_tasks, max_age: max_age_s, idle_timeout: idle_timeout_s }
    }
}

/// What an upload says of it.
pub(super) fn keep(
    min_warm: &Number,
    max_tasks: &Number,
    max_age: &Number,
    idle_timeout: &Number,
) -> Result<KeepChanges, BadField> {
    let most = Keep::MAX;
    Ok(KeepChanges {
        min_warm: count("min_warm", min_warm, 1, most.min_warm)?,
        max_tasks: count("max_tasks", max_tasks, 1, most.max_tasks)?,
        max_age_s: count("max_age", max_age, 1, most.max_age_s)?,
        idle_timeout_s: count("idle_timeout", idle_timeout, 1, most.idle_timeout_s)?,
    })
}

/// Whether a worker can be started so, as far as its mode is concerned.
pub(super) fn check(launch: &Launch) -> Result<(), BadField> {
    if launch.mode == Mode::Process {
        return match launch.handler.is_empty() {
            true => Ok(()),
            false => Err(BadField::invalid("handler", "is for the mode warm")),
        };
    }
    if !launch.image.is_empty() {
        return Err(BadField::invalid("mode", "warm is for packages with a zip, not for images"));
    }
    if !launch.file_name.is_empty() {
        return Err(BadField::invalid("file_name", "is for the mode process; warm has a handler"));
    }
    // A command line starts what asks for tasks itself.
    if !launch.command.trim().is_empty() {
        return Ok(());
    }
    match Runtime::named(&launch.runtime) {
        None => {
            let given = &launch.runtime;
            let problem = format!("is one of python3, node, provided for the mode warm, not {given:?}");
            Err(BadField::invalid("runtime", problem))
        }
        Some(Runtime::Python | Runtime::Node) if launch.handler.is_empty() => {
            Err(BadField::invalid("handler", "is required for the mode warm, such as app.handler"))
        }
        Some(Runtime::Python | Runtime::Node) if !is_handler(&launch.handler) => Err(BadField::invalid(
            "handler",
            format!("names a file and its function, such as app.handler, not {:?}", launch.handler),
        )),
        Some(_) => Ok(()),
    }
}

/// Whether it names a file without its ending, a dot, and a function.
fn is_handler(text: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && !part.contains(char::is_whitespace);
    text.rsplit_once('.').is_some_and(|(file, function)| is_part(file) && is_part(function))
        && !text.contains("..")
        && !text.starts_with('/')
}
