//! Alerts: what is wrong by which rule, since when, and who has been told.

mod desk;
mod engine;
pub(crate) mod find;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use desk::{Desk, Letter};
pub(crate) use find::Id;
pub use view::{AlertView, AlertsView, SinkView};
