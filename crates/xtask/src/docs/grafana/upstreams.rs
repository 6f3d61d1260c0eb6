//! Upstreams: who is up, how fast they are, what is tried again, and what breakers do.

use super::{Choice, Dashboard, Panel, Row, Shape};

pub(super) static DASHBOARD: Dashboard = Dashboard {
    uid: "lockgate-upstreams",
    title: "Lockgate / Upstreams",
    about: "Who is up, how fast they are, what is tried again, and what breakers do.",
    choices: &[Choice { label: "upstream", title: "Upstreams", of: "lockgate_endpoint_up" }],
    rows: &[STATE, CALLS, ENDPOINTS],
};

const STATE: Row = Row {
    title: "Now",
    panels: &[
        Panel {
            title: "Upstreams without an endpoint",
            about: "Requests to them are answered 503, `no_healthy_endpoint`.",
            shape: Shape::Zero,
            unit: "short",
            width: 8,
            queries: &[(
                "count(max by (upstream) (lockgate_endpoint_up{@,upstream=~\"$upstream\"}) == 0) \
                 or vector(0)",
                "",
            )],
        },
        Panel {
            title: "Endpoints that are out",
            about: "As any gateway sees it.",
            shape: Shape::Zero,
            unit: "short",
            width: 8,
            queries: &[(
                "count(min by (upstream, endpoint) \
                 (lockgate_endpoint_up{@,upstream=~\"$upstream\"}) == 0) or vector(0)",
                "",
            )],
        },
        Panel {
            title: "Breakers that are not closed",
            about: "On any gateway.",
            shape: Shape::Zero,
            unit: "short",
            width: 8,
            queries: &[(
                "count(lockgate_breaker_state{@,upstream=~\"$upstream\",state!=\"closed\"} == 1) \
                 or vector(0)",
                "",
            )],
        },
    ],
};

const CALLS: Row = Row {
    title: "Calls",
    panels: &[
        Panel {
            title: "Requests by upstream",
            about: "For which at least one endpoint was asked.",
            shape: Shape::Stack,
            unit: "reqps",
            width: 8,
            queries: &[(
                "sum by (upstream) (rate(lockgate_upstream_requests_total\
                 {@,upstream=~\"$upstream\"}[$__rate_interval]))",
                "{{upstream}}",
            )],
        },
        Panel {
            title: "Tried again, as a share",
            about: "Attempts after a request's first; the retry budget is their limit.",
            shape: Shape::Line,
            unit: "percentunit",
            width: 8,
            queries: &[(
                "sum by (upstream) (rate(lockgate_upstream_retries_total\
                 {@,upstream=~\"$upstream\"}[$__rate_interval])) / sum by (upstream) \
                 (rate(lockgate_upstream_requests_total{@,upstream=~\"$upstream\"}\
                 [$__rate_interval]))",
                "{{upstream}}",
            )],
        },
        Panel {
            title: "Breakers opened",
            about: "Times, by upstream.",
            shape: Shape::Line,
            unit: "short",
            width: 8,
            queries: &[(
                "sum by (upstream) (increase(lockgate_breaker_opened_total\
                 {@,upstream=~\"$upstream\"}[$__rate_interval]))",
                "{{upstream}}",
            )],
        },
        Panel {
            title: "First byte: p50",
            about: "From the last attempt's start to the head of its answer.",
            shape: Shape::Line,
            unit: "s",
            width: 8,
            queries: &[(
                "histogram_quantile(0.5, sum by (le, upstream) (rate(\
                 lockgate_upstream_seconds_bucket{@,upstream=~\"$upstream\"}[$__rate_interval])))",
                "{{upstream}}",
            )],
        },
        Panel {
            title: "First byte: p99",
            about: "From the last attempt's start to the head of its answer.",
            shape: Shape::Line,
            unit: "s",
            width: 8,
            queries: &[(
                "histogram_quantile(0.99, sum by (le, upstream) (rate(\
                 lockgate_upstream_seconds_bucket{@,upstream=~\"$upstream\"}[$__rate_interval])))",
                "{{upstream}}",
            )],
        },
        Panel {
            title: "First byte",
            about: "Each column is a moment, each cell how many took so long.",
            shape: Shape::Heat,
            unit: "short",
            width: 8,
            queries: &[(
                "sum by (le) (increase(lockgate_upstream_seconds_bucket\
                 {@,upstream=~\"$upstream\"}[$__rate_interval]))",
                "{{le}}",
            )],
        },
    ],
};

const ENDPOINTS: Row = Row {
    title: "Endpoints",
    panels: &[
        Panel {
            title: "Up",
            about: "The share of gateways that send requests there.",
            shape: Shape::Line,
            unit: "percentunit",
            width: 12,
            queries: &[(
                "avg by (upstream, endpoint) (lockgate_endpoint_up{@,upstream=~\"$upstream\"})",
                "{{upstream}} {{endpoint}}",
            )],
        },
        Panel {
            title: "In flight",
            about: "Requests that the endpoint has been asked and has not answered.",
            shape: Shape::Line,
            unit: "short",
            width: 12,
            queries: &[(
                "sum by (upstream, endpoint) (lockgate_endpoint_requests_in_flight\
                 {@,upstream=~\"$upstream\"})",
                "{{upstream}} {{endpoint}}",
            )],
        },
        Panel {
            title: "Ejections",
            about: "Times that real requests found the endpoint failing.",
            shape: Shape::Line,
            unit: "short",
            width: 12,
            queries: &[(
                "sum by (upstream, endpoint) (increase(lockgate_endpoint_ejections_total\
                 {@,upstream=~\"$upstream\"}[$__rate_interval]))",
                "{{upstream}} {{endpoint}}",
            )],
        },
        Panel {
            title: "Connections",
            about: "Open to the endpoint, of all workers.",
            shape: Shape::Line,
            unit: "short",
            width: 12,
            queries: &[(
                "sum by (upstream, endpoint) (lockgate_pool_connections\
                 {@,upstream=~\"$upstream\"})",
                "{{upstream}} {{endpoint}}",
            )],
        },
    ],
};
