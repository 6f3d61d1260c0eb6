//! The table of contents: every policy, handler and kind of identity that a configuration may
//! name, in one ordered list. A plugin is its own folder plus its two words here; nothing else in
//! the gateway names it.

mod fields;
mod headers;
mod limits;
mod mtls;
mod quota;
mod rate_limit;
mod redirect;
mod respond;

#[cfg(test)]
mod cases;

use lockgate_core::Plugin;

/// All plugins: policies in the order of their stages, then handlers and identities by name.
pub static ALL: &[Plugin] = &[
    // policies
    Plugin::Policy(&rate_limit::RateLimit),
    Plugin::Policy(&quota::Quota),
    Plugin::Policy(&headers::Headers),
    // handlers
    Plugin::Handler(&redirect::Redirect),
    Plugin::Handler(&respond::Respond),
    // identities
    Plugin::Identity(&mtls::Mtls),
];
