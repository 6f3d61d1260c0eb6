//! The shared words of Lockgate: what a request is, what may answer it, what can go wrong.
//!
//! Everything else speaks through these types. There is no I/O here, and nothing that knows a
//! codec, a socket or a store: a policy written against this crate alone builds in seconds.
#![deny(missing_docs)]

mod begun;
mod blanks;
mod blocking;
mod body;
mod build;
mod clock;
mod connection;
mod consumer;
mod exchange;
mod expression;
mod fault;
mod form;
mod handler;
mod hex;
mod identity;
mod key;
mod kind;
mod left;
mod lines;
mod metric;
mod network;
mod nowhere;
mod once;
mod outbound;
mod packed;
mod plugin;
mod policy;
mod preflight;
mod reason;
mod reply;
mod secret;
mod serve;
pub mod span;
mod status;
mod store;
mod template;
mod units;

pub use blanks::trimmed;
pub use blocking::Blocking;
pub use body::{Body, BoxBody, UntilClose};
pub use build::{Build, Identities, Kept, Priority, Provide, Task};
pub use clock::Clock;
pub use connection::{AlternativeName, ClientCertificate, Connection, Texts, Tls};
pub use consumer::{Consumer, ConsumerEntry, Consumers, STORED_KEY};
pub use exchange::{Captures, Cut, Derived, Exchange, Keeping, Origin, RequestId, UpstreamNotes};
pub use expression::{Expression, Scope, Seen};
pub use fault::{Blame, Fault, Resend};
pub use form::{form_pairs, unform};
pub use handler::Handler;
pub use identity::{Challenge, Identity, Proof, Rejection};
pub use key::{Key, KeyPart};
pub use kind::Kind;
pub use left::Left;
pub use lines::{LineText, Lines};
pub use metric::{Counter, Figure, Metric, MetricKind};
pub use network::network;
pub use nowhere::Nowhere;
pub use once::Once;
pub use outbound::{Call, Destination, Outbound, SendFuture, Trailers};
pub use packed::{Pack, Unpack};
pub use plugin::{
    Built, ConfigError, HandlerPlugin, IdentityPlugin, Listed, Plugin, PolicyPlugin, decode,
};
pub use policy::{BodyUse, LocalFuture, Policy, Stage, Step, Verdict};
pub use preflight::preflight;
pub use reason::{Reason, reasons};
pub use reply::{Duplex, Finish, Outcome, Reply, Tunnel};
pub use secret::is_secret_name;
pub use serve::{Incoming, Serve};
pub use span::Spans;
pub use status::{Board, ServiceStatus, Standing, Status, WINDOWS};
pub use store::{
    Algorithm, AskedBlobs, Begin, Begun, Blob, BlobHead, BlobStats, Blobs, Calendar, CalendarUnit,
    CounterName, Counters, End, Fingerprint, Glob, Grant, Lease, LeaseKey, Leases, Limit,
    MOST_TAKES, Maker, Naming, Over, Owner, Purge, Purged, ReadHead, RecordStats, Records, Settled,
    Stem, StoreError, StoreFailure, Tag, Take, Term, Turn, UnderWay, UntilOver, Wanted, Write,
    purge_all,
};
pub use template::{Template, Written};
pub use units::{Percent, Rate, Size, Time};
