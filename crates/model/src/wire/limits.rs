//! What attempts may take, on the wire.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::BadField;
use super::lenient::{Number, Text};
use crate::limits::{Network, Policy, Wishes};
use crate::size;

/// What the attempts of a package may take, with defaults and maxima.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct LimitsView {
    /// Memory of all processes of a task, in bytes.
    pub memory: u64,
    /// Processors that a task may keep busy.
    pub cpu: f64,
    /// Processes and threads of a task.
    pub pids: u32,
    /// What a task may write to files, in bytes.
    pub disk: u64,
    /// Files that a process of a task may have open.
    pub open_files: u32,
    /// Output of a task that is kept, in bytes.
    pub output: u64,
    /// Whom a task may talk to: `egress`, `none` or `host`.
    pub network: String,
}

impl LimitsView {
    /// What becomes of the wishes.
    pub fn present(wishes: &Wishes, policy: &Policy) -> Self {
        let limits = policy.limits(wishes);
        Self {
            memory: limits.memory_bytes,
            cpu: f64::from(limits.cpu_millis) / 1000.0,
            pids: limits.processes,
            disk: limits.disk_bytes,
            open_files: limits.open_files,
            output: limits.output_bytes,
            network: policy.network(wishes).to_string(),
        }
    }
}

/// A wish, the default again, or nothing.
type Change<T> = Result<Option<Option<T>>, BadField>;

/// A size in bytes or with a unit.
pub(super) fn bytes(field: &str, text: &Text, least: u64, most: u64) -> Change<u64> {
    let Some(text) = text.non_empty(field)? else { return Ok(None) };
    let size = size::parse(text).map_err(|e| BadField::invalid(field, format!("{text:?} {e}")))?;
    within(field, size, least, most, size::show)
}

/// A whole number.
pub(super) fn count(field: &str, number: &Number, least: u32, most: u32) -> Change<u32> {
    let Some(count) = number.count(field)? else { return Ok(None) };
    within(field, count, least, most, |count| count.to_string())
}

/// Processors, in thousandths.
pub(super) fn cpus(field: &str, number: &Number, least: u32, most: u32) -> Change<u32> {
    let Some(cpus) = number.get(field)? else { return Ok(None) };
    if cpus < 0.0 {
        return Err(BadField::invalid(field, format!("must not be negative, is {cpus}")));
    }
    // What is too large for the type is its greatest number.
    let millis = (cpus * 1000.0).ceil() as u32;
    within(field, millis, least, most, |millis| (f64::from(millis) / 1000.0).to_string())
}

/// A network, or `default`.
pub(super) fn network(field: &str, text: &Text, allow_host: bool) -> Change<Network> {
    let Some(text) = text.non_empty(field)? else { return Ok(None) };
    if text == "default" {
        return Ok(Some(None));
    }
    match text.parse() {
        Ok(Network::Host) if !allow_host => {
            Err(BadField::invalid(field, "host is not allowed here; the setting network.host allows it"))
        }
        Ok(network) => Ok(Some(Some(network))),
        Err(e) => Err(BadField::invalid(field, format!("{e}, not {text:?}"))),
    }
}

fn within<T: Copy + Default + PartialOrd>(
    field: &str,
    value: T,
    least: T,
    most: T,
    show: impl Fn(T) -> String,
) -> Change<T> {
    if value == T::default() {
        return Ok(Some(None));
    }
    let problem = match value {
        value if value > most => format!("is {}, the most is {}", show(value), show(most)),
        value if value < least => format!("is {}, the least is {}", show(value), show(least)),
        value => return Ok(Some(Some(value))),
    };
    Err(BadField::invalid(field, problem))
}
