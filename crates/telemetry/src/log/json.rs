//! One entry as one line of JSON, with our own names or those of the Elastic Common Schema.
//! Written by hand into the worker's buffer: no tree, no allocation.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lockgate_core::Tls;

use super::clock::Clock;
use super::entry::{Entry, Key, blame_word, origin_word};
use super::header::HeaderChoice;
use super::{escape, redact};

/// What stands in every line of the Elastic Common Schema before its fields.
const ECS_HEAD: &[u8] = b"{\"ecs.version\":\"8.11.0\",\"event.kind\":\"event\",\
\"event.category\":[\"web\"],\"event.type\":[\"access\"],\"event.dataset\":\"lockgate.access\",\
\"event.outcome\":";

/// Appends an entry as one line. `ecs` chooses the names.
pub(super) fn push_line(
    out: &mut Vec<u8>,
    clock: &mut Clock,
    headers: &[HeaderChoice],
    ecs: bool,
    entry: &Entry<'_>,
) {
    let mut line = Line { out, ecs, empty: !ecs };
    if ecs {
        line.out.extend_from_slice(ECS_HEAD);
        let outcome: &[u8] = if entry.is_error() { b"\"failure\"" } else { b"\"success\"" };
        line.out.extend_from_slice(outcome);
    } else {
        line.out.push(b'{');
    }
    line.key(Key::Time).push(b'"');
    clock.push(line.out, entry.time);
    line.out.push(b'"');
    line.request(entry);
    line.answer(entry);
    line.times(entry);
    line.client(entry, headers);
    line.out.extend_from_slice(b"}\n");
}

struct Line<'o> {
    out: &'o mut Vec<u8>,
    ecs: bool,
    empty: bool,
}

