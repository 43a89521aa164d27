//! A Windlass of the benchmark's own: this binary, in a process and a data directory of its own.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use windlass_client::Client;
use windlass_client::transport::Http;
use windlass_model::wire::projects::IronJson;

/// A running child process that is ended when dropped.
pub(super) struct Process {
    child: Child,
}

impl Process {
    /// Starts this binary with `args`; returns it and the first line that it prints.
    pub(super) fn start(args: &[&str]) -> Result<(Self, String)> {
        let binary = std::env::current_exe().context("cannot find this binary")?;
        let mut child = Command::new(binary)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start this binary")?;
        let out = child.stdout.take().context("the child has no output")?;
        let process = Self { child };
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        Ok((process, line.trim().to_owned()))
    }

    /// Processor time used so far and memory resident now.
    pub(super) fn usage(&self) -> Result<ProcessUsage> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name may hold spaces and parentheses; what follows the last one is fields 3 and on.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 = fields.get(11..13).context("no processor times")?.iter().filter_map(|f| f.parse::<u64>().ok()).sum();
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no resident size")?;
        let kib: u64 = rss.trim().trim_end_matches("kB").trim().parse()?;
        // The kernel counts in hundredths of a second on every platform that Linux is built for here.
        Ok(ProcessUsage { cpu: Duration::from_millis(ticks * 10), resident_bytes: kib * 1024 })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
        }
        let _ = self.child.wait();
    }
}

/// What a process has used.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProcessUsage {
    pub(super) cpu: Duration,
    pub(super) resident_bytes: u64,
}

/// A running Windlass.
pub(super) struct Server {
    pub(super) process: Process,
    pub(super) client: Client,
    pub(super) address: SocketAddr,
    pub(super) token: String,
    /// From starting the process to its line that it is ready.
    pub(super) ready_after: Duration,
}

impl Server {
    /// Starts `windlass COMMAND` with its data in `data`.
    pub(super) fn start(command: &str, data: &Path, slots: usize) -> Result<Self> {
        let data_text = data.to_str().context("the data directory's name is not text")?;
        let mut args = vec![command, "--data", data_text, "--listen", "127.0.0.1:0"];
        let slots = slots.to_string();
        if command == "up" {
            args.extend(["--slots", &slots]);
        }
        let start = Instant::now();
        let (process, line) = Process::start(&args)?;
        let ready_after = start.elapsed();
        let iron = std::fs::read(data.join("iron.json")).with_context(|| format!("windlass did not start: {line}"))?;
        let iron: IronJson = serde_json::from_slice(&iron)?;
        let address: SocketAddr = format!("{}:{}", iron.host, iron.port).parse()?;
        let transport = Http::new(format!("http://{address}")).map_err(|e| anyhow::anyhow!(e))?;
        let client = Client::new(Arc::new(transport), iron.token.as_str(), iron.project_id.as_str());
        Ok(Self { process, client, address, token: iron.token, ready_after })
    }
}
