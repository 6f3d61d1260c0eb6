//! The document, section by section. Each listener, upstream and route is decoded by itself, so
//! that what is wrong with one costs nothing for the others.

use indexmap::IndexMap;
use serde::de::DeserializeOwned;

use super::inherit::Inherited;
use super::route::{Routes, settings as settings_of};
use super::target::UrlUpstreams;
use super::{Decoder, forms, nearest, suggest};
use crate::model::{
    Admin, AlertSink, Alerts, Document, Identity, Listener, Protocol, ProxyProtocol, Quiet,
    Settings,
};
use crate::same::Same;
use crate::source::{At, Fail, NodeId, Shape, Spelling};

/// The sections of a configuration.
pub(crate) const SECTIONS: &[&str] = &[
    "listeners",
    "admin",
    "stores",
    "identity",
    "consumers",
    "plans",
    "upstreams",
    "defaults",
    "routes",
    "telemetry",
    "alerts",
    "workers",
    "replicas",
    "http",
    "trusted_proxies",
    "include",
];

const IDENTITIES: &[&str] =
    &["jwt", "api_key", "introspection", "basic", "mtls", "hmac", "oidc", "forward"];

/// The most worker threads.
const MAX_WORKERS: usize = 1024;
/// The most gateways that share a configuration.
const MAX_REPLICAS: u32 = 100_000;

/// Decodes everything but the routes that are the same as before. `handlers` are the names that
/// `to` may have besides upstreams.
pub(crate) fn document(
    cx: &Decoder<'_>,
    inherited: &Inherited,
    handlers: &[&str],
    same: Option<&Same<'_>>,
) -> Document {
    let mut document = empty();
    document.base = cx.source.base(At::default()).to_owned();
    let mut urls = UrlUpstreams::default();
    for (word, key, node) in cx.pairs(cx.source.root) {
        match word {
            "listeners" => document.listeners = named(cx, node, "a map from names to listeners"),
            "admin" => document.admin = admin(cx, node),
            "stores" => document.stores = named(cx, node, "a map from names to stores"),
            "identity" => document.identity = identities(cx, node),
            "consumers" => document.consumers = named(cx, node, "a map from names to consumers"),
            "plans" => document.plans = plans(cx, node),
            "upstreams" => {
                if cx.expect_map(node, "a map from names to upstreams") {
                    for (name, _, own) in cx.pairs(node) {
                        if let Some(upstream) = cx.decode(inherited.upstream(own)) {
                            document.upstreams.insert(name.to_owned(), upstream);
                        }
                    }
                }
            }
            "defaults" => {
                cx.expect_map(node, "a map of policies and upstream settings");
            }
            "routes" => {
                document.routes = Routes::new(cx, inherited, handlers).read(node, same, &mut urls);
            }
            "telemetry" => document.telemetry = cx.decode(node).unwrap_or_default(),
            "alerts" => document.alerts = alerts(cx, node),
            "workers" => document.workers = workers(cx, node),
            "replicas" => document.replicas = replicas(cx, node),
            "http" => document.http = cx.decode(node).unwrap_or_default(),
            "trusted_proxies" => {
                let networks: forms::Networks = cx.decode(node).unwrap_or_default();
                document.trusted_proxies = networks.0;
            }
            _ => cx.unknown(key, node, SECTIONS),
        }
    }
    urls.add_to(cx, inherited, &mut document.upstreams);
    if document.listeners.is_empty() && cx.source.tree.get(cx.source.root, "listeners").is_none() {
        document.listeners.insert("web".into(), web());
    }
    document
}

fn empty() -> Document {
    Document {
        base: Default::default(),
        listeners: IndexMap::new(),
        admin: Admin::default(),
        workers: None,
        http: Default::default(),
        trusted_proxies: Vec::new(),
        identity: IndexMap::new(),
        consumers: IndexMap::new(),
        stores: IndexMap::new(),
        replicas: None,
        plans: IndexMap::new(),
        upstreams: IndexMap::new(),
        routes: Default::default(),
        telemetry: Default::default(),
        alerts: Alerts::default(),
    }
}

/// What listens when nothing is said.
fn web() -> Listener {
    Listener {
        address: (std::net::Ipv6Addr::UNSPECIFIED, 8080).into(),
        tls: None,
        proxy_protocol: ProxyProtocol::Off,
        protocol: Protocol::Http,
        to: None,
        redirect_https: None,
    }
}

