//! The table of contents: every policy, handler and kind of identity that a configuration may
//! name, in one ordered list. A plugin is its own folder plus its two words here; nothing else in
//! the gateway names it.

pub mod api_key;
mod auth;
pub mod basic;
mod compress;
mod concurrency;
mod cors;
mod fault;
mod fields;
mod headers;
mod ip_filter;
mod jwt;
mod limits;
mod maintenance;
mod mtls;
mod networks;
mod one_or_more;
mod redirect;
mod request_id;
mod respond;
mod switch;

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
    Plugin::Policy(&headers::Headers),
    Plugin::Policy(&fault::Faults),
    // handlers
    Plugin::Handler(&redirect::Redirect),
    Plugin::Handler(&respond::Respond),
    // identities
    Plugin::Identity(&api_key::ApiKey),
    Plugin::Identity(&basic::Basic),
    Plugin::Identity(&jwt::Jwt),
    Plugin::Identity(&mtls::Mtls),
];
