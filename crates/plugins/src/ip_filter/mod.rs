//! `ip_filter`: lets addresses in or keeps them out, by networks in the configuration and in
//! files. A line of a file that cannot be read is an error at load: a list is never used in part.

use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;
use lockgate_core::{
    Build, ConfigError, Exchange, Fault, Kind, Policy, PolicyPlugin, Reason, Stage, Step, Verdict,
    decode,
};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Deserialize;
use serde_json::Value;

use crate::networks::{self, Listed, Networks};
use crate::one_or_more::OneOrMore;

/// Lets addresses in or keeps them out.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// Networks or addresses that may come in. With any of them, here or in a file, all others
    /// are kept out.
    allow: OneOrMore<String>,
    /// Networks or addresses that are kept out.
    deny: OneOrMore<String>,
    /// Files with one network or address a line, `#` before a comment. A changed file is a reload.
    files: Files,
}

/// Files with networks.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, default)]
struct Files {
    /// Of those that may come in.
    allow: OneOrMore<String>,
    /// Of those that are kept out.
    deny: OneOrMore<String>,
}

static DENIED: Reason = Reason {
    code: "ip_denied",
    kind: Kind::Forbidden,
    help: "The client's address is kept out by the route's `ip_filter`: it is in `deny`, or not \
           in `allow`.",
};

/// The entry in the list of plugins.
pub(crate) struct IpFilter;

impl PolicyPlugin for IpFilter {
    fn name(&self) -> &'static str {
        "ip_filter"
    }

    fn stage(&self, _: &Value) -> Stage {
        Stage::Guard
    }

    fn reasons(&self) -> &'static [&'static Reason] {
        const REASONS: &[&Reason] = &[&DENIED];
        REASONS
    }

    fn schema(&self) -> Schema {
        schema_for!(Config)
    }

    fn build(&self, config: &Value, build: &mut Build<'_>) -> Result<Box<dyn Policy>, ConfigError> {
        let config: Config = decode(config)?;
        let mut written = Written::default();
        for (key, holds, list, files) in [
            ("allow", Listed::Allow, &config.allow, &config.files.allow),
            ("deny", Listed::Deny, &config.deny, &config.files.deny),
        ] {
            for (place, text) in list.0.iter().enumerate() {
                let at = |why| ConfigError::new(why).at(place.to_string()).at(key);
                written.inline.push((networks::read(text).map_err(at)?, holds));
            }
            for (place, file) in files.0.iter().enumerate() {
                let at = |why| ConfigError::new(why).at(place.to_string()).at(key).at("files");
                let text = build.provide.read(Path::new(file)).map_err(at)?;
                written.files.push((file.clone(), text, holds));
            }
        }
        if written.inline.is_empty() && written.files.is_empty() {
            return Err(ConfigError::new("it lists nobody: say `allow`, `deny` or `files`"));
        }
        let mut wrong = None;
        let table = build.shared(&written.key(), || {
            Arc::new(written.table().unwrap_or_else(|error| {
                wrong = Some(error);
                Table::default()
            }))
        });
        wrong.map_or(Ok(Box::new(Filter { table })), Err)
    }
}

/// Everything that was listed, as it was read.
#[derive(Default)]
struct Written {
    inline: Vec<(IpNet, Listed)>,
    files: Vec<(String, bytes::Bytes, Listed)>,
}

impl Written {
    /// The same for the same lists: they are laid out once for all routes and reloads.
    fn key(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for (net, holds) in &self.inline {
            hasher.update(format!("{net} {holds:?}\n").as_bytes());
        }
        for (_, text, holds) in &self.files {
            // The length keeps the end of one file apart from the begin of the next.
            hasher.update(format!("\nfile {holds:?} {}\n", text.len()).as_bytes());
            hasher.update(text);
        }
        hasher.finalize().to_hex().to_string()
    }

    fn table(&self) -> Result<Table, ConfigError> {
        let mut all = self.inline.clone();
        let mut places = [0_usize; 2];
        for (file, text, holds) in &self.files {
            let (key, place) = match holds {
                Listed::Deny => ("deny", &mut places[1]),
                _ => ("allow", &mut places[0]),
            };
            let nets = networks::lines(text).map_err(|why| {
                ConfigError::new(format!("`{file}`, {why}"))
                    .at(place.to_string())
                    .at(key)
                    .at("files")
            })?;
            *place += 1;
            all.extend(nets.into_iter().map(|net| (net, *holds)));
        }
        let allowed = all.iter().filter(|(_, holds)| *holds == Listed::Allow).count();
        let denied = all.len() - allowed;
        // An empty file of those who may come in lets nobody in: it is a list all the same.
        let only_listed = allowed > 0 || self.files.iter().any(|file| file.2 == Listed::Allow);
        Ok(Table { networks: Networks::new(all), only_listed, allowed, denied })
    }
}

#[derive(Default)]
struct Table {
    networks: Networks,
    /// Whether who is not listed is kept out.
    only_listed: bool,
    allowed: usize,
    denied: usize,
}

struct Filter {
    table: Arc<Table>,
}

impl Policy for Filter {
    fn request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Verdict, Fault>> {
        let pass = match self.table.networks.get(exchange.client_ip) {
            Listed::Allow => true,
            Listed::Deny => false,
            Listed::No => !self.table.only_listed,
        };
        Step::Now(if pass { Ok(Verdict::Pass) } else { Err(Fault::client(&DENIED)) })
    }

    fn describe(&self) -> String {
        let others = if self.table.only_listed { "denied" } else { "allowed" };
        let Table { allowed, denied, .. } = &*self.table;
        format!("networks: {allowed} allowed, {denied} denied; others {others}")
    }
}
