//! End-to-end tests: the real binary as a process, over real sockets. One file for each theme.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::large_futures,
    clippy::print_stderr,
    reason = "a test fails loudly"
)]

mod access_log;
mod admin;
mod alerts;
mod asked;
mod attempts;
mod audit;
mod auth;
mod balance;
mod bodies;
mod broken;
mod browser;
mod cache;
mod changes;
mod cli;
mod cluster_limits;
mod collector;
mod compress;
mod concurrency;
mod cors;
mod demo;
mod demo_bank;
mod demo_cluster;
mod drain;
mod edge;
mod endurance;
mod errors;
mod examples;
mod explain;
mod framing;
mod grpc;
mod h2_framing;
mod headers;
mod health;
mod http1;
mod http2;
mod idempotency;
mod ip_filter;
mod jwt;
mod kept_overrides;
mod kept_routes;
mod limits;
mod limits_policy;
mod memory;
mod metrics;
mod money;
mod mounted;
mod oidc;
mod openapi;
mod priority;
mod prometheus;
mod proxy_protocol;
mod reload;
mod reload_at_size;
mod routing;
mod serialize;
mod shared_cache;
mod sources;
mod state_dir;
mod status;
mod stores;
mod stores_tls;
mod support;
mod targets;
mod tls;
#[cfg(feature = "top")]
mod top;
mod traces;
mod tunnels;
mod upgrade;
mod upstream_tls;
mod uptime;
mod vouched;
