//! How busy the host is, as its kernel says.

use std::fs;
use std::time::{Duration, Instant};

use windlass_model::runner::HostLoad;

/// For how long an answer is good: an average over a minute tells nothing new sooner, and short tasks make many calls.
const FRESH: Duration = Duration::from_secs(2);

/// Asks the kernel, not too often.
#[derive(Debug)]
pub(crate) struct Host {
    /// Those that are on, not only those that this process may use: the load is that of all.
    processors: Option<u32>,
    last: Option<(Instant, Option<HostLoad>)>,
}

impl Host {
    /// This host.
    pub(crate) fn new() -> Self {
        let online = fs::read_to_string("/sys/devices/system/cpu/online").ok();
        Self { processors: online.and_then(|list| count(&list)), last: None }
    }

    /// How busy it is; `None` where the kernel does not say. Two files are read, once in two seconds at most.
    pub(crate) fn load(&mut self) -> Option<HostLoad> {
        match self.last {
            Some((at, load)) if at.elapsed() < FRESH => load,
            _ => {
                let load = self.read();
                self.last = Some((Instant::now(), load));
                load
            }
        }
    }

    fn read(&self) -> Option<HostLoad> {
        let average = fs::read_to_string("/proc/loadavg").ok()?;
        let memory = fs::read_to_string("/proc/meminfo").ok()?;
        parse(&average, &memory, self.processors?)
    }
}

/// What `/proc/loadavg` and `/proc/meminfo` say.
fn parse(average: &str, memory: &str, processors: u32) -> Option<HostLoad> {
    let average: f64 = average.split_whitespace().next()?.parse().ok()?;
    let bytes = |name: &str| {
        let line = memory.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()?.saturating_mul(1024))
    };
    let (all, available) = (bytes("MemTotal")?, bytes("MemAvailable")?);
    Some(HostLoad {
        load_millis: (average * 1000.0).round() as u32,
        processors,
        memory_used_bytes: all.saturating_sub(available),
        memory_bytes: all,
    })
}

/// How many a list such as `0-3,8` has.
fn count(list: &str) -> Option<u32> {
    let one = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        last.checked_sub(first)?.checked_add(1)
    };
    list.trim().split(',').map(one).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_understood() {
        assert_eq!([count("0\n"), count("0-3,8\n"), count(""), count("3-1")], [Some(1), Some(5), None, None]);
        let memory = "MemTotal:        2048 kB\nMemFree:           10 kB\nMemAvailable:     512 kB\n";
        let load = parse("1.25 0.50 0.10 2/300 4711\n", memory, 4);
        let bytes = |kib: u64| kib * 1024;
        let expected = HostLoad {
            load_millis: 1250,
            processors: 4,
            memory_used_bytes: bytes(1536),
            memory_bytes: bytes(2048),
        };
        assert_eq!(load, Some(expected));
        assert_eq!(parse("", memory, 4), None);
        assert_eq!(
            parse("1.25", "MemTotal: 1 kB\n", 4),
            None,
            "an old kernel does not say what is available"
        );
    }

    #[test]
    fn this_host_says_how_busy_it_is() {
        let mut host = Host::new();
        let load = host.load().unwrap();
        assert!(load.processors > 0 && load.memory_used_bytes <= load.memory_bytes, "{load:?}");
        assert_eq!(host.load(), Some(load), "it is not asked again at once");
    }
}
