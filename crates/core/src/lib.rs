//! The shared words of Lockgate: what a request is, what may answer it, what can go wrong.
//!
//! Everything else speaks through these types. There is no I/O here, and nothing that knows a
//! codec, a socket or a store: a policy written against this crate alone builds in seconds.
#![deny(missing_docs)]

mod body;
mod connection;
mod exchange;
mod fault;
mod handler;
mod key;
mod kind;
mod lines;
mod plugin;
mod policy;
mod reason;
mod reply;
mod serve;
mod units;

pub use body::{Body, BoxBody};
pub use connection::{ClientCertificate, Connection, Texts, Tls};
pub use exchange::{Captures, Exchange, Origin, RequestId, UpstreamNotes};
pub use fault::{Blame, Fault, Resend};
pub use handler::Handler;
pub use key::{Key, KeyPart};
pub use kind::Kind;
pub use lines::Lines;
pub use plugin::{Build, ConfigError, HandlerPlugin, Plugin, PolicyPlugin, decode};
pub use policy::{BodyUse, LocalFuture, Policy, Stage, Step, Verdict};
pub use reason::{Reason, reasons};
pub use reply::{Duplex, Finish, Outcome, Reply, Tunnel};
pub use serve::{Incoming, Serve};
pub use units::{Percent, Rate, Size, Time};
