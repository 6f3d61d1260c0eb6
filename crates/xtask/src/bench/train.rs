//! The loads that a profile is made of: what gateways mostly do, each for the same time, with a
//! binary that counts.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use super::load::Load;
use super::rivals::{self, Make, RESILIENT, Rival, Setup};
use super::{backend, tax};

/// What the configurations of the comparison and of the tax leave out.
const EDGE: Setup = Setup {
    name: "train-edge",
    upstream: "retry: { attempts: 0 }\n    health: off\n    balance: peak_ewma",
    sections: "",
    policies: "    compress: { min_size: 128B, types: [\"application/*\"] }
    ip_filter: { deny: [10.0.0.0/8] }
    limits: { body: 1MB, headers: 60, uri: 4KB }
    rate_limit: [{ limit: 1000000000/min, by: \"header:origin\", algorithm: token_bucket }]
    concurrency: { limit: 4096 }
    headers: { request: { set: { X-Seen-As: \"${ip} ${method} ${route}\" } } }
",
    ..Setup::BARE
};

const TRAINED: [(&str, Make, &[Load]); 4] = [
    (
        "bare",
        |lockgate, dir, ports| {
            Setup { name: "train-bare", ..Setup::BARE }.command(lockgate, dir, ports)
        },
        &[
            Load::wrk("/1k", 64),
            Load::wrk_post("/1k", 64),
            Load::wrk("/100k", 16),
            Load::wrk_tls("/1k", 64),
            Load::H2 { path: "/1k", connections: 16, streams: 8 },
        ],
    ),
    ("all", tax::ALL, &[tax::SCENARIOS[0].load]),
    ("cache", tax::CACHE, &[tax::SCENARIOS[0].load, Load::wrk_tls("/1k", 64)]),
    (
        "edge",
        |lockgate, dir, ports| {
            Setup { upstream: RESILIENT, log: true, ..EDGE }.command(lockgate, dir, ports)
        },
        &[
            Load::wrk_with(
                "/1k",
                64,
                &[
                    ("Accept-Encoding", "gzip"),
                    ("Origin", "https://app.example"),
                    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101"),
                    ("Cookie", "session=0123456789abcdef; theme=dark"),
                    ("X-Forwarded-For", "203.0.113.7"),
                    ("X-Custom", "a value that only this client has"),
                ],
            ),
            Load::H2 { path: "/1k", connections: 16, streams: 8 },
        ],
    ),
];

/// Puts a binary that counts through all of it. What it counts, it writes when it ends.
pub(crate) fn train(lockgate: &Path, dir: &Path, each: Duration) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    rivals::certificate(dir)?;
    let backend = backend::start()?;
    for (name, make, loads) in TRAINED {
        for rival in Rival::start_all(&[(name, make)], lockgate, dir, backend.port)? {
            for load in loads {
                let Some(port) = rival.port_for(load).filter(|_| rival.is_proxy()) else {
                    continue;
                };
                let result = load.run(port, each, dir)?;
                println!("{name:8} {}: {} requests", load.path(), result.requests);
                if result.errors > 0 {
                    bail!("{} of them failed: that is not what gateways mostly do", result.errors);
                }
            }
            rival.end()?;
        }
    }
    Ok(())
}
