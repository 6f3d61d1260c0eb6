//! The loader as its callers see it: documents in, a model or a report out.

mod examples;
mod fake;
