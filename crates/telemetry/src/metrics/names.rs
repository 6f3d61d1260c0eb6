//! The table of all metrics: name, kind, labels and help, in one place for the encoder and the
//! reference page. A metric that is not in here cannot be written.

use std::fmt::Write as _;

pub use lockgate_core::{Metric, MetricKind};

macro_rules! metrics {
    ($($id:ident $kind:ident $name:literal [$($label:literal)*] $help:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`: ", $help, ".")]
            pub static $id: Metric = Metric {
                name: $name,
                kind: MetricKind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )*
        /// All metrics, in the order of the reference page.
        pub static METRICS: &[&Metric] = &[$(&$id),*];
    };
}

metrics! {
    REQUESTS Counter "lockgate_requests_total" ["route" "status"]
        "Requests answered, by route and the status that the client got";
    REQUEST_SECONDS Histogram "lockgate_request_seconds" ["route"]
        "Time from a request's head to the last byte of its answer";
    RECEIVED_BYTES Counter "lockgate_received_bytes_total" ["route"]
        "Bytes of request bodies taken from clients";
    SENT_BYTES Counter "lockgate_sent_bytes_total" ["route"]
        "Bytes of answer bodies given to clients";
    FAULTS Counter "lockgate_faults_total" ["route" "reason"]
        "Requests that the gateway refused, failed or saw broken off, by reason code";
    UPSTREAM_REQUESTS Counter "lockgate_upstream_requests_total" ["upstream"]
        "Requests for which at least one endpoint of the upstream was asked";
    UPSTREAM_ATTEMPTS Counter "lockgate_upstream_attempts_total" ["upstream"]
        "Times that an endpoint of the upstream was asked, retries included";
    UPSTREAM_RETRIES Counter "lockgate_upstream_retries_total" ["upstream"]
        "Attempts after a request's first";
    UPSTREAM_SECONDS Histogram "lockgate_upstream_seconds" ["upstream"]
        "Time from the last attempt's start to the head of its answer";
    PLAN_REQUESTS Counter "lockgate_plan_requests_total" ["plan" "status_class"]
        "Requests of identified consumers, by their plan and the class of the status: 2xx and so on";
    POLICY_VERDICTS Counter "lockgate_policy_verdicts_total" ["policy" "route" "verdict" "reason"]
        "What policies decided: pass, answer, or refuse with a reason code";
    POLICY_SECONDS Summary "lockgate_policy_seconds" ["policy" "route"]
        "Time spent in a policy's request hook; of runs that do not wait, one in 16 stands for all";
    IN_FLIGHT Gauge "lockgate_requests_in_flight" ["worker"]
        "Requests that have begun and not yet ended, by worker thread";
    WORKER_REQUESTS Counter "lockgate_worker_requests_total" ["worker"]
        "Requests begun, by worker thread: uneven when clients open few connections";
    WORKER_OPEN Gauge "lockgate_worker_connections" ["worker"]
        "Client connections open, by worker thread";
    CONNECTIONS Gauge "lockgate_connections" []
        "Client connections open, over all listeners";
    CONNECTIONS_TOTAL Counter "lockgate_connections_total" []
        "Client connections accepted";
    CONNECTIONS_REFUSED Counter "lockgate_connections_refused_total" ["reason"]
        "Client connections closed at once: max_connections, max_connections_per_ip, proxy_header";
    TLS_HANDSHAKES Counter "lockgate_tls_handshakes_total" ["result"]
        "TLS handshakes with clients, by result: ok or failed";
    CERTIFICATE_EXPIRY Gauge "lockgate_certificate_expiry_timestamp_seconds" ["listener" "name"]
        "When the certificate that the listener serves for the name ends, in Unix time";
    ENDPOINT_UP Gauge "lockgate_endpoint_up" ["upstream" "endpoint"]
        "1 when the endpoint may be asked: neither probed down, ejected, nor put down by hand";
    ENDPOINT_IN_FLIGHT Gauge "lockgate_endpoint_requests_in_flight" ["upstream" "endpoint"]
        "Requests in flight to the endpoint";
    ENDPOINT_EJECTED Gauge "lockgate_endpoint_ejected" ["upstream" "endpoint"]
        "1 while the endpoint is ejected for what real requests saw";
    ENDPOINT_EJECTIONS Counter "lockgate_endpoint_ejections_total" ["upstream" "endpoint"]
        "Times that the endpoint has been ejected";
    BREAKER Gauge "lockgate_breaker_state" ["upstream" "state"]
        "1 for the state that the upstream's breaker is in: closed, open or half_open";
    BREAKER_OPENED Counter "lockgate_breaker_opened_total" ["upstream"]
        "Times that the upstream's breaker has opened";
    POOL_OPEN Gauge "lockgate_pool_connections" ["upstream" "endpoint"]
        "Connections open to the endpoint, all workers together";
    STORE_CALLS Counter "lockgate_store_calls_total" ["store" "use" "outcome"]
        "Calls to a store, by what they were for and how they ended: answered, timeout, away (not sent, as the store is known to be), cut, error";
    STORE_SECONDS Histogram "lockgate_store_seconds" ["store"]
        "Time that calls to a store took, those apart that were not sent";
    STORE_SERVERS Gauge "lockgate_store_servers" ["store"]
        "Servers of a store that are asked";
    STORE_BREAKERS_OPEN Gauge "lockgate_store_breakers_open" ["store" "use"]
        "Servers of a store that are not well and are not asked now: for nothing (`all`), or for no kept answers (`blobs`)";
    STORE_CONNECTIONS Counter "lockgate_store_connections_total" ["store"]
        "Connections opened to a store: more than there are workers are reconnects";
    STORE_DROPPED Counter "lockgate_store_dropped_total" ["store"]
        "Writes in the background that were dropped, as the queue was full or the store away";
    STORE_LIVE Gauge "lockgate_store_live_gateways" ["store"]
        "Gateways that are alive, by their heartbeats in the store";
    COUNTER_KEYS Gauge "lockgate_limit_keys" []
        "Keys that limits and quotas count in memory";
    COUNTER_BYTES Gauge "lockgate_limit_bytes" []
        "Bytes that those keys take";
    COUNTER_EVICTIONS Counter "lockgate_limit_evictions_total" []
        "Keys forgotten although they still counted, for want of room";
    SLICE_CALLS Counter "lockgate_limit_store_calls_total" ["store" "waited"]
        "Calls of a store for limits: those that a request waited for, and those for the next slice that none did";
    SLICE_GRANTED Counter "lockgate_limit_granted_here_total" ["store"]
        "Limits passed out of a slice that this gateway held, without a call of the store";
    SLICE_REFUSED Counter "lockgate_limit_refused_here_total" ["store"]
        "Requests refused without a call of the store, as the limit was known to be spent";
    SLICE_TOKENS Counter "lockgate_limit_slice_tokens_total" ["store" "fate"]
        "What slices came to: `granted` is all of it, `returned` was left and given back, `lost` was left and counts as if it had been spent";
    SHARED_LOOKUPS Counter "lockgate_shared_cache_lookups_total" ["store" "result"]
        "Looks into a shared store for what was not in memory: hit, miss, or failed; and `unread`, what was found and could not be understood";
    SHARED_PUTS Counter "lockgate_shared_cache_puts_total" ["store" "result"]
        "Answers for a shared store: put, apart (too large, each gateway keeps its own), or dropped";
    SHARED_TURNS Counter "lockgate_shared_cache_turns_total" ["store" "result"]
        "Questions which gateway asks the upstream: leads, or waits for another";
    SHARED_PURGES Counter "lockgate_shared_cache_purges_total" ["store" "how"]
        "Purges: made here, heard of as they were made, or read later as they had not been heard";
    SHARED_UNTOLD Gauge "lockgate_shared_cache_purges_untold" ["store"]
        "Purges made here that other gateways have not been told of yet";
    SHARED_LAG Gauge "lockgate_shared_cache_purge_lag_seconds" ["store"]
        "How long the last purge took from its making to its being heard";
    SHARED_GAPS Counter "lockgate_shared_cache_gaps_total" ["store"]
        "Times that purges may have gone unheard, as a connection was cut";
    SHARED_UNHEARD Gauge "lockgate_shared_cache_unheard_seconds" ["store"]
        "For how long it has not been known that no purge is missing; -1 when it never was";
    CONFIG_GENERATION Gauge "lockgate_config_generation" []
        "Number of the configuration that serves now: 1 at start, one more with each change";
    CONFIG_SUCCESS Gauge "lockgate_config_last_reload_successful" []
        "1 when the last configuration read was taken, 0 when refused and the old one serves";
    CONFIG_TIME Gauge "lockgate_config_last_reload_timestamp_seconds" []
        "When a configuration was last read, whether it was taken or refused";
    CONFIG_RELOADS Counter "lockgate_config_reloads_total" ["result"]
        "Configurations read, by result: ok or refused";
    SOURCE_UP Gauge "lockgate_config_source_up" ["kind"]
        "1 while the etcd, Redis or directory that the configuration comes from answers, and has one";
    SOURCE_STALE Gauge "lockgate_config_source_stale_seconds" ["kind"]
        "0 while that source is well; else for how long it has not been known what it says";
    SOURCE_FAILURES Counter "lockgate_config_source_failures_total" ["kind" "reason"]
        "Times that it gave no configuration: away, denied, empty (its keys are gone), unusable; or one that was refused";
    ALERTS_FIRING Gauge "lockgate_alerts_firing" ["rule" "severity"]
        "Alerts that fire, by rule";
    ALERT_DELIVERIES Counter "lockgate_alert_deliveries_total" ["sink" "outcome"]
        "Messages of alerts: delivered, or given_up; failed counts each try that was in vain";
    HISTORY_FAILURES Counter "lockgate_history_store_failures_total" []
        "Times that the history of the services could not be read from disk or written to it";
    HISTORY_ON_DISK Gauge "lockgate_history_on_disk" []
        "1 when the history of the services outlives the process, 0 when it is in memory alone";
    HISTORY_LEFT_OUT Gauge "lockgate_history_left_out" []
        "Upstreams and endpoints without a history, as there are too many";
    PANICS Counter "lockgate_panics_total" []
        "Requests that ended in a bug of the gateway";
    LOG_LINES Counter "lockgate_access_log_lines_total" []
        "Access log lines written";
    LOG_DROPPED Counter "lockgate_access_log_dropped_lines_total" []
        "Access log lines lost, as the log's target was too slow or failed";
    LOG_ERRORS Counter "lockgate_access_log_errors_total" []
        "Failures to write or reopen the access log";
    TRACE_SPANS Counter "lockgate_trace_spans_total" ["result"]
        "Spans for the collector: sent, dropped (the queue was full, or the collector away), or rejected by it";
    OTLP_FAILURES Counter "lockgate_otlp_failures_total" ["signal"]
        "Requests to a collector that failed, repeated ones too: traces or metrics";
    SERIES_REFUSED Counter "lockgate_metrics_refused_total" []
        "Names that got no series of their own, as there were too many: they share `(other)`";
    BUILD_INFO Gauge "lockgate_build_info" ["version"]
        "Always 1; the version that runs";
    PROCESS_START Gauge "process_start_time_seconds" []
        "When the process started, in Unix time";
    PROCESS_CPU Counter "process_cpu_seconds_total" []
        "Processor time used, user and system together";
    PROCESS_MEMORY Gauge "process_resident_memory_bytes" []
        "Resident memory";
    PROCESS_FDS Gauge "process_open_fds" []
        "Open file descriptors";
}

/// The generated part of `docs/reference/metrics.md`.
pub fn metrics_reference() -> String {
    let mut page = String::from("| metric | kind | labels | what it tells |\n|---|---|---|---|\n");
    for metric in METRICS {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, help) = (metric.name, metric.kind.word(), metric.help);
        // Writing to a String cannot fail.
        let _ = writeln!(page, "| `{name}` | {kind} | {} | {help} |", labels.join(", "));
    }
    page
}
