//! A Windlass of our own in another process, for the demo and the benchmark: this binary, started as anybody would.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use windlass_client::Client;
use windlass_client::transport::Http;
use windlass_model::wire::projects::IronJson;

/// A running child process that is asked to stop when dropped, and waited for.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts this binary with `args`; returns it and the first line that it prints.
    pub(crate) fn start(args: &[&str], log: Stdio) -> Result<(Self, String)> {
        let binary = std::env::current_exe().context("cannot find this binary")?;
        let mut command = Command::new(binary);
        // It is ours alone, on loopback, whatever servers on this machine are set to.
        command.env_remove("WINDLASS_TLS_CERT").env_remove("WINDLASS_TLS_KEY");
        let child = command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn();
        let mut child = child.context("cannot start this binary")?;
        let out = child.stdout.take().context("the child has no output")?;
        let process = Self { child };
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        Ok((process, line.trim().to_owned()))
    }

    /// Processor time used so far and memory resident now, with the processes that it started and that are there.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name may hold spaces and parentheses; what follows the last one is fields 3 and on.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks =
            fields.get(11..13).context("no processor times")?.iter().filter_map(|f| f.parse::<u64>().ok());
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no resident size")?;
        let kib: u64 = rss.trim().trim_end_matches("kB").trim().parse()?;
        // Linux counts in hundredths of a second on every platform.
        Ok(Usage { cpu: Duration::from_millis(ticks.sum::<u64>() * 10), resident_bytes: kib * 1024 })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // An error means that it has ended already.
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
        }
        let _ = self.child.wait();
    }
}

/// What a process has used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) resident_bytes: u64,
}

/// A running Windlass and the way to it. It stops when dropped.
#[derive(Debug)]
pub(crate) struct Windlass {
    pub(crate) process: Process,
    pub(crate) client: Client,
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    /// From starting the process to its line that it is ready.
    pub(crate) ready_after: Duration,
}

impl Windlass {
    /// Starts `windlass COMMAND` with its data in `data` and waits until it is ready. What it logs is in
    /// `data/windlass.log`.
    pub(crate) fn start(command: &str, data: &Path, more: &[&str]) -> Result<Self> {
        std::fs::create_dir_all(data)?;
        let path = data.join("windlass.log");
        let log = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let data_text = data.to_str().context("the data directory's name is not text")?;
        let mut args = vec![command, "--data", data_text];
        args.extend(more);
        let start = Instant::now();
        let (process, line) = Process::start(&args, Stdio::from(log))?;
        let ready_after = start.elapsed();
        if line.is_empty() {
            bail!("windlass did not start: {}", std::fs::read_to_string(&path).unwrap_or_default().trim());
        }
        let iron: IronJson = serde_json::from_slice(&std::fs::read(data.join("iron.json"))?)?;
        let address: SocketAddr = format!("{}:{}", iron.host, iron.port).parse()?;
        let transport = Http::new(format!("http://{address}")).map_err(|e| anyhow::anyhow!(e))?;
        let client = Client::new(Arc::new(transport), iron.token.as_str(), iron.project_id.as_str());
        Ok(Self { process, client, address, token: iron.token, ready_after })
    }
}
