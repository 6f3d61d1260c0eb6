//! `lockgate config`: what a running gateway has in force beyond its file, what it had before, and
//! how it gets back there; `lockgate export`: all of it as one file.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Subcommand;
use http::Method;
use lockgate_proxy::percent_encoded;
use serde_json::{Value, json};

use super::admin::{self, Admin};
use super::status::plain;
use super::{ConfigFile, say};

/// Most bytes of what is sent.
const MOST: u64 = 16 << 20;

/// Look at the configuration of the running gateway, change it as a whole, go back
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lockgate config changes                  what does not stand in the files
  lockgate config put new.yaml --dry-run   what a whole configuration would change
  lockgate config put new.yaml
  lockgate config history                  what was in force, the newest first
  lockgate config diff 3                   from version 3 to what is in force
  lockgate config rollback 3               version 3 again, as a change over the files
  lockgate config reset                    only what the files say

Exit codes: 0 done, 1 refused (nothing has changed), 2 the file cannot be read.")]
pub(crate) struct Config {
    #[command(flatten)]
    config: ConfigFile,
    /// As JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List what was set or removed over the files
    Changes,
    /// Put a whole configuration in force, over the files
    Put {
        /// The file with it; `-` is standard input
        from: PathBuf,
        /// Only check it, and tell what would change
        #[arg(long)]
        dry_run: bool,
    },
    /// List the versions that were in force
    History,
    /// Print what differs between two versions
    Diff {
        /// A version's number
        from: u64,
        /// Unless told, what is in force
        to: Option<u64>,
    },
    /// Put a version in force again
    Rollback {
        /// The version's number
        number: u64,
        /// Only tell what would change
        #[arg(long)]
        dry_run: bool,
    },
    /// Drop all changes over the files
    Reset {
        /// Only tell what would change
        #[arg(long)]
        dry_run: bool,
    },
}

/// Print the running gateway's configuration, files and changes, as one file
///
/// References stay references. In place of a secret that stands somewhere in plain text is
/// `${hidden}`, which a comment on top says; it is no configuration before that is put right.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lockgate export > lockgate.yaml.new")]
pub(crate) struct Export {
    #[command(flatten)]
    config: ConfigFile,
}

impl Config {
    pub(crate) fn main(self) -> anyhow::Result<ExitCode> {
        let told = Told { json: self.json };
        let input = match &self.verb {
            Verb::Put { from, .. } => read_input(from)?,
            _ => String::new(),
        };
        admin::with(&self.config.config, async |admin| match self.verb {
            Verb::Changes => changes(&admin, told).await,
            Verb::History => history(&admin, told).await,
            Verb::Diff { from, to } => {
                let to = to.map(|to| format!("&to={to}")).unwrap_or_default();
                let path = format!("/admin/config/diff?from={from}{to}");
                print(&admin.send(Method::GET, &path, Default::default()).await?)
            }
            Verb::Put { dry_run, .. } => {
                let path = format!("/admin/config{}", dry(dry_run));
                told.answer(&admin.send(Method::PUT, &path, input.into()).await?)
            }
            Verb::Rollback { number, dry_run } => {
                let path = format!("/admin/config/rollback{}", dry(dry_run));
                let to = json!({ "to": number }).to_string();
                told.answer(&admin.send(Method::POST, &path, to.into()).await?)
            }
            Verb::Reset { dry_run } => {
                let path = format!("/admin/config/changes{}", dry(dry_run));
                told.answer(&admin.send(Method::DELETE, &path, Default::default()).await?)
            }
        })
    }
}

impl Export {
    pub(crate) fn main(self) -> anyhow::Result<ExitCode> {
        admin::with(&self.config.config, async |admin| {
            let path = "/admin/config/export";
            print(&admin.send(Method::GET, path, Default::default()).await?)
        })
    }
}

