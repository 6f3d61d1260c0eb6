//! `to`: an upstream's name, a URL, weights, or a handler.

use std::sync::Arc;

use indexmap::IndexMap;

use super::inherit::Inherited;
use super::route::settings;
use super::{Decoder, forms};
use crate::model::{Endpoint, Piece, RouteSet, Target, Upstream, UpstreamTls};
use crate::source::{Fail, NodeId, Shape};

/// The handlers that the manual names, this version's or a later one's.
pub(crate) const HANDLERS: &[&str] = &["respond", "redirect", "aggregate", "grpc", "graphql"];

/// The most that one weight may be.
const MAX_WEIGHT: u32 = 1_000_000;

/// A target, and what a URL's path puts before the request's.
pub(super) struct Read {
    pub(super) to: Target,
    pub(super) prefix: Option<String>,
}

/// The upstreams that URLs have made: name → endpoint.
#[derive(Default)]
pub(super) struct UrlUpstreams(IndexMap<Arc<str>, UrlUpstream>);

struct UrlUpstream {
    endpoint: String,
    tls: bool,
}

impl UrlUpstreams {
    /// Adds them to the document's. They are not health-checked: nothing says how.
    pub(super) fn add_to(
        self,
        cx: &Decoder<'_>,
        inherited: &Inherited,
        upstreams: &mut IndexMap<String, Upstream>,
    ) {
        if self.0.is_empty() {
            return;
        }
        let base = inherited.from_url.and_then(|node| cx.decode(node));
        let base = Upstream { health: None, ..base.unwrap_or_default() };
        for (name, url) in self.0 {
            let mut upstream = base.clone();
            upstream.endpoints.insert(url.endpoint, Endpoint::default());
            upstream.tls = match (url.tls, upstream.tls) {
                (false, _) => None,
                (true, tls) => Some(tls.unwrap_or_else(UpstreamTls::default)),
            };
            upstreams.entry(name.to_string()).or_insert(upstream);
        }
    }
}

/// Reads a target; what is wrong is noted.
pub(super) fn target(
    cx: &Decoder<'_>,
    node: NodeId,
    handlers: &[&str],
    urls: &mut UrlUpstreams,
) -> Option<Read> {
    let tree = &cx.source.tree;
    match tree.shape(node) {
        Shape::Map => choice(cx, node, handlers, urls),
        Shape::Text | Shape::Number => {
            let text = cx.text(node)?;
            if !text.contains("://") {
                return Some(Read { to: Target::Upstream(cx.word(text)), prefix: None });
            }
            match url(text) {
                Ok(url) => Some(Read { prefix: url.path.clone(), to: urls.add(url) }),
                Err(why) => {
                    cx.fail(Fail::new(tree.at(node), why).help("`http://host:port/prefix`"));
                    None
                }
            }
        }
        _ => {
            let message = "expected an upstream's name, a URL, weights, or a handler";
            cx.fail(Fail::new(tree.at(node), message));
            None
        }
    }
}

/// Weights, or a handler.
fn choice(
    cx: &Decoder<'_>,
    node: NodeId,
    handlers: &[&str],
    urls: &mut UrlUpstreams,
) -> Option<Read> {
    let tree = &cx.source.tree;
    let is_handler = |word: &str| handlers.contains(&word) || HANDLERS.contains(&word);
    let weights = tree.pairs(node).iter().all(|pair| tree.shape(pair.1) == Shape::Number);
    if let Some((word, _, value)) = cx.pairs(node).find(|part| is_handler(part.0) || !weights) {
        if let Some((other, key, _)) = cx.pairs(node).find(|part| part.0 != word) {
            let fail = Fail::new(tree.at(key), format!("`{other}` beside the handler `{word}`"));
            cx.fail(fail.help("a route has one handler, or weights that are numbers"));
        }
        let name = cx.word(word);
        let to = Target::Handler { name, config: Box::new(settings(cx, value)) };
        return Some(Read { to, prefix: None });
    }
    let mut parts = IndexMap::new();
    for (name, key, value) in cx.pairs(node) {
        let Some(weight) = cx.decode::<u32>(value) else { continue };
        if weight > MAX_WEIGHT {
            let message = format!("a weight is at most {MAX_WEIGHT}");
            cx.fail(Fail::new(tree.at(value), message));
        }
        if !name.contains("://") {
            parts.insert(name.to_owned(), weight);
            continue;
        }
        match url(name) {
            Ok(url) if url.path.is_some() => {
                let fail = Fail::new(tree.at(key), "a weighted URL has no path");
                cx.fail(fail.help("`rewrite: { add_prefix }` says it for the whole route"));
            }
            Ok(url) => {
                if let Target::Upstream(name) = urls.add(url) {
                    parts.insert(name.to_string(), weight);
                }
            }
            Err(why) => cx.fail(Fail::new(tree.at(key), why)),
        }
    }
    Some(Read { to: Target::Split(Box::new(parts)), prefix: None })
}

struct Url {
    name: String,
    upstream: UrlUpstream,
    path: Option<String>,
}

impl UrlUpstreams {
    /// Takes those of routes that have been read before.
    pub(super) fn take(&mut self, set: &RouteSet) {
        for route in &set.routes {
            match &route.to {
                Target::Upstream(name) => self.take_again(name),
                Target::Split(parts) => parts.keys().for_each(|name| self.take_again(name)),
                Target::Handler { .. } => {}
            }
        }
    }

    /// Takes those of a piece of them.
    pub(super) fn take_all(&mut self, piece: &Piece) {
        piece.upstreams().iter().for_each(|name| self.take_again(name));
    }

    fn take_again(&mut self, name: &str) {
        if let Some(url) = name.contains("://").then(|| url(name)).and_then(Result::ok) {
            self.add(url);
        }
    }

    fn add(&mut self, url: Url) -> Target {
        if let Some((name, _)) = self.0.get_key_value(&*url.name) {
            return Target::Upstream(Arc::clone(name));
        }
        let name: Arc<str> = url.name.into();
        self.0.insert(Arc::clone(&name), url.upstream);
        Target::Upstream(name)
    }
}

/// Reads `http://host[:port][/prefix]`. The words of an error never repeat the URL.
fn url(text: &str) -> Result<Url, &'static str> {
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let (tls, port) = match scheme {
        "http" => (false, "80"),
        "https" => (true, "443"),
        _ => return Err("a URL here begins with `http://` or `https://`"),
    };
    if rest.contains(['?', '#']) {
        return Err("a URL here has no query and no fragment");
    }
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains('@') {
        return Err("a URL here has no user and no password");
    }
    let authority = authority.to_ascii_lowercase();
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    let endpoint = if has_port { authority.clone() } else { format!("{authority}:{port}") };
    if !forms::is_host_port(&endpoint) {
        return Err("this URL has no valid host and port");
    }
    let path = path.trim_end_matches('/');
    let good = |b: u8| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b);
    if !path.bytes().all(good) || path.split('/').any(|part| part == "." || part == "..") {
        return Err("this URL's path has characters or segments that it cannot have");
    }
    Ok(Url {
        name: format!("{scheme}://{authority}"),
        upstream: UrlUpstream { endpoint, tls },
        path: (!path.is_empty()).then(|| path.to_owned()),
    })
}
