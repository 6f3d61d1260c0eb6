//! What gateways share: the stores and how they answer, the shared cache, and the gateways alive.

use super::{Choice, Dashboard, Panel, Row, Shape};

pub(super) static DASHBOARD: Dashboard = Dashboard {
    uid: "lockgate-stores",
    title: "Lockgate / Cluster and stores",
    about: "What gateways share: how the stores answer, and what the shared cache does.",
    choices: &[Choice { label: "store", title: "Stores", of: "lockgate_store_servers" }],
    rows: &[STORES, CACHE, LIMITS],
};

const STORES: Row = Row {
    title: "Stores",
    panels: &[
        Panel {
            title: "Gateways alive",
            about: "By their heartbeats in the store, as the one that sees the fewest sees it.",
            shape: Shape::Number,
            unit: "short",
            width: 8,
            queries: &[(
                "min by (store) (lockgate_store_live_gateways{@,store=~\"$store\"})",
                "{{store}}",
            )],
        },
        Panel {
            title: "Servers that are not asked",
            about: "As they are not well.",
            shape: Shape::Zero,
            unit: "short",
            width: 8,
            queries: &[("sum(lockgate_store_breakers_open{@,store=~\"$store\"}) or vector(0)", "")],
        },
        Panel {
            title: "Writes dropped",
            about: "In the background, as the queue was full or the store away.",
            shape: Shape::Zero,
            unit: "short",
            width: 8,
            queries: &[(
                "sum(increase(lockgate_store_dropped_total{@,store=~\"$store\"}[$__range]))",
                "",
            )],
        },
        Panel {
            title: "Calls by use",
            about: "What the store is asked for.",
            shape: Shape::Stack,
            unit: "ops",
            width: 8,
            queries: &[(
                "sum by (store, use) \
                 (rate(lockgate_store_calls_total{@,store=~\"$store\"}[$__rate_interval]))",
                "{{store}}: {{use}}",
            )],
        },
        Panel {
            title: "Calls that failed",
            about: "By how: timeout, away (not sent), cut, error.",
            shape: Shape::Stack,
            unit: "ops",
            width: 8,
            queries: &[(
                "sum by (store, outcome) (rate(lockgate_store_calls_total\
                 {@,store=~\"$store\",outcome!=\"answered\"}[$__rate_interval]))",
                "{{store}}: {{outcome}}",
            )],
        },
        Panel {
            title: "Time of a call",
            about: "Those apart that were not sent.",
            shape: Shape::Line,
            unit: "s",
            width: 8,
            queries: &[
                (
                    "histogram_quantile(0.5, sum by (le, store) (rate(\
                     lockgate_store_seconds_bucket{@,store=~\"$store\"}[$__rate_interval])))",
                    "{{store}} p50",
                ),
                (
                    "histogram_quantile(0.99, sum by (le, store) (rate(\
                     lockgate_store_seconds_bucket{@,store=~\"$store\"}[$__rate_interval])))",
                    "{{store}} p99",
                ),
            ],
        },
        Panel {
            title: "Connections opened",
            about: "More than there are workers are reconnects.",
            shape: Shape::Line,
            unit: "short",
            width: 24,
            queries: &[(
                "sum by (store, instance) (increase(lockgate_store_connections_total\
                 {@,store=~\"$store\"}[$__rate_interval]))",
                "{{store}} {{instance}}",
            )],
        },
    ],
};

const CACHE: Row = Row {
    title: "Shared cache",
    panels: &[
        Panel {
            title: "Looks into the store",
            about: "For what was not in memory.",
            shape: Shape::Stack,
            unit: "ops",
            width: 8,
            queries: &[(
                "sum by (result) (rate(lockgate_shared_cache_lookups_total\
                 {@,store=~\"$store\"}[$__rate_interval]))",
                "{{result}}",
            )],
        },
        Panel {
            title: "Answers put",
            about: "`apart`: too large, each gateway keeps its own.",
            shape: Shape::Stack,
            unit: "ops",
            width: 8,
            queries: &[(
                "sum by (result) (rate(lockgate_shared_cache_puts_total\
                 {@,store=~\"$store\"}[$__rate_interval]))",
                "{{result}}",
            )],
        },
        Panel {
            title: "Who asks the upstream",
            about: "One leads, the others wait for it.",
            shape: Shape::Stack,
            unit: "ops",
            width: 8,
            queries: &[(
                "sum by (result) (rate(lockgate_shared_cache_turns_total\
                 {@,store=~\"$store\"}[$__rate_interval]))",
                "{{result}}",
            )],
        },
        Panel {
            title: "Purges",
            about: "Made, heard of, read later; and those that others have not been told of.",
            shape: Shape::Line,
            unit: "short",
            width: 8,
            queries: &[
                (
                    "sum by (how) (increase(lockgate_shared_cache_purges_total\
                     {@,store=~\"$store\"}[$__rate_interval]))",
                    "{{how}}",
                ),
                ("sum(lockgate_shared_cache_purges_untold{@,store=~\"$store\"})", "not told yet"),
            ],
        },
        Panel {
            title: "How late purges are",
            about: "From a purge's making to its being heard, and for how long it has not been \
                    known that none is missing.",
            shape: Shape::Line,
            unit: "s",
            width: 8,
            queries: &[
                (
                    "max by (instance) (lockgate_shared_cache_purge_lag_seconds\
                     {@,store=~\"$store\"})",
                    "{{instance}}: last",
                ),
                (
                    "max by (instance) (lockgate_shared_cache_unheard_seconds\
                     {@,store=~\"$store\"})",
                    "{{instance}}: unheard",
                ),
            ],
        },
        Panel {
            title: "Kept in memory",
            about: "Of all caches.",
            shape: Shape::Line,
            unit: "bytes",
            width: 8,
            queries: &[("sum by (instance) (lockgate_cache_bytes{@})", "{{instance}}")],
        },
    ],
};

const LIMITS: Row = Row {
    title: "Limits that gateways share",
    panels: &[
        Panel {
            title: "Calls for limits",
            about: "Those that a request waited for, and those for the next slice.",
            shape: Shape::Stack,
            unit: "ops",
            width: 8,
            queries: &[(
                "sum by (waited) (rate(lockgate_limit_store_calls_total\
                 {@,store=~\"$store\"}[$__rate_interval]))",
                "waited: {{waited}}",
            )],
        },
        Panel {
            title: "Decided without a call",
            about: "Out of a slice, or as the limit was known to be spent.",
            shape: Shape::Stack,
            unit: "reqps",
            width: 8,
            queries: &[
                (
                    "sum(rate(lockgate_limit_granted_here_total{@,store=~\"$store\"}\
                     [$__rate_interval]))",
                    "let pass",
                ),
                (
                    "sum(rate(lockgate_limit_refused_here_total{@,store=~\"$store\"}\
                     [$__rate_interval]))",
                    "refused",
                ),
            ],
        },
        Panel {
            title: "What slices came to",
            about: "`lost` counts as if it had been spent.",
            shape: Shape::Stack,
            unit: "ops",
            width: 8,
            queries: &[(
                "sum by (fate) (rate(lockgate_limit_slice_tokens_total\
                 {@,store=~\"$store\"}[$__rate_interval]))",
                "{{fate}}",
            )],
        },
    ],
};
