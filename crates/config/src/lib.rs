//! The configuration: read, checked as a whole, and handed on as plain structs.
//!
//! [`load`] gives either a [`Document`](model::Document) that may be used, or a [`Report`] of all
//! that is wrong with it, each with its file, line and column.

mod changes;
mod check;
mod decode;
mod diff;
mod format;
mod load;
pub mod model;
mod report;
mod same;
mod schema;
mod source;
mod templates;

pub use changes::{
    Base, Changes, Differing, Entry, FILES_ALONE, Laid, Outcome, between, differing, effective,
    laid_over, read_value, shown, without_plain_secrets, write_value,
};
pub use check::{Asked, Content, read_plugin_file};
pub use diff::{Change, ChangeKind, diff};
pub use format::{HIDDEN, Refusal, bare, format, long, long_value};
pub use load::{
    Given, Loaded, More, load, load_shown, load_str, load_str_with, load_with, shown_again,
    state_dir,
};
pub use report::{Problem, Report, Severity};
pub use same::InForce;
pub use schema::schema;
pub use source::{Begin, Hidden, Lookup, Place, Source, is_part, parts, standing};
