//! One request's journey: what came in, what has been decided, and what the log will say of it.

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::HeaderName;
use http::request::Parts;
use http::uri::PathAndQuery;
use tokio::time::Instant;

use crate::{
    Body, Connection, Consumer, Fault, Left, Lines, LocalFuture, Once, Reason, Spans, Template, hex,
};

/// Who made the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// The gateway: a refusal, a redirect, a fixed answer.
    #[default]
    Gateway,
    /// An upstream's endpoint.
    Upstream,
    /// The cache, or the record of the same request before.
    Cache,
}

/// A request between its arrival and the last byte of its answer.
pub struct Exchange {
    /// The head, as it will go to the target: policies change it in place.
    pub head: Parts,
    /// The request's body.
    pub body: Body,
    /// The client's connection.
    pub connection: Rc<Connection>,
    /// The client's address: the peer's, or the one that a trusted proxy vouches for.
    pub client_ip: IpAddr,
    /// Whether the client speaks TLS, to us or to a trusted proxy.
    pub secure: bool,
    /// The host that was asked for, in lower case, without a port.
    pub host: Box<str>,
    /// The request's id, made here or kept from the client.
    pub id: RequestId,
    /// When the head was complete.
    pub started: Instant,
    /// The pattern of the route that matched.
    pub route: Option<Arc<str>>,
    /// The path's captures.
    pub captures: Captures,
    /// Who is asking, once an identity has vouched for them.
    pub consumer: Option<Arc<Consumer>>,
    /// Who made the answer; meaningful in response hooks.
    pub origin: Origin,
    /// Whether the client asked to switch protocols.
    pub upgrade: bool,
    /// Whether the client speaks gRPC (`content-type: application/grpc…`).
    pub grpc: bool,
    /// Set when it is to run once: a policy keeps a record of it.
    pub once: Option<Rc<Once>>,
    /// When the whole request must be over, if that is limited.
    pub deadline: Option<Instant>,
    /// What the access log and the metrics will say of the upstream.
    pub upstream: UpstreamNotes,
    /// Why the gateway refused or failed, if it did.
    pub fault: Option<Fault>,
    /// The debugging notes that `Lockgate-Trace` returns, when the request may ask for them.
    pub trace: Option<Vec<String>>,
    /// The trace that it belongs to, and its parts that took time.
    pub spans: Spans,
    /// What policies keep of this request.
    pub kept: Keeping,
}

impl Exchange {
    /// Adds a debugging note. The closure runs only when the request is being traced.
    pub fn note(&mut self, note: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let at = self.started.elapsed();
            trace.push(format!("{:.3}ms {}", at.as_secs_f64() * 1e3, note()));
        }
    }

    /// When the clock was last read for this request: as good as now, as long as nothing has been
    /// waited for since. Whoever waits says so with [`waited`](Self::waited).
    pub fn lately(&self) -> Instant {
        self.kept.looked.unwrap_or(self.started)
    }

    /// Something was waited for until `now`.
    pub fn waited(&mut self, now: Instant) {
        self.kept.looked = Some(now);
    }

    /// A request of the gateway's own that asks for the same: without a body, and with nothing
    /// decided or kept yet.
    pub fn behind(&self) -> Self {
        Self {
            head: self.head.clone(),
            body: Body::Empty,
            connection: Rc::clone(&self.connection),
            client_ip: self.client_ip,
            secure: self.secure,
            host: self.host.clone(),
            id: self.id.clone(),
            started: Instant::now(),
            route: self.route.clone(),
            captures: self.captures.clone(),
            consumer: self.consumer.clone(),
            origin: Origin::Gateway,
            upgrade: false,
            grpc: self.grpc,
            once: None,
            deadline: None,
            upstream: UpstreamNotes::default(),
            fault: None,
            trace: None,
            spans: self.spans.behind(),
            kept: Keeping::default(),
        }
    }

    /// The attempt under way has brought nothing that is passed on: why, unless it is an answer.
    pub fn attempt_over(&mut self, reason: Option<&'static Reason>) {
        self.spans.attempt_over(&self.upstream, reason);
    }

    /// The value of a cookie, as sent.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        cookies(&self.head.headers).find_map(|(key, value)| (key == name).then_some(value))
    }

    /// The first value of a query parameter, still percent-encoded.
    pub fn query(&self, name: &str) -> Option<&str> {
        let query = self.head.uri.query()?;
        query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then_some(value)
        })
    }
}

