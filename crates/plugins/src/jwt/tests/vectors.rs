//! The published vectors. Those that are JWTs expired in 2011, which is said of a token only once
//! its signature holds; those with another payload are verified with the key alone.

use serde_json::{Value, json};

use super::super::algorithm::{Algorithm, Allowed};
use super::super::keys;
use super::{identity, judge};
use crate::cases::token::base64;

/// RFC 7515 A.1, which is RFC 7519 §3.1 too.
const A1: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
    eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
    dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const A1_KEY: &str =
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";

/// RFC 7515 A.2.
const A2: &str = "eyJhbGciOiJSUzI1NiJ9.\
    eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
    cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
const A2_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";

/// RFC 7515 A.3.
const A3: &str = "eyJhbGciOiJFUzI1NiJ9.\
    eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
    DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

fn with_key(jwk: Value) -> Vec<super::super::key::Key> {
    let set = json!({ "keys": [jwk] }).to_string();
    keys::read(set.as_bytes(), &Allowed::default(), true).unwrap().0
}

/// Whether a token's signature holds with one key; its payload may be anything.
fn holds(jwk: Value, algorithm: Algorithm, token: &str) -> Option<bool> {
    use base64::Engine as _;
    let (message, signature) = token.rsplit_once('.').unwrap();
    let signature = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(signature).unwrap();
    with_key(jwk)[0].verify(algorithm, message.as_bytes(), &signature)
}

fn spoilt(token: &str) -> String {
    // Not the last letter, whose low bits may count for nothing.
    let at = token.len() - 3;
    let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
    format!("{}{other}{}", &token[..at], &token[at + 1..])
}

fn a2_key() -> Value {
    json!({ "kty": "RSA", "n": A2_N, "e": "AQAB" })
}

fn a3_key() -> Value {
    json!({
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    })
}

#[test]
fn the_examples_of_rfc_7515_hold() {
    for (jwk, algorithm, token) in [
        (json!({ "kty": "oct", "k": A1_KEY }), Algorithm::Hs256, A1),
        (a2_key(), Algorithm::Rs256, A2),
        (a3_key(), Algorithm::Es256, A3),
    ] {
        assert_eq!(holds(jwk.clone(), algorithm, token), Some(true), "{algorithm}");
        assert_eq!(holds(jwk, algorithm, &spoilt(token)), Some(false), "{algorithm}");
    }
}

/// Down the whole way: a signature that holds comes before a time that does not.
#[test]
fn the_examples_of_rfc_7515_expired_in_2011() {
    let runtime = crate::cases::runtime();
    let _inside = runtime.enter();
    let pem = |jwk: &Value| {
        use base64::Engine as _;
        // The SPKI of P-256 is this and then the point.
        let head = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE";
        let part = |name: &str| {
            let url = base64::engine::general_purpose::URL_SAFE_NO_PAD;
            url.decode(jwk[name].as_str().unwrap()).unwrap()
        };
        let standard = base64::engine::general_purpose::STANDARD;
        let mut der = standard.decode(head).unwrap();
        der.extend(part("x").into_iter().chain(part("y")));
        let body = standard.encode(der);
        format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
    };
    let es256 = identity(&json!({ "public_key": pem(&a3_key()) }));
    assert_eq!(judge(&*es256, A3), Err("token_expired"));
    assert_eq!(judge(&*es256, &spoilt(A3)), Err("token_signature"));
    assert_eq!(judge(&*es256, A1), Err("token_algorithm"));
    assert_eq!(judge(&*es256, A2), Err("token_algorithm"));
}

/// RFC 7519 §6.1: a token without a signature.
#[test]
fn the_unsecured_example_of_rfc_7519_is_refused() {
    let runtime = crate::cases::runtime();
    let _inside = runtime.enter();
    let claims = A1.split('.').nth(1).unwrap();
    let own = super::own();
    assert_eq!(judge(&*own, &format!("eyJhbGciOiJub25lIn0.{claims}.")), Err("token_algorithm"));
}

/// RFC 8037 A.4.
#[test]
fn the_example_of_rfc_8037_holds() {
    let key = json!({
        "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    });
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
        hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(holds(key.clone(), Algorithm::EdDsa, token), Some(true));
    assert_eq!(holds(key, Algorithm::EdDsa, &spoilt(token)), Some(false));
}

/// RFC 7520 §4.2.
#[test]
fn the_pss_example_of_rfc_7520_holds() {
    let n = "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw";
    let key = json!({ "kty": "RSA", "use": "sig", "n": n, "e": "AQAB" });
    let payload = "It\u{2019}s a dangerous business, Frodo, going out your door. You step onto \
        the road, and if you don't keep your feet, there\u{2019}s no knowing where you might be \
        swept off to.";
    let header = r#"{"alg":"PS384","kid":"bilbo.baggins@hobbiton.example"}"#;
    let signature = "cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dDDItllVo6_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ijQ7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAjVKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw";
    let token = format!("{}.{}.{signature}", base64(header), base64(payload));
    assert_eq!(holds(key.clone(), Algorithm::Ps384, &token), Some(true));
    assert_eq!(holds(key.clone(), Algorithm::Rs384, &token), Some(false));
    assert_eq!(holds(key, Algorithm::Ps384, &spoilt(&token)), Some(false));
}

/// RFC 7797 §4, with the key of RFC 7515 A.1: as signatures both examples hold. The second leaves
/// its payload unencoded (§4.2), which a JWT must not: RFC 7797 updates RFC 7519 by just that.
#[test]
fn the_unencoded_payload_of_rfc_7797_is_refused() {
    let runtime = crate::cases::runtime();
    let _inside = runtime.enter();
    let key = || json!({ "kty": "oct", "k": A1_KEY });
    let encoded = "eyJhbGciOiJIUzI1NiJ9.JC4wMg.5mvfOroL-g7HyqJoozehmsaqmvTYGEq5jTI1gVvoEoQ";
    assert_eq!(holds(key(), Algorithm::Hs256, encoded), Some(true));
    let own = super::own();
    assert_eq!(judge(&*own, encoded), Err("token_malformed"), "`$.02` is no claims");
    let header = "eyJhbGciOiJIUzI1NiIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il19";
    let signature = "A5dxf2s96_n5FLueVuW1Z_vh161FwXZC4YLPff6dmDY";
    let unencoded = format!("{header}.$.02.{signature}");
    assert_eq!(holds(key(), Algorithm::Hs256, &unencoded), Some(true));
    assert_eq!(holds(key(), Algorithm::Hs256, &spoilt(&unencoded)), Some(false));
    assert_eq!(judge(&*own, &format!("{header}.$02.{signature}")), Err("token_critical"));
    assert_eq!(judge(&*own, &format!("{header}.$.02.{signature}")), Err("token_malformed"));
    assert_eq!(judge(&*own, &format!("{header}..{signature}")), Err("token_critical"));
}
