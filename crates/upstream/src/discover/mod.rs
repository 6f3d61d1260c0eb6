//! Where endpoints' addresses come from: literal ones stand in the configuration, names are asked
//! of DNS again and again.

mod dns;
mod name;

pub use dns::Resolver;
pub(crate) use dns::{Answer, watch};
pub(crate) use name::{Host, Place};

#[cfg(test)]
mod tests;
