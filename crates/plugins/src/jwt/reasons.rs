//! Why a token is refused, one reason for each cause.

use std::borrow::Cow;

use lockgate_core::{Kind, Reason, Rejection};

macro_rules! reasons {
    ($($name:ident = $kind:ident, $code:literal, $said:literal, $help:literal;)*) => {
        $(pub(super) static $name: Reason =
            Reason { code: $code, kind: Kind::$kind, help: $help };)*
        /// All of them, for the reference page.
        pub(super) const ALL: &[&Reason] = &[$(&$name),*];
        /// What a client is told of it (RFC 6750 §3: `error_description`).
        pub(super) fn said(reason: &Reason) -> &'static str {
            match reason.code {
                $($code => $said,)*
                _ => "The token does not hold",
            }
        }
    };
}

reasons! {
    AMBIGUOUS = Unauthenticated, "token_ambiguous", "The token is sent more than once",
        "The request bears several tokens in one place: two headers, cookies or parameters of the same name. Two readers could pick different ones, so none is taken.";
    MALFORMED = Unauthenticated, "token_malformed", "The token is malformed",
        "The token is not a signed JWT in its one exact form (RFC 7519, RFC 7515): three parts of unpadded base64url, JSON without repeated members, a signature. The log's detail says what is wrong.";
    TOO_LARGE = Unauthenticated, "token_too_large", "The token is too large",
        "The token has more bytes than the identity's `max_size`.";
    CRITICAL = Unauthenticated, "token_critical", "The token has critical extensions",
        "The token's header demands an extension (`crit`, RFC 7515 §4.1.11, or `b64`, which RFC 7797 forbids in JWTs). None is supported.";
    ALGORITHM = Unauthenticated, "token_algorithm", "The token's algorithm is not accepted",
        "The token's `alg` is not one that its key may be used with: `none`, an unknown one, one of another type of key, or one that the key's own `alg` or the setting `algorithms` leaves out.";
    KEY_UNKNOWN = Unauthenticated, "token_key_unknown", "The token's key is not known",
        "The issuer's keys have none of the token's `kid`. They were asked for again, unless that was done a moment ago.";
    SIGNATURE = Unauthenticated, "token_signature", "The token's signature does not hold",
        "The token was changed, or was signed with another key.";
    ISSUER = Unauthenticated, "token_issuer", "The token is of another issuer",
        "The token's `iss` is none of the identity's issuers. It must be the same text, a slash at the end included.";
    AUDIENCE = Unauthenticated, "token_audience", "The token is for another audience",
        "The token's `aud` has none of the identity's `audience`.";
    TYPE = Unauthenticated, "token_type", "The token is of another type",
        "The token's `typ` is not the identity's: an ID token where an access token is asked for, or the other way round.";
    EXPIRED = Unauthenticated, "token_expired", "The token has expired",
        "The token's `exp`, or its `iat` and the identity's `max_age`, are over, and the leeway too.";
    NOT_YET_VALID = Unauthenticated, "token_not_yet_valid", "The token is not valid yet",
        "The token's `nbf` or `iat` lies ahead by more than the leeway. Compare the clocks of the issuer and of this machine.";
    CLAIM_MISSING = Unauthenticated, "token_claim_missing", "The token lacks a claim",
        "The token lacks a claim that the identity needs: `exp` (unless it is `endless`), one of `required`, or the one that names the consumer.";
    CLAIM = Unauthenticated, "token_claim", "The token has another value in a claim",
        "A claim of the token has none of the values that the identity's `claims` ask for.";
    KEYS_UNAVAILABLE = Unavailable, "keys_unavailable", "The issuer's keys are not there",
        "The issuer's keys could not be fetched since the start, so no token can be judged. The log's detail says why; once keys were there, they are kept when the issuer fails.";
}

/// A rejection; the detail bears nothing of the token but the name of a key or an issuer.
pub(super) fn rejected(reason: &'static Reason, detail: impl Into<Cow<'static, str>>) -> Rejection {
    Rejection { reason, detail: detail.into() }
}

/// A text of the token's that may stand in a log: short, and visible ASCII alone.
pub(super) fn shown(text: &str) -> &str {
    let fits = text.len() <= 128 && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { text } else { "(not shown: long, or not plain text)" }
}
