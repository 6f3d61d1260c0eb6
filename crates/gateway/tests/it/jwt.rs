//! Tokens over real sockets: an issuer that is found by discovery, whose key changes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lockgate_testkit::Echo;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _, SigningKey as _};
use serde_json::json;

use crate::support::start;

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn token(key: &KeyPair, issuer: &str, audience: &str) -> String {
    let header = json!({ "alg": "EdDSA", "kid": "one" }).to_string();
    let claims = json!({
        "iss": issuer, "aud": audience, "sub": "alice", "exp": 9_999_999_999_u64,
        "roles": ["buyer"],
    });
    let signed = format!("{}.{}", base64(header), base64(claims.to_string()));
    let signature = key.sign(signed.as_bytes()).unwrap();
    format!("Bearer {signed}.{}", base64(signature))
}

#[tokio::test]
async fn a_token_of_a_discovered_issuer_opens_a_route() {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let jwk = json!({
        "kty": "OKP", "crv": "Ed25519", "kid": "one", "x": base64(key.der_bytes()),
    });
    let keys = json!({ "keys": [jwk] }).to_string();
    // The issuer is a gateway too, with a name that does not depend on its port.
    let issuer = start(&format!(
        "routes:\n  /keys: {{ to: {{ respond: {{ body: '{keys}' }} }} }}\n  \
         /.well-known/openid-configuration:\n    to: {{ respond: {{ body: \
         '{{\"issuer\":\"http://HOST\",\"jwks_uri\":\"http://HOST/keys\"}}' }} }}\n"
    ))
    .await;
    let address = issuer.web();
    let echo = Echo::start("a").await;
    let gateway = start(&format!(
        "identity:\n  idp: {{ jwt: {{ issuer: shop, jwks_url: \"http://{address}/keys\", \
         audience: api }} }}\n  \
         other: {{ jwt: {{ issuer: \"http://{address}\", audience: api }} }}\nroutes:\n  \
         /x: {{ auth: {{ any_of: [idp], roles: [buyer] }}, to: \"http://{}\" }}\n  \
         /y: {{ auth: other, to: \"http://{}\" }}\n",
        echo.address(),
        echo.address(),
    ))
    .await;
    let ask = async |path: &str, token: &str| {
        gateway.ask("GET", path, &[("Authorization", token)], "").await
    };
    let good = token(&key, "shop", "api");
    for _ in 0..2 {
        let answer = ask("/x", &good).await;
        assert_eq!((answer.status, answer.endpoint()), (200, "a"), "{answer:?}");
        assert_eq!(answer.seen("authorization").as_deref(), Some(good.as_str()));
    }
    let answer = gateway.get("/x").await;
    assert_eq!((answer.status, answer.reason()), (401, Some("credentials_missing")));
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"idp\""));
    let other = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    for bad in [token(&key, "shop", "web"), token(&other, "shop", "api")] {
        let answer = ask("/x", &bad).await;
        assert_eq!((answer.status, answer.reason()), (403, Some("credentials_invalid")));
    }
    assert_eq!(echo.hits(), 2);
    // The discovery document names another issuer, so its keys are never there.
    let answer = ask("/y", &token(&key, &format!("http://{address}"), "api")).await;
    assert_eq!((answer.status, answer.reason()), (503, Some("keys_unavailable")));
}
