//! `invalidate`: a write clears cached answers beside those of its own URI: by a pattern of paths
//! or by tag, with the route's captures filled in. Refuses captures that the route does not have.

use std::borrow::Cow;
use std::sync::Arc;

use http::Response;
use lockgate_core::{
    AskedBlobs, Blobs, Body, Build, Built, ConfigError, Exchange, Fault, Glob, Listed, Policy,
    PolicyPlugin, Purge, Stage, Step, Tag, Verdict, Write, decode, purge_all,
};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Deserialize;
use serde_json::Value;

/// What a successful write clears: `/accounts/{id}/**` (a path of the same host, `*` for a part,
/// `**` for any number of parts), or `tag:NAME`. Captures of the route are filled in.
#[derive(Deserialize, JsonSchema)]
struct Config(String);

/// The entry in the list of plugins.
pub(crate) struct Invalidate;

impl PolicyPlugin for Invalidate {
    fn name(&self) -> &'static str {
        "invalidate"
    }

    fn stage(&self, _: &Value) -> Stage {
        Stage::Cache
    }

    fn schema(&self) -> Schema {
        schema_for!(Config)
    }

    fn build(&self, config: &Value, build: &mut Build<'_>) -> Result<Box<dyn Policy>, ConfigError> {
        let clears = Box::new([Clears::read(config, &build.route)?]);
        Ok(Box::new(Invalidating { clears, stores: build.provide.asked_blobs() }))
    }

    /// All of a list are one policy.
    fn build_list(
        &self,
        list: &[Listed<'_>],
        build: &mut Build<'_>,
    ) -> Result<Vec<Built>, (usize, ConfigError)> {
        let mut clears = Vec::with_capacity(list.len());
        for (place, one) in list.iter().enumerate() {
            clears.push(Clears::read(one.config, &build.route).map_err(|error| (place, error))?);
        }
        let stores = build.provide.asked_blobs();
        let policy = Box::new(Invalidating { clears: clears.into(), stores });
        Ok(vec![Built { from: 0, stage: Stage::Cache, policy }])
    }
}

/// A text with captures in it.
struct Text(Vec<Piece>);

enum Piece {
    Literal(Box<str>),
    Capture(Box<str>),
}

/// What one entry clears.
struct Clears {
    /// As it is written.
    written: Box<str>,
    what: What,
}

enum What {
    /// What bears a tag.
    Tag(Text),
    /// One path.
    Path(Text),
    /// A path and all below it.
    Under(Text),
    /// What a pattern fits.
    Pattern(Text),
}

impl Clears {
    fn read(config: &Value, route: &str) -> Result<Self, ConfigError> {
        let Config(written) = decode(config)?;
        let what = if let Some(tag) = written.strip_prefix("tag:") {
            if tag.is_empty() {
                return Err(ConfigError::new("a tag has a name: `tag:NAME`"));
            }
            What::Tag(Text::read(tag, route)?)
        } else {
            Self::path(&written, route)?
        };
        Ok(Self { written: written.into(), what })
    }

    fn path(written: &str, route: &str) -> Result<What, ConfigError> {
        if !written.starts_with('/') {
            let message = format!("`{written}` is neither a path such as /a/** nor tag:NAME");
            return Err(ConfigError::new(message));
        }
        written.parse::<Glob>().map_err(ConfigError::new)?;
        let path = written.strip_suffix("/**").unwrap_or(written);
        if path.contains('*') {
            return Text::read(written, route).map(What::Pattern);
        }
        let text = Text::read(path, route)?;
        Ok(if path.len() < written.len() { What::Under(text) } else { What::Path(text) })
    }

