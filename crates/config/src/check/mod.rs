//! What the model cannot say by its types: names that must exist, sets that must not clash, files
//! that must be there, plugins that must accept their settings. All at once, like decoding.

mod alerts;
mod dry;
mod listeners;
mod plugins;
mod routes;
mod stores;
mod telemetry;
mod unused;
mod upstreams;

use std::path::{Path, PathBuf};

use lockgate_core::Plugin;

pub(crate) use dry::Held;
pub use dry::{Asked, Content, read_plugin_file};
pub(crate) use plugins::Inherited;

use crate::model::Document;
use crate::same::Same;
use crate::source::{Fail, Source};

/// The names that `to` may have besides upstreams.
pub(crate) fn handler_names(plugins: &[Plugin]) -> Vec<&'static str> {
    let handlers = plugins.iter().filter(|plugin| matches!(plugin, Plugin::Handler(_)));
    handlers.map(Plugin::name).collect()
}

/// Checks a decoded document, but for the routes that are the same as before. Settings that a
/// plugin takes only in another spelling (`off` as a word, a number as text) are put into that.
/// Also returns what plugins have asked for, and what routes inherit.
pub(crate) fn check(
    document: &mut Document,
    source: &Source,
    plugins: &[Plugin],
    same: Option<&Same<'_>>,
) -> (Vec<Fail>, Asked, Inherited) {
    let mut findings = Findings { source, fails: Vec::new() };
    listeners::check(document, &mut findings);
    upstreams::check(document, &mut findings);
    routes::check(document, same, &mut findings);
    stores::check(document, &mut findings);
    telemetry::check(document, &mut findings);
    alerts::check(document, &mut findings);
    let (asked, inherited) = plugins::check(document, plugins, same, &mut findings);
    stores::shared(document, &asked.held, &mut findings);
    unused::check(document, &mut findings);
    (findings.fails, asked, inherited)
}

/// What was found so far, and where to look places up.
struct Findings<'s> {
    source: &'s Source,
    fails: Vec<Fail>,
}

impl Findings<'_> {
    fn error(&mut self, path: &[&str], message: impl Into<String>) -> &mut Fail {
        self.push(Fail::new(self.source.nearest(path), message))
    }

    /// An error about a key itself, not about what stands under it.
    fn error_at_key(&mut self, path: &[&str], message: impl Into<String>) -> &mut Fail {
        self.push(Fail::new(self.source.key(path), message))
    }

    fn warning(&mut self, path: &[&str], message: impl Into<String>) -> &mut Fail {
        self.push(Fail::warning(self.source.nearest(path), message))
    }

    fn push(&mut self, fail: Fail) -> &mut Fail {
        self.fails.push(fail);
        let last = self.fails.len() - 1;
        // Just pushed, so it is there.
        #[expect(clippy::indexing_slicing)]
        &mut self.fails[last]
    }

    /// A value as the file spells it, for words that must not tell what a reference stands for.
    fn written<'a>(&'a self, path: &[&str], else_: &'a str) -> &'a str {
        let node = self.source.node(path);
        node.and_then(|node| self.source.tree.written(node)).unwrap_or(else_)
    }

    /// A file that must be there and readable.
    fn file(&mut self, path: &[&str], file: Option<&Path>) {
        let Some(file) = file else { return };
        let why = match std::fs::File::open(file) {
            Ok(_) if file.is_dir() => "it is a directory".to_owned(),
            Ok(_) => return,
            Err(error) => error.to_string(),
        };
        let shown = match self.source.node(path) {
            Some(node) if self.source.tree.refers(node) => self.written(path, "").to_owned(),
            _ => file.display().to_string(),
        };
        self.error(path, format!("cannot read `{shown}`: {why}"));
    }
}

/// The certificates, keys and authorities that a document names.
pub(crate) fn files(document: &Document) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for tls in document.listeners.values().filter_map(|listener| listener.tls.as_ref()) {
        files
            .extend(tls.certificates.iter().flat_map(|pair| [pair.cert.clone(), pair.key.clone()]));
        files.extend(tls.client_ca.clone());
    }
    for tls in document.upstreams.values().filter_map(|upstream| upstream.tls.as_ref()) {
        files.extend([&tls.ca, &tls.cert, &tls.key].into_iter().flatten().cloned());
    }
    for sink in document.alerts.sinks.values() {
        let mail = sink.email.as_ref().and_then(|email| email.ca.clone());
        files.extend(sink.ca.clone().into_iter().chain(mail));
    }
    for store in document.stores.values() {
        files.extend([&store.ca, &store.cert, &store.key].into_iter().flatten().cloned());
    }
    let telemetry = &document.telemetry;
    files.extend(telemetry.traces.iter().flat_map(|traces| traces.ca.clone()));
    files.extend(telemetry.otlp.iter().flat_map(|metrics| metrics.ca.clone()));
    files
}
