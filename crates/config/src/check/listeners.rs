//! Listeners, the admin listener, limits and timeouts towards clients.

use std::net::SocketAddr;

use lockgate_core::{Size, Time};

use super::Findings;
use crate::model::{Document, Http, Listener, Protocol};

/// Windows and heads larger than this are a mistake, or not allowed by the protocol.
const MAX_WINDOW: Size = Size((1 << 31) - 1);
const MAX_HEAD: Size = Size(1024 * 1024);
const MIN_HEAD: Size = Size(512);

pub(super) fn check(document: &Document, findings: &mut Findings<'_>) {
    for (name, listener) in &document.listeners {
        one(name, listener, findings);
    }
    let source = findings.source;
    let none_written =
        source.node(&["listeners"]).is_none_or(|node| source.tree.pairs(node).is_empty());
    if document.listeners.is_empty() && none_written {
        findings.error(&["listeners"], "there is no listener").help =
            Some("leave `listeners` out for `{ web: \":8080\" }`".into());
    }
    clashes(document, findings);
    admin(document, findings);
    limits(&document.http, findings);
    for (place, network) in document.trusted_proxies.iter().enumerate() {
        if network.prefix_len() == 0 {
            let path = ["trusted_proxies", &place.to_string()];
            let message = format!("`{network}` lets every client say where it comes from");
            findings.warning(&path, message);
        }
    }
}

fn one(name: &str, listener: &Listener, findings: &mut Findings<'_>) {
    let at = |key: &'static str| ["listeners", name, key];
    if listener.protocol != Protocol::Http {
        let message = "this version listens for HTTP alone";
        findings.error(&at("protocol"), message);
    } else if listener.to.is_some() {
        let message = "`to` is for `tcp` and `udp`; HTTP goes by `routes`";
        findings.error_at_key(&at("to"), message);
    }
    let Some(tls) = &listener.tls else { return };
    if listener.redirect_https.is_some() {
        let message = "this listener speaks TLS already, so there is nothing to redirect";
        findings.error_at_key(&at("redirect_https"), message);
    }
    for (place, pair) in tls.certificates.iter().enumerate() {
        let place = place.to_string();
        let listed = ["listeners", name, "tls", "certificates", &place];
        let single = ["listeners", name, "tls", "certificates"];
        for (key, file) in [("cert", &pair.cert), ("key", &pair.key)] {
            let ways: [Vec<&str>; 3] = [
                [&listed[..], &[key]].concat(),
                [&single[..], &[key]].concat(),
                vec!["listeners", name, "tls", key],
            ];
            let way = ways.iter().find(|way| findings.source.node(way).is_some());
            findings.file(way.unwrap_or(&vec!["listeners", name, "tls"]), Some(file));
        }
    }
    findings.file(&["listeners", name, "tls", "client_ca"], tls.client_ca.as_deref());
}

/// Two that cannot both be bound.
fn clashes(document: &Document, findings: &mut Findings<'_>) {
    let admin = document.admin.address.map(|address| (None, address));
    let named = document.listeners.iter().map(|(name, listener)| (Some(name), listener.address));
    let all: Vec<(Option<&String>, SocketAddr)> = named.chain(admin).collect();
    for (place, (name, address)) in all.iter().enumerate() {
        let mut before = all.iter().take(place);
        let Some((first, _)) = before.find(|other| clash(other.1, *address)) else { continue };
        let first = first.map_or("the admin listener".to_owned(), |name| format!("`{name}`"));
        let message = format!("`{address}` is taken by {first} already");
        match name {
            Some(name) => findings.error(&["listeners", name, "address"], message),
            None => findings.error(&["admin", "address"], message),
        };
    }
}

fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let everywhere = |address: SocketAddr| address.ip().is_unspecified();
    one.port() == other.port()
        && one.port() != 0
        && (one.ip() == other.ip() || everywhere(one) || everywhere(other))
}

