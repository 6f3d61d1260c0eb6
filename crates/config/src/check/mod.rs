//! What the model cannot say by its types: names that must exist, sets that must not clash, files
//! that must be there, plugins that must accept their settings.

use std::path::PathBuf;

use lockgate_core::Plugin;

use crate::model::Document;
use crate::source::{Fail, Source};

/// The names that `to` may have besides upstreams.
pub(crate) fn handler_names(plugins: &[Plugin]) -> Vec<&'static str> {
    let handlers = plugins.iter().filter(|plugin| matches!(plugin, Plugin::Handler(_)));
    handlers.map(Plugin::name).collect()
}

/// Checks a decoded document.
pub(crate) fn check(_: &mut Document, _: &Source, _: &[Plugin]) -> Vec<Fail> {
    Vec::new()
}

/// The files that a document names.
pub(crate) fn files(_: &Document) -> Vec<PathBuf> {
    Vec::new()
}
