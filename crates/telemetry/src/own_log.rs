//! The gateway's own log: what happens to the gateway, not to requests. To stderr, as JSON or, at
//! a terminal, as text; never to where the access log goes.

use std::env;
use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::util::TryInitError;

/// What the level is read from: `info`, `debug`, `lockgate_upstream=debug,info`.
const VARIABLE: &str = "LOCKGATE_LOG";

/// The audit log's part of it, unless the variable speaks of it.
const AUDIT: &str = "lockgate::audit";

/// The gateway's own log could not be set up.
pub type OwnLogError = TryInitError;

/// Sets up the log of the process. A filter that cannot be read is told, and `info` holds.
///
/// # Errors
/// When a log has already been set up.
pub fn init_tracing() -> Result<(), OwnLogError> {
    use tracing_subscriber::util::SubscriberInitExt as _;

    let wanted = env::var(VARIABLE).ok().filter(|text| !text.trim().is_empty());
    let parsed = wanted.as_deref().map(EnvFilter::try_new);
    let (filter, wrong) = match parsed {
        None => (EnvFilter::new("info"), None),
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new("info"), Some(error.to_string())),
    };
    // Who has changed what is told at any level, unless it is named.
    let names_it = wanted.as_deref().is_some_and(|wanted| wanted.contains(AUDIT));
    let filter = match format!("{AUDIT}=info").parse() {
        Ok(audit) if !names_it => filter.add_directive(audit),
        _ => filter,
    };
    let builder = fmt().with_env_filter(filter).with_writer(stderr);
    if stderr().is_terminal() {
        let colours = env::var_os("NO_COLOR").is_none();
        builder.with_ansi(colours).with_target(false).finish().try_init()?;
    } else {
        let json = builder.json().flatten_event(true).with_current_span(false);
        json.with_span_list(false).finish().try_init()?;
    }
    if let Some(error) = wrong {
        tracing::warn!(variable = VARIABLE, error, "the log filter cannot be read: info holds");
    }
    Ok(())
}
