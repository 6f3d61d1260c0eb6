//! What the kernel tells of the process, under the names that dashboards expect. On a system
//! without `/proc` these metrics are absent.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use super::encoder::Encoder;
use super::names;

/// Linux reports processor time to user space in hundredths of a second on all architectures.
const TICKS_PER_SECOND: f64 = 100.0;

pub(super) fn collect(out: &mut Encoder, started: SystemTime) {
    out.number(&names::PROCESS_START, &[], unix_seconds(started));
    if let Some(ticks) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(cpu_ticks) {
        out.number(&names::PROCESS_CPU, &[], ticks as f64 / TICKS_PER_SECOND);
    }
    let status = fs::read_to_string("/proc/self/status");
    if let Some(bytes) = status.ok().as_deref().and_then(resident_bytes) {
        out.count(&names::PROCESS_MEMORY, &[], bytes);
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        out.count(&names::PROCESS_FDS, &[], files.count() as u64);
    }
}

pub(super) fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Fields 14 and 15 of proc(5) `stat`, counted after the name, which may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read_by_their_fields() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 31 11 0 0";
        assert_eq!(cpu_ticks(stat), Some(42));
        assert_eq!(cpu_ticks("7 (x) S 1"), None);
        assert_eq!(resident_bytes("VmPeak: 9 kB\nVmRSS:\t    12 kB\n"), Some(12_288));
        assert_eq!(resident_bytes("VmPeak: 9 kB\n"), None);
    }
}
