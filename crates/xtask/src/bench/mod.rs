//! `cargo xtask bench`: Lockgate beside nginx and HAProxy in one run, interleaved, as ratios.
//!
//! Each proxy is pinned to the first core with one worker; the backend and the load share the
//! second. The main figure is CPU time per request, of all threads of the proxy; what holds from
//! one machine to the next is its ratio to nginx in the same round. No figure decides a test.

mod backend;
mod load;
mod measure;
mod report;
mod rivals;
mod tax;
mod train;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use load::Load;
use rivals::Rival;

pub(crate) use train::train;

/// Measure Lockgate beside nginx and HAProxy
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask bench                    everything, about 12 minutes
  cargo xtask bench --rounds 3 --seconds 3 --only get-1k
  cargo xtask bench --tax              what each policy costs, about 3 minutes
  cargo xtask bench --binary target/released/lockgate
Needs nginx, haproxy, wrk, h2load, taskset and openssl:
  apt-get install nginx-light haproxy wrk nghttp2-client util-linux openssl")]
pub(crate) struct Bench {
    /// Rounds of each scenario; the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load for each proxy and round
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Only scenarios whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// What policies cost: Lockgate bare, and with more and more of them
    #[arg(long)]
    tax: bool,
    /// Measure this binary of Lockgate, and not one that is built now
    #[arg(long)]
    binary: Option<PathBuf>,
    /// A word for the result's file name
    #[arg(long, default_value = "bench")]
    label: String,
    /// Already built for release: measure (used by the command itself)
    #[arg(long, hide = true)]
    inner: bool,
}

/// One kind of load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) load: Load,
}

const SCENARIOS: [Scenario; 7] = [
    Scenario { name: "get-1k-64", load: Load::wrk("/1k", 64) },
    Scenario { name: "get-1k-1000", load: Load::wrk("/1k", 1000) },
    Scenario { name: "post-1k-64", load: Load::wrk_post("/1k", 64) },
    Scenario { name: "get-100k-64", load: Load::wrk("/100k", 64) },
    Scenario { name: "tls-get-1k-64", load: Load::wrk_tls("/1k", 64) },
    Scenario { name: "h2-get-1k", load: Load::H2 { path: "/1k", connections: 16, streams: 8 } },
    Scenario {
        name: "rate-10k",
        load: Load::Rate { path: "/1k", connections: 64, per_second: 10_000 },
    },
];

/// One measurement of one proxy in one round.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Sample {
    pub(crate) scenario: &'static str,
    pub(crate) rival: &'static str,
    pub(crate) round: usize,
    /// CPU microseconds per request, user and system, all threads.
    pub(crate) cpu_us: f64,
    /// The part of it that is the proxy's own code and not the kernel's.
    pub(crate) own_us: f64,
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Resident memory right after the load, MB, all processes of the proxy.
    pub(crate) rss_mb: f64,
}

impl Bench {
    pub(crate) fn run(&self, root: &Path) -> Result<()> {
        if !self.inner {
            return self.in_release(root);
        }
        need("nginx")?;
        need("haproxy")?;
        tools()?;
        let dir = root.join("target/bench");
        std::fs::create_dir_all(&dir)?;
        rivals::certificate(&dir)?;
        measure::pin_to_core(1)?;
        let backend = backend::start()?;
        let makes = if self.tax { tax::RIVALS } else { rivals::ALL };
        let rivals = Rival::start_all(makes, &self.lockgate(root), &dir, backend.port)?;
        let mut samples = Vec::new();
        for scenario in self.scenarios().iter().filter(|s| s.name.contains(&self.only)) {
            for round in 0..self.rounds {
                for rival in &rivals {
                    let Some(port) = rival.port_for(&scenario.load) else { continue };
                    let sample = self.measure(scenario, round, rival, port, &dir)?;
                    println!(
                        "{:14} round {round}  {:20} {:7.2} µs/req {:9.0} req/s  p50 {:.3} ms",
                        sample.scenario,
                        sample.rival,
                        sample.cpu_us,
                        sample.per_second,
                        sample.p50_ms
                    );
                    samples.push(sample);
                }
            }
        }
        let text = report::write(root, &self.label, self, &samples)?;
        println!("\n{text}");
        Ok(())
    }

    fn lockgate(&self, root: &Path) -> PathBuf {
        let built = || root.join("target/release/lockgate");
        self.binary.clone().unwrap_or_else(built)
    }

    fn scenarios(&self) -> &'static [Scenario] {
        if self.tax { &tax::SCENARIOS } else { &SCENARIOS }
    }

    /// The load generator and the backend must not be slower than what they measure.
    fn in_release(&self, root: &Path) -> Result<()> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = vec!["build", "--release", "-p", "xtask"];
        if self.binary.is_none() {
            build.extend(["-p", "lockgate"]);
        }
        let status = Command::new(cargo).args(build).current_dir(root).status()?;
        if !status.success() {
            bail!("the release build failed");
        }
        let status = Command::new(root.join("target/release/xtask"))
            .args(["bench", "--inner", "--label", &self.label, "--only", &self.only])
            .args(self.tax.then_some("--tax"))
            .args(self.binary.iter().flat_map(|path| [Path::new("--binary"), path]))
            .args(["--rounds", &self.rounds.to_string()])
            .args(["--seconds", &self.seconds.to_string()])
            .current_dir(root)
            .status()?;
        if !status.success() {
            bail!("the measurement failed");
        }
        Ok(())
    }

    fn measure(
        &self,
        scenario: &Scenario,
        round: usize,
        rival: &Rival,
        port: u16,
        dir: &Path,
    ) -> Result<Sample> {
        let time = Duration::from_secs(self.seconds);
        // The first connections warm pools and branch predictors.
        scenario.load.run(port, Duration::from_millis(500), dir)?;
        let (before, ticks) = (measure::cpu(&rival.pids())?, measure::ticks(&rival.pids())?);
        let result = scenario
            .load
            .run(port, time, dir)
            .with_context(|| format!("{} against {}", scenario.name, rival.name))?;
        let spent = measure::cpu(&rival.pids())? - before;
        let share = measure::ticks(&rival.pids())?.since(ticks);
        let requests = result.requests.max(1);
        let cpu_us = spent.as_secs_f64() * 1e6 / requests as f64;
        Ok(Sample {
            scenario: scenario.name,
            rival: rival.name,
            round,
            cpu_us,
            own_us: cpu_us * share,
            requests: result.requests,
            errors: result.errors,
            per_second: requests as f64 / result.took.as_secs_f64(),
            p50_ms: result.p50_ms,
            p99_ms: result.p99_ms,
            rss_mb: measure::rss_mb(&rival.pids())?,
        })
    }
}

/// What makes the load.
pub(crate) fn tools() -> Result<()> {
    ["wrk", "h2load", "taskset", "openssl"].into_iter().try_for_each(|tool| need(tool).map(drop))
}

fn need(tool: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    places.push("/usr/sbin".into());
    let found = places.into_iter().map(|dir| dir.join(tool)).find(|file| file.is_file());
    found.with_context(|| {
        format!(
            "{tool} is missing: apt-get install nginx-light haproxy wrk nghttp2-client \
             util-linux openssl"
        )
    })
}
