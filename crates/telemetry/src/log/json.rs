//! One entry as one line of JSON, with our own names or those of the Elastic Common Schema.
//! Written by hand into the worker's buffer: no tree, no allocation, and what many lines have in
//! common only once.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lockgate_core::Tls;

use super::clock::Clock;
use super::entry::{Entry, Key, blame_word, origin_word};
use super::header::HeaderChoice;
use super::memo::{Came, Memo, Went};
use super::{escape, redact};

/// What stands in every line of the Elastic Common Schema before its fields.
const ECS_HEAD: &[u8] = b"{\"ecs.version\":\"8.11.0\",\"event.kind\":\"event\",\
\"event.category\":[\"web\"],\"event.type\":[\"access\"],\"event.dataset\":\"lockgate.access\",\
\"event.outcome\":";

/// About what a line takes.
const ROOM: usize = 1024;

/// Appends an entry as one line. `ecs` chooses the names.
pub(super) fn push_line(
    out: &mut Vec<u8>,
    clock: &mut Clock,
    memo: &mut Memo,
    headers: &[HeaderChoice],
    ecs: bool,
    entry: &Entry<'_>,
) {
    match ecs {
        true => push::<true>(out, clock, memo, headers, entry),
        false => push::<false>(out, clock, memo, headers, entry),
    }
}

/// Once for each format, so that the compiler knows the text of every name where it is written.
fn push<const ECS: bool>(
    out: &mut Vec<u8>,
    clock: &mut Clock,
    memo: &mut Memo,
    headers: &[HeaderChoice],
    entry: &Entry<'_>,
) {
    out.reserve(ROOM);
    let mut line = Line::<ECS> { out };
    if ECS {
        line.out.extend_from_slice(ECS_HEAD);
        let outcome: &[u8] = if entry.is_error() { b"\"failure\"" } else { b"\"success\"" };
        line.out.extend_from_slice(outcome);
    } else {
        line.out.push(b'{');
    }
    // In our own format it is the first field, which has no comma before it.
    let time = line.name_of(Key::Time);
    let time = if ECS { time } else { time.trim_start_matches(',') };
    line.out.extend_from_slice(time.as_bytes());
    line.out.push(b'"');
    clock.push(line.out, entry.time);
    line.out.push(b'"');
    line.request(entry, memo);
    line.answer(entry, memo);
    line.times(entry);
    line.client(entry, headers);
    line.out.extend_from_slice(b"}\n");
}

struct Line<'o, const ECS: bool> {
    out: &'o mut Vec<u8>,
}

