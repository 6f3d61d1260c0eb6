//! A plugin: the part of a policy, handler or identity that is known before any configuration is
//! read.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use crate::{BodyUse, Build, Handler, Identity, Metric, Policy, Reason, Stage};

/// One entry of the plugin list.
#[derive(Clone, Copy)]
pub enum Plugin {
    /// A policy, set under its name in a route.
    Policy(&'static dyn PolicyPlugin),
    /// A handler, set under its name in a route's `to`.
    Handler(&'static dyn HandlerPlugin),
    /// A kind of identity, set under its name in an entry of `identity`.
    Identity(&'static dyn IdentityPlugin),
}

impl Plugin {
    /// The word for it in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Policy(plugin) => plugin.name(),
            Self::Handler(plugin) => plugin.name(),
            Self::Identity(plugin) => plugin.name(),
        }
    }

    /// Which of its settings are templates; an identity has none.
    pub fn templates(&self) -> &'static [&'static str] {
        match self {
            Self::Policy(plugin) => plugin.templates(),
            Self::Handler(plugin) => plugin.templates(),
            Self::Identity(_) => &[],
        }
    }

    /// The JSON Schema of its configuration.
    pub fn schema(&self) -> schemars::Schema {
        match self {
            Self::Policy(plugin) => plugin.schema(),
            Self::Handler(plugin) => plugin.schema(),
            Self::Identity(plugin) => plugin.schema(),
        }
    }

    /// The reasons it can refuse with.
    pub fn reasons(&self) -> &'static [&'static Reason] {
        match self {
            Self::Policy(plugin) => plugin.reasons(),
            Self::Handler(plugin) => plugin.reasons(),
            Self::Identity(plugin) => plugin.reasons(),
        }
    }

    /// The metrics it shows beside those that every policy has.
    pub fn metrics(&self) -> &'static [&'static Metric] {
        match self {
            Self::Policy(plugin) => plugin.metrics(),
            Self::Handler(plugin) => plugin.metrics(),
            Self::Identity(plugin) => plugin.metrics(),
        }
    }
}

/// Makes policies of one kind.
pub trait PolicyPlugin: Send + Sync {
    /// The word for it in the configuration, in snake case.
    fn name(&self) -> &'static str;

    /// When it runs. `config` is already known to build.
    fn stage(&self, config: &Value) -> Stage;

    /// What it needs of the request's body.
    fn body(&self) -> BodyUse {
        BodyUse::None
    }

    /// Whether one policy may serve all the routes that inherit it: it keeps nothing for a route,
    /// and does not ask which one it is built for.
    fn is_routeless(&self) -> bool {
        false
    }

    /// The reasons it can refuse with.
    fn reasons(&self) -> &'static [&'static Reason] {
        &[]
    }

    /// The metrics it shows of its own.
    fn metrics(&self) -> &'static [&'static Metric] {
        &[]
    }

    /// Which of its settings are templates ([`Template`](crate::Template)): keys joined by dots,
    /// `*` for any of them. In all others `${ip}` and the like are errors.
    fn templates(&self) -> &'static [&'static str] {
        &[]
    }

    /// The JSON Schema of its configuration.
    fn schema(&self) -> schemars::Schema;

    /// Makes a policy from what stands under its name in a route.
    ///
    /// # Errors
    /// What is wrong, and where in the value.
    fn build(&self, config: &Value, build: &mut Build<'_>) -> Result<Box<dyn Policy>, ConfigError>;

    /// Makes the policies of all settings that stand under its name in one route. One for each,
    /// unless several must decide together.
    ///
    /// # Errors
    /// Which of them is wrong, and how.
    fn build_list(
        &self,
        list: &[Listed<'_>],
        build: &mut Build<'_>,
    ) -> Result<Vec<Built>, (usize, ConfigError)> {
        let mut all = Vec::with_capacity(list.len());
        for (from, one) in list.iter().enumerate() {
            build.place = one.place.into();
            let policy = self.build(one.config, build).map_err(|error| (from, error))?;
            all.push(Built { from, stage: self.stage(one.config), policy });
        }
        Ok(all)
    }
}

/// Makes handlers of one kind.
pub trait HandlerPlugin: Send + Sync {
    /// The word for it under `to`, in snake case.
    fn name(&self) -> &'static str;

    /// The reasons it can refuse with.
    fn reasons(&self) -> &'static [&'static Reason] {
        &[]
    }

    /// The metrics it shows of its own.
    fn metrics(&self) -> &'static [&'static Metric] {
        &[]
    }

    /// Which of its settings are templates ([`Template`](crate::Template)): keys joined by dots,
    /// `*` for any of them. In all others `${ip}` and the like are errors.
    fn templates(&self) -> &'static [&'static str] {
        &[]
    }

    /// The JSON Schema of its configuration.
    fn schema(&self) -> schemars::Schema;

    /// Makes a handler from what stands under its name.
    ///
    /// # Errors
    /// What is wrong, and where in the value.
    fn build(&self, config: &Value, build: &mut Build<'_>)
    -> Result<Box<dyn Handler>, ConfigError>;
}

