//! `lockgate routes`: the table of routes.

use std::process::ExitCode;

use lockgate_config::model::{Route, Target};

use super::{ConfigFile, output, say};
use crate::source::Held;

/// List the routes of a configuration
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lockgate routes -c lockgate.yaml
  lockgate routes --json | jq -r '.[].pattern'")]
pub(crate) struct Routes {
    #[command(flatten)]
    config: ConfigFile,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Routes {
    pub(crate) fn main(self) -> anyhow::Result<ExitCode> {
        let held = match Held::of(&self.config.config) {
            Ok(held) => held,
            Err(report) => return Ok(output::refuse(&report)),
        };
        match crate::gateway::load(held.begin()) {
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
        let condition = if route.when == lockgate_config::model::Condition::default() {
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
        Target::Upstream(name) => name.clone(),
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
