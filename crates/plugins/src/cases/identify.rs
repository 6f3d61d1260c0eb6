//! What an identity finds in a request, held to what a case expects.

use lockgate_core::{Challenge, Consumer, Identity, Proof};
use serde_json::Value;

use super::case::{Finds, Found};
use super::run::wait;

/// Asks the identity, and compares.
pub(super) async fn compare(
    identity: &dyn Identity,
    exchange: &mut lockgate_core::Exchange,
    expected: &Finds,
) -> Result<(), String> {
    let found = wait(identity.identify(exchange)).await;
    let challenge = match &found {
        Ok(Proof::Absent) => identity.challenge(Challenge::Missing),
        Ok(Proof::Invalid(rejection)) => identity.challenge(Challenge::Invalid(rejection)),
        Ok(Proof::Consumer(_)) => identity.challenge(Challenge::Scope("all")),
        Err(_) => None,
    };
    match (&found, expected) {
        (Ok(Proof::Consumer(consumer)), Finds { consumer: Some(wanted), .. }) => {
            same(consumer, wanted)?;
        }
        (Ok(Proof::Invalid(rejection)), Finds { rejected: Some(code), .. })
            if rejection.reason.code == code => {}
        (Ok(Proof::Absent), Finds { absent: true, .. }) => {}
        (Err(fault), Finds { fails: Some(code), .. }) if fault.reason().code == code => {}
        _ => return Err(format!("the identity finds {found:?}")),
    }
    let challenge = challenge.as_ref().map(|value| value.to_str().unwrap_or_default());
    if expected.challenge.is_some() && expected.challenge.as_deref() != challenge {
        return Err(format!("the challenge is {challenge:?}"));
    }
    Ok(())
}

fn same(found: &Consumer, expected: &Found) -> Result<(), String> {
    if *found.name != *expected.name {
        return Err(format!("the consumer is `{}`", found.name));
    }
    if expected.known.is_some_and(|known| known != found.known) {
        return Err(format!("known: {}", found.known));
    }
    for (what, expected, found) in [
        ("roles", &expected.roles, &found.roles),
        ("scopes", &expected.scopes, &found.scopes),
        ("tags", &expected.tags, &found.tags),
    ] {
        let differ = |wanted: &Vec<String>| {
            !wanted.iter().map(String::as_str).eq(found.iter().map(|word| &**word))
        };
        if expected.as_ref().is_some_and(differ) {
            return Err(format!("{what}: {found:?}"));
        }
    }
    let plan = found.plan.as_deref().map_or(Value::Null, Value::from);
    if expected.plan.as_ref().is_some_and(|wanted| *wanted != plan) {
        return Err(format!("plan: {plan}"));
    }
    for (name, wanted) in &expected.claims {
        let claim = found.claim_value(name).unwrap_or(&Value::Null);
        if claim != wanted {
            return Err(format!("the claim {name}: {claim}"));
        }
    }
    Ok(())
}
