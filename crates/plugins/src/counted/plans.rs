//! What plans say of a limit: under the policy's name either one rate for all of its limits that
//! heed plans, or one for each by the limits' names; `off` lifts it.

use lockgate_core::{Build, ConfigError};
use serde_json::Value;

/// What one plan says of one limit.
pub(crate) enum Planned<T> {
    /// This instead of the limit's own.
    Limit(T),
    /// None at all.
    Off,
}

/// What each plan says of one limit, by the plans' names.
pub(crate) type Plans<T> = Vec<(Box<str>, Planned<T>)>;

/// What each plan says of the limit `name` of the policy `policy`. A plan that says nothing is not
/// in the list.
pub(crate) fn planned<T>(
    policy: &str,
    name: &str,
    build: &Build<'_>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Plans<T>, ConfigError> {
    let mut all = Vec::new();
    for plan in build.provide.plans() {
        let settings = build.provide.plan(plan).and_then(|settings| settings.get(policy));
        let Some(mut settings) = settings else { continue };
        if let Value::Object(by_name) = settings {
            let Some(own) = by_name.get(name) else { continue };
            settings = own;
        }
        let wrong = |why: String| {
            let message = format!("the plan `{plan}` says of `{policy}`: {why}");
            ConfigError::new(message).at("plans")
        };
        let said = match settings {
            Value::Bool(false) => Planned::Off,
            Value::String(text) if text == "off" => Planned::Off,
            Value::String(text) => Planned::Limit(read(text).map_err(wrong)?),
            _ => {
                let why = "expected a limit, `off`, or a map from limits' names to these";
                return Err(wrong(why.to_owned()));
            }
        };
        all.push((plan.into(), said));
    }
    Ok(all)
}
