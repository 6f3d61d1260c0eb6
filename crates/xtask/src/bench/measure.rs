//! What the kernel says that processes have used.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// CPU time of all threads of these processes so far, from `/proc/PID/task/*/schedstat`, whose
/// first figure is nanoseconds on a CPU.
pub(crate) fn cpu(pids: &[u32]) -> Result<Duration> {
    let mut nanos = 0_u64;
    for pid in pids {
        for task in fs::read_dir(format!("/proc/{pid}/task")).context("a proxy has ended")? {
            let stat = fs::read_to_string(task?.path().join("schedstat"))?;
            let first = stat.split(' ').next().and_then(|n| n.parse::<u64>().ok());
            nanos += first.context("schedstat")?;
        }
    }
    Ok(Duration::from_nanos(nanos))
}

/// CPU time of these processes so far, their own code's and the kernel's apart, by the kernel's
/// ticks (`/proc/PID/stat`, fields 14 and 15).
pub(crate) fn ticks(pids: &[u32]) -> Result<Ticks> {
    let mut ticks = Ticks::default();
    for pid in pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("a proxy has ended")?;
        // The name, in parentheses, may hold anything.
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
        let mut fields = after.split_whitespace().skip(11).map(|n| n.parse::<u64>().unwrap_or(0));
        ticks.own += fields.next().context("stat")?;
        ticks.kernel += fields.next().context("stat")?;
    }
    Ok(ticks)
}

/// CPU time in hundredths of a second.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Ticks {
    own: u64,
    kernel: u64,
}

impl Ticks {
    /// The share of what has been spent since `before` that was the process' own.
    pub(crate) fn since(self, before: Self) -> f64 {
        let (own, kernel) = (self.own - before.own, self.kernel - before.kernel);
        own as f64 / (own + kernel).max(1) as f64
    }
}

/// Resident memory of these processes together.
pub(crate) fn rss_mb(pids: &[u32]) -> Result<f64> {
    let mut kilobytes = 0_u64;
    for pid in pids {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.trim().split(' ').next());
        kilobytes += number.and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(kilobytes as f64 / 1024.0)
}

/// The children of a process, for proxies that keep their work in one.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Moves this process, and all that it starts from now on, to one core.
pub(crate) fn pin_to_core(core: usize) -> Result<()> {
    let pid = std::process::id().to_string();
    let status =
        Command::new("taskset").args(["-a", "-c", "-p", &core.to_string(), &pid]).output()?;
    if !status.status.success() {
        bail!("this process cannot be moved to core {core}: a bench needs two cores");
    }
    Ok(())
}

/// The machine, in one line.
pub(crate) fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("?", |model| model.trim_start_matches([' ', '\t', ':']));
    let cores = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores, {model}, Linux {}", kernel.trim())
}

/// The first line that a program prints of its version.
pub(crate) fn version(program: &str, flag: &str) -> String {
    let Ok(output) = Command::new(program).arg(flag).output() else { return "?".to_owned() };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).lines().next().unwrap_or("?").to_owned()
}
