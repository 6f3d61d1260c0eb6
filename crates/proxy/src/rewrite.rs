//! Changing the path and the host on the way upstream, as a route's `rewrite` says.

use http::header::{self, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use lockgate_config::model;
use lockgate_core::{Exchange, Fault, reasons};

/// A compiled `rewrite`.
#[derive(Debug, Default)]
pub(crate) struct Rewrite {
    strip_prefix: Option<Box<str>>,
    add_prefix: Option<Box<str>>,
    path: Option<Template>,
    host: Option<HeaderValue>,
}

/// Text with `{captures}`.
#[derive(Debug)]
struct Template(Vec<Piece>);

#[derive(Debug)]
enum Piece {
    Text(Box<str>),
    Capture(Box<str>),
}

impl Rewrite {
    /// # Errors
    /// The key that is wrong, and what is wrong with it.
    pub(crate) fn new(rewrite: &model::Rewrite) -> Result<Self, (&'static str, String)> {
        let host = rewrite.host.as_deref().map(|host| {
            HeaderValue::from_str(host).map_err(|_| ("host", format!("`{host}` is not a host")))
        });
        Ok(Self {
            strip_prefix: rewrite.strip_prefix.as_deref().map(trim_slash),
            add_prefix: rewrite.add_prefix.as_deref().map(trim_slash),
            path: rewrite.path.as_deref().map(Template::parse),
            host: host.transpose()?,
        })
    }

    /// Whether the Host is the route's to say.
    pub(crate) fn sets_host(&self) -> bool {
        self.host.is_some()
    }

    /// What it does, for `explain`; `None` when it does nothing.
    pub(crate) fn describe(&self) -> Option<String> {
        let mut parts = Vec::new();
        if let Some(host) = &self.host {
            parts.push(format!("host {}", host.to_str().unwrap_or_default()));
        }
        if let Some(Template(pieces)) = &self.path {
            let text = pieces.iter().map(|piece| match piece {
                Piece::Text(text) => text.to_string(),
                Piece::Capture(name) => format!("{{{name}}}"),
            });
            parts.push(format!("path {}", text.collect::<String>()));
        }
        if let Some(prefix) = &self.strip_prefix {
            parts.push(format!("without the prefix {prefix}"));
        }
        if let Some(prefix) = &self.add_prefix {
            parts.push(format!("under the prefix {prefix}"));
        }
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    /// Changes the request in place. The query stays as it is.
    ///
    /// # Errors
    /// `bad_target` when the result is no path, which captures can bring about.
    pub(crate) fn apply(&self, exchange: &mut Exchange) -> Result<(), Fault> {
        if let Some(host) = &self.host {
            exchange.head.headers.insert(header::HOST, host.clone());
        }
        if self.strip_prefix.is_none() && self.add_prefix.is_none() && self.path.is_none() {
            return Ok(());
        }
        let mut path = match &self.path {
            Some(template) => template.fill(exchange),
            None => exchange.head.uri.path().to_owned(),
        };
        if let Some(prefix) = &self.strip_prefix
            && let Some(rest) = path.strip_prefix(&**prefix)
            && (rest.is_empty() || rest.starts_with('/'))
        {
            path = rest.to_owned();
        }
        if let Some(prefix) = &self.add_prefix {
            path.insert_str(0, prefix);
        }
        if !path.starts_with('/') {
            path.insert(0, '/');
        }
        if let Some(query) = exchange.head.uri.query() {
            path.push('?');
            path.push_str(query);
        }
        let target = PathAndQuery::try_from(path)
            .map_err(|error| Fault::client(&reasons::BAD_TARGET).source(error))?;
        exchange.head.uri = Uri::from(target);
        Ok(())
    }
}

/// `/api/` and `/api` mean the same prefix; a lone `/` means none.
fn trim_slash(prefix: &str) -> Box<str> {
    prefix.trim_end_matches('/').into()
}

impl Template {
    fn parse(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, tail)) = after.split_once('}') else { break };
            pieces.push(Piece::Text(before.into()));
            pieces.push(Piece::Capture(name.trim_end_matches("...").into()));
            rest = tail;
        }
        pieces.push(Piece::Text(rest.into()));
        Self(pieces)
    }

    fn fill(&self, exchange: &Exchange) -> String {
        let mut path = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => path.push_str(text),
                Piece::Capture(name) => {
                    path.push_str(exchange.captures.get(name).unwrap_or_default());
                }
            }
        }
        path
    }
}
