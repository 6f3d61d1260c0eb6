//! One service's HTTP interface: its health, its resource, its switch. Every refusal is JSON that
//! says what was expected.

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use http::request::Parts;
use http::{Method, Request, StatusCode};
use http_body::Body;
use serde_json::{Value, json};

use super::fault::Settings;
use super::message::{Answer, error, json, not_allowed, read};
use super::records::Refusal;
use super::service::{Instance, Panel};

/// Most records in one list, and how many when nothing is said.
const MAX_LIST: usize = 1_000;
const USUAL_LIST: usize = 100;

/// Answers one request, misbehaving as it was told to.
pub(super) async fn answer<B>(
    instance: &Instance,
    panel: &Panel,
    peer: SocketAddr,
    request: Request<B>,
) -> Answer
where
    B: Body<Data = Bytes> + Unpin,
{
    let (head, body) = request.into_parts();
    if head.uri.path() == "/_fault" {
        return switch(instance, panel, peer, &head, body).await;
    }
    let is_health = head.uri.path() == "/health";
    let effect = instance.switch.next(!is_health);
    if !effect.delay.is_zero() {
        tokio::time::sleep(effect.delay).await;
    }
    if let Some(status) = effect.fail {
        return error(status, "this service was told to fail");
    }
    if is_health {
        return health(instance, &head.method);
    }
    resource(instance, &head, body).await.unwrap_or_else(|refused| refused)
}

fn health(instance: &Instance, method: &Method) -> Answer {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return not_allowed("GET, HEAD");
    }
    let state = json!({ "status": "ok", "service": instance.service, "port": instance.port });
    json(StatusCode::OK, &state)
}

/// `/_fault`, or `/_fault?port=3002` for another instance: GET shows, POST sets, DELETE resets.
async fn switch<B>(
    instance: &Instance,
    panel: &Panel,
    peer: SocketAddr,
    head: &Parts,
    body: B,
) -> Answer
where
    B: Body<Data = Bytes> + Unpin,
{
    if !peer.ip().is_loopback() {
        return error(StatusCode::FORBIDDEN, "this is for the machine itself");
    }
    let port = match parameter(head, "port") {
        None => instance.port,
        Some(text) => text.parse().unwrap_or(0),
    };
    let Some(meant) = panel.iter().find(|one| one.port == port) else {
        let ports: Vec<_> = panel.iter().map(|one| one.port.to_string()).collect();
        let what = format!("`port` is none of {}", ports.join(", "));
        return error(StatusCode::NOT_FOUND, what);
    };
    match head.method {
        Method::GET | Method::HEAD => {}
        Method::POST => {
            let body = match read(body).await {
                Ok(body) => body,
                Err(refused) => return refused,
            };
            match Settings::read(&body) {
                Ok(settings) => meant.switch.set(settings),
                Err(what) => return error(StatusCode::BAD_REQUEST, what),
            }
        }
        Method::DELETE => meant.switch.set(Settings::default()),
        _ => return not_allowed("GET, HEAD, POST, DELETE"),
    }
    let fault = meant.switch.settings();
    json(StatusCode::OK, &json!({ "service": meant.service, "port": meant.port, "fault": fault }))
}

async fn resource<B>(instance: &Instance, head: &Parts, body: B) -> Result<Answer, Answer>
where
    B: Body<Data = Bytes> + Unpin,
{
    let missing =
        || error(StatusCode::NOT_FOUND, format!("nothing here; see /{}", instance.service));
    let rest = head.uri.path().strip_prefix('/').and_then(|p| p.strip_prefix(instance.service));
    let id = match rest {
        Some("" | "/") => None,
        Some(rest) => {
            let number = rest.strip_prefix('/').and_then(|text| text.parse::<u64>().ok());
            Some(number.ok_or_else(missing)?)
        }
        None => return Err(missing()),
    };
    let records = &instance.records;
    match (&head.method, id) {
        (&Method::GET | &Method::HEAD, None) => Ok(list(instance, head)),
        (&Method::GET | &Method::HEAD, Some(id)) => {
            records.get(id).map(|row| json(StatusCode::OK, &row)).ok_or_else(missing)
        }
        (&Method::POST, None) => {
            let (id, row) = records.create(&document(head, body).await?).map_err(refused)?;
            let mut answer = json(StatusCode::CREATED, &row);
            let location = HeaderValue::from_str(&format!("/{}/{id}", instance.service));
            if let Ok(location) = location {
                answer.headers_mut().insert(LOCATION, location);
            }
            Ok(answer)
        }
        (&Method::PUT, Some(id)) => {
            let row = records.update(id, &document(head, body).await?).map_err(refused)?;
            Ok(json(StatusCode::OK, &row))
        }
        (&Method::DELETE, Some(id)) => {
            if !records.delete(id) {
                return Err(missing());
            }
            let mut answer = Answer::default();
            *answer.status_mut() = StatusCode::NO_CONTENT;
            Ok(answer)
        }
        (_, None) => Err(not_allowed("GET, HEAD, POST")),
        (_, Some(_)) => Err(not_allowed("GET, HEAD, PUT, DELETE")),
    }
}

fn list(instance: &Instance, head: &Parts) -> Answer {
    let limit = parameter(head, "limit").map_or(Ok(USUAL_LIST), str::parse).ok();
    let Some(limit) = limit.filter(|limit| (1..=MAX_LIST).contains(limit)) else {
        let what = format!("`limit` is a number from 1 to {MAX_LIST}");
        return error(StatusCode::BAD_REQUEST, what);
    };
    let (rows, total) = instance.records.list(limit);
    let mut answer = json(StatusCode::OK, &Value::Array(rows));
    answer.headers_mut().insert("x-total-count", total.into());
    answer
}

/// Reads a JSON body.
async fn document<B>(head: &Parts, body: B) -> Result<Value, Answer>
where
    B: Body<Data = Bytes> + Unpin,
{
    if !is_json(&head.headers) {
        let what = "a record is sent as `Content-Type: application/json`";
        return Err(error(StatusCode::UNSUPPORTED_MEDIA_TYPE, what));
    }
    let body = read(body).await?;
    serde_json::from_slice(&body)
        .map_err(|wrong| error(StatusCode::BAD_REQUEST, format!("the body is no JSON: {wrong}")))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

fn refused(why: Refusal) -> Answer {
    match why {
        Refusal::Invalid(what) => error(StatusCode::BAD_REQUEST, what),
        Refusal::Missing => error(StatusCode::NOT_FOUND, "there is no record of this number"),
        Refusal::Full => error(StatusCode::CONFLICT, "there is no room: delete a record first"),
    }
}

/// A query parameter's first value. Numbers alone are asked for, so nothing is decoded.
fn parameter<'a>(head: &'a Parts, name: &str) -> Option<&'a str> {
    let mut pairs = head.uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find_map(|(key, value)| (key == name).then_some(value))
}
