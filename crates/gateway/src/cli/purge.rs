//! `lockgate purge`: clears cached answers of a running gateway.

use std::process::ExitCode;

use http::Method;
use serde_json::{Map, Value};

use super::{ConfigFile, admin, say};

/// Clear cached answers of the running gateway
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lockgate purge --url https://shop.example/products/7
  lockgate purge --pattern '/products/**'
  lockgate purge --tag catalog
  lockgate purge --all")]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub(crate) struct Purge {
    /// A URL with every query and variant; a path alone is that path on every host
    #[arg(long, group = "what")]
    url: Option<String>,
    /// Every name that fits: `*` within a segment, `**` for segments
    #[arg(long, group = "what")]
    pattern: Option<String>,
    /// What the upstream tagged by Cache-Tag or Surrogate-Key
    #[arg(long, group = "what")]
    tag: Option<String>,
    /// Everything
    #[arg(long, group = "what")]
    all: bool,
    #[command(flatten)]
    config: ConfigFile,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Purge {
    pub(crate) fn main(self) -> anyhow::Result<ExitCode> {
        let mut what = Map::new();
        for (key, value) in [("url", self.url), ("pattern", self.pattern), ("tag", self.tag)] {
            if let Some(value) = value {
                what.insert(key.to_owned(), value.into());
            }
        }
        admin::with(&self.config.config, async |admin| {
            let what = Some(Value::Object(what));
            let answer = admin.order(Method::POST, "/admin/cache/clear", what).await?;
            if self.json {
                say(&answer.to_string());
            } else {
                let count = answer.get("cleared").and_then(Value::as_u64).unwrap_or_default();
                say(&format!("cleared {count} from this gateway's memory"));
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}