/// Makes identities of one kind.
pub trait IdentityPlugin: Send + Sync {
    /// The word for the kind in the configuration, in snake case.
    fn name(&self) -> &'static str;

    /// The reasons it can reject credentials with, or fail.
    fn reasons(&self) -> &'static [&'static Reason] {
        &[]
    }

    /// The metrics it shows of its own.
    fn metrics(&self) -> &'static [&'static Metric] {
        &[]
    }

    /// The JSON Schema of its configuration.
    fn schema(&self) -> schemars::Schema;

    /// What is well-formed in its configuration, and still lets more callers in than is likely to
    /// be meant: a warning of `check`, with what to do.
    fn doubts(&self, config: &Value) -> Vec<ConfigError> {
        let _ = config;
        Vec::new()
    }

    /// Makes an identity from what stands under its kind.
    ///
    /// # Errors
    /// What is wrong, and where in the value.
    fn build(
        &self,
        config: &Value,
        build: &mut Build<'_>,
    ) -> Result<Arc<dyn Identity>, ConfigError>;
}

/// One of several settings that stand as a list under one policy's name.
#[derive(Clone, Copy)]
pub struct Listed<'a> {
    /// The settings.
    pub config: &'a Value,
    /// Where they stand, as in [`Build::place`].
    pub place: &'a str,
}

/// A policy that was built from one or several settings of a list.
pub struct Built {
    /// The first of the settings it was built from.
    pub from: usize,
    /// When it runs.
    pub stage: Stage,
    /// The policy.
    pub policy: Box<dyn Policy>,
}

/// A wrong value in a plugin's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Where, from the plugin's own value down: keys, and indices as decimals. Empty: the whole.
    pub path: Vec<String>,
    /// What was expected, in one sentence without a full stop.
    pub message: String,
}

impl ConfigError {
    /// An error of the value as a whole.
    pub fn new(message: impl Into<String>) -> Self {
        Self { path: Vec::new(), message: message.into() }
    }

    /// Points at a key below.
    #[must_use]
    pub fn at(mut self, key: impl Into<String>) -> Self {
        self.path.insert(0, key.into());
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path.join("."), self.message)
        }
    }
}

impl std::error::Error for ConfigError {}

/// Reads a plugin's configuration into its struct, keeping the place of what is wrong.
///
/// # Errors
/// The first thing that does not fit, and where.
pub fn decode<T: DeserializeOwned>(config: &Value) -> Result<T, ConfigError> {
    // Keeping the place costs more than the rest, and most of the time nobody asks for it.
    if let Ok(good) = T::deserialize(config) {
        return Ok(good);
    }
    serde_path_to_error::deserialize(config).map_err(|error| {
        let segment = |segment: &Segment| match segment {
            // It would write an index as `[0]`.
            Segment::Seq { index } => index.to_string(),
            other => other.to_string(),
        };
        let path = error.path().iter().map(segment).collect();
        ConfigError { path, message: plain(error.into_inner().to_string()) }
    })
}

/// A message of a derived `Deserialize` that ends with the name of a Rust type, in the words of a
/// configuration.
fn plain(message: String) -> String {
    const EXPECTED: &str = "expected ";
    let Some(at) = message.rfind(EXPECTED) else { return message };
    let (said, expected) = message.split_at(at + EXPECTED.len());
    let plain = if expected.starts_with("struct ") {
        "a mapping of settings, `{ KEY: VALUE }`"
    } else if expected.starts_with("tuple ") {
        "a list"
    } else if expected.starts_with("enum ") {
        "a word"
    } else {
        return message;
    };
    format!("{said}{plain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_a_list_is_a_decimal() {
        let error = decode::<Vec<Vec<u8>>>(&serde_json::json!([[1], [2, "x"]])).unwrap_err();
        assert_eq!(error.path, ["1", "1"]);
    }

    #[test]
    fn what_was_expected_is_said_in_the_words_of_a_configuration() {
        #[derive(Debug, serde::Deserialize)]
        struct Config {
            _inner: Inner,
        }
        #[derive(Debug, serde::Deserialize)]
        struct Inner {
            _a: u8,
        }
        let error = |config| decode::<Config>(&config).unwrap_err();
        let expected = "expected a mapping of settings, `{ KEY: VALUE }`";
        for (config, path, said) in [
            (serde_json::json!("struct x"), "", "invalid type: string \"struct x\", "),
            (serde_json::json!([]), "", "invalid length 0, "),
            (serde_json::json!({ "_inner": 7 }), "_inner", "invalid type: integer `7`, "),
        ] {
            let error = error(config);
            assert_eq!(error.path.join("."), path);
            assert_eq!(error.message, format!("{said}{expected}"));
        }
        // Words of the configuration itself are nobody's name.
        let error = decode::<u8>(&serde_json::json!("expected struct Config")).unwrap_err();
        assert!(error.message.ends_with("expected u8"), "{}", error.message);
    }
}
