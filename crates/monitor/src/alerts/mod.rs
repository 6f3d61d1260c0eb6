//! Alerts: what is wrong by which rule, since when, and who has been told.

mod view;

pub use view::{AlertView, AlertsView, SinkView};
