//! What is broken, and how it is healed.

use std::fmt;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::database::sql;
use crate::random::Random;
use crate::service::{RUNNERS, SERVERS, Service};

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    KillServer(usize),
    KillRunner(usize),
    FreezeServer(usize),
    FreezeRunner(usize),
    CrashDatabase,
    KillBackends,
    TakeConnections,
    /// A runner and one server, or all of them, do not hear each other; connections end, or there is silence.
    CutRunner {
        runner: usize,
        server: Option<usize>,
        is_silent: bool,
    },
    CutDatabase {
        server: usize,
        is_silent: bool,
    },
    FillDisk,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = |is_silent: bool| if is_silent { "in silence" } else { "openly" };
        match self {
            Fault::KillServer(n) => write!(f, "server {n} is killed"),
            Fault::KillRunner(n) => write!(f, "runner {n} is killed"),
            Fault::FreezeServer(n) => write!(f, "server {n} is frozen"),
            Fault::FreezeRunner(n) => write!(f, "runner {n} is frozen"),
            Fault::CrashDatabase => f.write_str("the database crashes"),
            Fault::KillBackends => f.write_str("all backends are killed"),
            Fault::TakeConnections => f.write_str("no connection is left"),
            Fault::CutRunner { runner, server: Some(server), is_silent } => {
                write!(f, "runner {runner} is cut off from server {server}, {}", how(*is_silent))
            }
            Fault::CutRunner { runner, server: None, is_silent } => {
                write!(f, "runner {runner} is cut off from all servers, {}", how(*is_silent))
            }
            Fault::CutDatabase { server, is_silent } => {
                write!(f, "server {server} is cut off from the database, {}", how(*is_silent))
            }
            Fault::FillDisk => f.write_str("the disk of runner 0 is full"),
        }
    }
}

impl Fault {
    /// Any of them.
    pub(crate) fn any(random: &mut Random) -> Self {
        let (server, runner) = (random.below(SERVERS), random.below(RUNNERS));
        let is_silent = random.once_in(2);
        match random.below(12) {
            0 => Fault::KillServer(server),
            1 => Fault::KillRunner(runner),
            2 => Fault::FreezeServer(server),
            3 => Fault::FreezeRunner(runner),
            4 => Fault::CrashDatabase,
            5 => Fault::KillBackends,
            6 => Fault::TakeConnections,
            7 => Fault::CutRunner { runner, server: Some(server), is_silent },
            8 => Fault::CutRunner { runner, server: None, is_silent },
            9 | 10 => Fault::CutDatabase { server, is_silent },
            _ => Fault::FillDisk,
        }
    }

    /// Whether both can be broken at a time: each process and way is in at most one of them.
    pub(crate) fn goes_with(self, other: Self) -> bool {
        std::mem::discriminant(&self) != std::mem::discriminant(&other) && self.node() != other.node()
    }

    fn node(self) -> Option<(bool, usize)> {
        match self {
            Fault::KillServer(n) | Fault::FreezeServer(n) | Fault::CutDatabase { server: n, .. } => {
                Some((true, n))
            }
            Fault::KillRunner(n) | Fault::FreezeRunner(n) | Fault::CutRunner { runner: n, .. } => {
                Some((false, n))
            }
            Fault::FillDisk => Some((false, 0)),
            Fault::CrashDatabase | Fault::KillBackends | Fault::TakeConnections => None,
        }
    }

    /// Breaks it; what is returned keeps it so.
    pub(crate) fn begin(self, service: &mut Service) -> Vec<UnixStream> {
        match self {
            Fault::KillServer(n) => service.servers[n].kill(),
            Fault::KillRunner(n) => service.runners[n].kill(),
            Fault::FreezeServer(n) => signal(service.servers[n].process(), Signal::SIGSTOP),
            Fault::FreezeRunner(n) => signal(service.runners[n].process(), Signal::SIGSTOP),
            Fault::CrashDatabase => service.database.crash().unwrap(),
            Fault::KillBackends => kill_backends(service),
            Fault::TakeConnections => {
                kill_backends(service);
                return take_connections(service);
            }
            Fault::CutRunner { runner, server, is_silent } => {
                for (n, way) in service.to_servers[runner].iter().enumerate() {
                    if server.is_none_or(|server| server == n) {
                        if is_silent { way.silence() } else { way.close() }
                    }
                }
            }
            Fault::CutDatabase { server, is_silent } => {
                let way = &service.to_database[server];
                if is_silent { way.silence() } else { way.close() }
            }
            Fault::FillDisk => {
                if let Some(path) = service.runners[0].small() {
                    fill(&path.join("ballast"));
                }
            }
        }
        Vec::new()
    }

    /// Mends it.
    pub(crate) fn heal(self, service: &mut Service) {
        match self {
            Fault::KillServer(n) => service.start_server(n),
            Fault::KillRunner(n) => service.start_runner(n),
            Fault::FreezeServer(n) => signal(service.servers[n].process(), Signal::SIGCONT),
            Fault::FreezeRunner(n) => signal(service.runners[n].process(), Signal::SIGCONT),
            Fault::CrashDatabase => service.database.start_again().unwrap(),
            Fault::KillBackends | Fault::TakeConnections => {}
            Fault::CutRunner { runner, .. } => {
                service.to_servers[runner].iter().for_each(crate::proxy::Proxy::open);
            }
            Fault::CutDatabase { server, .. } => service.to_database[server].open(),
            Fault::FillDisk => {
                if let Some(path) = service.runners[0].small() {
                    let _ = std::fs::remove_file(path.join("ballast"));
                }
            }
        }
    }

    /// Those that others need to be healed first come first.
    pub(crate) fn rank(self) -> usize {
        match self {
            Fault::CrashDatabase => 0,
            Fault::CutDatabase { .. } => 1,
            _ => 2,
        }
    }
}

fn signal(process: Option<&crate::process::Process>, signal: Signal) {
    if let Some(process) = process {
        process.signal(signal);
    }
}

fn kill_backends(service: &Service) {
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'windlass'";
    // Without a database there are none.
    let _ = sql(&service.database, kill);
}

/// As many sessions as there may be, which do nothing.
fn take_connections(service: &Service) -> Vec<UnixStream> {
    let mut hello = vec![0, 3, 0, 0];
    hello.extend_from_slice(b"user\0windlass\0database\0postgres\0\0");
    let length = u32::try_from(hello.len() + 4).expect("it is short");
    let hello = [&length.to_be_bytes(), &hello[..]].concat();
    let connect = |_| {
        let mut stream = UnixStream::connect(service.database.socket()).ok()?;
        stream.set_write_timeout(Some(Duration::from_secs(1))).ok()?;
        stream.write_all(&hello).ok()?;
        Some(stream)
    };
    (0..90).map_while(connect).collect()
}

fn fill(path: &std::path::Path) {
    let Ok(mut file) = std::fs::File::create(path) else { return };
    let block = vec![0; 64 * 1024];
    while file.write_all(&block).is_ok() {}
}