impl<const ECS: bool> Line<'_, ECS> {
    fn request(&mut self, entry: &Entry<'_>, memo: &mut Memo) {
        self.text(Key::Id, entry.id);
        let Entry { client_ip, peer, worker, protocol, scheme, .. } = *entry;
        let key = Came { ecs: ECS, client_ip, peer, worker, protocol, scheme };
        let texts = [entry.listener, entry.method, entry.host];
        let hint = usize::from(peer.port());
        memo.came.push(self.out, hint, key, texts.map(Some), |out| Self::of(out).came(entry));
        let mark = entry.path.bytes().position(|byte| byte == b'?');
        let (path, query) = entry.path.split_at(mark.unwrap_or(entry.path.len()));
        self.text(Key::Path, path);
        if let Some(query) = query.get(1..).filter(|query| !query.is_empty()) {
            self.quoted(Key::Query, |out| redact::push_query(out, query.as_bytes()));
        }
    }

    fn of(out: &mut Vec<u8>) -> Line<'_, ECS> {
        Line { out }
    }

    /// What is the same for the requests of a connection.
    fn came(&mut self, entry: &Entry<'_>) {
        self.quoted(Key::ClientIp, |out| push_address(out, entry.client_ip));
        self.quoted(Key::Peer, |out| push_peer(out, entry.peer));
        if ECS {
            self.out.extend_from_slice(b",\"source.ip\":\"");
            push_address(self.out, entry.peer.ip());
            self.out.extend_from_slice(b"\",\"source.port\":");
            let port = entry.peer.port();
            self.out.extend_from_slice(itoa::Buffer::new().format(port).as_bytes());
        }
        self.number(Key::Worker, entry.worker as u64);
        self.name(Key::Listener, entry.listener);
        let protocol = entry.protocol;
        let protocol = if ECS { protocol.trim_start_matches("HTTP/") } else { protocol };
        self.name(Key::Protocol, protocol);
        self.name(Key::Scheme, entry.scheme);
        self.text(Key::Method, entry.method);
        self.text(Key::Host, entry.host);
    }

    fn answer(&mut self, entry: &Entry<'_>, memo: &mut Memo) {
        // What went wrong is told of one request alone.
        let told = entry.reason.is_some() || entry.blame.is_some() || entry.limit.is_some();
        if told || !entry.story.is_empty() {
            return self.went(entry);
        }
        let Entry { status, origin, attempts, upstream_status, cache, .. } = *entry;
        let key = Went { ecs: ECS, status, origin, attempts, upstream_status, cache };
        let Entry { route, consumer, identity, plan, upstream, endpoint, .. } = *entry;
        let texts = [route, consumer, identity, plan, upstream, endpoint];
        // Where a name lies is mostly the same for the same name.
        let place = |text: Option<&str>| text.map_or(0, |text| text.as_ptr().addr() >> 4);
        let hint = place(route) ^ place(endpoint) ^ place(consumer) ^ usize::from(status);
        let hint = hint ^ place(cache);
        memo.went.push(self.out, hint, key, texts, |out| Self::of(out).went(entry));
    }

    /// What is the same for most requests of a route, consumer and endpoint.
    fn went(&mut self, entry: &Entry<'_>) {
        self.number(Key::Status, u64::from(entry.status));
        self.maybe(Key::Reason, entry.reason);
        self.maybe(Key::Blame, entry.blame.map(blame_word));
        self.maybe(Key::Story, Some(entry.story).filter(|story| !story.is_empty()));
        self.word(Key::Origin, origin_word(entry.origin));
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
        if let Some(cache) = entry.cache {
            self.word(Key::Cache, cache);
        }
        self.maybe(Key::Limit, entry.limit);
    }

    fn times(&mut self, entry: &Entry<'_>) {
        if ECS {
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
        self.maybe(Key::SpanId, entry.span_id);
        if !entry.tags.is_empty() {
            self.tags(entry.tags);
        }
        if let Some(sent) = entry.headers.filter(|_| !headers.is_empty()) {
            self.headers(headers, sent);
        }
    }

    fn tls(&mut self, tls: &Tls) {
        let version = tls.version;
        let version = if ECS { version.trim_start_matches("TLSv") } else { version };
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

    #[inline]
    fn name_of(&self, key: Key) -> &'static str {
        if ECS { key.ecs() } else { key.json() }
    }

    #[inline]
    fn key(&mut self, key: Key) -> &mut Vec<u8> {
        self.out.extend_from_slice(self.name_of(key).as_bytes());
        self.out
    }

    #[inline]
    fn quoted(&mut self, key: Key, value: impl FnOnce(&mut Vec<u8>)) {
        self.key(key).push(b'"');
        value(self.out);
        self.out.push(b'"');
    }

    #[inline]
    fn text(&mut self, key: Key, value: &str) {
        self.quoted(key, |out| redact::push(out, value.as_bytes()));
    }

    /// For words of our own, which hold nothing that must be escaped.
    #[inline]
    fn word(&mut self, key: Key, value: &'static str) {
        self.quoted(key, |out| out.extend_from_slice(value.as_bytes()));
    }

    /// For words of the configuration, which hold no token.
    #[inline]
    fn name(&mut self, key: Key, value: &str) {
        self.quoted(key, |out| escape::push(out, value.as_bytes()));
    }

    #[inline]
    fn maybe(&mut self, key: Key, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    #[inline]
    fn number(&mut self, key: Key, value: u64) {
        self.key(key).extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    #[inline]
    fn millis(&mut self, key: Key, time: Duration) {
        push_millis(self.key(key), time);
    }
}

/// Appends milliseconds with three places: `12.345`.
pub(super) fn push_millis(out: &mut Vec<u8>, time: Duration) {
    if time.is_zero() {
        return out.extend_from_slice(b"0.000");
    }
    let micros = time.subsec_micros();
    if time.as_secs() == 0 && micros < 10_000 {
        // Most are as short as this.
        let ([a, b], [c, d]) = (two_digits(micros / 100), two_digits(micros % 100));
        return out.extend_from_slice(&[a, b'.', b, c, d]);
    }
    let millis = time.as_secs().saturating_mul(1_000).saturating_add((micros / 1_000).into());
    out.extend_from_slice(itoa::Buffer::new().format(millis).as_bytes());
    let ([_, b], [c, d]) = (two_digits(micros / 100 % 100), two_digits(micros % 100));
    out.extend_from_slice(&[b'.', b, c, d]);
}

/// The digits of a number below 100.
fn two_digits(number: u32) -> [u8; 2] {
    const ALL: [[u8; 2]; 100] = {
        let mut all = [[0; 2]; 100];
        let mut n = 0;
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
        while n < all.len() {
            all[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
            n += 1;
        }
        all
    };
    ALL.get(number as usize).copied().unwrap_or([b'0'; 2])
}

/// Appends an address; by hand for IPv4, which most are.
fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    let IpAddr::V4(address) = address else {
        // Writing to a Vec cannot fail.
        let _ = write!(out, "{address}");
        return;
    };
    let mut text = [b'.'; 16];
    let mut length = 0;
    for octet in address.octets() {
        let digits = match octet {
            100.. => 3,
            10.. => 2,
            _ => 1,
        };
        if let Some(room) = text.get_mut(length..length + digits) {
            let mut left = octet;
            for place in room.iter_mut().rev() {
                *place = b'0' + left % 10;
                left /= 10;
            }
        }
        // The place after it is a dot already.
        length += digits + 1;
    }
    out.extend_from_slice(text.get(..length - 1).unwrap_or_default());
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