fn admin(document: &Document, findings: &mut Findings<'_>) {
    let admin = &document.admin;
    if let Some(address) = admin.address
        && !address.ip().is_loopback()
        && admin.token.is_none()
    {
        let message = "the admin listener is open beyond this machine, and has no `token`";
        findings.error(&["admin", "address"], message).help =
            Some("`token: ${env:ADMIN_TOKEN}`, or an address on 127.0.0.1".into());
    }
    if admin.token.as_deref().is_some_and(|token| token.len() < 8) {
        findings.error(&["admin", "token"], "the admin token has less than 8 characters");
    }
    for (place, path) in admin.public.iter().enumerate() {
        if !path.starts_with('/') {
            let place = place.to_string();
            let message = "a public path begins with `/`";
            findings.error(&["admin", "public", &place], message);
        }
    }
    if let Some(name) = &admin.also_on
        && !document.listeners.contains_key(name)
    {
        let known: Vec<&str> = document.listeners.keys().map(String::as_str).collect();
        let message =
            format!("there is no listener `{}`", findings.written(&["admin", "also_on"], name));
        findings.error(&["admin", "also_on"], message).help =
            Some(crate::decode::suggest(name, &known));
    }
    mounted(document, findings);
}

/// The admin pages on a public listener: never without `auth`, and never for whoever has another
/// role, or none.
fn mounted(document: &Document, findings: &mut Findings<'_>) {
    let admin = &document.admin;
    let Some(name) = &admin.also_on else {
        if !admin.auth.is_null() {
            let message = "`auth` is for the listener of `also_on`, and there is none";
            findings.warning(&["admin", "auth"], message);
        }
        return;
    };
    if admin.auth.is_null() || admin.auth == false {
        let message = "the admin pages on a public listener need `auth`";
        findings.error(&["admin", "also_on"], message).help =
            Some("`auth: NAME`, an identity; whoever it vouches for needs the role `admin`".into());
    }
    for key in ["roles", "optional"] {
        if admin.auth.get(key).is_some() {
            let message = format!("`{key}` cannot be said here: the role is always `admin`");
            findings.error(&["admin", "auth", key], message);
        }
    }
    let listener = document.listeners.get(name);
    if listener.is_some_and(|listener| listener.protocol != Protocol::Http) {
        findings.error(&["admin", "also_on"], "the admin pages speak HTTP");
    }
}

fn limits(http: &Http, findings: &mut Findings<'_>) {
    let at = |key: &'static str| ["http", key];
    for (key, count) in
        [("max_headers", http.max_headers), ("max_connections", http.max_connections)]
    {
        if count == 0 {
            findings.error(&at(key), format!("`{key}` must be at least 1"));
        }
    }
    for (key, size) in [("max_header_size", http.max_header_size), ("max_uri", http.max_uri)] {
        if !(MIN_HEAD..=MAX_HEAD).contains(&size) {
            findings.error(&at(key), format!("`{key}` is from {MIN_HEAD} to {MAX_HEAD}"));
        }
    }
    for (key, time) in [
        ("header_timeout", http.header_timeout),
        ("idle_timeout", http.idle_timeout),
        ("body_timeout", http.body_timeout),
        ("write_timeout", http.write_timeout),
    ] {
        if time == Time::default() {
            findings.error(&at(key), format!("`{key}` cannot be zero"));
        }
    }
    let http2 = &http.http2;
    for (key, size) in
        [("stream_window", http2.stream_window), ("connection_window", http2.connection_window)]
    {
        if !(Size(16 * 1024)..=MAX_WINDOW).contains(&size) {
            findings.error(&["http", "http2", key], format!("`{key}` is from 16KiB to 2GiB"));
        }
    }
    if http2.max_concurrent_streams == 0 {
        let path = ["http", "http2", "max_concurrent_streams"];
        findings.error(&path, "at least one stream must be allowed");
    }
}
