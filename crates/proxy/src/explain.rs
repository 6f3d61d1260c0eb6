//! `lockgate explain`: where a request would go, and why, without sending it. The same code
//! answers for a file and for a running gateway, which knows its endpoints' state besides.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use lockgate_config::model::Listener;
use lockgate_core::{Seen, preflight};
use serde::{Deserialize, Serialize};

use crate::route::{Candidate, Found, Verdict, normalise};
use crate::snapshot::{Route, Snapshot};
use crate::target::Target;
use lockgate_upstream::{Phase, Upstream};

/// The request that is asked about.
#[derive(Debug, Clone)]
pub struct Asked {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

/// Where a request would go, and why.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Explanation {
    /// The request as it is understood: method, host, normal path.
    pub request: String,
    /// The listeners that could have taken it, and their addresses.
    pub listeners: Vec<String>,
    /// The configuration's generation, when a running gateway answers.
    pub generation: Option<u64>,
    /// The routes that were looked at: pattern, place in the file, how it fared.
    pub candidates: Vec<Looked>,
    /// The policies in the order in which they would run.
    pub policies: Vec<PolicyLine>,
    /// What is done with the path and the host.
    pub rewrite: Option<String>,
    /// What the target is.
    pub target: Option<String>,
    /// The upstream's endpoints and why each is in or out.
    pub endpoints: Vec<String>,
    /// What the answer would be, if the gateway itself made it: status and reason.
    pub answer: Option<String>,
}

/// A route that was looked at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Looked {
    /// The pattern as written.
    pub pattern: String,
    /// File, line and column.
    pub place: Option<String>,
    /// Whether it is the one.
    pub matched: bool,
    /// In words.
    pub verdict: String,
}

/// A policy that would run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PolicyLine {
    /// When it runs.
    pub stage: String,
    /// The plugin's name.
    pub name: String,
    /// Its effective values.
    pub values: String,
    /// File, line and column.
    pub place: Option<String>,
}

/// Tells where the value under a path of keys stands.
pub(crate) type Locate<'a> = &'a dyn Fn(&[&str]) -> Option<String>;

impl Asked {
    /// A request to ask about. The URL may leave out scheme and host.
    ///
    /// # Errors
    /// What is wrong with which part.
    pub fn new(method: &str, url: &str, headers: &[String]) -> Result<Self, String> {
        let method = Method::from_str(method).map_err(|_| format!("`{method}` is no method"))?;
        let uri = Uri::from_str(url).map_err(|error| format!("`{url}` is no URL: {error}"))?;
        if !uri.path().starts_with('/') {
            return Err(format!("`{url}` has no path: write http://host/path or /path"));
        }
        let mut map = HeaderMap::new();
        for header in headers.iter().take(100) {
            let wrong = || format!("`{header}` is no header: write 'Name: value'");
            let (name, value) = header.split_once(':').ok_or_else(wrong)?;
            let name = HeaderName::from_str(name.trim()).map_err(|_| wrong())?;
            let value = HeaderValue::from_str(value.trim()).map_err(|_| wrong())?;
            map.append(name, value);
        }
        Ok(Self { method, uri, headers: map })
    }