/// What policies keep of one request between their hooks, and until the answer's last byte: it is
/// dropped with the exchange. Told apart by the policy that keeps it.
#[derive(Default)]
pub struct Keeping {
    /// Most requests keep one value.
    first: Option<Kept>,
    more: Vec<Kept>,
    /// Lines that the answer's head gets beside its own once all policies are through: for what
    /// none of them is to see or change.
    pub lines: Lines,
    /// What is left of the limits that it met: of rates, and of quotas.
    pub left: [Option<Left>; 2],
    /// What came of it at the cache, in a word: for the access log.
    pub cached: Option<&'static str>,
    /// The name of the limit that refused it: for the access log.
    pub limit: Option<Arc<str>>,
    looked: Option<Instant>,
    cut: Option<Cut>,
}

/// Headers that a policy has written for the target out of words of the request, and out of which:
/// whatever goes by what the client sent under their names goes by the wrong thing.
#[derive(Clone)]
pub struct Derived(pub Arc<[(HeaderName, Template)]>);

/// Ready when its request must go no further, with why.
pub type Cut = LocalFuture<'static, Fault>;

struct Kept {
    owner: usize,
    value: Box<dyn Any>,
}

impl Kept {
    fn is<T: 'static>(&self, owner: usize) -> bool {
        self.owner == owner && self.value.is::<T>()
    }
}

impl Keeping {
    /// Keeps a value for the policy `owner`, beside others that it keeps.
    pub fn put<P, T: 'static>(&mut self, owner: &P, value: T) {
        let kept = Kept { owner: place(owner), value: Box::new(value) };
        if self.first.is_none() {
            self.first = Some(kept);
        } else {
            self.more.push(kept);
        }
    }

    /// The value of this type that the policy keeps.
    pub fn get<P, T: 'static>(&mut self, owner: &P) -> Option<&mut T> {
        let owner = place(owner);
        let mut all = self.first.iter_mut().chain(&mut self.more);
        all.find(|kept| kept.is::<T>(owner))?.value.downcast_mut()
    }

    /// The value of this type that the policy keeps: from now on, if it kept none.
    pub fn get_or_put<P, T: 'static>(
        &mut self,
        owner: &P,
        make: impl FnOnce() -> T,
    ) -> Option<&mut T> {
        if self.get::<P, T>(owner).is_none() {
            self.put(owner, make());
        }
        self.get(owner)
    }

    /// All values of this type, whichever policies keep them.
    pub fn each<T: 'static>(&self) -> impl Iterator<Item = &T> {
        let all = self.first.iter().chain(&self.more);
        all.filter_map(|kept| kept.value.downcast_ref())
    }

    /// Takes the value of this type that the policy keeps.
    pub fn take<P, T: 'static>(&mut self, owner: &P) -> Option<T> {
        let owner = place(owner);
        let kept = match self.first.take_if(|kept| kept.is::<T>(owner)) {
            Some(kept) => kept,
            None => {
                let found = self.more.iter().position(|kept| kept.is::<T>(owner))?;
                self.more.swap_remove(found)
            }
        };
        kept.value.downcast().ok().map(|value| *value)
    }

    /// Cuts the request short when `cut` is ready: while its target is asked, attempt after
    /// attempt, whatever is under way is let go, and the fault is what came of it. It is looked
    /// at first, so that nothing is sent once it is ready. The later one of two holds as well.
    pub fn cut_by(&mut self, cut: Cut) {
        self.cut = Some(match self.cut.take() {
            None => cut,
            Some(mut other) => {
                let mut cut = cut;
                Box::pin(poll_fn(move |cx| match other.as_mut().poll(cx) {
                    Poll::Pending => cut.as_mut().poll(cx),
                    ready => ready,
                }))
            }
        });
    }

    /// What cuts the request short, for whoever asks its target.
    pub fn take_cut(&mut self) -> Option<Cut> {
        self.cut.take()
    }
}

