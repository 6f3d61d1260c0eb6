//! The first page: is all well, and if not, where to look.

use super::{Dashboard, Panel, Row, Shape};

pub(super) static DASHBOARD: Dashboard = Dashboard {
    uid: "lockgate",
    title: "Lockgate / Overview",
    about: "Whether all is well, and where to look if it is not.",
    choices: &[],
    rows: &[NOW, TRAFFIC, GATEWAYS, ITSELF],
};

const NOW: Row = Row {
    title: "Now",
    panels: &[
        Panel {
            title: "Gateways that answer",
            about: "Those that Prometheus can scrape.",
            shape: Shape::Number,
            unit: "short",
            width: 4,
            queries: &[("count(lockgate_build_info{@})", "")],
        },
        Panel {
            title: "Requests a second",
            about: "Answered, whatever the status.",
            shape: Shape::Number,
            unit: "reqps",
            width: 4,
            queries: &[("sum(rate(lockgate_requests_total{@}[$__rate_interval]))", "")],
        },
        Panel {
            title: "Failed",
            about: "Answers with a status of 500 or above, as a share of all.",
            shape: Shape::Zero,
            unit: "percentunit",
            width: 4,
            queries: &[(
                "(sum(rate(lockgate_requests_total{@,status=~\"5..\"}[$__rate_interval])) or \
                 vector(0)) / sum(rate(lockgate_requests_total{@}[$__rate_interval]))",
                "",
            )],
        },
        Panel {
            title: "Endpoints that are out",
            about: "Probed down, ejected, or put down by hand, as any gateway sees it.",
            shape: Shape::Zero,
            unit: "short",
            width: 4,
            queries: &[(
                "count(min by (upstream, endpoint) (lockgate_endpoint_up{@}) == 0) or vector(0)",
                "",
            )],
        },
        Panel {
            title: "Configuration taken",
            about: "0 when a gateway has refused the last one and serves the one before.",
            shape: Shape::One,
            unit: "short",
            width: 4,
            queries: &[("min(lockgate_config_last_reload_successful{@})", "")],
        },
        Panel {
            title: "Next certificate ends in",
            about: "Of all that listeners serve.",
            shape: Shape::Number,
            unit: "s",
            width: 4,
            queries: &[("min(lockgate_certificate_expiry_timestamp_seconds{@}) - time()", "")],
        },
    ],
};

const TRAFFIC: Row = Row {
    title: "Traffic",
    panels: &[
        Panel {
            title: "Requests by status",
            about: "The status that the client got; 499 when it went away first.",
            shape: Shape::Stack,
            unit: "reqps",
            width: 8,
            queries: &[(
                "sum by (status) (rate(lockgate_requests_total{@}[$__rate_interval]))",
                "{{status}}",
            )],
        },
        Panel {
            title: "Why requests failed or were refused",
            about: "By reason code: docs/reference/errors.md says what each means.",
            shape: Shape::Stack,
            unit: "reqps",
            width: 8,
            queries: &[(
                "sum by (reason) (rate(lockgate_faults_total{@}[$__rate_interval]))",
                "{{reason}}",
            )],
        },
        Panel {
            title: "Latency",
            about: "From a request's head to the last byte of its answer.",
            shape: Shape::Line,
            unit: "s",
            width: 8,
            queries: &[
                (
                    "histogram_quantile(0.5, sum by (le) \
                     (rate(lockgate_request_seconds_bucket{@}[$__rate_interval])))",
                    "p50",
                ),
                (
                    "histogram_quantile(0.9, sum by (le) \
                     (rate(lockgate_request_seconds_bucket{@}[$__rate_interval])))",
                    "p90",
                ),
                (
                    "histogram_quantile(0.99, sum by (le) \
                     (rate(lockgate_request_seconds_bucket{@}[$__rate_interval])))",
                    "p99",
                ),
            ],
        },
        Panel {
            title: "Bytes of bodies",
            about: "From clients and to them.",
            shape: Shape::Line,
            unit: "Bps",
            width: 12,
            queries: &[
                ("sum(rate(lockgate_received_bytes_total{@}[$__rate_interval]))", "received"),
                ("sum(rate(lockgate_sent_bytes_total{@}[$__rate_interval]))", "sent"),
            ],
        },
        Panel {
            title: "Requests of plans",
            about: "Of identified consumers, by their plan.",
            shape: Shape::Stack,
            unit: "reqps",
            width: 12,
            queries: &[(
                "sum by (plan) (rate(lockgate_plan_requests_total{@}[$__rate_interval]))",
                "{{plan}}",
            )],
        },
    ],
};

