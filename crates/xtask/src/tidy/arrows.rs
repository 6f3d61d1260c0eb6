//! The never-arrows: which room may import which, and which of them alone may name a library.

use super::Violation;
use super::manifest::{Dependency, Manifest, When};

/// Each room, and the rooms that it may import. A room that may import all says `*`.
const ROOMS: [(&str, &[&str]); 14] = [
    ("core", &[]),
    ("config", &["core"]),
    ("state", &["core"]),
    ("plugins", &["core"]),
    ("net", &["core", "config"]),
    ("telemetry", &["core", "config"]),
    ("upstream", &["core", "config", "net"]),
    ("monitor", &["core", "config", "net", "upstream", "telemetry"]),
    ("proxy", &["core", "config", "net", "upstream", "telemetry"]),
    ("admin", &["core", "config", "state", "upstream", "proxy", "telemetry", "monitor"]),
    ("gateway", &["*"]),
    ("testkit", &[]),
    ("xtask", &["*"]),
    ("bench", &["*"]),
];

/// A library, the rooms that may name it, and those that may in their tests alone.
struct Owned {
    names: &'static [&'static str],
    by: &'static [&'static str],
    in_tests: &'static [&'static str],
    why: &'static str,
}

const OWNED: [Owned; 4] = [
    Owned { names: &["redis"], by: &["state"], in_tests: &[], why: "stores are traits of `core`" },
    Owned {
        names: &[
            "opentelemetry",
            "opentelemetry-otlp",
            "opentelemetry_sdk",
            "tracing-opentelemetry",
        ],
        by: &["telemetry"],
        in_tests: &[],
        why: "the rest of the gateway knows spans, not exporters",
    },
    Owned {
        names: &["saphyr-parser", "serde-saphyr", "serde_yaml", "serde_yml", "yaml-rust2"],
        by: &["config"],
        in_tests: &["plugins"],
        why: "a document has one reader, which keeps positions",
    },
    Owned {
        names: &["rustls", "tokio-rustls", "rustls-native-certs", "quinn", "h3", "h3-quinn"],
        by: &["net", "testkit"],
        in_tests: &["gateway", "upstream", "proxy", "admin"],
        why: "TLS and QUIC are spoken in one place, with one provider",
    },
];

/// What policies must not link, not even in their tests: their tests take seconds because of it.
const HEAVY: [&str; 9] =
    ["hyper", "hyper-util", "h2", "axum", "quinn", "rustls", "tokio-rustls", "redis", "reqwest"];

/// Holds all rooms to the arrows.
pub(super) fn check(manifests: &[Manifest]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for manifest in manifests {
        let Some((_, allowed)) = ROOMS.iter().find(|(room, _)| *room == manifest.room) else {
            let what = "a new room: say in crates/xtask/src/tidy/arrows.rs what it may import";
            violations.push(Violation::new(&manifest.file, 1, what));
            continue;
        };
        for dependency in &manifest.dependencies {
            let broken = ours(&manifest.room, allowed, dependency)
                .or_else(|| owned(&manifest.room, dependency))
                .or_else(|| heavy(&manifest.room, dependency));
            if let Some(what) = broken {
                violations.push(Violation::new(&manifest.file, dependency.line, what));
            }
        }
    }
    violations
}

fn ours(room: &str, allowed: &[&str], dependency: &Dependency) -> Option<String> {
    let other = match dependency.name.as_str() {
        "lockgate" => "gateway",
        "xtask" => "xtask",
        name => name.strip_prefix("lockgate-")?,
    };
    let in_tests = dependency.when == When::Tests;
    // Tests may stand on what the gateway would put there, but a policy's tests stay small.
    // They may have the real store, which is memory and links as little as they do.
    let small = (room, other) == ("plugins", "state");
    if in_tests && (small || other == "testkit" || !matches!(room, "core" | "plugins")) {
        return None;
    }
    if other != "testkit" && (allowed.contains(&other) || allowed.contains(&"*")) {
        return None;
    }
    let may = if allowed.is_empty() { "nothing of ours".to_owned() } else { allowed.join(", ") };
    Some(format!(
        "`{room}` must not import `{other}` (it may import {may}): move what is needed down into \
         `core`, or hand it in as a trait or a slice"
    ))
}

