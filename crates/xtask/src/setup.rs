//! What the tests need beside Rust: a few programs from the system's packages. As root they are
//! installed; otherwise the exact command is printed, and nothing is changed.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// A program, and the Debian and Ubuntu package that brings it.
const TOOLS: [(&str, &str); 11] = [
    ("chromedriver", "chromium-driver"),
    ("chromium", "chromium"),
    ("curl", "curl"),
    ("etcd", "etcd-server"),
    // What gateways are put below, in a cluster.
    ("haproxy", "haproxy"),
    ("nginx", "nginx-light"),
    // With it comes `node`.
    ("npm", "npm"),
    ("openssl", "openssl"),
    // With it comes `promtool`.
    ("prometheus", "prometheus"),
    ("python3", "python3-venv"),
    // Sentinel is the same program.
    ("redis-server", "redis-server"),
];

/// A tool that is asked for unless the variable is 1: its tests are skipped then.
const OPTIONAL: [(&str, &str); 2] =
    [("npm", "LOCKGATE_SKIP_OIDC"), ("python3", "LOCKGATE_SKIP_OTLP")];

/// Makes sure of every tool.
///
/// # Errors
/// When some are missing and cannot be installed: the command that does.
pub(crate) fn tools() -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where servers are, and a user's path does not lead.
    let usual = std::path::PathBuf::from("/usr/sbin");
    let folders: Vec<_> = std::env::split_paths(&path).chain([usual]).collect();
    let missing = packages(|tool| {
        is_waived(tool) || folders.iter().any(|folder| folder.join(tool).is_file())
    });
    if missing.is_empty() {
        println!("nothing is missing");
        return Ok(());
    }
    let install = format!("apt-get install -y --no-install-recommends {}", missing.join(" "));
    println!("missing packages: {}", missing.join(", "));
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("there is no apt-get here; install what brings {}", missing.join(", "));
    }
    if !is_root() {
        bail!("run this and try again:\n    sudo apt-get update && sudo {install}");
    }
    run("apt-get update")?;
    run(&install)
}

/// Whether whoever runs the tests has said that this tool need not be there.
fn is_waived(tool: &str) -> bool {
    let variable = OPTIONAL.iter().find(|(optional, _)| *optional == tool);
    variable.is_some_and(|(_, name)| std::env::var_os(name).is_some_and(|value| value == "1"))
}

/// The packages of the tools that are not there.
fn packages(is_there: impl Fn(&str) -> bool) -> Vec<&'static str> {
    TOOLS.iter().filter(|(tool, _)| !is_there(tool)).map(|(_, package)| *package).collect()
}

/// The OpenID provider that tests run against, from npm into `target/oidc`. Where there is no npm
/// those tests fail, unless `LOCKGATE_SKIP_OIDC=1` lets them be skipped.
///
/// # Errors
/// When npm is there and cannot install it.
pub(crate) fn provider(root: &Path) -> Result<()> {
    let (from, home) = (root.join("crates/gateway/tests/oidc"), root.join("target/oidc"));
    let wanted = std::fs::read_to_string(from.join("package.json"))?;
    let manifest = home.join("package.json");
    let is_there = home.join("node_modules/oidc-provider").is_dir();
    if is_there && std::fs::read_to_string(&manifest).is_ok_and(|there| there == wanted) {
        println!("the OpenID provider is there");
        return Ok(());
    }
    if Command::new("npm").arg("--version").output().is_err() {
        println!(
            "**** there is no npm: the tests against a real OpenID provider fail, unless \
             LOCKGATE_SKIP_OIDC=1 lets them be skipped ****"
        );
        return Ok(());
    }
    std::fs::create_dir_all(&home)?;
    std::fs::write(&manifest, wanted)?;
    let install = ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"];
    let status = Command::new("npm").args(install).current_dir(&home).status()?;
    if !status.success() {
        bail!("npm cannot install the OpenID provider into {}", home.display());
    }
    Ok(())
}

/// What the OTLP collector of the tests stands on, from PyPI into `target/otlp`. Where there is no
/// Python with `venv` those tests fail, unless `LOCKGATE_SKIP_OTLP=1` lets them be skipped.
///
/// # Errors
/// When Python is there and pip cannot install it.
pub(crate) fn collector(root: &Path) -> Result<()> {
    let home = root.join("target/otlp");
    let requirements = root.join("crates/gateway/tests/otlp/requirements.txt");
    let (wanted, installed) =
        (std::fs::read_to_string(&requirements)?, home.join("requirements.txt"));
    if std::fs::read_to_string(&installed).is_ok_and(|there| there == wanted) {
        println!("the OTLP collector is there");
        return Ok(());
    }
    let made = Command::new("python3").args(["-m", "venv"]).arg(&home).status();
    if !made.is_ok_and(|status| status.success()) {
        println!(
            "**** there is no python3 with venv: the tests against a collector fail, unless \
             LOCKGATE_SKIP_OTLP=1 lets them be skipped ****"
        );
        return Ok(());
    }
    let status = Command::new(home.join("bin/pip"))
        .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
        .arg(&requirements)
        .status()?;
    if !status.success() {
        bail!("pip cannot install the OTLP collector into {}", home.display());
    }
    std::fs::write(installed, wanted)?;
    Ok(())
}

fn is_root() -> bool {
    let answer = Command::new("id").arg("-u").output();
    answer.is_ok_and(|answer| answer.stdout.trim_ascii() == b"0")
}

fn run(line: &str) -> Result<()> {
    println!("$ {line}");
    let mut words = line.split(' ');
    let program = words.next().context("an empty command")?;
    let status = Command::new(program)
        .args(words)
        .env("DEBIAN_FRONTEND", "noninteractive")
        // Packages that bring a daemon must not start it.
        .env("RUNLEVEL", "1")
        .status()?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::packages;

    #[test]
    fn only_what_is_missing_is_installed() {
        assert_eq!(packages(|_| true), [""; 0]);
        let all_but = packages(|tool| tool == "curl" || tool.starts_with("chrom"));
        assert_eq!(
            all_but,
            [
                "etcd-server",
                "haproxy",
                "nginx-light",
                "npm",
                "openssl",
                "prometheus",
                "python3-venv",
                "redis-server"
            ]
        );
    }
}
