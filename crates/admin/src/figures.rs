//! Figures as JSON: requests, balancing, connections, certificates.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use lockgate_telemetry::{Latency, RouteTotals};
use serde_json::{Value, json};

use crate::Handles;
use crate::history::errors;
use crate::page::{Page, Part, word};
use crate::question::Question;
use crate::services::views;

const DAY: i64 = 86_400;

/// `GET /admin/metrics`: since the start of the process. Latencies are milliseconds.
pub(crate) async fn metrics(State(handles): State<Arc<Handles>>) -> Json<Value> {
    let totals = handles.shared.metrics.snapshot();
    let by_service: serde_json::Map<String, Value> = totals
        .upstreams
        .iter()
        .map(|one| {
            let figures = json!({
                "requests": one.requests, "attempts": one.attempts, "retries": one.retries,
                "latencyStats": latency(&one.latency),
            });
            (one.upstream.clone(), figures)
        })
        .collect();
    Json(json!({
        "totalRequests": totals.requests,
        "totalErrors": errors(&totals),
        "requestsInFlight": totals.in_flight,
        "connections": totals.connections,
        "requestsByService": by_service,
        "requestsByStatus": totals.by_status,
        "faultsByReason": totals.by_reason,
        "requestsByRoute": totals.routes.iter().map(by_route).collect::<Vec<_>>(),
        "receivedBytes": totals.received_bytes,
        "sentBytes": totals.sent_bytes,
        "latencyStats": latency(&totals.latency),
        "workers": totals.workers,
    }))
}

fn by_route(one: &RouteTotals) -> Value {
    json!({
        "route": one.route, "requests": one.requests, "byStatus": one.by_status,
        "byReason": one.by_reason, "receivedBytes": one.received_bytes,
        "sentBytes": one.sent_bytes, "latencyStats": latency(&one.latency),
    })
}

fn latency(of: &Latency) -> Value {
    json!({
        "min": of.min_ms, "max": of.max_ms, "total": of.avg_ms * of.count as f64,
        "count": of.count, "avg": of.avg_ms,
        "p50": of.p50_ms, "p90": of.p90_ms, "p99": of.p99_ms,
    })
}

/// `GET /admin/loadbalancer/stats`: how requests are spread, upstream by upstream.
pub(crate) async fn balance(State(handles): State<Arc<Handles>>) -> Json<Value> {
    let stats = views(&handles).into_iter().map(|view| {
        let endpoints: Vec<Value> = view
            .endpoints
            .iter()
            .map(|one| {
                json!({
                    "endpoint": one.name, "address": one.address, "weight": one.weight,
                    "zone": one.zone, "priority": one.priority, "healthy": one.usable,
                    "inFlight": one.in_flight, "connections": one.connections,
                    "latency": one.latency_ms, "ejections": one.ejections,
                })
            })
            .collect();
        let figures = json!({
            "balance": view.balance, "healthyEndpoints": view.usable, "endpoints": endpoints,
            "breaker": view.breaker, "recentRequests": view.requests,
            "recentRetries": view.retries,
        });
        (view.name, figures)
    });
    Json(Value::Object(stats.collect()))
}

/// `GET /admin/connections`: clients' connections, over all listeners.
pub(crate) async fn connections(
    State(handles): State<Arc<Handles>>,
    Question(page): Question<Page>,
) -> Json<Value> {
    let mut told = (handles.connections)();
    if let Some(told) = told.as_object_mut() {
        page.within(told, "listeners", |one| page.wants(word(one, "listener")));
        told.insert("workers".to_owned(), json!(handles.shared.metrics.snapshot().workers));
    }
    Json(told)
}

/// `GET /admin/certs`: the certificates that listeners serve, the next to expire first. Times are
/// seconds since 1970.
pub(crate) async fn certificates(
    State(handles): State<Arc<Handles>>,
    Question(page): Question<Page>,
) -> Response {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let mut all = (handles.certificates)();
    all.sort_by(|a, b| (a.not_after, &a.file).cmp(&(b.not_after, &b.file)));
    let wanted = all.into_iter().filter(|one| {
        let file = one.file.to_string_lossy();
        let names = one.names.iter().map(String::as_str);
        page.wants_any(names.chain([one.listener.as_str(), &*file]))
    });
    let shown = wanted.map(|one| {
        json!({
            "listener": one.listener, "file": one.file, "names": one.names,
            "notBefore": one.not_before, "notAfter": one.not_after,
            "expiresInDays": (one.not_after - now).div_euclid(DAY),
            "expired": one.not_after < now,
        })
    });
    page.answer("certificates", shown)
}

/// `GET /admin/history`: the last hour, a sample every five seconds. `at` is seconds since 1970,
/// latencies are milliseconds.
pub(crate) async fn history(
    State(handles): State<Arc<Handles>>,
    Question(part): Question<Part>,
) -> Response {
    let shown = handles.history.samples().into_iter().map(|one| {
        json!({
            "at": one.at, "requestsPerSecond": one.requests,
            "refusedPerSecond": one.refused, "errorsPerSecond": one.errors,
            "p50": one.p50_ms, "p99": one.p99_ms, "inFlight": one.in_flight,
            "connections": one.connections,
        })
    });
    part.of_all().answer("samples", shown)
}
