//! One route, or some: what they answer, how fast, and what their policies do.

use super::{Choice, Dashboard, Panel, Row, Shape};

pub(super) static DASHBOARD: Dashboard = Dashboard {
    uid: "lockgate-routes",
    title: "Lockgate / Routes",
    about: "What routes answer, how fast, and what their policies do.",
    choices: &[Choice { label: "route", title: "Routes", of: "lockgate_requests_total" }],
    rows: &[ALL, CHOSEN, POLICIES],
};

const ALL: Row = Row {
    title: "Which",
    panels: &[
        Panel {
            title: "Requests by route",
            about: "The ten with the most.",
            shape: Shape::Stack,
            unit: "reqps",
            width: 8,
            queries: &[(
                "topk(10, sum by (route) \
                 (rate(lockgate_requests_total{@,route=~\"$route\"}[$__rate_interval])))",
                "{{route}}",
            )],
        },
        Panel {
            title: "Failed by route",
            about: "Answers with a status of 500 or above; the ten with the most.",
            shape: Shape::Stack,
            unit: "reqps",
            width: 8,
            queries: &[(
                "topk(10, sum by (route) (rate(lockgate_requests_total\
                 {@,route=~\"$route\",status=~\"5..\"}[$__rate_interval])))",
                "{{route}}",
            )],
        },
        Panel {
            title: "p99 by route",
            about: "The ten slowest.",
            shape: Shape::Line,
            unit: "s",
            width: 8,
            queries: &[(
                "topk(10, histogram_quantile(0.99, sum by (le, route) \
                 (rate(lockgate_request_seconds_bucket{@,route=~\"$route\"}\
                 [$__rate_interval]))))",
                "{{route}}",
            )],
        },
    ],
};

const CHOSEN: Row = Row {
    title: "The chosen routes together",
    panels: &[
        Panel {
            title: "Requests by status",
            about: "",
            shape: Shape::Stack,
            unit: "reqps",
            width: 8,
            queries: &[(
                "sum by (status) \
                 (rate(lockgate_requests_total{@,route=~\"$route\"}[$__rate_interval]))",
                "{{status}}",
            )],
        },
        Panel {
            title: "Why requests failed or were refused",
            about: "By reason code.",
            shape: Shape::Stack,
            unit: "reqps",
            width: 8,
            queries: &[(
                "sum by (reason) \
                 (rate(lockgate_faults_total{@,route=~\"$route\"}[$__rate_interval]))",
                "{{reason}}",
            )],
        },
        Panel {
            title: "How long requests take",
            about: "Each column is a moment, each cell how many took so long.",
            shape: Shape::Heat,
            unit: "short",
            width: 8,
            queries: &[(
                "sum by (le) (increase(lockgate_request_seconds_bucket{@,route=~\"$route\"}\
                 [$__rate_interval]))",
                "{{le}}",
            )],
        },
        Panel {
            title: "Bytes of bodies",
            about: "From clients and to them.",
            shape: Shape::Line,
            unit: "Bps",
            width: 12,
            queries: &[
                (
                    "sum(rate(lockgate_received_bytes_total{@,route=~\"$route\"}\
                     [$__rate_interval]))",
                    "received",
                ),
                (
                    "sum(rate(lockgate_sent_bytes_total{@,route=~\"$route\"}[$__rate_interval]))",
                    "sent",
                ),
            ],
        },
        Panel {
            title: "Cache",
            about: "What came of requests at the routes' caches.",
            shape: Shape::Stack,
            unit: "reqps",
            width: 12,
            queries: &[(
                "sum by (result) \
                 (rate(lockgate_cache_requests_total{@,route=~\"$route\"}[$__rate_interval]))",
                "{{result}}",
            )],
        },
    ],
};

const POLICIES: Row = Row {
    title: "Policies",
    panels: &[
        Panel {
            title: "Refused, by policy",
            about: "With the reason.",
            shape: Shape::Stack,
            unit: "reqps",
            width: 12,
            queries: &[(
                "sum by (policy, reason) (rate(lockgate_policy_verdicts_total\
                 {@,route=~\"$route\",verdict=\"refuse\"}[$__rate_interval]))",
                "{{policy}}: {{reason}}",
            )],
        },
        Panel {
            title: "Time in policies",
            about: "The mean of a request hook's time.",
            shape: Shape::Line,
            unit: "s",
            width: 12,
            queries: &[(
                "sum by (policy) (rate(lockgate_policy_seconds_sum{@,route=~\"$route\"}\
                 [$__rate_interval])) / sum by (policy) (rate(lockgate_policy_seconds_count\
                 {@,route=~\"$route\"}[$__rate_interval]))",
                "{{policy}}",
            )],
        },
    ],
};