fn named<T: DeserializeOwned>(
    cx: &Decoder<'_>,
    node: NodeId,
    expected: &str,
) -> IndexMap<String, T> {
    let mut all = IndexMap::new();
    if cx.expect_map(node, expected) {
        for (name, _, node) in cx.pairs(node) {
            if let Some(value) = cx.decode(node) {
                all.insert(name.to_owned(), value);
            }
        }
    }
    all
}

fn plans(cx: &Decoder<'_>, node: NodeId) -> IndexMap<String, Settings> {
    let mut all = IndexMap::new();
    if cx.expect_map(node, "a map from names to plans") {
        for (name, _, node) in cx.pairs(node) {
            all.insert(name.to_owned(), settings_of(cx, node));
        }
    }
    all
}

fn admin(cx: &Decoder<'_>, node: NodeId) -> Admin {
    let tree = &cx.source.tree;
    if tree.is_off(node) {
        return Admin { address: None, ..Admin::default() };
    }
    let mut admin: Admin = cx.decode(node).unwrap_or_default();
    if let Some(auth) = tree.get(node, "auth") {
        admin.auth = tree.value(auth, Spelling::Written);
    }
    admin
}

/// What is no setting is a sink's name.
fn alerts(cx: &Decoder<'_>, node: NodeId) -> Alerts {
    const SETTINGS: &[&str] = &["rules", "group_wait", "repeat_after", "quiet"];
    let mut alerts = Alerts::default();
    if !cx.expect_map(node, "a map from names to those who are told") {
        return alerts;
    }
    for (word, key, node) in cx.pairs(node) {
        match word {
            "rules" => alerts.rules = cx.decode(node).unwrap_or_default(),
            "group_wait" => alerts.group_wait = cx.decode(node).unwrap_or(alerts.group_wait),
            "repeat_after" => alerts.repeat_after = cx.decode(node).unwrap_or(alerts.repeat_after),
            "quiet" => alerts.quiet = cx.decode::<Option<Quiet>>(node).flatten(),
            _ if cx.source.tree.is_off(node) => {}
            _ if nearest(word, SETTINGS).is_some() => cx.unknown(key, node, SETTINGS),
            name => {
                if let Some(sink) = cx.decode::<AlertSink>(node) {
                    alerts.sinks.insert(name.to_owned(), sink);
                }
            }
        }
    }
    alerts
}

fn workers(cx: &Decoder<'_>, node: NodeId) -> Option<usize> {
    let tree = &cx.source.tree;
    if tree.shape(node) == Shape::Text && cx.text(node) == Some("cores") {
        return None;
    }
    let count: usize = cx.decode(node)?;
    if !(1..=MAX_WORKERS).contains(&count) {
        let message = format!("expected `cores`, or a number from 1 to {MAX_WORKERS}");
        cx.fail(Fail::new(tree.at(node), message));
    }
    Some(count)
}

fn replicas(cx: &Decoder<'_>, node: NodeId) -> Option<u32> {
    let count: u32 = cx.decode(node)?;
    if !(1..=MAX_REPLICAS).contains(&count) {
        let message = format!("expected a number from 1 to {MAX_REPLICAS}");
        cx.fail(Fail::new(cx.source.tree.at(node), message));
    }
    Some(count)
}

fn identities(cx: &Decoder<'_>, node: NodeId) -> IndexMap<String, Identity> {
    let tree = &cx.source.tree;
    let mut all = IndexMap::new();
    if !cx.expect_map(node, "a map from names to identities") {
        return all;
    }
    for (name, key, node) in cx.pairs(node) {
        let &[(kind, settings)] = tree.pairs(node) else {
            let message = format!("`{name}` needs exactly one kind of proof");
            cx.fail(Fail::new(tree.at(key), message).help(suggest("", IDENTITIES)));
            continue;
        };
        let word = tree.written(kind).unwrap_or_default();
        if !IDENTITIES.contains(&word) {
            cx.unknown(kind, settings, IDENTITIES);
            continue;
        }
        let settings = settings_of(cx, settings);
        all.insert(name.to_owned(), Identity { kind: word.to_owned(), settings });
    }
    all
}
