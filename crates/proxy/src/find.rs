//! Finding the route: the path is made normal first, so that what is matched is what is sent.

use http::header::{self, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use http::{Method, Response, StatusCode};
use lockgate_core::{Body, Captures, Exchange, Fault, Seen, Stage, preflight, reasons};

use crate::route::{Found, normalise};
use crate::snapshot::{Place, Route, RouteSet, Snapshot};

/// Where a request goes.
pub(crate) enum Way<'s> {
    /// To a route's target, through its policies; and where the route stands in the snapshot.
    Route(Place, &'s Route),
    /// Nowhere: this is the answer.
    Answer(Response<Body>),
}

/// The route of a request. The exchange learns its pattern and captures.
///
/// # Errors
/// `bad_target`, `no_route`, `method_not_allowed` (with `Allow`), `route_condition`.
pub(crate) fn route<'s>(snapshot: &'s Snapshot, exchange: &mut Exchange) -> Result<Way<'s>, Fault> {
    if let Some(port) = snapshot.redirects_https(exchange) {
        return to_https(exchange, port).map(Way::Answer);
    }
    make_normal(exchange)?;
    if let Some(way) = mounted(snapshot, exchange) {
        return Ok(way);
    }
    if let Some(method) = preflight(&exchange.head.method, &exchange.head.headers)
        && let Some(way) = of_preflight(snapshot, exchange, method)
    {
        return Ok(way);
    }
    let path = exchange.head.uri.path();
    let (index, ranges) = match snapshot.find(&exchange.head.method, &exchange.host, path) {
        Found::Route { index, ranges } => (index, ranges),
        Found::MethodNotAllowed { allow } => return wrong_method(exchange, allow),
        Found::None => {
            let detail = format!("{} {}{}", exchange.head.method, exchange.host, path);
            return Err(Fault::client(&reasons::NO_ROUTE).detail(detail));
        }
    };
    let set = snapshot.set(index);
    let set = set.ok_or_else(|| Fault::gateway(&reasons::INTERNAL).detail("route table"))?;
    enter(exchange, set, ranges);
    let (among, route) =
        holding(set, exchange).ok_or_else(|| Fault::client(&reasons::ROUTE_CONDITION))?;
    exchange.note(|| format!("route {}", route.pattern));
    Ok(Way::Route(Place { set: index, among }, route))
}

/// The way to an admin page, on a listener that shows them.
fn mounted<'s>(snapshot: &'s Snapshot, exchange: &mut Exchange) -> Option<Way<'s>> {
    let place = Place { set: snapshot.mount.as_ref()?.set(exchange)?, among: 0 };
    let set = snapshot.set(place.set)?;
    enter(exchange, set, Vec::new());
    Some(Way::Route(place, set.routes.first()?))
}

/// The first route of a set whose condition holds.
fn holding<'s>(set: &'s RouteSet, exchange: &Exchange) -> Option<(usize, &'s Route)> {
    let seen = Seen::from(exchange);
    set.routes.iter().enumerate().find(|(_, route)| route.when.holds(&seen).is_ok())
}

/// The route that a preflight asks about, if that answers preflights itself: what a browser may
/// do with a method is said where the method is served.
fn of_preflight<'s>(
    snapshot: &'s Snapshot,
    exchange: &mut Exchange,
    method: Method,
) -> Option<Way<'s>> {
    let found = snapshot.find(&method, &exchange.host, exchange.head.uri.path());
    let Found::Route { index, ranges } = found else { return None };
    let set = snapshot.set(index)?;
    let own = std::mem::replace(&mut exchange.head.method, method);
    let holding = holding(set, exchange);
    let method = std::mem::replace(&mut exchange.head.method, own);
    let (among, route) = holding.filter(|(_, route)| route.answers_preflights())?;
    enter(exchange, set, ranges);
    exchange.note(|| format!("route {}, asked for {method}", route.pattern));
    Some(Way::Route(Place { set: index, among }, route))
}

impl Route {
    /// Whether a policy of its stands where preflights are answered.
    pub(crate) fn answers_preflights(&self) -> bool {
        self.entries.iter().any(|entry| entry.stage == Stage::Cors)
    }
}

/// What the exchange learns of its pattern.
fn enter(exchange: &mut Exchange, set: &RouteSet, ranges: Vec<(u32, u32)>) {
    exchange.route = Some(set.pattern.clone());
    if !set.captures.is_empty() {
        let path = exchange.head.uri.path_and_query().cloned();
        exchange.captures = path.map_or_else(Captures::default, |path| {
            Captures::new(set.captures.clone(), ranges, path)
        });
    }
}

/// Puts the normal form of the path in place of the one received; the query stays as it is.
fn make_normal(exchange: &mut Exchange) -> Result<(), Fault> {
    let uri = &exchange.head.uri;
    if uri.path() == "*" {
        return Ok(());
    }
    let normal = normalise(uri.path())?;
    if matches!(normal, std::borrow::Cow::Borrowed(_)) && uri.authority().is_none() {
        return Ok(());
    }
    let mut target = normal.into_owned();
    if let Some(query) = uri.query() {
        target.push('?');
        target.push_str(query);
    }
    let target = PathAndQuery::try_from(target)
        .map_err(|error| Fault::client(&reasons::BAD_TARGET).source(error))?;
    exchange.head.uri = Uri::from(target);
    Ok(())
}

fn wrong_method<'s>(exchange: &Exchange, allow: String) -> Result<Way<'s>, Fault> {
    let allow = HeaderValue::from_str(&allow)
        .map_err(|error| Fault::gateway(&reasons::INTERNAL).source(error))?;
    if exchange.head.method != Method::OPTIONS {
        return Err(Fault::client(&reasons::METHOD_NOT_ALLOWED).header(header::ALLOW, allow));
    }
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ALLOW, allow);
    Ok(Way::Answer(response))
}

fn to_https(exchange: &Exchange, port: u16) -> Result<Response<Body>, Fault> {
    let target = exchange.head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let location = format!("https://{}{port}{target}", exchange.host);
    let location = HeaderValue::from_str(&location)
        .map_err(|error| Fault::client(&reasons::BAD_TARGET).source(error))?;
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}
