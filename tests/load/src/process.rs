//! The relay as a process: started, measured from outside, ended.

use std::{
    fs,
    io::{self, BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};

use crate::pin;

/// What a process has used so far, all its threads.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Time on a core, the kernel's work for it included.
    pub cpu: Duration,
    /// Memory in use now, bytes.
    pub rss_bytes: u64,
}

/// Reads it. Threads that have ended no longer count, and the relay's do not end.
pub fn usage(pid: u32) -> io::Result<Usage> {
    let mut cpu_ns = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end while we look.
        let schedstat = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        cpu_ns += on_core_ns(&schedstat).unwrap_or(0);
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(Usage { cpu: Duration::from_nanos(cpu_ns), rss_bytes: rss_bytes(&status).unwrap_or(0) })
}

fn on_core_ns(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

fn rss_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// UDP packets that this machine's sockets had no room for, since it started: loss that is not the relay's.
pub fn socket_overflows() -> u64 {
    let snmp = fs::read_to_string("/proc/net/snmp").unwrap_or_default();
    overflows(&snmp).unwrap_or(0)
}

fn overflows(snmp: &str) -> Option<u64> {
    let mut udp = snmp.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (names, values) = (udp.next()?, udp.next()?);
    let mut pairs = names.split(' ').zip(values.split(' '));
    pairs.find(|(name, _)| *name == "RcvbufErrors")?.1.parse().ok()
}

/// A relay of its own on free ports of loopback. Killed when dropped.
#[derive(Debug)]
pub struct RelayProcess {
    child: Child,
    /// Where calls arrive.
    pub address: SocketAddr,
    _data: tempfile::TempDir,
}

impl RelayProcess {
    /// Starts `binary` on these cores, told nothing by the environment.
    pub fn start(binary: &Path, cores: &[usize]) -> anyhow::Result<Self> {
        let data = tempfile::tempdir().context("no folder for the relay's data")?;
        let mut command = Command::new(binary);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ROUNDTABLE_") || name == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        command.args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--metrics", "off"]);
        command.args(["--log", "warn", "--print-addresses", "--data"]).arg(data.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        // A child inherits the cores of the thread that starts it.
        let ours = pin::cores()?;
        pin::pin(cores)?;
        let started = command.spawn();
        pin::pin(&ours)?;
        let mut child = started.with_context(|| format!("cannot start {}", binary.display()))?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let address = address(&line).with_context(|| format!("{} did not start", binary.display()));
        // From here on it is killed whatever happens.
        let relay =
            RelayProcess { child, address: address.as_ref().map_or_else(|_| nowhere(), |a| *a), _data: data };
        address?;
        Ok(relay)
    }

    /// What it has used so far.
    pub fn usage(&mut self) -> anyhow::Result<Usage> {
        ensure!(self.child.try_wait()?.is_none(), "the relay has ended by itself");
        usage(self.child.id()).context("cannot read what the relay uses")
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

fn nowhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn address(line: &str) -> anyhow::Result<SocketAddr> {
    let told: serde_json::Value = serde_json::from_str(line)?;
    let address = told.get("quic").and_then(|quic| quic.get(0)).and_then(serde_json::Value::as_str);
    Ok(address.context("no QUIC address")?.parse()?)
}

impl Drop for RelayProcess {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn work_shows_as_time_on_a_core() {
        let before = usage(std::process::id()).unwrap();
        let start = Instant::now();
        let mut sum = 0_u64;
        while start.elapsed() < Duration::from_millis(50) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let used = usage(std::process::id()).unwrap().cpu - before.cpu;
        assert!(used > Duration::ZERO && before.rss_bytes > 0, "{used:?}");
    }

    #[test]
    fn the_kernels_tables_are_read_by_name() {
        let snmp = "Ip: Forwarding\nIp: 1\nUdp: InDatagrams RcvbufErrors Other\nUdp: 5 17 3\n";
        assert_eq!(overflows(snmp), Some(17));
        assert_eq!(overflows("Udp: InDatagrams\nUdp: 5\n"), None);
        assert_eq!(rss_bytes("Name:\tx\nVmRSS:\t    12 kB\n"), Some(12 * 1024));
        assert_eq!(on_core_ns("327900 43224 1\n"), Some(327_900));
    }
}
