//! The load: wrk and h2load at saturation, and a generator of our own at a fixed rate.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::Instant;

/// A kind of load.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Load {
    /// HTTP/1.1, as much as goes.
    Wrk { path: &'static str, connections: usize, post: bool, tls: bool, headers: Headers },
    /// HTTP/2 over TLS, as much as goes.
    H2 { path: &'static str, connections: usize, streams: usize },
    /// HTTP/1.1, so many requests a second, evenly spread.
    Rate { path: &'static str, connections: usize, per_second: u32 },
}

/// Header lines that every request bears.
pub(crate) type Headers = &'static [(&'static str, &'static str)];

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) took: Duration,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

impl Load {
    pub(crate) const fn wrk(path: &'static str, connections: usize) -> Self {
        Self::Wrk { path, connections, post: false, tls: false, headers: &[] }
    }

    pub(crate) const fn wrk_with(path: &'static str, connections: usize, headers: Headers) -> Self {
        Self::Wrk { path, connections, post: false, tls: false, headers }
    }

    pub(crate) const fn wrk_post(path: &'static str, connections: usize) -> Self {
        Self::Wrk { path, connections, post: true, tls: false, headers: &[] }
    }

    pub(crate) const fn wrk_tls(path: &'static str, connections: usize) -> Self {
        Self::Wrk { path, connections, post: false, tls: true, headers: &[] }
    }

    pub(crate) fn path(&self) -> &'static str {
        match *self {
            Self::Wrk { path, .. } | Self::H2 { path, .. } | Self::Rate { path, .. } => path,
        }
    }

    pub(crate) fn tls(&self) -> bool {
        matches!(self, Self::Wrk { tls: true, .. } | Self::H2 { .. })
    }

    /// Runs it for so long against a port of the loopback.
    pub(crate) fn run(&self, port: u16, time: Duration, dir: &Path) -> Result<Outcome> {
        match *self {
            Self::Wrk { path, connections, post, tls, headers } => {
                let scheme = if tls { "https" } else { "http" };
                let url = format!("{scheme}://127.0.0.1:{port}{path}");
                wrk(&url, connections, &script(post, headers), time, dir)
            }
            Self::H2 { path, connections, streams } => {
                h2load(&format!("https://127.0.0.1:{port}{path}"), connections, streams, time)
            }
            Self::Rate { path, connections, per_second } => {
                at_rate(port, path, connections, per_second, time)
            }
        }
    }
}

const REPORT: &str = "
done = function(summary, latency, requests)
  local e = summary.errors
  print(string.format('RESULT %d %d %d %d %d', summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
";

fn script(post: bool, headers: Headers) -> String {
    let mut script = REPORT.to_owned();
    if post {
        script.push_str("wrk.method = 'POST'\nwrk.body = string.rep('x', 1024)\n");
    }
    for (name, value) in headers {
        script.push_str(&format!("wrk.headers['{name}'] = '{value}'\n"));
    }
    script
}

fn wrk(url: &str, connections: usize, script: &str, time: Duration, dir: &Path) -> Result<Outcome> {
    let file = dir.join("load.lua");
    std::fs::write(&file, script)?;
    // wrk takes whole seconds.
    let seconds = time.as_secs().max(1);
    let output = Command::new("wrk")
        .args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "-s"])
        .arg(&file)
        .arg(url)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("RESULT "));
    let numbers: Vec<u64> =
        line.unwrap_or_default().split(' ').filter_map(|n| n.parse().ok()).collect();
    let [requests, micros, p50, p99, errors] = numbers[..] else {
        bail!("wrk: {text}{}", String::from_utf8_lossy(&output.stderr));
    };
    Ok(Outcome {
        requests,
        errors,
        took: Duration::from_micros(micros),
        p50_ms: p50 as f64 / 1e3,
        p99_ms: p99 as f64 / 1e3,
    })
}

