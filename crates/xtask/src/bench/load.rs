//! The load: wrk and h2load at saturation, and a generator of our own at a fixed rate.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// A kind of load.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Load {
    /// HTTP/1.1, as much as goes.
    Wrk { path: &'static str, connections: usize, post: bool, tls: bool, headers: Headers },
    /// HTTP/2 over TLS, as much as goes.
    H2 { path: &'static str, connections: usize, streams: usize },
    /// HTTP/1.1, so many requests at each millisecond.
    Rate { path: &'static str, connections: usize, per_ms: usize },
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
            Self::Rate { path, connections, per_ms } => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, at_rate(port, path, connections, per_ms, time))
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

/// Sends `per_ms` requests at each millisecond, each on a connection that is free; one that finds
/// none counts as an error. The latency is from the write to the last byte.
async fn at_rate(
    port: u16,
    path: &str,
    connections: usize,
    per_ms: usize,
    time: Duration,
) -> Result<Outcome> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    let (free, mut frees) = mpsc::channel(connections);
    let (times, mut latencies) = mpsc::channel(1 << 20);
    for _ in 0..connections {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        free.send(stream).await?;
    }
    let begun = Instant::now();
    let mut ticks = interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut errors = 0;
    while begun.elapsed() < time {
        ticks.tick().await;
        for _ in 0..per_ms {
            let Ok(mut stream) = frees.try_recv() else {
                errors += 1;
                continue;
            };
            let (free, times, request) = (free.clone(), times.clone(), request.clone());
            tokio::task::spawn_local(async move {
                let sent = Instant::now();
                if exchange(&mut stream, request.as_bytes()).await.is_ok() {
                    let _ = times.try_send(sent.elapsed());
                    let _ = free.try_send(stream);
                }
            });
        }
    }
    let took = begun.elapsed();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let mut all = Vec::new();
    while let Ok(latency) = latencies.try_recv() {
        all.push(latency);
    }
    all.sort_unstable();
    let at = |share: f64| {
        let place = (all.len() as f64 * share) as usize;
        all.get(place).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
    };
    Ok(Outcome { requests: all.len() as u64, errors, took, p50_ms: at(0.5), p99_ms: at(0.99) })
}

async fn exchange(stream: &mut TcpStream, request: &[u8]) -> Result<()> {
    stream.write_all(request).await?;
    let mut buffer = Vec::with_capacity(4096);
    let head = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            bail!("closed");
        }
    };
    let text = String::from_utf8_lossy(buffer.get(..head).unwrap_or_default()).to_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|value| value.trim().parse::<usize>().ok())
        .context("an answer without a length")?;
    while buffer.len() < head + length {
        if stream.read_buf(&mut buffer).await? == 0 {
            bail!("closed");
        }
    }
    Ok(())
}