    /// Reads `method=…&url=…&header=…`, percent-encoded.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub fn from_query(query: &str) -> Result<Self, String> {
        let (mut method, mut url, mut headers) = ("GET".to_owned(), None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value).ok_or_else(|| format!("`{key}` is not percent-encoded"))?;
            match key {
                "method" => method = value,
                "url" => url = Some(value),
                "header" => headers.push(value),
                _ => return Err(format!("there is no `{key}`: only method, url and header")),
            }
        }
        Self::new(&method, &url.ok_or("`url` is missing")?, &headers)
    }

    /// The form that [`from_query`](Self::from_query) reads.
    pub fn to_query(&self) -> String {
        let mut query =
            format!("method={}&url={}", self.method, percent_encoded(&self.uri.to_string(), b"/:"));
        for (name, value) in &self.headers {
            let header = format!("{name}: {}", value.to_str().unwrap_or_default());
            let _ = write!(query, "&header={}", percent_encoded(&header, b"/:"));
        }
        query
    }

    fn host(&self) -> String {
        let named = self.uri.host().map(str::to_owned);
        let header = || self.headers.get(http::header::HOST)?.to_str().ok().map(str::to_owned);
        let host = named.or_else(header).unwrap_or_default();
        // The colons of an IPv6 address are no port's.
        let name = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => name,
            _ => host.as_str(),
        };
        name.to_ascii_lowercase()
    }

    /// The head of the request, with a path in the normal form.
    fn head(&self, method: &Method, path: &str) -> Option<Parts> {
        let target = match self.uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        let request = Request::builder().method(method.clone()).uri(target).body(());
        let (mut head, ()) = request.ok()?.into_parts();
        head.headers = self.headers.clone();
        Some(head)
    }

    /// What conditions see of it: nobody has sent it, so it is as from this machine.
    fn seen<'a>(&self, head: &'a Parts, host: &'a str) -> Seen<'a> {
        Seen {
            head,
            host,
            secure: self.uri.scheme_str() == Some("https"),
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            consumer: None,
            route: None,
            captures: None,
        }
    }

    /// As it was asked, with another path: scheme and port stay.
    fn told(&self, host: &str, path: &str) -> String {
        let scheme = self.uri.scheme_str().map(|scheme| format!("{scheme}://")).unwrap_or_default();
        let port = self.uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{} {scheme}{host}{port}{path}", self.method)
    }
}

impl Snapshot {
    /// Explains a request. `live` says that the endpoints' state is known, as traffic and probes
    /// pass through this very process.
    pub fn explain(&self, asked: &Asked, locate: Locate<'_>, live: bool) -> Explanation {
        let host = asked.host();
        let mut told = Explanation {
            generation: live.then_some(self.generation),
            listeners: self.listeners(asked),
            ..Explanation::default()
        };
        let path = match normalise(asked.uri.path()) {
            Ok(path) => path.into_owned(),
            Err(fault) => {
                told.request = asked.told(&host, asked.uri.path());
                told.answer = Some(answer(&fault));
                return told;
            }
        };
        told.request = asked.told(&host, &path);
        if let Some(answer) = self.redirect(asked, &host, &path) {
            told.answer = Some(answer);
            return told;
        }
        let named: Vec<&str> = self.takers(asked).map(|(name, _)| name.as_str()).collect();
        let mount = self.mount.as_ref();
        let mounted = mount.and_then(|mount| mount.explain(&named, &asked.method, &path));
        if mounted.is_some() {
            told.answer = mounted;
            return told;
        }
        let about = self.asked_about(asked, &host, &path);
        if let Some(method) = &about {
            let _ = write!(told.request, " (a preflight, led as {method})");
        }
        let asked = &Asked { method: about.unwrap_or(asked.method.clone()), ..asked.clone() };
        let mut candidates = self.router.explain(&asked.method, &host, &path);
        if candidates.iter().any(|one| one.verdict == Verdict::Matched) {
            candidates.retain(|one| !matches!(one.verdict, Verdict::Path { .. }));
        }
        told.candidates = candidates.iter().map(|one| looked(one, locate)).collect();
        let winner = candidates.iter().find(|one| one.verdict == Verdict::Matched);
        match winner.and_then(|one| self.sets.get(one.index)) {
            Some(set) => self.explain_set(&mut told, &set.routes, asked, &path, locate, live),
            None => told.answer = Some(self.explain_miss(asked, &candidates)),
        }
        told
    }

    /// The method that a preflight is led by, when the route of that method answers it.
    fn asked_about(&self, asked: &Asked, host: &str, path: &str) -> Option<Method> {
        let method = preflight(&asked.method, &asked.headers)?;
        let Found::Route { index, .. } = self.find(&method, host, path) else { return None };
        let head = asked.head(&method, path)?;
        let routes = &self.sets.get(index)?.routes;
        let host = asked.host();
        let seen = asked.seen(&head, &host);
        let route = routes.iter().find(|route| route.when.holds(&seen).is_ok())?;
        route.answers_preflights().then_some(method)
    }

    fn explain_set(
        &self,
        told: &mut Explanation,
        routes: &[Route],
        asked: &Asked,
        path: &str,
        locate: Locate<'_>,
        live: bool,
    ) {
        let Some(head) = asked.head(&asked.method, path) else { return };
        let host = asked.host();
        let seen = asked.seen(&head, &host);
        for (number, route) in routes.iter().enumerate() {
            match route.when.holds(&seen) {
                Ok(()) => return explain_route(told, route, locate, live),
                Err(why) => told.candidates.push(Looked {
                    pattern: format!("{} (choice {})", route.pattern, number + 1),
                    place: None,
                    matched: false,
                    verdict: why.to_string(),
                }),
            }
        }
        told.answer = Some("404 route_condition: no `when` of the route holds".to_owned());
    }

