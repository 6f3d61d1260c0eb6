//! The table of contents: every policy, handler and kind of identity that a configuration may
//! name, in one ordered list. A plugin is its own folder plus its two words here; nothing else in
//! the gateway names it.

mod answers;
pub mod api_key;
mod auth;
pub mod basic;
mod cache;
mod carry;
mod clock;
mod compress;
mod concurrency;
mod cors;
mod counted;
mod fault;
mod fields;
mod forward;
mod headers;
mod hmac;
mod idempotency;
mod introspection;
mod invalidate;
mod ip_filter;
mod jwt;
mod limits;
mod maintenance;
mod mirror;
mod mtls;
mod networks;
mod one_or_more;
mod quota;
mod rate_limit;
mod redirect;
mod request_id;
mod respond;
mod serialize;
mod service;
mod status;
mod switch;
mod words;

#[cfg(test)]
mod cases;

use lockgate_core::Plugin;

/// All plugins: policies in the order of their stages, then handlers and identities by name.
pub static ALL: &[Plugin] = &[
    // policies
    Plugin::Policy(&concurrency::Concurrency),
    Plugin::Policy(&auth::Auth),
    Plugin::Policy(&request_id::RequestIds),
    Plugin::Policy(&cors::Cors),
    Plugin::Policy(&compress::Compress),
    Plugin::Policy(&ip_filter::IpFilter),
    Plugin::Policy(&limits::Limits),
    Plugin::Policy(&maintenance::Maintenance),
    Plugin::Policy(&rate_limit::RateLimit),
    Plugin::Policy(&quota::Quota),
    Plugin::Policy(&idempotency::Idempotency),
    Plugin::Policy(&cache::Cache),
    Plugin::Policy(&invalidate::Invalidate),
    Plugin::Policy(&serialize::Serialize),
    Plugin::Policy(&headers::Headers),
    Plugin::Policy(&fault::Faults),
    Plugin::Policy(&mirror::Mirror),
    // handlers
    Plugin::Handler(&redirect::Redirect),
    Plugin::Handler(&respond::Respond),
    Plugin::Handler(&status::StatusPages),
    // identities
    Plugin::Identity(&api_key::ApiKey),
    Plugin::Identity(&basic::Basic),
    Plugin::Identity(&jwt::Jwt),
    Plugin::Identity(&forward::Forward),
    Plugin::Identity(&hmac::Hmac),
    Plugin::Identity(&introspection::Introspection),
    Plugin::Identity(&mtls::Mtls),
];

/// What only fuzz targets need: the parsers of what comes from outside.
#[doc(hidden)]
pub mod fuzz {
    pub use crate::hmac::structured;

    /// Reads bytes as the record of an answer.
    pub fn idempotency_record(bytes: &[u8]) {
        crate::idempotency::fuzz(bytes);
    }

    /// Reads headers as those of an answer and of a request at a cache.
    pub fn cache_headers(headers: &http::HeaderMap) {
        crate::cache::fuzz(headers);
    }

    /// Reads what a cache keeps, as it comes from a store that others write to.
    pub fn kept_answer(bytes: &[u8]) {
        crate::cache::fuzz_kept(bytes);
    }
}
