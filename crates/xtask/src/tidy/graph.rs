//! What the lock file brings: how many packages in all, and none of the banned ones in the graph
//! that the default build links.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use super::Violation;

/// Most packages in the lock file.
const BUDGET: usize = 450;

/// Packages that the default build must not link, and why.
const BANNED: [(&str, &str); 8] = [
    ("ring", "there is one crypto provider, aws-lc-rs"),
    ("openssl", "there is one crypto provider, aws-lc-rs"),
    ("openssl-sys", "there is one crypto provider, aws-lc-rs"),
    ("native-tls", "there is one TLS, rustls"),
    ("reqwest", "calls go out through the upstream client"),
    ("rustls-pemfile", "it is unmaintained: rustls-pki-types reads PEM"),
    ("serde_yaml", "it is unmaintained: saphyr-parser reads YAML"),
    ("serde_yml", "it is unsound: saphyr-parser reads YAML"),
];

/// Counts the packages of a lock file.
pub(super) fn budget(file: &Path, lock: &str) -> Vec<Violation> {
    let lines = lock.lines().enumerate().filter(|(_, line)| *line == "[[package]]");
    let lines: Vec<usize> = lines.map(|(number, _)| number + 1).collect();
    match lines.get(BUDGET) {
        None => Vec::new(),
        Some(line) => vec![Violation::new(
            file,
            *line,
            format!(
                "{} packages, where {BUDGET} are the budget: see `cargo tree --duplicates` and \
                 features that are not needed",
                lines.len()
            ),
        )],
    }
}

/// Asks cargo for what the binary `lockgate` links by default, and looks for banned packages. (The
/// lock file itself also names what no feature that is on asks for.)
pub(super) fn bans(root: &Path) -> Result<Vec<Violation>> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let answer = Command::new(program)
        .args(["tree", "--locked", "--package", "lockgate", "--edges", "normal,build"])
        .args(["--prefix", "none", "--format", "{p}"])
        .current_dir(root)
        .output()?;
    if !answer.status.success() {
        bail!("cargo tree: {}", String::from_utf8_lossy(&answer.stderr).trim());
    }
    Ok(banned(Path::new("Cargo.lock"), &String::from_utf8_lossy(&answer.stdout)))
}

/// `tree` has one package on each line, its name first.
fn banned(file: &Path, tree: &str) -> Vec<Violation> {
    let linked: HashSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    let found = BANNED.iter().filter(|(name, _)| linked.contains(name));
    let violation = |(name, why): &(&str, &str)| {
        let what = format!("`{name}` is linked by default, but {why}; see `cargo tree -i {name}`");
        Violation::new(file, 1, what)
    };
    found.map(violation).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_over_the_budget_is_found() {
        let lock = "[[package]]\nname = \"x\"\n\n".repeat(BUDGET);
        assert_eq!(budget(Path::new("l"), &lock), []);
        let found = budget(Path::new("l"), &format!("{lock}[[package]]\n"));
        assert_eq!(found[0].line, BUDGET * 3 + 1);
        assert!(found[0].what.contains("451"));
    }

    #[test]
    fn a_banned_package_is_found_by_its_whole_name() {
        let found = banned(Path::new("l"), "lockgate v0.1.0 (/x)\nring v0.17.14\nring v0.17.14\n");
        assert_eq!(found.len(), 1);
        assert!(found[0].what.contains("`ring`"));
        assert_eq!(banned(Path::new("l"), "lockgate v0.1.0 (/x)\nstring v1.0.0 (*)\n"), []);
    }
}
