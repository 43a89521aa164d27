//! What attempts may take: defaults and maxima.

use windlass_model::limits::{Limits, Network, Policy};
use windlass_model::size;

use super::layers::{BadSetting, Layers};
use super::units;

/// Both sets of limits and the networks, or the first setting that cannot be used.
pub(super) fn policy(layers: &Layers) -> Result<Policy, BadSetting> {
    // The name of what a default must not be above is told with it.
    let maxima = limits(layers, "limits.max", None)?;
    let allow_host = layers.read("network.host", units::boolean)?;
    Ok(Policy {
        defaults: limits(layers, "limits.default", Some(&maxima))?,
        maxima,
        network: layers.read("network.default", |text| match text.parse() {
            Ok(Network::Host) if !allow_host => {
                Err("host is allowed by network.host, which is false".to_owned())
            }
            Ok(network) => Ok(network),
            Err(e) => Err(format!("{text:?}: a network {e}")),
        })?,
        allow_host,
    })
}

fn limits(layers: &Layers, table: &str, maxima: Option<&Limits>) -> Result<Limits, BadSetting> {
    let least = &Limits::MIN;
    let bytes = |name: &str, of: fn(&Limits) -> u64| {
        layers.read(&format!("{table}.{name}"), |text| {
            within(units::bytes(text)?, of(least), maxima.map(of), name, size::show)
        })
    };
    let count = |name: &str, of: fn(&Limits) -> u32| {
        layers.read(&format!("{table}.{name}"), |text| {
            let count = text.parse().map_err(|_| format!("{text:?} is not a whole number"))?;
            within(count, of(least), maxima.map(of), name, |count| count.to_string())
        })
    };
    Ok(Limits {
        memory_bytes: bytes("memory", |limits| limits.memory_bytes)?,
        cpu_millis: layers.read(&format!("{table}.cpu"), |text| {
            let cpus: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
            // What is too large for the type is its greatest number.
            let most = maxima.map(|maxima| maxima.cpu_millis);
            let show = |millis: u32| (f64::from(millis) / 1000.0).to_string();
            within((cpus * 1000.0).ceil() as u32, least.cpu_millis, most, "cpu", show)
        })?,
        processes: count("pids", |limits| limits.processes)?,
        disk_bytes: bytes("disk", |limits| limits.disk_bytes)?,
        open_files: count("open_files", |limits| limits.open_files)?,
        output_bytes: bytes("output", |limits| limits.output_bytes)?,
    })
}

fn within<T: Copy + PartialOrd>(
    value: T,
    least: T,
    most: Option<T>,
    name: &str,
    show: impl Fn(T) -> String,
) -> Result<T, String> {
    match most {
        Some(most) if value > most => {
            Err(format!("{} is more than limits.max.{name}, which is {}", show(value), show(most)))
        }
        _ if value < least => Err(format!("{} is too little, the least is {}", show(value), show(least))),
        _ => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Policy, String> {
        let mut layers = Layers::defaults();
        for (key, value) in pairs {
            layers.add_flag(key, (*value).to_owned(), "--set").unwrap();
        }
        policy(&layers).map_err(|e| e.problem)
    }

    #[test]
    fn the_embedded_default_is_the_models() {
        assert_eq!(read(&[]), Ok(Policy::default()));
    }

    #[test]
    fn a_limit_is_checked_against_its_maximum_and_for_sense() {
        let limits = read(&[("limits.max.memory", "2GiB"), ("limits.default.memory", "1.5g")]).unwrap();
        assert_eq!((limits.maxima.memory_bytes, limits.defaults.memory_bytes), (2 << 30, 3 << 29));
        for (key, value, said) in [
            (
                "limits.max.memory",
                "256MiB",
                "limits.default.memory: 512 MiB is more than limits.max.memory, which is 256 MiB",
            ),
            (
                "limits.default.memory",
                "512",
                "--set: limits.default.memory: 512 B is too little, the least is 4 MiB",
            ),
            (
                "limits.default.cpu",
                "100",
                "--set: limits.default.cpu: 100 is more than limits.max.cpu, which is 64",
            ),
            ("limits.default.cpu", "much", "--set: limits.default.cpu: \"much\" is not a number"),
            ("limits.max.pids", "-1", "--set: limits.max.pids: \"-1\" is not a whole number"),
            (
                "network.default",
                "host",
                "--set: network.default: host is allowed by network.host, which is false",
            ),
            (
                "network.default",
                "all",
                "--set: network.default: \"all\": a network is one of egress, none, host",
            ),
        ] {
            let problem = read(&[(key, value)]).unwrap_err();
            assert!(problem.ends_with(said), "{problem}");
        }
    }
}