impl Line<'_> {
    fn request(&mut self, entry: &Entry<'_>) {
        self.text(Key::Id, entry.id);
        self.quoted(Key::ClientIp, |out| push_address(out, entry.client_ip));
        self.quoted(Key::Peer, |out| push_peer(out, entry.peer));
        self.number(Key::Worker, entry.worker as u64);
        self.name(Key::Listener, entry.listener);
        let protocol = entry.protocol;
        let protocol = if self.ecs { protocol.trim_start_matches("HTTP/") } else { protocol };
        self.name(Key::Protocol, protocol);
        self.name(Key::Scheme, entry.scheme);
        self.text(Key::Method, entry.method);
        self.text(Key::Host, entry.host);
        let (path, query) = entry.path.split_once('?').unwrap_or((entry.path, ""));
        self.text(Key::Path, path);
        if !query.is_empty() {
            self.quoted(Key::Query, |out| redact::push_query(out, query.as_bytes()));
        }
    }

    fn answer(&mut self, entry: &Entry<'_>) {
        self.number(Key::Status, u64::from(entry.status));
        self.maybe(Key::Reason, entry.reason);
        self.maybe(Key::Blame, entry.blame.map(blame_word));
        self.maybe(Key::Story, Some(entry.story).filter(|story| !story.is_empty()));
        self.name(Key::Origin, origin_word(entry.origin));
        self.maybe(Key::Route, entry.route);
        self.maybe(Key::Consumer, entry.consumer);
        self.maybe(Key::Identity, entry.identity);
        self.maybe(Key::Plan, entry.plan);
        self.maybe(Key::Upstream, entry.upstream);
        self.maybe(Key::Endpoint, entry.endpoint);
        if entry.attempts > 0 {
            self.number(Key::Attempts, u64::from(entry.attempts));
        }
        if let Some(status) = entry.upstream_status {
            self.number(Key::UpstreamStatus, u64::from(status));
        }
    }

    fn times(&mut self, entry: &Entry<'_>) {
        if self.ecs {
            self.number(Key::Total, crate::metrics::nanos(entry.total));
        } else {
            self.millis(Key::Total, entry.total);
        }
        if entry.attempts > 0 {
            self.millis(Key::Queue, entry.queued);
            self.millis(Key::Connect, entry.connect);
        }
        if let Some(first_byte) = entry.first_byte {
            self.millis(Key::FirstByte, first_byte);
        }
        self.millis(Key::Body, entry.body);
        self.number(Key::Received, entry.received);
        self.number(Key::Sent, entry.sent);
    }

    fn client(&mut self, entry: &Entry<'_>, headers: &[HeaderChoice]) {
        if let Some(agent) = entry.user_agent {
            self.quoted(Key::UserAgent, |out| redact::push(out, agent));
        }
        if let Some(referer) = entry.referer {
            self.quoted(Key::Referer, |out| redact::push_url(out, referer));
        }
        if let Some(tls) = entry.tls {
            self.tls(tls);
        }
        self.maybe(Key::TraceId, entry.trace_id);
        if !entry.tags.is_empty() {
            self.tags(entry.tags);
        }
        if let Some(sent) = entry.headers.filter(|_| !headers.is_empty()) {
            self.headers(headers, sent);
        }
    }

    fn tls(&mut self, tls: &Tls) {
        let version = tls.version;
        let version = if self.ecs { version.trim_start_matches("TLSv") } else { version };
        self.text(Key::TlsVersion, version);
        self.text(Key::TlsCipher, tls.cipher);
        self.maybe(Key::TlsSni, tls.sni.as_deref());
        self.maybe(Key::TlsSubject, tls.client.as_ref().map(|client| &*client.subject));
    }

    fn tags(&mut self, tags: &[String]) {
        self.key(Key::Tags).push(b'[');
        for (place, tag) in tags.iter().enumerate() {
            if place > 0 {
                self.out.push(b',');
            }
            self.out.push(b'"');
            redact::push(self.out, tag.as_bytes());
            self.out.push(b'"');
        }
        self.out.push(b']');
    }

    fn headers(&mut self, choices: &[HeaderChoice], sent: &http::HeaderMap) {
        let present = choices.iter().filter(|choice| sent.contains_key(&choice.name));
        for (place, choice) in present.enumerate() {
            if place == 0 {
                self.key(Key::Headers).push(b'{');
            } else {
                self.out.push(b',');
            }
            self.out.push(b'"');
            escape::push(self.out, choice.name.as_str().as_bytes());
            self.out.extend_from_slice(b"\":\"");
            choice.push_values(self.out, sent);
            self.out.push(b'"');
        }
        if choices.iter().any(|choice| sent.contains_key(&choice.name)) {
            self.out.push(b'}');
        }
    }

    fn key(&mut self, key: Key) -> &mut Vec<u8> {
        let name = if self.ecs { key.ecs() } else { key.json() };
        // The first field has no comma before it.
        let name = if self.empty { name.trim_start_matches(',') } else { name };
        self.empty = false;
        self.out.extend_from_slice(name.as_bytes());
        self.out
    }

    fn quoted(&mut self, key: Key, value: impl FnOnce(&mut Vec<u8>)) {
        self.key(key).push(b'"');
        value(self.out);
        self.out.push(b'"');
    }

    fn text(&mut self, key: Key, value: &str) {
        self.quoted(key, |out| redact::push(out, value.as_bytes()));
    }

    /// For words of our own and of the configuration, which hold no token.
    fn name(&mut self, key: Key, value: &str) {
        self.quoted(key, |out| escape::push(out, value.as_bytes()));
    }

    fn maybe(&mut self, key: Key, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    fn number(&mut self, key: Key, value: u64) {
        self.key(key).extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn millis(&mut self, key: Key, time: Duration) {
        push_millis(self.key(key), time);
    }
}

/// Appends milliseconds with three places: `12.345`.
pub(super) fn push_millis(out: &mut Vec<u8>, time: Duration) {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    out.extend_from_slice(itoa::Buffer::new().format(micros / 1_000).as_bytes());
    let digit = |n: u64| b'0' + (n % 10) as u8;
    let part = micros % 1_000;
    out.extend_from_slice(&[b'.', digit(part / 100), digit(part / 10), digit(part)]);
}

/// Appends an address; by hand for IPv4, which most are.
fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    let IpAddr::V4(address) = address else {
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{address}");
        return;
    };
    for (place, octet) in address.octets().into_iter().enumerate() {
        if place > 0 {
            out.push(b'.');
        }
        out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
    }
}

fn push_peer(out: &mut Vec<u8>, peer: SocketAddr) {
    if peer.is_ipv6() {
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{peer}");
        return;
    }
    push_address(out, peer.ip());
    out.push(b':');
    out.extend_from_slice(itoa::Buffer::new().format(peer.port()).as_bytes());
}
