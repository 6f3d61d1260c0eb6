//! `lockgate routes`: the table of routes of a file; and changes of single routes in a running
//! gateway.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use http::Method;
use lockgate_config::Given;
use lockgate_config::model::{Route, Target};

use super::config::{Told, pattern_path, read_input};
use super::{ConfigFile, admin, output, say};
use crate::source::Held;

/// List the routes of a configuration, or change one in the running gateway
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lockgate routes -c lockgate.yaml
  lockgate routes --json | jq -r '.[].pattern'
  echo '{ to: users }' | lockgate routes set /v2/users/*
  lockgate routes set 'GET /v2/users/{id}' route.yaml --dry-run
  lockgate routes remove /v2/users/*

What is set or removed is checked like the file, in force at once, and kept over the
file in `admin.state_dir`; `lockgate export` prints both as one.
Exit codes: 0 done, 1 refused (nothing has changed), 2 the file cannot be read.")]
pub(crate) struct Routes {
    #[command(flatten)]
    config: ConfigFile,
    /// As JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a route of the running gateway what a text says, YAML or JSON
    Set {
        /// `[METHOD ][HOST]/path`, as it stands in the file
        pattern: String,
        /// The file with the route; `-` is standard input
        #[arg(default_value = "-")]
        from: PathBuf,
        /// Only check it, and tell what would change
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove a route of the running gateway
    Remove {
        /// `[METHOD ][HOST]/path`, as it stands in the file
        pattern: String,
        /// Only tell what would change
        #[arg(long)]
        dry_run: bool,
    },
}

impl Routes {
    pub(crate) fn main(self) -> anyhow::Result<ExitCode> {
        let (config, told) = (&self.config.config, Told { json: self.json });
        match &self.verb {
            None => self.list(),
            Some(Verb::Set { pattern, from, dry_run }) => {
                let route = read_input(from)?;
                let path = pattern_path(pattern, *dry_run);
                admin::with(config, async |admin| {
                    told.answer(&admin.send(Method::PUT, &path, route.into()).await?)
                })
            }
            Some(Verb::Remove { pattern, dry_run }) => {
                let path = pattern_path(pattern, *dry_run);
                admin::with(config, async |admin| {
                    told.answer(&admin.send(Method::DELETE, &path, Default::default()).await?)
                })
            }
        }
    }

    fn list(&self) -> anyhow::Result<ExitCode> {
        let held = match Held::of(&self.config.config) {
            Ok(held) => held,
            Err(report) => return Ok(output::refuse(&report)),
        };
        match crate::gateway::load(held.begin(), Given::Nothing, None) {
            Ok(checked) => output::warn(&checked.loaded),
            Err(report) => return Ok(output::refuse(&report)),
        }
        // Read once more, as what is printed must not tell what references stand for.
        let shown = lockgate_config::load_shown(held.begin(), crate::gateway::PLUGINS);
        let document = match shown {
            Ok(document) => document,
            Err(report) => return Ok(output::refuse(&report)),
        };
        let mut rows = vec![Row {
            pattern: "ROUTE".to_owned(),
            to: "TO".to_owned(),
            policies: "POLICIES".to_owned(),
        }];
        let mut list = Vec::new();
        for (pattern, set) in &document.routes {
            for route in &set.routes {
                list.push(serde_json::json!({ "pattern": pattern, "route": route }));
                rows.push(Row::new(pattern, route));
            }
        }
        if self.json {
            say(&serde_json::to_string_pretty(&list)?);
        } else {
            print(&rows);
        }
        Ok(ExitCode::SUCCESS)
    }
}

struct Row {
    pattern: String,
    to: String,
    policies: String,
}

impl Row {
    fn new(pattern: &str, route: &Route) -> Self {
        let condition = if *route.when == lockgate_config::model::Condition::default() {
            ""
        } else {
            " (when …)"
        };
        let policies: Vec<&str> = route.policies.iter().map(|p| &*p.name).collect();
        Self {
            pattern: format!("{pattern}{condition}"),
            to: target(&route.to),
            policies: policies.join(", "),
        }
    }
}

fn target(to: &Target) -> String {
    match to {
        Target::Upstream(name) => name.to_string(),
        Target::Split(parts) => {
            let parts: Vec<String> =
                parts.iter().map(|(name, weight)| format!("{name} {weight}")).collect();
            parts.join(" / ")
        }
        Target::Handler { name, .. } => format!("({name})"),
    }
}

fn print(rows: &[Row]) {
    let width = |cell: fn(&Row) -> &str| {
        rows.iter().map(|row| cell(row).chars().count()).max().unwrap_or(0).min(48)
    };
    let (first, second) = (width(|row| &row.pattern), width(|row| &row.to));
    for row in rows {
        let line = format!("{:first$}  {:second$}  {}", row.pattern, row.to, row.policies);
        say(line.trim_end());
    }
}
