//! From a request's method, host and path to a route: patterns, the tree that finds them, the
//! `when` conditions, and the account of why a request went where it did. Nothing here reads a
//! file or a socket; a [`Router`] is built once from a configuration and never changes.

mod build;
mod condition;
mod conflict;
mod escape;
mod explain;
mod method;
mod normalise;
mod pattern;
mod router;

pub use condition::{Condition, Why};
pub use conflict::{Conflict, ConflictKind};
pub use explain::{Candidate, Verdict};
pub use normalise::normalise;
pub use pattern::{Host, Pattern, PatternError};
pub use router::{Found, Router};

#[cfg(test)]
mod tests;