    fn explain_miss(&self, asked: &Asked, candidates: &[Candidate]) -> String {
        let wrong_method = |one: &&Candidate| matches!(one.verdict, Verdict::Method { .. });
        if candidates.iter().any(|one| wrong_method(&one)) {
            if asked.method == Method::OPTIONS {
                return "204, with the methods that are served here in `Allow`".to_owned();
            }
            return "405 method_not_allowed: the path is served, for other methods".to_owned();
        }
        "404 no_route: no route matches".to_owned()
    }

    /// What a listener answers that sends everybody to https, when no other could have taken the
    /// request.
    fn redirect(&self, asked: &Asked, host: &str, path: &str) -> Option<String> {
        if asked.uri.scheme_str() == Some("https") {
            return None;
        }
        let port = asked.uri.port_u16();
        let mut takers = self.document.listeners.values();
        let taken = |listener: &&Listener| {
            listener.tls.is_none() && port.is_none_or(|port| port == listener.address.port())
        };
        let all: Vec<Option<u16>> =
            takers.by_ref().filter(taken).map(|listener| listener.redirect_https).collect();
        let to = all.iter().copied().collect::<Option<Vec<u16>>>()?;
        let to = match to.first()? {
            443 => String::new(),
            port => format!(":{port}"),
        };
        Some(format!("308 to https://{host}{to}{path}: the listener has `redirect_https`"))
    }

    fn listeners(&self, asked: &Asked) -> Vec<String> {
        let takers = self.takers(asked);
        takers.map(|(name, listener)| format!("{name} ({})", listener.address)).collect()
    }

    /// The listeners that could have taken it.
    fn takers(&self, asked: &Asked) -> impl Iterator<Item = (&String, &Listener)> {
        let port = asked.uri.port_u16();
        let all = self.document.listeners.iter();
        all.filter(move |(_, listener)| port.is_none_or(|port| port == listener.address.port()))
    }
}

pub(crate) fn explain_route(told: &mut Explanation, route: &Route, locate: Locate<'_>, live: bool) {
    for entry in &route.entries {
        let path: Vec<&str> = entry.origin.iter().map(|word| &**word).collect();
        let stage = serde_json::to_value(entry.stage).ok();
        told.policies.push(PolicyLine {
            stage: stage.and_then(|s| s.as_str().map(str::to_owned)).unwrap_or_default(),
            name: entry.name.to_owned(),
            values: shown(entry.written.as_deref(), || entry.policy.describe()),
            place: locate(&path),
        });
    }
    told.rewrite = route.rewrite.as_ref().and_then(|rewrite| rewrite.describe());
    match &route.target {
        Target::Handler(name, handler) => {
            let what = shown(route.written.as_deref(), || handler.describe());
            told.target = Some(format!("handler {name}: {what}"));
        }
        Target::Upstream(upstream) => {
            told.target = Some(named(upstream, live));
            told.endpoints = endpoints(upstream, live);
        }
        Target::Split(choices) => {
            let names: Vec<String> = choices.iter().map(|(_, u)| named(u, live)).collect();
            told.target = Some(format!("split over {}", names.join(", ")));
            told.endpoints = choices.iter().flat_map(|(_, u)| endpoints(u, live)).collect();
        }
    }
}

/// Settings as written, where those are kept; else in the plugin's own words.
fn shown(written: Option<&str>, describe: impl FnOnce() -> String) -> String {
    written.map_or_else(describe, str::to_owned)
}

/// An upstream's name, and what its breaker does.
fn named(upstream: &Upstream, live: bool) -> String {
    let name = format!("upstream {}", upstream.name());
    match upstream.breaker().filter(|_| live).map(|breaker| breaker.phase()) {
        None | Some(Phase::Closed) => name,
        Some(Phase::Open) => format!("{name}, its breaker is open"),
        Some(Phase::HalfOpen) => format!("{name}, its breaker lets trials through"),
    }
}