const GATEWAYS: Row = Row {
    title: "Gateways",
    panels: &[
        Panel {
            title: "Requests by gateway",
            about: "Uneven ones want a look at what is in front of them.",
            shape: Shape::Line,
            unit: "reqps",
            width: 8,
            queries: &[(
                "sum by (instance) (rate(lockgate_requests_total{@}[$__rate_interval]))",
                "{{instance}}",
            )],
        },
        Panel {
            title: "In flight by worker",
            about: "One that stands out holds slow requests.",
            shape: Shape::Line,
            unit: "short",
            width: 8,
            queries: &[("lockgate_requests_in_flight{@}", "{{instance}} worker {{worker}}")],
        },
        Panel {
            title: "Connections",
            about: "Of clients: open, and refused at once.",
            shape: Shape::Line,
            unit: "short",
            width: 8,
            queries: &[
                ("sum by (instance) (lockgate_connections{@})", "{{instance}}"),
                (
                    "sum by (reason) (rate(lockgate_connections_refused_total{@}\
                     [$__rate_interval]))",
                    "refused a second: {{reason}}",
                ),
            ],
        },
        Panel {
            title: "Processor",
            about: "Cores in use.",
            shape: Shape::Line,
            unit: "short",
            width: 8,
            queries: &[("rate(process_cpu_seconds_total{@}[$__rate_interval])", "{{instance}}")],
        },
        Panel {
            title: "Memory",
            about: "Resident.",
            shape: Shape::Line,
            unit: "bytes",
            width: 8,
            queries: &[("process_resident_memory_bytes{@}", "{{instance}}")],
        },
        Panel {
            title: "Open files",
            about: "Each connection is one, and one more towards its upstream.",
            shape: Shape::Line,
            unit: "short",
            width: 8,
            queries: &[("process_open_fds{@}", "{{instance}}")],
        },
    ],
};

const ITSELF: Row = Row {
    title: "The gateway itself",
    panels: &[
        Panel {
            title: "Versions and configurations",
            about: "What runs, and how often its configuration has changed since it started.",
            shape: Shape::Table,
            unit: "short",
            width: 12,
            queries: &[(
                "lockgate_config_generation{@} * on (job, instance) group_left (version) \
                 lockgate_build_info{@}",
                "",
            )],
        },
        Panel {
            title: "What should not be",
            about: "Lines of the access log lost, bugs met, handshakes failed.",
            shape: Shape::Line,
            unit: "short",
            width: 12,
            queries: &[
                (
                    "sum(increase(lockgate_access_log_dropped_lines_total{@}\
                     [$__rate_interval]))",
                    "log lines lost",
                ),
                ("sum(increase(lockgate_panics_total{@}[$__rate_interval]))", "bugs"),
                (
                    "sum(increase(lockgate_tls_handshakes_total{@,result=\"failed\"}\
                     [$__rate_interval]))",
                    "TLS handshakes failed",
                ),
            ],
        },
        Panel {
            title: "Alerts of its own that fire",
            about: "By rule of `alerts`.",
            shape: Shape::Line,
            unit: "short",
            width: 8,
            queries: &[(
                "sum by (rule, severity) (lockgate_alerts_firing{@})",
                "{{rule}} ({{severity}})",
            )],
        },
        Panel {
            title: "Messages of its own alerts",
            about: "Delivered, failed (each try), given up.",
            shape: Shape::Stack,
            unit: "short",
            width: 8,
            queries: &[(
                "sum by (sink, outcome) \
                 (increase(lockgate_alert_deliveries_total{@}[$__rate_interval]))",
                "{{sink}}: {{outcome}}",
            )],
        },
        Panel {
            title: "Spans for the collector",
            about: "Sent, dropped, rejected; and requests to it that failed.",
            shape: Shape::Line,
            unit: "ops",
            width: 8,
            queries: &[
                (
                    "sum by (result) (rate(lockgate_trace_spans_total{@}[$__rate_interval]))",
                    "{{result}}",
                ),
                (
                    "sum by (signal) (rate(lockgate_otlp_failures_total{@}[$__rate_interval]))",
                    "{{signal}}: failed requests",
                ),
            ],
        },
    ],
};
