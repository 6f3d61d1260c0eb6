//! Runs one case: builds the route's policies and handler, plays the upstream, compares.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use lockgate_core::{
    AlternativeName, Body, Build, Captures, ClientCertificate, ConfigError, Connection, Exchange,
    Fault, Handler, Identities, Identity, Listed, Origin, Plugin, Policy, Priority, Provide, Stage,
    Step, Tls, Verdict, Write,
};
use serde_json::Value;

use super::played::Played;
use super::reply::upstream;
use super::{alone, case, identify, pattern, token};
use crate::ALL;

const CAP: usize = 1 << 20;
const REASON: HeaderName = HeaderName::from_static("lockgate-reason");

/// A route with everything on it built.
struct Route {
    pattern: String,
    policies: Vec<Box<dyn Policy>>,
    /// `None`: the upstream that the case plays.
    handler: Option<Box<dyn Handler>>,
}

/// A request as a case would write it, for tests that are no cases.
pub(crate) fn request(request: &Value) -> Exchange {
    exchange("/*", request).expect("a request")
}

/// An identity of this kind, for tests that are no cases.
pub(crate) fn identity(kind: &str, config: &Value) -> Result<Arc<dyn Identity>, ConfigError> {
    let case = serde_json::json!({ "case": "", "route": {} });
    let played = Played::new(&mut serde_json::from_value(case).expect("a case"));
    let kinds = [(kind.to_owned(), config.clone())].into();
    let mut built = identities(&[("tested".to_owned(), kinds)].into(), &played)?;
    Ok(built.remove("tested").expect("it was built"))
}

/// Runs a case. `Err` says what did not come as expected.
pub(super) async fn case(document: &Value) -> Result<(), String> {
    let mut document = document.clone();
    token::fill(&mut document)?;
    let mut case: case::Case = serde_json::from_value(document).map_err(|e| e.to_string())?;
    if case.route.is_null() {
        case.route = serde_json::json!({ "to": "users" });
    }
    let played = Played::new(&mut case);
    let built = identities(&case.identity, &played).and_then(|identities| {
        let route = build(&case.route, &identities, &played)?;
        Ok((route, identities))
    });
    if let Some(expected) = case.load_error {
        let Err(error) = built else { return Err("the route loads".to_owned()) };
        return load_error(&expected, &error);
    }
    let (route, identities) = built.map_err(|error| format!("the route does not load: {error}"))?;
    let exchanges = match (case.exchanges, case.request) {
        (Some(list), None) if case.answer.is_none() && case.finds.is_none() => list,
        (None, Some(request)) => vec![case::Exchange {
            after: None,
            request,
            identify: case.identify,
            finds: case.finds,
            upstream: case.upstream,
            upstream_sees: case.upstream_sees,
            outside_sees: case.outside_sees,
            answer: case.answer,
        }],
        _ => return Err("needs `request` and `answer`, or `exchanges`, or `load_error`".to_owned()),
    };
    for (place, exchange) in exchanges.iter().enumerate() {
        if let Some(after) = exchange.after {
            tokio::time::advance(after.0).await;
        }
        let ran = match (&exchange.identify, &exchange.finds, &exchange.answer) {
            (None, None, Some(answer)) => run(&route, &played, exchange, answer).await,
            (Some(name), Some(finds), None) => identify(&identities, name, exchange, finds).await,
            _ => Err("needs `answer`, or `identify` and what it `finds`".to_owned()),
        };
        let at = |error| format!("exchange {}: {error}", place + 1);
        ran.map_err(at)?;
        // What goes on in the background gets its turn.
        for _ in 0..16 {
            tokio::task::yield_now().await;
        }
        let asked = played.asked();
        if let Some(expected) = &exchange.outside_sees {
            outside(expected, &asked).map_err(at)?;
        }
    }
    Ok(())
}

fn load_error(expected: &case::LoadError, error: &ConfigError) -> Result<(), String> {
    let at = error.path.join(".");
    if expected.at.as_deref().unwrap_or_default() != at {
        return Err(format!("the load error is at `{at}`: {error}"));
    }
    if !error.message.contains(&expected.says) {
        return Err(format!("the load error says: {}", error.message));
    }
    Ok(())
}

