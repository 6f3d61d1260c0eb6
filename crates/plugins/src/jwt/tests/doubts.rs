//! Which settings let in tokens that were made for others.

use lockgate_core::IdentityPlugin as _;
use serde_json::{Value, json};

use crate::jwt::Jwt;

fn doubts(config: Value) -> Vec<String> {
    let doubts = Jwt.doubts(&config);
    assert!(doubts.iter().all(|doubt| doubt.message.contains("`audience: NAME`")), "{doubts:?}");
    doubts.iter().map(|doubt| doubt.path.join(".")).collect()
}

#[test]
fn an_issuer_that_serves_others_needs_an_audience() {
    let secret = "0123456789abcdef0123456789abcdef";
    let (issuer, keys) = ("https://id.example", "https://id.example/keys");
    assert_eq!(doubts(json!({ "issuer": issuer })), ["issuer"]);
    assert_eq!(doubts(json!({ "issuer": issuer, "jwks_url": keys })), ["jwks_url"]);
    assert_eq!(doubts(json!({ "jwks_url": keys, "typ": "at+jwt" })), ["jwks_url"]);
    assert_eq!(doubts(json!({ "issuer": issuer, "claims": { "tenant": "a" } })), ["issuer"]);
    let several = json!({ "issuers": [
        issuer,
        { "issuer": "a", "secret": secret },
        { "issuer": "b", "jwks_url": keys },
        { "issuer": "c", "jwks_url": keys, "audience": "api" },
    ] });
    assert_eq!(doubts(several), ["issuers.0", "issuers.2"]);
    for fine in [
        json!({ "issuer": issuer, "audience": "api" }),
        json!({ "issuers": [issuer], "audience": ["api"] }),
        json!({ "issuer": issuer, "claims": { "client_id": "mine" } }),
        json!({ "secret": secret, "issuer": issuer }),
        json!({ "public_key": "key.pem", "issuer": issuer }),
        json!({ "jwks_file": "keys.json" }),
        json!({ "issuer": 7 }),
    ] {
        assert_eq!(doubts(fine.clone()), [""; 0], "{fine}");
    }
}
