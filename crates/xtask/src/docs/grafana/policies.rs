//! Limits, identities and what money needs: who is refused, who waits, what ran twice or did not.

use super::{Dashboard, Panel, Row, Shape};

pub(super) static DASHBOARD: Dashboard = Dashboard {
    uid: "lockgate-policies",
    title: "Lockgate / Limits, money, identities",
    about: "Who is refused, who waits, what is kept from running twice.",
    choices: &[],
    rows: &[LIMITS, MONEY, IDENTITIES],
};

const LIMITS: Row = Row {
    title: "Limits and quotas",
    panels: &[
        Panel {
            title: "Refused by limit",
            about: "With its policy; those in a dry run only would have been refused.",
            shape: Shape::Stack,
            unit: "reqps",
            width: 8,
            queries: &[(
                "sum by (policy, limit, dry_run) \
                 (rate(lockgate_limit_refusals_total{@}[$__rate_interval]))",
                "{{policy}} {{limit}}, dry run: {{dry_run}}",
            )],
        },
        Panel {
            title: "Counted in memory",
            about: "Keys, and those of them that were forgotten for want of room.",
            shape: Shape::Line,
            unit: "short",
            width: 8,
            queries: &[
                ("sum(lockgate_limit_keys{@})", "keys"),
                ("sum(increase(lockgate_limit_evictions_total{@}[$__rate_interval]))", "forgotten"),
            ],
        },
        Panel {
            title: "Limits that the store could not count",
            about: "And which way their requests went.",
            shape: Shape::Line,
            unit: "reqps",
            width: 8,
            queries: &[(
                "sum by (store, went) \
                 (rate(lockgate_limit_store_errors_total{@}[$__rate_interval]))",
                "{{store}}: {{went}}",
            )],
        },
        Panel {
            title: "Concurrency",
            about: "Requests under way of a limit, and what it is now.",
            shape: Shape::Line,
            unit: "short",
            width: 12,
            queries: &[
                (
                    "sum by (limit) (lockgate_concurrency_requests_in_flight{@})",
                    "{{limit}}: under way",
                ),
                ("sum by (limit) (lockgate_concurrency_requests_waiting{@})", "{{limit}}: waiting"),
                ("sum by (limit) (lockgate_concurrency_limit{@})", "{{limit}}: limit"),
            ],
        },
        Panel {
            title: "Copies for mirrors",
            about: "What came of them.",
            shape: Shape::Stack,
            unit: "reqps",
            width: 12,
            queries: &[(
                "sum by (result) (rate(lockgate_mirror_requests_total{@}[$__rate_interval]))",
                "{{result}}",
            )],
        },
    ],
};

const MONEY: Row = Row {
    title: "Money: once, and one at a time",
    panels: &[
        Panel {
            title: "Requests with an idempotency key",
            about: "`unknown`: nobody knows what became of the first; somebody has to look.",
            shape: Shape::Stack,
            unit: "reqps",
            width: 8,
            queries: &[(
                "sum by (result) \
                 (rate(lockgate_idempotency_requests_total{@}[$__rate_interval]))",
                "{{result}}",
            )],
        },
        Panel {
            title: "Turns",
            about: "Given, and refused as the wait was too long.",
            shape: Shape::Line,
            unit: "reqps",
            width: 8,
            queries: &[
                (
                    "sum by (place) (rate(lockgate_serialize_turns_total{@}[$__rate_interval]))",
                    "{{place}}: given",
                ),
                (
                    "sum by (place) (rate(lockgate_serialize_busy_total{@}[$__rate_interval]))",
                    "{{place}}: busy",
                ),
            ],
        },
        Panel {
            title: "Waiting for their turn",
            about: "And those whose turn it is.",
            shape: Shape::Line,
            unit: "short",
            width: 8,
            queries: &[
                ("sum by (place) (lockgate_serialize_waiting{@})", "{{place}}: waiting"),
                ("sum by (place) (lockgate_serialize_held{@})", "{{place}}: held"),
            ],
        },
        Panel {
            title: "Turns lost",
            about: "Over before their answer was there: this should be zero.",
            shape: Shape::Zero,
            unit: "short",
            width: 8,
            queries: &[("sum(increase(lockgate_serialize_lost_total{@}[$__range]))", "")],
        },
        Panel {
            title: "Stores that may lose records",
            about: "A Redis that may evict them before their time.",
            shape: Shape::Zero,
            unit: "short",
            width: 8,
            queries: &[("sum(lockgate_idempotency_store_may_lose{@}) or vector(0)", "")],
        },
        Panel {
            title: "Records in memory",
            about: "Of requests with an idempotency key.",
            shape: Shape::Number,
            unit: "short",
            width: 8,
            queries: &[("sum(lockgate_idempotency_records{@})", "")],
        },
    ],
};

const IDENTITIES: Row = Row {
    title: "Identities",
    panels: &[
        Panel {
            title: "Fetches of keys",
            about: "Of issuers of tokens (JWKS).",
            shape: Shape::Line,
            unit: "short",
            width: 12,
            queries: &[(
                "sum by (identity, result) \
                 (increase(lockgate_jwks_refreshes_total{@}[$__rate_interval]))",
                "{{identity}}: {{result}}",
            )],
        },
        Panel {
            title: "Tokens known already",
            about: "Looks into the memory of tokens that were found good.",
            shape: Shape::Stack,
            unit: "reqps",
            width: 12,
            queries: &[(
                "sum by (identity, result) \
                 (rate(lockgate_token_cache_lookups_total{@}[$__rate_interval]))",
                "{{identity}}: {{result}}",
            )],
        },
    ],
};