impl fmt::Debug for Keeping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keeping({})", self.first.iter().len() + self.more.len())
    }
}

/// A policy's place in memory: it does not move while requests run through it.
fn place<P>(owner: &P) -> usize {
    std::ptr::from_ref(owner).addr()
}

/// All cookies of a request that are text, in the order sent. One that is not hides no other.
pub(crate) fn cookies(headers: &http::HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    headers
        .get_all(http::header::COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'))
        .filter_map(|pair| str::from_utf8(pair).ok()?.trim().split_once('='))
}

/// What is remembered of the calls upstream.
#[derive(Debug, Default)]
pub struct UpstreamNotes {
    /// The upstream's name.
    pub name: Option<Arc<str>>,
    /// The address of the endpoint that was asked last.
    pub endpoint: Option<Arc<str>>,
    /// How often an endpoint was asked; 0 when none was.
    pub attempts: u32,
    /// From the request's start until the first attempt began: time in policies and queues.
    pub queued: Duration,
    /// Time to connect in the last attempt; zero on a pooled connection.
    pub connect: Duration,
    /// From the last attempt's start to the head of its answer.
    pub first_byte: Option<Duration>,
    /// The status of the upstream's own answer.
    pub status: Option<u16>,
}

/// A request's id: what the client sent, when it may be kept, or 128 random bits in hex.
#[derive(Clone)]
pub struct RequestId(Id);

#[derive(Clone)]
enum Id {
    /// Most requests have one of these, which needs no memory of its own.
    Random([u8; 32]),
    Given(http::HeaderValue),
}

impl RequestId {
    /// A fresh random id. Unique enough to find a request by; not a secret.
    pub fn random() -> Self {
        let mut text = [0_u8; 32];
        for half in text.chunks_exact_mut(16) {
            half.copy_from_slice(&hex::encode(fastrand::u64(..)));
        }
        Self(Id::Random(text))
    }

    /// Keeps a client's id: 1 to 128 visible characters of letters, digits and `-_.:+/=@`.
    pub fn keep(value: &http::HeaderValue) -> Option<Self> {
        let bytes = value.as_bytes();
        let fits = (1..=128).contains(&bytes.len())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.:+/=@".contains(b));
        fits.then(|| Self(Id::Given(value.clone())))
    }

    /// As a header value.
    pub fn header(&self) -> http::HeaderValue {
        match &self.0 {
            Id::Random(text) => {
                http::HeaderValue::from_bytes(text).unwrap_or(http::HeaderValue::from_static("0"))
            }
            Id::Given(value) => value.clone(),
        }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        let bytes = match &self.0 {
            Id::Random(text) => text.as_slice(),
            Id::Given(value) => value.as_bytes(),
        };
        str::from_utf8(bytes).unwrap_or_default()
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the route's pattern captured of the path, percent-encoded as it stands there.
#[derive(Debug, Clone, Default)]
pub struct Captures {
    names: Option<Arc<[Box<str>]>>,
    ranges: Vec<(u32, u32)>,
    path: Option<PathAndQuery>,
}

impl Captures {
    /// Captures of `path`: one byte range for each name. Names and ranges come from the router.
    pub fn new(names: Arc<[Box<str>]>, ranges: Vec<(u32, u32)>, path: PathAndQuery) -> Self {
        Self { names: Some(names), ranges, path: Some(path) }
    }

    /// The text of one capture.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find_map(|(key, value)| (key == name).then_some(value))
    }

    /// All captures, in the pattern's order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let path = self.path.as_ref().map_or("", |p| p.path());
        let names = self.names.iter().flat_map(|names| names.iter());
        names.zip(&self.ranges).filter_map(|(name, &(from, to))| {
            Some((&**name, path.get(from as usize..to as usize)?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_id_may_be_kept() {
        let id = RequestId::random();
        assert_eq!(id.as_str().len(), 32);
        let kept = RequestId::keep(&id.header()).unwrap();
        assert_eq!(kept.as_str(), id.as_str());
    }
}