/// An upstream's endpoints, each on a line with why it is in or out.
fn endpoints(upstream: &Upstream, live: bool) -> Vec<String> {
    let view = upstream.view();
    let lines = view.endpoints.iter().map(|endpoint| {
        let state = match (&endpoint.reason, live) {
            (Some(reason), _) => format!("out: {reason}"),
            (None, true) => {
                let probes = match endpoint.consecutive_failures {
                    0 => String::new(),
                    failed => format!(", {failed} failed probes in a row"),
                };
                format!("in, {} in flight{probes}", endpoint.in_flight)
            }
            (None, false) => "in, as far as the file says".to_owned(),
        };
        format!("{}  weight {}  {state}", endpoint.address, endpoint.weight)
    });
    lines.collect()
}

fn looked(candidate: &Candidate, locate: Locate<'_>) -> Looked {
    let verdict = match &candidate.verdict {
        Verdict::Matched => "this one".to_owned(),
        Verdict::LessSpecific { than } => format!("matches, but `{than}` is more specific"),
        Verdict::Method { takes } => format!("takes {takes} only"),
        Verdict::Host { takes } => format!("takes the host {takes} only"),
        Verdict::Path { .. } if ends_at_root(&candidate.pattern) => "takes only `/`".to_owned(),
        Verdict::Path { segment, wants, has } => {
            let has = has.as_deref().map_or("the path ends".to_owned(), |has| format!("`{has}`"));
            let wants = wants.as_deref().map_or("the end".to_owned(), |w| format!("`{w}`"));
            format!("segment {segment}: wants {wants}, has {has}")
        }
    };
    Looked {
        pattern: candidate.pattern.to_string(),
        place: locate(&["routes", &candidate.pattern]),
        matched: candidate.verdict == Verdict::Matched,
        verdict,
    }
}

/// Whether a pattern's path is `/` and no more.
fn ends_at_root(pattern: &str) -> bool {
    let rest = pattern.rsplit([' ', '\t']).next().unwrap_or(pattern);
    rest.find('/').is_some_and(|at| at + 1 == rest.len())
}

fn answer(fault: &lockgate_core::Fault) -> String {
    format!("{} {fault}", fault.kind().status().as_u16())
}

impl Explanation {
    /// For people, at most 80 columns wide where the parts allow it.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing to memory cannot fail.
        let _ = writeln!(out, "{}", self.request);
        match self.generation {
            Some(generation) => {
                let _ = writeln!(out, "asked of the running gateway, generation {generation}");
            }
            None => out.push_str("read from the file: no endpoint's state is known\n"),
        }
        let _ =
            writeln!(out, "listener   {}", or(&self.listeners.join(", "), "none has this port"));
        out.push_str("routes\n");
        for one in &self.candidates {
            let mark = if one.matched { '*' } else { ' ' };
            let place = one.place.as_deref().unwrap_or_default();
            let _ = writeln!(out, " {mark} {}  {place}", one.pattern);
            if !one.matched {
                let _ = writeln!(out, "     {}", one.verdict);
            }
        }
        if self.target.is_some() {
            self.text_of_route(&mut out);
        }
        if let Some(answer) = &self.answer {
            let _ = writeln!(out, "answer     {answer}");
        }
        out
    }

    fn text_of_route(&self, out: &mut String) {
        if self.policies.is_empty() {
            out.push_str("policies   none\n");
        } else {
            out.push_str("policies\n");
        }
        for policy in &self.policies {
            let place = policy.place.as_deref().unwrap_or_default();
            let _ = writeln!(out, "   {:<14} {}  {place}", policy.stage, policy.name);
            let _ = writeln!(out, "   {:<14} {}", "", policy.values);
        }
        if let Some(rewrite) = &self.rewrite {
            let _ = writeln!(out, "rewrite    {rewrite}");
        }
        let _ = writeln!(out, "target     {}", or(self.target.as_deref().unwrap_or(""), "none"));
        for endpoint in &self.endpoints {
            let _ = writeln!(out, "   {endpoint}");
        }
    }
}

fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

/// Percent-encodes all but what is unreserved (RFC 3986 §2.3) and what is to be kept.
pub fn percent_encoded(text: &str, kept: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || kept.contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |b: u8| char::from(b).to_digit(16);
                let high = digit(bytes.next()?)?;
                let low = digit(bytes.next()?)?;
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}