fn h2load(url: &str, connections: usize, streams: usize, time: Duration) -> Result<Outcome> {
    let seconds = time.as_secs().max(1);
    let output = Command::new("h2load")
        .args(["-t1", "-c", &connections.to_string(), "-m", &streams.to_string()])
        .args(["-D", &seconds.to_string(), url])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let field = |name: &str, after: &str| -> Option<f64> {
        let line = text.lines().find(|line| line.starts_with(name))?;
        let (_, rest) = line.split_once(after)?;
        let digits: String =
            rest.trim().chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        digits.parse().ok()
    };
    let done = field("requests:", "started,").context("h2load printed no requests")?;
    let failed = field("requests:", "succeeded,").unwrap_or(0.0);
    Ok(Outcome {
        requests: done as u64,
        errors: failed as u64,
        took: Duration::from_secs(seconds),
        p50_ms: 0.0,
        p99_ms: 0.0,
    })
}

/// Sends so many requests a second, spread evenly over connections that each have a thread and a
/// beat of their own: one that is late for its beat counts as an error and skips it. The latency is
/// from the write to the last byte.
fn at_rate(
    port: u16,
    path: &str,
    connections: usize,
    per_second: u32,
    time: Duration,
) -> Result<Outcome> {
    let beat = Duration::from_secs(connections as u64) / per_second;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    let begun = Instant::now() + Duration::from_millis(50);
    let threads: Vec<_> = (0..connections)
        .map(|number| {
            let first = begun + beat * u32::try_from(number).unwrap_or(0) / connections as u32;
            let request = request.clone();
            std::thread::spawn(move || keep_the_beat(port, &request, first, beat, time))
        })
        .collect();
    let (mut all, mut errors) = (Vec::new(), 0);
    for thread in threads {
        let (latencies, late) = thread.join().map_err(|_| anyhow::anyhow!("a load thread"))??;
        all.extend(latencies);
        errors += late;
    }
    all.sort_unstable();
    let at = |share: f64| {
        let place = (all.len() as f64 * share) as usize;
        all.get(place).map_or(0.0, |latency: &Duration| latency.as_secs_f64() * 1e3)
    };
    Ok(Outcome {
        requests: all.len() as u64,
        errors,
        took: time,
        p50_ms: at(0.5),
        p99_ms: at(0.99),
    })
}

fn keep_the_beat(
    port: u16,
    request: &str,
    first: Instant,
    beat: Duration,
    time: Duration,
) -> Result<(Vec<Duration>, u64)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let (mut next, mut latencies, mut late) = (first, Vec::new(), 0);
    let mut buffer = vec![0; 256 << 10];
    while next < first + time {
        let now = Instant::now();
        if now > next + beat {
            late += 1;
        } else {
            std::thread::sleep(next.saturating_duration_since(now));
            let sent = Instant::now();
            exchange(&mut stream, request.as_bytes(), &mut buffer)?;
            latencies.push(sent.elapsed());
        }
        next += beat;
    }
    Ok((latencies, late))
}

fn exchange(stream: &mut TcpStream, request: &[u8], buffer: &mut [u8]) -> Result<()> {
    stream.write_all(request)?;
    let (mut filled, mut whole) = (0, None);
    while whole.is_none_or(|whole| filled < whole) {
        let room = buffer.get_mut(filled..).context("an answer that is too long")?;
        match stream.read(room)? {
            0 => bail!("closed"),
            more => filled += more,
        }
        let read = buffer.get(..filled).unwrap_or_default();
        if whole.is_none() {
            whole = length(read)?;
        }
    }
    Ok(())
}

/// The length of the whole answer, once its head is there.
fn length(read: &[u8]) -> Result<Option<usize>> {
    let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(read.get(..end).unwrap_or_default()).to_lowercase();
    let body = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|value| value.trim().parse::<usize>().ok())
        .context("an answer without a length")?;
    Ok(Some(end + 4 + body))
}
