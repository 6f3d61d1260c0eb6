//! `auth`: asks identities who is calling, refuses whom they do not vouch for or who may not do
//! this, and tells the upstream who it is. Verifies nothing itself.

mod config;
mod gate;
mod stated;

use lockgate_core::{
    Build, Built, ConfigError, Kind, Listed, Policy, PolicyPlugin, Reason, Stage, decode,
};
use schemars::{Schema, schema_for};
use serde_json::Value;

use config::Config;
use gate::Gate;

static MISSING: Reason = Reason {
    code: "credentials_missing",
    kind: Kind::Unauthenticated,
    help: "The route needs credentials and the request has none of a kind that it takes. The \
           answer's WWW-Authenticate says what to send.",
};

static INVALID: Reason = Reason {
    code: "credentials_invalid",
    kind: Kind::Forbidden,
    help: "The credentials do not hold: expired, unknown, or wrongly signed. The log has the \
           identity's own reason. With `auth: { invalid: 401 }` the status is 401.",
};

/// The same cause where a route wants it answered as RFC 6750 has it.
static INVALID_401: Reason = Reason { kind: Kind::Unauthenticated, ..INVALID };

static FORBIDDEN: Reason = Reason {
    code: "forbidden",
    kind: Kind::Forbidden,
    help: "The consumer is known, but has none of the `roles`, lacks one of the `scopes`, or the \
           `when` of the route's `auth` does not hold. The log says which.",
};

/// The entry in the list of plugins.
pub(crate) struct Auth;

impl PolicyPlugin for Auth {
    fn name(&self) -> &'static str {
        "auth"
    }

    fn stage(&self, _: &Value) -> Stage {
        Stage::Identify
    }

    fn reasons(&self) -> &'static [&'static Reason] {
        const REASONS: &[&Reason] = &[&MISSING, &INVALID, &FORBIDDEN];
        REASONS
    }

    fn schema(&self) -> Schema {
        schema_for!(Config)
    }

    fn build(&self, config: &Value, build: &mut Build<'_>) -> Result<Box<dyn Policy>, ConfigError> {
        if config.is_string() {
            let list = [Listed { config, place: "" }];
            return Ok(Box::new(any_of(&list, build).map_err(|(_, error)| error)?));
        }
        let Config(settings) = decode(config)?;
        Ok(Box::new(Gate::new(&settings, build)?))
    }

    /// A list of names is one policy: any of them will do.
    fn build_list(
        &self,
        list: &[Listed<'_>],
        build: &mut Build<'_>,
    ) -> Result<Vec<Built>, (usize, ConfigError)> {
        let policy = match list {
            [one] => self.build(one.config, build).map_err(|error| (0, error))?,
            list => Box::new(any_of(list, build)?),
        };
        Ok(vec![Built { from: 0, stage: Stage::Identify, policy }])
    }
}

fn any_of(list: &[Listed<'_>], build: &mut Build<'_>) -> Result<Gate, (usize, ConfigError)> {
    let mut names = Vec::with_capacity(list.len());
    for (place, one) in list.iter().enumerate() {
        let Some(name) = one.config.as_str() else {
            let message = "a list under `auth` has names of identities alone: other settings stand \
                           in one mapping, `{ any_of: [..], roles: [..] }`";
            return Err((place, ConfigError::new(message)));
        };
        names.push(name.to_owned());
    }
    let Config(settings) = Config::any_of(names);
    Gate::new(&settings, build).map_err(|mut error| {
        // The names stand in the list itself, not under a key.
        let place = error.path.get(1).and_then(|place| place.parse().ok()).unwrap_or(0);
        error.path.clear();
        (place, error)
    })
}
