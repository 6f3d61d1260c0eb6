//! The list of operations. In a path, what stands in braces is a part of it, with a star the whole
//! rest.

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::Method;
use axum::routing::{MethodRouter, delete, get, post, put};

use super::{Body, Media, Operation};
use crate::{
    Handles, MOST_CONFIG, cache, changes, config, dashboard, errors, figures, health, limits,
    orders, pages, ready, services, uptime,
};

type Query = &'static [(&'static str, &'static str, &'static str)];
type Answers = &'static [(u16, Media, &'static str, &'static str)];
type Handler = MethodRouter<Arc<Handles>>;

const PAGE: Query = &[
    ("offset", "int", "how many to pass over"),
    ("limit", "int", "how many to list: 100 unless told, 1000 at most"),
    ("filter", "str", "only those that are called something with this in it"),
];
const PART: Query = &[
    ("offset", "int", "how many to pass over"),
    ("limit", "int", "how many to list: all unless told, 1000 at most"),
];
const DRY: Query = &[("dry_run", "bool", "only check it, and tell what would change")];

const CHANGED: Answers = &[(
    200,
    Media::Json,
    "{dryRun: bool, generation: int, tookMs: num, changes: int, what: [str], \
     needsRestart: [str], resolved: [str]}",
    "in force: the generation, and what has changed, or of a dry run would",
)];
fn body(media: Media, shape: &'static str, text: &'static str, needed: bool) -> Option<Body> {
    Some(Body { media, shape, text, needed })
}

