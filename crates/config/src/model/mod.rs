//! The document as plain structs, one file a section, every short form already in its long form.
//!
//! Nothing here knows where a value stood in a file: positions are looked up by path in the
//! [`Source`](crate::Source) that a document was read from.

mod alerts;
mod http;
mod identity;
mod listener;
mod quiet;
mod redis_url;
mod route;
mod routes;
mod rules;
mod settings;
mod store;
mod telemetry;
mod traces;
mod upstream;

pub use alerts::{
    AlertSink, Alerts, Email, MailTls, Severity, SinkKind, TEMPLATE_WORDS, Way, WrongSink,
    template_words,
};
pub use http::{Http, Http2};
pub use identity::{Consumer, Identity};
pub use listener::{Admin, ClientAuth, KeyPair, Listener, ListenerTls, Protocol, ProxyProtocol};
pub use quiet::Quiet;
pub use redis_url::RedisUrl;
pub(crate) use redis_url::{bears_secret, is_only_named, without_password};
pub use route::{Condition, Match, PolicyEntry, Rewrite, Route, RouteSet, Target};
pub(crate) use route::{no_condition, no_rewrite, word_of};
pub(crate) use routes::Gathered;
pub use routes::{PIECE, Patterned, Piece, Routes};
pub use rules::*;
pub use settings::Settings;
pub use store::{Reached, Sentinel, Store, Wrong};
pub use telemetry::{AccessLog, LogFormat, LogTo, Telemetry};
pub use traces::{
    Collector, Context, Headers, OtlpMetrics, OtlpProtocol, Sampling, Traces, WrongCollector,
};
pub use upstream::*;

use std::path::PathBuf;

use indexmap::IndexMap;
use ipnet::IpNet;
use lockgate_core::{ConsumerEntry, Consumers};
use serde::Serialize;

/// A whole configuration, includes merged, short forms expanded, defaults filled in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Document {
    /// The directory of the configuration's first file: where relative paths in the settings of
    /// policies start from.
    #[serde(skip)]
    pub base: PathBuf,
    /// Listener name → where and how to listen.
    pub listeners: IndexMap<String, Listener>,
    /// The admin listener.
    pub admin: Admin,
    /// Worker threads; `None` is one for each core.
    pub workers: Option<usize>,
    /// Limits and timeouts of all HTTP listeners.
    pub http: Http,
    /// Networks whose forwarded-for chain and PROXY header are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Identity name → how callers prove who they are.
    pub identity: IndexMap<String, Identity>,
    /// Consumer name → what is known of them.
    pub consumers: IndexMap<String, Consumer>,
    /// Store name → where it is.
    pub stores: IndexMap<String, Store>,
    /// How many gateways run with this configuration, if it says so.
    pub replicas: Option<u32>,
    /// Plan name → its limits, as the policies take them.
    pub plans: IndexMap<String, Settings>,
    /// Upstream name → its endpoints and how to treat them.
    pub upstreams: IndexMap<String, Upstream>,
    /// Route pattern, as written → one route, or several told apart by `when`. Policies of
    /// `defaults` are already merged in.
    pub routes: Routes,
    /// Access log, metrics, traces.
    pub telemetry: Telemetry,
    /// Who is told of what goes wrong.
    pub alerts: Alerts,
}

/// What the blobs in memory may take unless said.
const MEMORY: u64 = 64 << 20;

impl Document {
    /// Whether this is the name of a store that is kept in memory: `memory` itself always is.
    pub fn in_memory(&self, store: &str) -> bool {
        store == "memory" || self.stores.get(store).is_some_and(Store::is_memory)
    }

    /// How many bytes blobs in memory may take: `stores: { memory: { max_size } }`.
    pub fn memory_size(&self) -> u64 {
        let said = self.stores.get("memory").and_then(|memory| memory.max_size);
        said.map_or(MEMORY, |size| size.0)
    }

    /// What is known of consumers, as plugins take it.
    pub fn known_consumers(&self) -> Consumers {
        let words = |words: &[String]| words.iter().map(|word| word.as_str().into()).collect();
        let entries = self.consumers.iter().map(|(name, consumer)| ConsumerEntry {
            name: name.as_str().into(),
            api_keys: words(&consumer.api_keys),
            roles: words(&consumer.roles),
            plan: consumer.plan.as_deref().map(Into::into),
            tags: words(&consumer.tags),
        });
        entries.collect()
    }
}
