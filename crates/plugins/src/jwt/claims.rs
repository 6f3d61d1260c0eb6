//! What a token's claims must say (RFC 7519 §4.1), once its signature holds; and from when until
//! when it may be believed.

use lockgate_core::Rejection;
use serde_json::{Map, Value};

use super::reasons::{
    AUDIENCE, CLAIM, CLAIM_MISSING, EXPIRED, MALFORMED, NOT_YET_VALID, TYPE, rejected,
};

/// What is asked of every token.
pub(super) struct Rules {
    /// Seconds by which the clocks may differ.
    pub(super) leeway: i64,
    /// Most seconds since `iat`.
    pub(super) max_age: Option<i64>,
    pub(super) required: Box<[Box<str>]>,
    /// Claims and the values of which they must have one.
    pub(super) equal: Box<[(Box<str>, Box<[Value]>)]>,
    /// The `typ` of the header, without `application/`, in lower case.
    pub(super) typ: Option<Box<str>>,
}

/// When a token holds: from the first second, to before the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from: i64,
    pub(super) until: i64,
}

impl Window {
    pub(super) fn holds(self, now: i64) -> bool {
        self.from <= now && now < self.until
    }
}

impl Rules {
    /// Holds claims to the rules and to an audience.
    pub(super) fn check(
        &self,
        claims: &Map<String, Value>,
        typ: Option<&str>,
        audience: &[Box<str>],
        now: i64,
    ) -> Result<Window, Rejection> {
        let window = self.window(claims)?;
        if now >= window.until {
            let late = now.saturating_sub(window.until);
            return Err(rejected(&EXPIRED, format!("{late}s ago, the leeway counted in")));
        }
        if now < window.from {
            let early = window.from.saturating_sub(now);
            return Err(rejected(&NOT_YET_VALID, format!("{early}s too early")));
        }
        if !audience.is_empty() && !has_audience(claims, audience)? {
            return Err(rejected(&AUDIENCE, "none of its `aud` is ours"));
        }
        if let Some(wanted) = &self.typ
            && typ.is_none_or(|typ| media_type(typ) != **wanted)
        {
            return Err(rejected(&TYPE, format!("its `typ` is not `{wanted}`")));
        }
        for name in &self.required {
            if find(claims, name).is_none_or(Value::is_null) {
                return Err(rejected(&CLAIM_MISSING, format!("it has no `{name}`")));
            }
        }
        for (name, values) in &self.equal {
            let found = find(claims, name);
            let fits = |found: &Value| match found {
                Value::Array(list) => list.iter().any(|one| values.contains(one)),
                one => values.contains(one),
            };
            if !found.is_some_and(fits) {
                return Err(rejected(&CLAIM, format!("its `{name}` has another value")));
            }
        }
        Ok(window)
    }

    /// Fractions of seconds are rounded against the token.
    fn window(&self, claims: &Map<String, Value>) -> Result<Window, Rejection> {
        let exp = time(claims, "exp", f64::floor)?.unwrap_or(i64::MAX);
        let nbf = time(claims, "nbf", f64::ceil)?.unwrap_or(i64::MIN);
        let iat = time(claims, "iat", f64::ceil)?;
        let oldest = match (self.max_age, iat) {
            (None, _) => i64::MAX,
            (Some(age), Some(iat)) => iat.saturating_add(age),
            (Some(_), None) => {
                return Err(rejected(&CLAIM_MISSING, "it has no `iat` to know its age by"));
            }
        };
        Ok(Window {
            from: nbf.max(iat.unwrap_or(i64::MIN)).saturating_sub(self.leeway),
            until: exp.min(oldest).saturating_add(self.leeway),
        })
    }
}

/// A `typ` without the prefix that it may leave out (RFC 7515 §4.1.9); its case does not matter.
pub(super) fn media_type(typ: &str) -> String {
    let typ = typ.to_ascii_lowercase();
    typ.strip_prefix("application/").map(str::to_owned).unwrap_or(typ)
}

/// A claim by its name, or by its path into others.
pub(super) fn find<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let (first, rest) = name.split_once('.')?;
    rest.split('.').try_fold(claims.get(first)?, |value, key| value.get(key))
}

/// A NumericDate (RFC 7519 §2).
fn time(
    claims: &Map<String, Value>,
    name: &'static str,
    round: fn(f64) -> f64,
) -> Result<Option<i64>, Rejection> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_i64().or_else(|| {
        // What is beyond the range ends at its end: such a time is far enough.
        #[allow(clippy::cast_possible_truncation)]
        value.as_f64().map(|seconds| round(seconds) as i64)
    });
    match seconds {
        Some(seconds) => Ok(Some(seconds)),
        None => Err(rejected(&MALFORMED, format!("its `{name}` is no number of seconds"))),
    }
}