/// The identities of a case: name → kind → settings. An error is placed below the name.
fn identities(
    all: &std::collections::BTreeMap<String, std::collections::BTreeMap<String, Value>>,
    provide: &dyn Provide,
) -> Result<Identities, ConfigError> {
    let (mut built, none) = (Identities::new(), Identities::new());
    for (name, kinds) in all {
        for (kind, config) in kinds {
            let found = ALL.iter().find_map(|plugin| match plugin {
                Plugin::Identity(plugin) if plugin.name() == kind => Some(*plugin),
                _ => None,
            });
            let plugin = found.ok_or_else(|| ConfigError::new(format!("no identity `{kind}`")))?;
            let mut build = Build {
                route: "".into(),
                when: "".into(),
                place: format!("identity.{name}.{kind}").into(),
                name: name.as_str().into(),
                priority: Priority::Normal,
                target: "".into(),
                identities: &none,
                provide,
            };
            let identity = plugin.build(config, &mut build);
            built.insert(name.clone(), identity.map_err(|error| error.at(kind).at(name))?);
        }
    }
    Ok(built)
}

fn build(
    route: &Value,
    identities: &Identities,
    provide: &dyn Provide,
) -> Result<Route, ConfigError> {
    let map = route.as_object().ok_or_else(|| ConfigError::new("`route` is a mapping"))?;
    let with_pattern = map.iter().next().filter(|(key, _)| map.len() == 1 && key.contains('/'));
    let (pattern, value) = with_pattern.map_or(("/*", route), |(key, value)| (key.as_str(), value));
    build_route(pattern, value, identities, provide)
}

fn build_route(
    pattern: &str,
    value: &Value,
    identities: &Identities,
    provide: &dyn Provide,
) -> Result<Route, ConfigError> {
    let map = value.as_object().ok_or_else(|| ConfigError::new("a route is a mapping"))?;
    let priority = match map.get("priority").and_then(Value::as_str) {
        Some("high") => Priority::High,
        Some("low") => Priority::Low,
        _ => Priority::Normal,
    };
    let (route, when, place, name) = (pattern.into(), "".into(), "".into(), "".into());
    let target = map.get("to").and_then(Value::as_str).unwrap_or_default().into();
    let mut build = Build { route, when, place, name, priority, target, identities, provide };
    let mut policies: Vec<(Stage, Box<dyn Policy>)> = Vec::new();
    let own = ["to", "priority"];
    for (name, config) in map.iter().filter(|(name, _)| !own.contains(&name.as_str())) {
        let found = ALL.iter().find_map(|plugin| match plugin {
            Plugin::Policy(policy) if policy.name() == name => Some(*policy),
            _ => None,
        });
        let plugin = found.ok_or_else(|| ConfigError::new(format!("no policy `{name}`")))?;
        let one = std::slice::from_ref(config);
        let list = config.as_array().map_or(one, Vec::as_slice);
        let places: Vec<String> =
            (0..list.len()).map(|place| format!("routes.{pattern}.{name}.{place}")).collect();
        let listed: Vec<Listed<'_>> =
            list.iter().zip(&places).map(|(config, place)| Listed { config, place }).collect();
        build.name = name.as_str().into();
        let built = plugin.build_list(&listed, &mut build).map_err(|(_, error)| error)?;
        policies.extend(built.into_iter().map(|built| (built.stage, built.policy)));
    }
    policies.sort_by_key(|(stage, _)| *stage);
    let handler = match value.get("to").and_then(Value::as_object).and_then(|to| to.iter().next()) {
        None => None,
        Some((name, config)) => {
            let found = ALL.iter().find_map(|plugin| match plugin {
                Plugin::Handler(handler) if handler.name() == name => Some(*handler),
                _ => None,
            });
            let plugin = found.ok_or_else(|| ConfigError::new(format!("no handler `{name}`")))?;
            (build.name, build.place) =
                (name.as_str().into(), format!("routes.{pattern}.to").into());
            Some(plugin.build(config, &mut build)?)
        }
    };
    let policies = policies.into_iter().map(|(_, policy)| policy).collect();
    Ok(Route { pattern: pattern.to_owned(), policies, handler })
}

