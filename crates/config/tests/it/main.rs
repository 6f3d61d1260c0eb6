//! The loader as its callers see it: documents in, a model or a report out.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod changes;
mod directories;
mod errors;
mod examples;
mod fake;
mod formatting;
mod includes;
mod inheritance;
mod meaning;
mod random;
mod reports;
mod same;
mod schemas;
mod secrets;
mod speed;
mod templates;
