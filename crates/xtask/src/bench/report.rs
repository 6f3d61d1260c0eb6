//! The result of a bench: a table of medians and ratios, and all raw figures beside it.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::Result;

use super::{Bench, Sample, measure};

/// Writes `bench/results/DATE-LABEL.{md,json}`, and returns the table.
pub(crate) fn write(root: &Path, label: &str, bench: &Bench, samples: &[Sample]) -> Result<String> {
    let date = date();
    let mut text = format!("# Bench of {date}: {label}\n\n");
    let _ = writeln!(text, "Machine: {}.", measure::machine());
    let _ = writeln!(
        text,
        "Beside: {}; {}.",
        measure::version("nginx", "-v"),
        measure::version("haproxy", "-v")
    );
    let built = match &bench.binary {
        None => "as `cargo build --release` builds it".to_owned(),
        Some(path) => format!("the binary `{}`", path.display()),
    };
    let _ = writeln!(text, "Lockgate: {built}.");
    let _ = writeln!(
        text,
        "Each proxy with one worker on the first core; backend and load on the second. {} rounds \
         of {} s, interleaved; medians. CPU is user and system time of all threads, per request, \
         of which a part is the proxy's own code and the rest the kernel's; ×ng is the median of \
         the ratios to nginx in the same round.\n",
        bench.rounds, bench.seconds
    );
    text.push_str(&table(samples));
    if bench.tax {
        text.push_str(&tax(samples));
    }
    let results = root.join("bench/results");
    fs::create_dir_all(&results)?;
    fs::write(results.join(format!("{date}-{label}.md")), &text)?;
    let raw = serde_json::to_string_pretty(samples)?;
    fs::write(results.join(format!("{date}-{label}.json")), raw + "\n")?;
    Ok(text)
}

fn table(samples: &[Sample]) -> String {
    let mut text = String::from(
        "| load | proxy | CPU µs/request | of it own | ×ng | requests/s | p50 ms | p99 ms | RSS MB \
         | errors |\n|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for scenario in names(samples, |sample| sample.scenario) {
        for rival in names(samples, |sample| sample.rival) {
            let of = |rival: &str| -> Vec<&Sample> {
                let these = samples.iter();
                these.filter(|s| s.scenario == scenario && s.rival == rival).collect()
            };
            let own = of(rival);
            if own.is_empty() {
                continue;
            }
            let nginx = of("nginx");
            let ratios: Vec<f64> =
                own.iter().zip(&nginx).map(|(own, nginx)| own.cpu_us / nginx.cpu_us).collect();
            let figure = |pick: fn(&Sample) -> f64| median(own.iter().map(|s| pick(s)).collect());
            let errors: u64 = own.iter().map(|s| s.errors).sum();
            let _ = writeln!(
                text,
                "| {} | {rival} | {:.2} | {:.2} | {:.2} | {:.0} | {:.3} | {:.3} | {:.1} | {errors} |",
                scenario,
                figure(|s| s.cpu_us),
                figure(|s| s.own_us),
                median(ratios),
                figure(|s| s.per_second),
                figure(|s| s.p50_ms),
                figure(|s| s.p99_ms),
                figure(|s| s.rss_mb),
            );
        }
    }
    text
}

/// What each step costs over the bare proxy, in the same round.
fn tax(samples: &[Sample]) -> String {
    let mut text = String::from(
        "\n| policies | CPU µs over bare | of it own | requests per CPU second, × bare |\n\
         |---|---|---|---|\n",
    );
    let bare: Vec<&Sample> = samples.iter().filter(|s| s.rival == "bare").collect();
    for rival in names(samples, |sample| sample.rival) {
        let own: Vec<&Sample> = samples.iter().filter(|s| s.rival == rival).collect();
        let both = || own.iter().zip(&bare);
        let over = median(both().map(|(own, bare)| own.cpu_us - bare.cpu_us).collect());
        let own_over = median(both().map(|(own, bare)| own.own_us - bare.own_us).collect());
        let times = median(both().map(|(own, bare)| bare.cpu_us / own.cpu_us).collect());
        let _ = writeln!(text, "| {rival} | {over:+.2} | {own_over:+.2} | {times:.2} |");
    }
    text
}

/// The different names, in the order in which they come.
fn names(samples: &[Sample], name: fn(&Sample) -> &'static str) -> Vec<&'static str> {
    let mut all = Vec::new();
    for sample in samples {
        if !all.contains(&name(sample)) {
            all.push(name(sample));
        }
    }
    all
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_unstable_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

fn date() -> String {
    measure::version("date", "+%F")
}