async fn changes(admin: &Admin, told: Told) -> anyhow::Result<ExitCode> {
    let (all, mut answer) = admin.list("/admin/config/changes", "changes").await?;
    if told.json {
        if let Some(answer) = answer.as_object_mut() {
            answer.insert("changes".to_owned(), all.into());
            answer.insert("offset".to_owned(), 0.into());
        }
        say(&answer.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    if answer.get("refused").is_some() {
        say(&format!("changes are refused here: {}", field(&answer, "refused")));
    }
    for change in &all {
        let (section, name) = (field(change, "section"), field(change, "name"));
        let thing = if name.is_empty() { section } else { format!("{section}.{name}") };
        let is = |key: &str| change.get(key).and_then(Value::as_bool).unwrap_or_default();
        let line = match (is("removed"), is("inFiles")) {
            (true, _) => format!("- {thing}"),
            (false, true) => format!("~ {thing}  {}", field(change, "place")),
            (false, false) => format!("+ {thing}  {}", field(change, "place")),
        };
        say(&line);
    }
    if all.is_empty() {
        say("nothing: what is in force is what the files say");
    }
    Ok(ExitCode::SUCCESS)
}

async fn history(admin: &Admin, told: Told) -> anyhow::Result<ExitCode> {
    let answer = admin.ask(Method::GET, "/admin/config/history?limit=1000").await?;
    if told.json {
        say(&answer.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    for version in list(&answer, "versions") {
        let what = list(version, "what");
        let first: Vec<String> = what.iter().take(3).map(plain).collect();
        let more = what.len().saturating_sub(first.len());
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let at = version.get("atMs").and_then(Value::as_u64).unwrap_or_default();
        say(&format!(
            "{:>5}  {}  {:8}  {}{more}{}",
            field(version, "number"),
            time(at),
            field(version, "via"),
            first.join(", "),
            match field(version, "who").as_str() {
                "" => String::new(),
                who => format!("  by {who}"),
            }
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Milliseconds since 1970 as a time of day, UTC.
fn time(ms: u64) -> String {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_millis(ms);
    lockgate_telemetry::rfc3339(at)
}

/// How what came of a change is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    pub(super) json: bool,
}

impl Told {
    /// Prints it.
    ///
    /// # Errors
    /// When it is not what a Lockgate answers.
    pub(super) fn answer(self, body: &[u8]) -> anyhow::Result<ExitCode> {
        let answer: Value = serde_json::from_slice(body)
            .context("the answer is not JSON: does a Lockgate listen?")?;
        if self.json {
            say(&answer.to_string());
            return Ok(ExitCode::SUCCESS);
        }
        for what in ["what", "resolved"] {
            list(&answer, what).iter().for_each(|line| say(&plain(line)));
        }
        if answer.get("dryRun") == Some(&Value::Bool(true)) {
            say("nothing has been changed: this was a dry run");
            return Ok(ExitCode::SUCCESS);
        }
        say(&format!("generation {} is in force", field(&answer, "generation")));
        Ok(ExitCode::SUCCESS)
    }
}

/// Where a route of the running gateway is changed.
pub(super) fn pattern_path(pattern: &str, dry_run: bool) -> String {
    // What begins with neither a method nor a slash is a host, which a blank says.
    let whole = if pattern.starts_with('/') || pattern.contains(' ') { "" } else { " " };
    let text = format!("{whole}{pattern}");
    let text = percent_encoded(text.trim_start_matches('/'), b"/*");
    format!("/admin/routes/{text}{}", dry(dry_run))
}

fn dry(dry_run: bool) -> &'static str {
    if dry_run { "?dry_run" } else { "" }
}

/// A file's text, or that of standard input.
///
/// # Errors
/// When it cannot be read, or is too long.
pub(super) fn read_input(from: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = match from.to_str() {
        Some("-") => std::io::stdin().take(MOST + 1).read_to_string(&mut text),
        _ => {
            std::fs::File::open(from).and_then(|file| file.take(MOST + 1).read_to_string(&mut text))
        }
    };
    read.with_context(|| format!("reading {}", from.display()))?;
    if text.len() as u64 > MOST {
        anyhow::bail!("{} has more than 16MiB", from.display());
    }
    Ok(text)
}

fn print(text: &[u8]) -> anyhow::Result<ExitCode> {
    let text = std::str::from_utf8(text).context("the answer is no text")?;
    say(text.trim_end());
    Ok(ExitCode::SUCCESS)
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn field(value: &Value, key: &str) -> String {
    value.get(key).map(plain).unwrap_or_default()
}