    /// What it clears for one request.
    fn purge(&self, exchange: &Exchange) -> Option<Purge> {
        let host = &*exchange.host;
        let tag = match &self.what {
            What::Tag(text) => Some(Tag::word(&text.fill(exchange)?)),
            What::Path(text) => Some(Tag::uri(host, &text.fill(exchange)?)),
            What::Under(text) => Tag::under(host, &text.fill(exchange)?),
            What::Pattern(_) => None,
        };
        if let Some(tag) = tag {
            return Some(Purge::Tag(tag));
        }
        let (text, all) = match &self.what {
            What::Pattern(text) => (text, ""),
            What::Tag(text) | What::Path(text) | What::Under(text) => (text, "/**"),
        };
        // A star in a capture is the client's, and no pattern.
        let pattern = format!("{host}{}{all}", text.fill_with(exchange, Glob::literal)?);
        pattern.parse().ok().map(Purge::Names)
    }
}

impl Text {
    fn read(text: &str, route: &str) -> Result<Self, ConfigError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| ConfigError::new(format!("`{text}` has a `{{` without a `}}`")))?;
            let known: Vec<&str> = captures(route).collect();
            if !known.contains(&name) {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let message = format!("the route has no capture `{name}`; it has: {known}");
                return Err(ConfigError::new(message));
            }
            pieces.extend([Piece::Literal(before.into()), Piece::Capture(name.into())]);
            rest = after;
        }
        pieces.push(Piece::Literal(rest.into()));
        Ok(Self(pieces))
    }

    fn fill(&self, exchange: &Exchange) -> Option<Cow<'_, str>> {
        self.fill_with(exchange, |capture| capture.into())
    }

    /// The text with each capture as `write` has it.
    fn fill_with(
        &self,
        exchange: &Exchange,
        write: impl Fn(&str) -> Cow<'_, str>,
    ) -> Option<Cow<'_, str>> {
        if let [Piece::Literal(text)] = self.0.as_slice() {
            return Some((&**text).into());
        }
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Capture(name) => text.push_str(&write(exchange.captures.get(name)?)),
            }
        }
        Some(text.into())
    }
}

/// The names of a pattern's captures.
fn captures(route: &str) -> impl Iterator<Item = &str> {
    let parts = route.split('{').skip(1).filter_map(|part| part.split_once('}'));
    parts.map(|(name, _)| name.strip_suffix("...").unwrap_or(name))
}

struct Invalidating {
    clears: Box<[Clears]>,
    /// All that some route's cache keeps answers in.
    stores: AskedBlobs,
}

/// What a request of a method that is not safe clears. Dropped before its answer, it does so all
/// the same: a client that has gone does not undo what the upstream does.
struct Writes {
    purges: Vec<Purge>,
    stores: Arc<[Arc<dyn Blobs>]>,
}

impl Drop for Writes {
    fn drop(&mut self) {
        for (store, purge) in
            self.stores.iter().flat_map(|store| self.purges.iter().map(move |purge| (store, purge)))
        {
            // Told by the call; nobody is left to wait for more.
            drop(store.purge(purge));
        }
    }
}

impl Policy for Invalidating {
    fn request<'a>(&'a self, exchange: &'a mut Exchange) -> Step<'a, Result<Verdict, Fault>> {
        if Write::of(exchange).is_some() {
            let purges = self.clears.iter().filter_map(|clears| clears.purge(exchange)).collect();
            exchange.kept.put(self, Writes { purges, stores: self.stores.all() });
        }
        Step::Now(Ok(Verdict::Pass))
    }

    fn response<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        response: &'a mut Response<Body>,
    ) -> Step<'a, Result<(), Fault>> {
        let Some(mut writes) = exchange.kept.take::<_, Writes>(self) else {
            return Step::Now(Ok(()));
        };
        let purges = std::mem::take(&mut writes.purges);
        if !Write::may_have_changed(exchange, response) {
            return Step::Now(Ok(()));
        }
        let stores = Arc::clone(&writes.stores);
        Step::Later(Box::pin(async move {
            purge_all(&stores, &purges).await;
            Ok(())
        }))
    }

    fn describe(&self) -> String {
        let all: Vec<&str> = self.clears.iter().map(|clears| &*clears.written).collect();
        format!("a write clears {}", all.join(", "))
    }
}