/// One operation and its handler.
fn one(
    (method, path): (Method, &'static str),
    summary: &'static str,
    query: Query,
    body: Option<Body>,
    answers: Answers,
    handler: Handler,
) -> (Operation, Handler) {
    (Operation { method, path, summary, query, body, answers }, handler)
}

/// Something that is only looked at, without questions.
fn look(
    path: &'static str,
    summary: &'static str,
    answers: Answers,
    handler: Handler,
) -> (Operation, Handler) {
    one((Method::GET, path), summary, &[], None, answers, handler)
}

/// Everything that can be asked.
pub(super) fn list() -> Vec<(Operation, Handler)> {
    let all = [
        process(),
        services(),
        requests(),
        limited(),
        watched(),
        configuration(),
        versions(),
        routes_and_consumers(),
        kept(),
    ];
    all.into_iter().flatten().collect()
}

fn process() -> Vec<(Operation, Handler)> {
    const READY: &str = "{status: str, why?: str, source?: str, refused?: str, fromCopy?: bool, \
         staleSeconds?: int}";
    const UPGRADE: &str = "{state: str, pid: int, successor?: int, why?: str}";
    vec![
        look(
            "/health",
            "Whether the process serves, in a word",
            &[
                (200, Media::Json, "{status: str, generation: int}", "`ok`"),
                (503, Media::Json, "{status: str, generation: int}", "`draining`"),
            ],
            get(pages::health),
        ),
        look(
            "/metrics",
            "All metrics, as Prometheus reads them",
            &[(200, Media::Text, "str", "the text format, version 0.0.4")],
            get(pages::metrics),
        ),
        look(
            "/admin/live",
            "Whether the process lives",
            &[(200, Media::Json, "{status: str, pid: int}", "it does")],
            get(ready::live),
        ),
        look(
            "/admin/ready",
            "Whether it should get requests",
            &[
                (200, Media::Json, READY, "it should"),
                (503, Media::Json, READY, "it should not, and why"),
            ],
            get(ready::ready),
        ),
        one(
            (Method::POST, "/admin/reload"),
            "Read the configuration again, and open log files again",
            &[],
            None,
            CHANGED,
            post(orders::reload),
        ),
        look(
            "/admin/upgrade",
            "How an upgrade goes, by whichever process answers",
            &[(200, Media::Json, UPGRADE, "a word")],
            get(orders::state),
        ),
        one(
            (Method::POST, "/admin/upgrade"),
            "Start the program anew and hand over to it",
            &[],
            None,
            &[(202, Media::Json, UPGRADE, "it begins")],
            post(orders::begin),
        ),
        look(
            "/admin/events",
            "Server-sent events: a `tick` every two seconds with the newest figures",
            &[(200, Media::Events, "str", "for as long as somebody listens")],
            get(dashboard::events),
        ),
        look(
            "/admin/openapi.json",
            "This document",
            &[(200, Media::Json, "map any", "OpenAPI 3.1.0")],
            get(pages::openapi),
        ),
    ]
}

fn services() -> Vec<(Operation, Handler)> {
    const OVERALL: &str = "{status: str, draining: bool, upstreams: int, \
         upstreamsWithoutEndpoint: [str], endpoints: int, healthyEndpoints: int, generation: int, \
         loadedAt: int}";
    vec![
        look(
            "/admin/health",
            "How the services are as a whole: `healthy`, `degraded`, `unhealthy`",
            &[
                (200, Media::Json, OVERALL, "every upstream has an endpoint that takes requests"),
                (503, Media::Json, OVERALL, "one has none"),
            ],
            get(services::overall),
        ),
        one(
            (Method::GET, "/admin/health/services"),
            "Every endpoint of every upstream",
            PAGE,
            None,
            &[(200, Media::Json, SERVICES, "a page of them; times are milliseconds since 1970")],
            get(services::list),
        ),
        one(
            (Method::POST, "/admin/health/check"),
            "Probe now, wait for the answers, and show what was found",
            &[],
            body(Media::Json, "{service?: str?}", "an upstream or endpoint; else all", false),
            &[(200, Media::Json, CHECKED, "what was found")],
            post(services::check),
        ),
        one(
            (Method::PUT, "/admin/health/{service}"),
            "The operator's word on an upstream's endpoints, or on one: `host:port`, or its URL, \
             percent-encoded",
            &[],
            body(Media::Json, "{override: str}", "`up`, `down`, `drain` or `clear`", true),
            &[(200, Media::Json, "{changed: int, kept: bool, why?: str}", KEPT)],
            put(health::set_override),
        ),
        one(
            (Method::GET, "/admin/upstreams"),
            "Every upstream with its endpoints, breaker and recent requests",
            PAGE,
            None,
            &[(
                200,
                Media::Json,
                UPSTREAMS,
                "a page of them; latencies and times are milliseconds",
            )],
            get(pages::upstreams),
        ),
        look(
            "/admin/loadbalancer/stats",
            "How requests are spread, upstream by upstream",
            &[(200, Media::Json, BALANCE, "by the upstreams' names")],
            get(figures::balance),
        ),
    ]
}

const KEPT: &str = "on how many endpoints; and whether it outlives the gateway, or why not";
const SERVICES: &str = "{total: int, offset: int, services: [{service: str, endpoint: str, \
     address: str, healthy: bool, health: str, reason: str?, lastChecked: int?, \
     consecutiveFailures: int, lastFailureTime: int?, lastError: str?, responseTime: num?, \
     override: str, ejectedUntil: int?}]}";
const CHECKED: &str = "{checked: int, services: [{service: str, endpoint: str, \
     address: str, healthy: bool, health: str, reason: str?, lastChecked: int?, \
     consecutiveFailures: int, lastFailureTime: int?, lastError: str?, responseTime: num?, \
     override: str, ejectedUntil: int?}]}";
const UPSTREAMS: &str = "{total: int, offset: int, upstreams: [{name: str, balance: any, usable: \
     int, requests: int, retries: int, breaker: {phase: str, opened: int}?, endpoints: [{name: \
     str, address: str, weight: int, zone: str?, priority: int, usable: bool, reason: str?, \
     health: str, healthy: bool, override: str, inFlight: int, connections: int, latencyMs: \
     num?, consecutiveFailures: int, consecutiveRequestFailures: int, ejectedForMs: int?, \
     ejections: int, lastCheckedMs: int?, lastFailureMs: int?, responseTimeMs: num?, lastError: \
     str?}]}]}";
const BALANCE: &str = "map {balance: any, healthyEndpoints: int, breaker: {phase: str, \
     opened: int}?, recentRequests: int, recentRetries: int, endpoints: [{endpoint: str, \
     address: str, weight: int, zone: str?, priority: int, healthy: bool, inFlight: int, \
     connections: int, latency: num?, ejections: int}]}";
const FIGURES: &str = "{totalRequests: int, totalErrors: int, requestsInFlight: int, \
     connections: int, requestsByService: map {requests: int, attempts: int, retries: int, \
     latencyStats: any}, requestsByStatus: map int, faultsByReason: map int, requestsByRoute: \
     [{route: str, requests: int, byStatus: map int, byReason: map int, receivedBytes: int, \
     sentBytes: int, latencyStats: any}], receivedBytes: int, sentBytes: int, latencyStats: \
     {min: num, max: num, total: num, count: int, avg: num, p50: num, p90: num, p99: num}, \
     workers: [{worker: int, requests: int, inFlight: int, connections: int}]}";
const HISTORY: &str = "{total: int, offset: int, samples: [{at: int, requestsPerSecond: num, \
     refusedPerSecond: num, errorsPerSecond: num, p50: num, p99: num, inFlight: int, \
     connections: int}]}";
const CONNECTIONS: &str = "{open: int, accepted: int, refused: map int, tlsHandshakes: int, \
     tlsFailures: int, workers: [{worker: int, requests: int, inFlight: int, connections: int}], \
     total: int, offset: int, listeners: [{listener: str, tls: bool}]}";
const CERTIFICATES: &str = "{total: int, offset: int, certificates: [{listener: str, file: str, \
     names: [str], notBefore: int, notAfter: int, expiresInDays: int, expired: bool}]}";

fn requests() -> Vec<(Operation, Handler)> {
    vec![
        look(
            "/admin/metrics",
            "Requests, errors and latencies since the process began",
            &[(200, Media::Json, FIGURES, "latencies are milliseconds")],
            get(figures::metrics),
        ),
        one(
            (Method::GET, "/admin/history"),
            "The last hour, a sample every five seconds",
            PART,
            None,
            &[(
                200,
                Media::Json,
                HISTORY,
                "`at` is seconds since 1970, latencies are milliseconds",
            )],
            get(figures::history),
        ),
        one(
            (Method::GET, "/admin/connections"),
            "Clients' connections, over all listeners",
            PAGE,
            None,
            &[(200, Media::Json, CONNECTIONS, "counts, and a page of the listeners")],
            get(figures::connections),
        ),
        one(
            (Method::GET, "/admin/certs"),
            "The certificates that listeners serve, the next to expire first",
            PAGE,
            None,
            &[(200, Media::Json, CERTIFICATES, "a page of them; times are seconds since 1970")],
            get(figures::certificates),
        ),
    ]
}

fn limited() -> Vec<(Operation, Handler)> {
    vec![
        look(
            "/admin/ratelimiter/stats",
            "The limiter's table, refusals by limit, and who is refused most",
            &[(
                200,
                Media::Json,
                "{table: {keys: int, maxKeys: int, bytes: int, maxBytes: int, evicted: int}?, \
                 refusedMost: [{limit: str, key: str, refused: int, over: int, store?: str}], \
                 limits: [{policy: str, limit: str, place: str, dryRun: bool, refused: int}]}",
                "keys that may be credentials are hashed",
            )],
            get(limits::stats),
        ),
        one(
            (Method::GET, "/admin/quotas"),
            "What each has used of each quota in the window that has begun",
            PAGE,
            None,
            &[(
                200,
                Media::Json,
                "{total: int, offset: int, quotas: [{limit: str, key: str, used: int, of: int, \
                 resetsInSeconds: int, store?: str}]}",
                "a page of them, and of 10,000 at most",
            )],
            get(limits::quotas),
        ),
        one(
            (Method::GET, "/admin/errors"),
            "The last requests that failed or were refused, the newest first, without secrets",
            PAGE,
            None,
            &[(200, Media::Json, ERRORS, "a page of them")],
            get(errors::list),
        ),
        one(
            (Method::GET, "/admin/explain"),
            "Where a request would go, and why",
            &[
                ("url", "str", "http://host/path?query, or a path"),
                ("method", "str", "GET unless told"),
                ("header", "str", "`name:value`; as many as there are"),
            ],
            None,
            &[(200, Media::Json, "map any", "every step, with the places of the configuration")],
            get(pages::explain),
        ),
    ]
}

const ERRORS: &str = "{total: int, offset: int, leftOut: int, errors: [{time: str, id: str, \
     client: str, scheme: str, method: str, host: str, path: str, status: int, reason: str?, \
     blame: str?, story: str, route: str?, upstream: str?, endpoint: str?, tookMs: num}]}";
const ALERTS: &str = "{total: {firing: int, pending: int, recent: int}, offset: int, firing: \
     [{rule: str, subject: str, severity: str, summary: str, since: int, firedAt: int?, endedAt: \
     int?}], pending: [any], recent: [any], sinks: [{name: str, kind: str, quiet: bool, sending: \
     bool, delivered: int, failed: int, givenUp: int, deliveredAt: int?, failedAt: int?, \
     lastError: str?}]}";
const UPTIME: &str = "{total: int, offset: int, kept: any, leftOut: int, upstreams: [{name: str, \
     standing: str?, since: int?, knownSince: int?, windows: [any], intervals: [any], \
     days: [num?], endpoints: [any]}]}";

fn watched() -> Vec<(Operation, Handler)> {
    vec![
        one(
            (Method::GET, "/admin/uptime"),
            "How the upstreams and their endpoints were: availability, intervals, response times",
            PAGE,
            None,
            &[(200, Media::Json, UPTIME, "moments are milliseconds since 1970")],
            get(uptime::uptime),
        ),
        one(
            (Method::GET, "/admin/alerts"),
            "The alerts that fire, those that were over lately, and who is told",
            PAGE,
            None,
            &[(
                200,
                Media::Json,
                ALERTS,
                "a page of each list; moments are milliseconds since 1970",
            )],
            get(uptime::alerts),
        ),
    ]
}

const SOURCE: &str = "{kind: str, source?: str, state?: str, refused?: str?, revision?: str?, \
     seen?: str?, fromCopy?: bool, staleSeconds?: int, lastContact?: int?, lastError?: str?, \
     notCopied?: str}";

fn configuration() -> Vec<(Operation, Handler)> {
    vec![
        look(
            "/admin/source",
            "Where the configuration comes from, and since when that has not answered",
            &[(
                200,
                Media::Json,
                SOURCE,
                "its state, what it said last, and what of it is in force",
            )],
            get(pages::source),
        ),
        look(
            "/admin/config",
            "The configuration in force in its long form, secrets hidden",
            &[(200, Media::Json, "map any", "with an ETag for If-Match")],
            get(config::effective),
        ),
        one(
            (Method::PUT, "/admin/config"),
            "Put a whole configuration in force, as changes over the files",
            DRY,
            body(Media::Yaml, "any", "the whole configuration, YAML or JSON", true),
            CHANGED,
            put(changes::put_config).layer(DefaultBodyLimit::max(MOST_CONFIG)),
        ),
        look(
            "/admin/config/export",
            "The files and the changes over them as one file, plain secrets hidden",
            &[(200, Media::Yaml, "str", "a configuration")],
            get(changes::export),
        ),
        one(
            (Method::GET, "/admin/config/changes"),
            "What is in force and does not stand in the files",
            PAGE,
            None,
            &[(
                200,
                Media::Json,
                "{total: int, offset: int, file?: str, changes: [{section: str, name: str, \
                 removed: bool, inFiles: bool, place: str?}], refused?: str}",
                "a page of them, each with the place where it stands; and why changes are refused \
                 here, where another gateway has `admin.state_dir`",
            )],
            get(changes::list),
        ),
        one(
            (Method::DELETE, "/admin/config/changes"),
            "Drop all changes: the files say it all again",
            DRY,
            None,
            CHANGED,
            delete(changes::drop_all),
        ),
    ]
}

fn versions() -> Vec<(Operation, Handler)> {
    vec![
        one(
            (Method::GET, "/admin/config/history"),
            "The versions that were in force, the newest first",
            PAGE,
            None,
            &[(
                200,
                Media::Json,
                "{total: int, offset: int, versions: [{number: int, generation: int, atMs: int, \
                 via: str, who: str, what: [str]}]}",
                "a page of them",
            )],
            get(changes::history),
        ),
        look(
            "/admin/config/history/{number}",
            "What a version said, plain secrets hidden",
            &[(200, Media::Yaml, "str", "a configuration")],
            get(changes::version),
        ),
        one(
            (Method::GET, "/admin/config/diff"),
            "What differs between two versions, line by line",
            &[
                ("from", "int", "a version's number"),
                ("to", "int", "another; unless told, what is in force"),
            ],
            None,
            &[(200, Media::Diff, "str", "as `diff -u` tells it")],
            get(changes::diff),
        ),
        one(
            (Method::POST, "/admin/config/rollback"),
            "Put a version in force again, as changes over the files",
            DRY,
            body(Media::Json, "{to: int}", "the version's number", true),
            CHANGED,
            post(changes::roll_back),
        ),
    ]
}

fn routes_and_consumers() -> Vec<(Operation, Handler)> {
    vec![
        one(
            (Method::GET, "/admin/routes"),
            "Every route, with what it inherits",
            PAGE,
            None,
            &[(200, Media::Json, ROUTES, "a page of them")],
            get(config::routes),
        ),
        one(
            (Method::PUT, "/admin/routes/{*pattern}"),
            "Set a route. Its pattern begins with a slash unless a method or a host comes first, \
             which a blank tells: `GET%20/users`, `%20example.com/users`",
            DRY,
            body(Media::Yaml, "any", "the route, YAML or JSON", true),
            CHANGED,
            put(changes::put_route),
        ),
        one(
            (Method::DELETE, "/admin/routes/{*pattern}"),
            "Remove a route",
            DRY,
            None,
            CHANGED,
            delete(changes::delete_route),
        ),
        one(
            (Method::GET, "/admin/consumers"),
            "The configured consumers, without their keys",
            PAGE,
            None,
            &[(200, Media::Json, CONSUMERS, "a page of them")],
            get(config::consumers),
        ),
    ]
}

const ROUTES: &str = "{total: int, offset: int, routes: [{pattern: str, settings: any}]}";
const CONSUMERS: &str = "{total: int, offset: int, consumers: [{name: str, settings: any}]}";
const CACHE: &str = "{entries: int, bytes: int, maxBytes: int, evictions: int, purges: int, \
     stores: map {entries: int, bytes: int, maxBytes: int, evictions: int, purges: int}}";

fn kept() -> Vec<(Operation, Handler)> {
    vec![
        look(
            "/admin/cache/stats",
            "How much is cached, of all stores together and of each",
            &[(200, Media::Json, CACHE, "sizes are bytes")],
            get(cache::stats),
        ),
        one(
            (Method::GET, "/admin/cache/details"),
            "The cached answers by name",
            PAGE,
            None,
            &[(
                200,
                Media::Json,
                "{total: int, offset: int, entries: [{url: str, bytes: int, keptForSeconds: int, \
                 store: str}]}",
                "a page of them",
            )],
            get(cache::details),
        ),
        one(
            (Method::POST, "/admin/cache/clear"),
            "Clear what is cached: all, or by `url`, `pattern` or `tag`",
            &[],
            body(Media::Json, "{url?: str?, pattern?: str?, tag?: str?}", "one, or none", false),
            &[(200, Media::Json, "{cleared: int}", "how many, in this gateway's memory")],
            post(cache::clear),
        ),
    ]
}
