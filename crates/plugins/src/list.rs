//! The table of contents: every policy, handler and kind of identity that a configuration may
//! name, in one ordered list. A plugin is its own folder plus its two words here; nothing else in
//! the gateway names it.

mod auth;
mod cache;
mod concurrency;
mod cors;
mod fields;
mod headers;
mod invalidate;
mod ip_filter;
mod jwt;
mod mtls;
mod networks;
mod one_or_more;
mod redirect;
mod respond;

#[cfg(test)]
mod cases;

use lockgate_core::Plugin;

/// All plugins: policies in the order of their stages, then handlers and identities by name.
pub static ALL: &[Plugin] = &[
    // policies
    Plugin::Policy(&concurrency::Concurrency),
    Plugin::Policy(&auth::Auth),
    Plugin::Policy(&cors::Cors),
    Plugin::Policy(&ip_filter::IpFilter),
    Plugin::Policy(&cache::Cache),
    Plugin::Policy(&invalidate::Invalidate),
    Plugin::Policy(&headers::Headers),
    // handlers
    Plugin::Handler(&redirect::Redirect),
    Plugin::Handler(&respond::Respond),
    // identities
    Plugin::Identity(&jwt::Jwt),
    Plugin::Identity(&mtls::Mtls),
];

/// What only fuzz targets need: the parsers of what comes from outside.
#[doc(hidden)]
pub mod fuzz {
    /// Reads headers as those of an answer and of a request at a cache.
    pub fn cache_headers(headers: &http::HeaderMap) {
        crate::cache::fuzz(headers);
    }
}