fn has_audience(claims: &Map<String, Value>, audience: &[Box<str>]) -> Result<bool, Rejection> {
    let ours = |text: &str| audience.iter().any(|one| **one == *text);
    let wrong = || rejected(&MALFORMED, "its `aud` is neither text nor a list of texts");
    match claims.get("aud") {
        None => Ok(false),
        Some(Value::String(text)) => Ok(ours(text)),
        Some(Value::Array(list)) => {
            let texts: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
            Ok(texts.ok_or_else(wrong)?.into_iter().any(ours))
        }
        Some(_) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        let (required, equal) = Default::default();
        Rules { leeway: 30, max_age: None, required, equal, typ: None }
    }

    fn code(rules: &Rules, claims: Value, now: i64) -> Result<Window, &'static str> {
        let audience: [Box<str>; 2] = ["api".into(), "web".into()];
        let claims = claims.as_object().unwrap();
        rules.check(claims, Some("JWT"), &audience, now).map_err(|no| no.reason.code)
    }

    #[test]
    fn times_hold_to_the_second_with_the_leeway() {
        let claims = serde_json::json!({ "exp": 1000, "nbf": 500, "iat": 400, "aud": "api" });
        for (now, expected) in [
            (469, Some("token_not_yet_valid")),
            (470, None),
            (1029, None),
            (1030, Some("token_expired")),
        ] {
            assert_eq!(code(&rules(), claims.clone(), now).err(), expected, "{now}");
        }
    }

    #[test]
    fn times_are_numbers_and_fractions_count_against_the_token() {
        let window = |claims| code(&rules(), claims, 700);
        let claims = serde_json::json!({ "exp": 1000.9, "nbf": 500.1, "aud": ["x", "web"] });
        assert_eq!(window(claims), Ok(Window { from: 471, until: 1030 }));
        let far = serde_json::json!({ "exp": 1e300, "nbf": -1e300, "aud": "api" });
        assert_eq!(window(far), Ok(Window { from: i64::MIN, until: i64::MAX }));
        let far = serde_json::json!({ "exp": u64::MAX, "aud": "api" });
        assert_eq!(window(far).map(|window| window.until), Ok(i64::MAX));
        for wrong in [serde_json::json!("1000"), Value::Null, true.into(), Value::Array(vec![])] {
            for name in ["exp", "nbf", "iat"] {
                let claims = serde_json::json!({ name: wrong, "aud": "api" });
                assert_eq!(window(claims), Err("token_malformed"), "{name} {wrong}");
            }
        }
        let past = serde_json::json!({ "exp": -5, "aud": "api" });
        assert_eq!(window(past), Err("token_expired"));
        let ahead = serde_json::json!({ "iat": 731, "aud": "api" });
        assert_eq!(window(ahead), Err("token_not_yet_valid"));
    }

    #[test]
    fn an_age_needs_iat_and_ends_a_token_before_its_exp() {
        let rules = Rules { max_age: Some(100), ..rules() };
        let claims = serde_json::json!({ "exp": 1000, "iat": 400, "aud": "api" });
        assert_eq!(code(&rules, claims.clone(), 529), Ok(Window { from: 370, until: 530 }));
        assert_eq!(code(&rules, claims, 530), Err("token_expired"));
        let claims = serde_json::json!({ "exp": 1000, "aud": "api" });
        assert_eq!(code(&rules, claims, 500), Err("token_claim_missing"));
    }

    #[test]
    fn an_audience_is_a_text_or_texts() {
        for (aud, expected) in [
            (serde_json::json!("other"), Some("token_audience")),
            (serde_json::json!([]), Some("token_audience")),
            (serde_json::json!(["other", "API"]), Some("token_audience")),
            (serde_json::json!(["other", "api"]), None),
            (serde_json::json!(["api", 7]), Some("token_malformed")),
            (serde_json::json!({ "api": 1 }), Some("token_malformed")),
            (Value::Null, Some("token_malformed")),
        ] {
            let claims = serde_json::json!({ "aud": aud });
            assert_eq!(code(&rules(), claims, 0).err(), expected, "{aud}");
        }
        assert_eq!(code(&rules(), serde_json::json!({}), 0), Err("token_audience"));
    }

    #[test]
    fn a_type_may_leave_out_its_prefix() {
        let rules = Rules { typ: Some("at+jwt".into()), ..rules() };
        let claims = Map::new();
        let code = |typ| rules.check(&claims, typ, &[], 0).err().map(|no| no.reason.code);
        assert_eq!(code(Some("at+jwt")), None);
        assert_eq!(code(Some("application/AT+JWT")), None);
        assert_eq!(code(Some("JWT")), Some("token_type"));
        assert_eq!(code(None), Some("token_type"));
    }
}
