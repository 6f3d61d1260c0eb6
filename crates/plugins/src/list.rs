//! The table of contents: every policy, handler and kind of identity that a configuration may
//! name, in one ordered list. A plugin is its own folder plus its two words here; nothing else in
//! the gateway names it.

mod answers;
mod auth;
mod carry;
mod clock;
mod concurrency;
mod cors;
mod fields;
mod forward;
mod headers;
mod hmac;
mod introspection;
mod ip_filter;
mod mirror;
mod mtls;
mod networks;
mod one_or_more;
mod redirect;
mod respond;
mod service;

#[cfg(test)]
mod cases;

/// For the fuzz targets alone.
pub mod fuzz {
    pub use crate::hmac::structured;
}

use lockgate_core::Plugin;

/// All plugins: policies in the order of their stages, then handlers and identities by name.
pub static ALL: &[Plugin] = &[
    // policies
    Plugin::Policy(&concurrency::Concurrency),
    Plugin::Policy(&auth::Auth),
    Plugin::Policy(&cors::Cors),
    Plugin::Policy(&ip_filter::IpFilter),
    Plugin::Policy(&headers::Headers),
    Plugin::Policy(&mirror::Mirror),
    // handlers
    Plugin::Handler(&redirect::Redirect),
    Plugin::Handler(&respond::Respond),
    // identities
    Plugin::Identity(&forward::Forward),
    Plugin::Identity(&hmac::Hmac),
    Plugin::Identity(&introspection::Introspection),
    Plugin::Identity(&mtls::Mtls),
];