fn owned(room: &str, dependency: &Dependency) -> Option<String> {
    let rule = OWNED.iter().find(|rule| rule.names.contains(&dependency.name.as_str()))?;
    let in_tests = dependency.when == When::Tests && rule.in_tests.contains(&room);
    if rule.by.contains(&room) || in_tests {
        return None;
    }
    let (name, by) = (&dependency.name, rule.by.join(", "));
    Some(format!("`{room}` must not name `{name}`, only {by} may: {}", rule.why))
}

fn heavy(room: &str, dependency: &Dependency) -> Option<String> {
    let light = matches!(room, "core" | "plugins") && HEAVY.contains(&dependency.name.as_str());
    light.then(|| format!("`{room}` must not link `{}`, not even in tests", dependency.name))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::manifest;
    use super::*;

    fn broken(room: &str, text: &str) -> Vec<(usize, String)> {
        let manifest = manifest::read(room, Path::new("Cargo.toml"), text).unwrap();
        check(&[manifest]).into_iter().map(|v| (v.line, v.what)).collect()
    }

    #[test]
    fn what_the_house_forbids_is_found_with_its_line() {
        for (room, text) in [
            ("core", "[dependencies]\nlockgate-config.workspace = true\n"),
            ("core", "[dev-dependencies]\nhyper = \"1\"\n"),
            ("plugins", "[dependencies]\nlockgate-net.workspace = true\n"),
            ("plugins", "[dev-dependencies]\nlockgate-proxy.workspace = true\n"),
            ("plugins", "[dependencies]\nlockgate-state.workspace = true\n"),
            ("state", "[dependencies]\nlockgate-config.workspace = true\n"),
            ("net", "[dependencies]\nlockgate-upstream.workspace = true\n"),
            ("net", "[dependencies]\nlockgate-proxy.workspace = true\n"),
            ("upstream", "[dependencies]\nlockgate-proxy.workspace = true\n"),
            ("upstream", "[dependencies]\nrustls.workspace = true\n"),
            ("proxy", "[dependencies]\nlockgate-admin.workspace = true\n"),
            ("proxy", "[dependencies]\nlockgate-plugins.workspace = true\n"),
            ("proxy", "[dependencies]\nlockgate-testkit.workspace = true\n"),
            ("gateway", "[dependencies]\nlockgate-testkit.workspace = true\n"),
            ("gateway", "[dependencies]\nredis = \"1\"\n"),
            ("proxy", "[build-dependencies]\nopentelemetry = \"1\"\n"),
            ("admin", "[target.'cfg(unix)'.dependencies]\nserde_yaml = \"0.9\"\n"),
            ("proxy", "[dependencies]\ntls = { package = \"rustls\", version = \"0.23\" }\n"),
            ("proxy", "[dependencies.rustls]\nversion = \"0.23\"\n"),
        ] {
            let found = broken(room, text);
            assert_eq!(found.len(), 1, "{room}: {text}");
            let line = if text.contains("dependencies.rustls") { 1 } else { 2 };
            assert_eq!(found[0].0, line, "{text}");
        }
        assert_eq!(broken("wasm", "").len(), 1, "a room that nobody has thought about");
    }

    #[test]
    fn what_the_house_allows_is_not_found() {
        for (room, text) in [
            ("proxy", "[dependencies]\nlockgate-upstream.workspace = true\nhyper = \"1\"\n"),
            ("proxy", "[dev-dependencies]\nlockgate-plugins.workspace = true\n"),
            ("plugins", "[dependencies]\nlockgate-core.workspace = true\n"),
            ("plugins", "[dev-dependencies]\nsaphyr-parser = \"1\"\n"),
            ("plugins", "[dev-dependencies]\nlockgate-state.workspace = true\n"),
            ("net", "[dependencies]\nrustls = \"1\"\n"),
            ("gateway", "[dependencies]\nlockgate-admin.workspace = true\n"),
            ("gateway", "[dev-dependencies]\nlockgate-testkit.workspace = true\nrustls = \"1\"\n"),
        ] {
            assert_eq!(broken(room, text), [], "{room}: {text}");
        }
    }
}