/// What a played upstream was asked.
pub(super) struct Asked {
    pub(super) line: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Asked {
    fn compare(&self, sees: &case::Sees) -> Result<(), String> {
        if sees.line.as_ref().is_some_and(|line| *line != self.line) {
            return Err(format!("asked `{}`", self.line));
        }
        same_headers(&sees.headers, &self.headers)?;
        match &sees.body {
            Some(body) if *body != self.body => Err(format!("the body {:?}", self.body)),
            _ => Ok(()),
        }
    }
}

/// Compares what the gateway itself asked.
fn outside(expected: &[case::Sees], asked: &[Asked]) -> Result<(), String> {
    if expected.len() != asked.len() {
        let lines: Vec<&str> = asked.iter().map(|asked| asked.line.as_str()).collect();
        return Err(format!("outside was asked {lines:?}"));
    }
    let mut pairs = expected.iter().zip(asked);
    pairs.try_for_each(|(sees, asked)| asked.compare(sees)).map_err(|e| format!("outside: {e}"))
}

/// Asks an identity alone.
async fn identify(
    identities: &Identities,
    name: &str,
    case: &case::Exchange,
    finds: &case::Finds,
) -> Result<(), String> {
    let mut exchange = exchange("/*", &case.request)?;
    let identity = identities.get(name).ok_or_else(|| format!("no identity `{name}`"))?;
    identify::compare(&**identity, &mut exchange, finds).await?;
    match &case.upstream_sees {
        Some(sees) => {
            let asked = ask(&mut exchange).await?;
            asked.compare(sees).map_err(|error| format!("the upstream: {error}"))
        }
        None => Ok(()),
    }
}

async fn run(
    route: &Route,
    played: &Played,
    case: &case::Exchange,
    expected: &case::Answer,
) -> Result<(), String> {
    let mut exchange = exchange(&route.pattern, &case.request)?;
    let consumer = case.request.get("consumer").and_then(Value::as_str);
    exchange.consumer = consumer.map(|name| Arc::new(played.consumer(name)));
    let written = Write::of(&exchange);
    let (mut entered, mut asked) = (0, None);
    let (answer, behind) = down(route, &mut exchange, &mut entered).await;
    let mut answer = match answer {
        Some(answer) => answer,
        None => target(route, &mut exchange, case, &mut asked).await?,
    };
    if let Some(written) = written {
        written.settle(&played.asked_blobs().all(), &exchange, &answer).await;
    }
    up(route, 0..entered, &mut exchange, &mut answer).await;
    exchange.kept.lines.put_into(answer.headers_mut());
    members(expected, &exchange)?;
    compare_answer(expected, answer).await?;
    if let Some(mut behind) = behind {
        let mut response = target(route, &mut behind, case, &mut asked).await?;
        up(route, entered - 1..entered, &mut behind, &mut response).await;
        // A body that breaks off is the cache's to notice.
        let _ = response.into_body().collect(CAP).await;
    }
    match &case.upstream_sees {
        Some(sees) => {
            let asked = asked.ok_or("the upstream was not asked")?;
            asked.compare(sees).map_err(|error| format!("the upstream: {error}"))
        }
        None => Ok(()),
    }
}

/// The request hooks: an answer if they made one, and what goes on behind it.
async fn down(
    route: &Route,
    exchange: &mut Exchange,
    entered: &mut usize,
) -> (Option<Response<Body>>, Option<Box<Exchange>>) {
    for policy in &route.policies {
        *entered += 1;
        match wait(policy.request(exchange)).await {
            Ok(Verdict::Pass) => {}
            Ok(Verdict::Answer(response)) => return (Some(response), None),
            Ok(Verdict::AnswerAnd(response, behind)) => return (Some(response), Some(behind)),
            Err(fault) => return (Some(refusal(exchange, fault)), None),
        }
    }
    (None, None)
}

/// The answer of the handler, or of the upstream that the case plays.
async fn target(
    route: &Route,
    exchange: &mut Exchange,
    case: &case::Exchange,
    asked: &mut Option<Asked>,
) -> Result<Response<Body>, String> {
    let once = exchange.once.clone();
    once.iter().for_each(|once| once.tries());
    let answer = match &route.handler {
        None => {
            *asked = Some(ask(exchange).await?);
            exchange.upstream.attempts = 1;
            let answer = match alone::cut(exchange, case.upstream.as_ref()).await {
                Some(fault) => Err(fault),
                None => upstream(case.upstream.as_ref())?,
            };
            if answer.is_ok() {
                exchange.origin = Origin::Upstream;
            }
            answer
        }
        Some(handler) => wait(handler.handle(exchange)).await,
    };
    once.iter().for_each(|once| once.tried(&answer));
    Ok(answer.unwrap_or_else(|fault| refusal(exchange, fault)))
}

/// The response hooks of these policies, last first.
async fn up(
    route: &Route,
    entered: std::ops::Range<usize>,
    exchange: &mut Exchange,
    answer: &mut Response<Body>,
) {
    for policy in route.policies[entered].iter().rev() {
        if let Err(fault) = wait(policy.response(exchange, answer)).await {
            *answer = refusal(exchange, fault);
        }
    }
}

pub(super) async fn wait<T>(step: Step<'_, T>) -> T {
    match step {
        Step::Now(result) => result,
        Step::Later(future) => future.await,
    }
}

pub(super) fn exchange(pattern: &str, request: &Value) -> Result<Exchange, String> {
    let request = match request {
        Value::String(line) => case::Request {
            line: line.clone(),
            headers: Default::default(),
            body: String::new(),
            client_ip: None,
            _consumer: None,
            certificate: None,
        },
        other => serde_json::from_value(other.clone()).map_err(|e| e.to_string())?,
    };
    let (method, url) = request.line.split_once(' ').ok_or("a request is `METHOD TARGET`")?;
    let secure = url.starts_with("https://");
    let uri: http::Uri = url.parse().map_err(|e| format!("{url}: {e}"))?;
    let host = uri.host().unwrap_or("gateway.example").to_ascii_lowercase();
    let target = uri.path_and_query().cloned().ok_or("a request has a path")?;
    let captures = pattern::captures(pattern, &target)
        .ok_or_else(|| format!("{url} does not match {pattern}"))?;
    let mut head = Request::builder().method(method).uri(target.as_str()).body(()).map_err(text)?;
    head.headers_mut().insert(http::header::HOST, HeaderValue::from_str(&host).map_err(text)?);
    fill(head.headers_mut(), &request.headers)?;
    Ok(make(head.into_parts().0, request, secure, host, captures, pattern))
}

fn make(
    head: http::request::Parts,
    request: case::Request,
    secure: bool,
    host: String,
    captures: Captures,
    pattern: &str,
) -> Exchange {
    let client_ip = request.client_ip.unwrap_or(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
    let peer = SocketAddr::new(client_ip, 40_000);
    let connection = Connection {
        tls: request.certificate.map(tls),
        ..Connection::plain(peer, SocketAddr::from(([127, 0, 0, 1], 8080)))
    };
    Exchange {
        body: request.body.into(),
        secure,
        host: host.into(),
        route: Some(pattern.into()),
        captures,
        ..Exchange::begun(head, Rc::new(connection))
    }
}

fn tls(shown: case::Certificate) -> Tls {
    let plain = || {
        let name = shown.subject.strip_prefix("CN=")?.split(',').next()?;
        Some(name.to_owned()).filter(|_| !shown.subject.contains(['\\', '+']))
    };
    let common_name = shown.common_name.clone().or_else(plain);
    let client = ClientCertificate {
        common_name: common_name.filter(|name| !name.is_empty()).map(Into::into),
        subject: shown.subject.into(),
        issuer: shown.issuer.into(),
        names: shown.names.iter().map(|name| alternative(name)).collect(),
        serial: "01".into(),
        fingerprint: shown.fingerprint.into(),
    };
    Tls {
        sni: None,
        version: "TLSv1.3",
        cipher: "TLS13_AES_128_GCM_SHA256",
        names: Vec::new().into(),
        client: Some(client.into()),
    }
}

fn alternative(name: &str) -> AlternativeName {
    let (kind, text) = name.split_once(':').unwrap_or_default();
    match kind {
        "dns" => AlternativeName::Dns(text.into()),
        "email" => AlternativeName::Email(text.into()),
        "uri" => AlternativeName::Uri(text.into()),
        _ => panic!("`{name}` is none of dns:NAME, email:NAME, uri:NAME"),
    }
}

pub(super) fn fill(
    headers: &mut HeaderMap,
    lines: &std::collections::BTreeMap<String, case::Lines>,
) -> Result<(), String> {
    for (name, case::Lines(values)) in lines {
        let name: HeaderName = name.parse().map_err(|_| format!("`{name}` is no header"))?;
        headers.remove(&name);
        for value in values {
            headers.append(&name, HeaderValue::from_str(value).map_err(text)?);
        }
    }
    Ok(())
}

/// The gateway's own answer to a fault, as far as cases look at it.
fn refusal(exchange: &mut Exchange, fault: Fault) -> Response<Body> {
    let sentence = || fault.kind().sentence().into();
    let body = fault.own_page().map_or_else(sentence, |(_, text)| Body::from(text.clone()));
    let mut response = Response::new(body);
    *response.status_mut() = fault.status();
    response.headers_mut().clone_from(fault.headers());
    if let Some((kind, _)) = fault.own_page() {
        response.headers_mut().insert(http::header::CONTENT_TYPE, kind.clone());
    }
    response.headers_mut().insert(REASON, HeaderValue::from_static(fault.reason().code));
    if let Some(wait) = fault.wait() {
        let seconds = HeaderValue::from(wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
        response.headers_mut().insert(http::header::RETRY_AFTER, seconds);
    }
    exchange.origin = Origin::Gateway;
    exchange.fault = Some(fault);
    response
}

fn members(answer: &case::Answer, exchange: &Exchange) -> Result<(), String> {
    let Some(expected) = &answer.members else { return Ok(()) };
    let found = exchange.fault.iter().flat_map(Fault::members);
    let found = found.map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    if *expected == found { Ok(()) } else { Err(format!("the problem has {found:?}")) }
}

async fn ask(exchange: &mut Exchange) -> Result<Asked, String> {
    let body = std::mem::take(&mut exchange.body).collect(CAP).await.map_err(text)?;
    Ok(Asked {
        line: format!("{} {}", exchange.head.method, exchange.head.uri),
        headers: exchange.head.headers.clone(),
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

async fn compare_answer(expected: &case::Answer, answer: Response<Body>) -> Result<(), String> {
    let (head, body) = answer.into_parts();
    if expected.status.is_some_and(|status| status != head.status.as_u16()) {
        return Err(format!("the status is {}", head.status));
    }
    let reason = head.headers.get(&REASON).and_then(|value| value.to_str().ok());
    if expected.reason.as_deref().is_some_and(|code| Some(code) != reason) {
        return Err(format!("the reason is {reason:?}"));
    }
    same_headers(&expected.headers, &head.headers).map_err(|e| format!("the answer has {e}"))?;
    let body = match (body.collect(CAP).await, expected.breaks_off) {
        (Ok(body), false) => body,
        (Ok(_), true) => return Err("the body is whole".to_owned()),
        (Err(_), true) => return Ok(()),
        (Err(fault), false) => return Err(format!("the body breaks off: {fault}")),
    };
    let text = String::from_utf8_lossy(&body);
    if let Some(part) = expected.contains.iter().find(|part| !text.contains(part.as_str())) {
        return Err(format!("the body has no {part:?}: {text:?}"));
    }
    if expected.body.as_ref().is_some_and(|expected| *expected != body) {
        return Err(format!("the body is {:?}", String::from_utf8_lossy(&body)));
    }
    Ok(())
}

fn same_headers(
    expected: &std::collections::BTreeMap<String, case::Lines>,
    found: &HeaderMap,
) -> Result<(), String> {
    for (name, case::Lines(lines)) in expected {
        let values = found.get_all(name.as_str()).iter();
        let values: Vec<_> = values.map(|v| String::from_utf8_lossy(v.as_bytes())).collect();
        if values != *lines {
            return Err(format!("{name}: {values:?}"));
        }
    }
    Ok(())
}

pub(super) fn text(error: impl ToString) -> String {
    error.to_string()
}

/// Builds everything that a README's example names.
pub(super) fn example(document: &Value) -> Result<usize, String> {
    let mut count = 0;
    let section = |name: &str| document.get(name).cloned();
    let fields = ["identity", "consumers", "plans"].map(|name| (name.to_owned(), section(name)));
    let mut case: serde_json::Map<String, Value> =
        fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    case.insert("case".to_owned(), "an example".into());
    case.insert("route".to_owned(), Value::Null);
    let mut case: case::Case = serde_json::from_value(case.into()).map_err(text)?;
    let played = Played::new(&mut case);
    let identities = identities(&case.identity, &played).map_err(text)?;
    count += identities.len();
    let routes = document.get("routes").and_then(Value::as_object);
    for (pattern, value) in routes.into_iter().flatten() {
        build_route(pattern, value, &identities, &played)
            .map_err(|error| format!("{pattern}: {error}"))?;
        count += 1;
    }
    if let Some(defaults) = document.get("defaults") {
        build_route("/*", defaults, &identities, &played)
            .map_err(|error| format!("defaults: {error}"))?;
        count += 1;
    }
    Ok(count)
}
