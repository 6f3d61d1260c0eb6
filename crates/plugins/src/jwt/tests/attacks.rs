//! One test for each attack that RFC 8725 names, and for those on the way a token is written.
//! Wherever it can be, the signature is good: it is the attack that must be seen.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::{SECRET, claims, identity, judge, own, signed};
use crate::cases::runtime;
use crate::cases::token::{Signer, base64, jwk, public_pem, sign};

const HEADER: &str = r#"{"alg":"HS256"}"#;

/// Every test has its good token, so that no refusal is for another cause.
fn good() -> String {
    signed(HEADER, &claims())
}

#[test]
fn a_good_token_passes() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let own = own();
    for _ in 0..2 {
        assert_eq!(judge(&*own, &good()).as_deref(), Ok("alice"));
    }
}

/// §2.1: `none`, in any letters, with a signature, without, with a good one.
#[test]
fn the_algorithm_none() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let own = own();
    for name in ["none", "None", "NONE", "nOnE", "", "HS256 ", "hs256", "HS1", "A128KW", "RSA1_5"] {
        let header = json!({ "alg": name }).to_string();
        let token = signed(&header, &claims());
        let parts = token.rsplit_once('.').unwrap().0;
        for token in [token.as_str(), &format!("{parts}."), &format!("{parts}.AAAA")] {
            let refused = judge(&*own, token);
            assert!(matches!(refused, Err("token_algorithm" | "token_malformed")), "{name}");
        }
        assert_eq!(judge(&*own, parts), Err("token_malformed"));
    }
    for header in ["{}", r#"{"alg":null}"#, r#"{"alg":["HS256"]}"#, r#"{"typ":"JWT"}"#] {
        assert_eq!(judge(&*own, &signed(header, &claims())), Err("token_malformed"), "{header}");
    }
}

/// §2.1: the public key, which all know, as the secret of an HMAC.
#[test]
fn a_public_key_as_a_secret() {
    let runtime = runtime();
    let _inside = runtime.enter();
    for key in ["rsa", "p256", "p384", "ed25519"] {
        let pem = public_pem(key);
        let fixed = identity(&json!({ "public_key": pem }));
        let jwk = jwk(key);
        let parts = ["n", "x", "y"].iter().filter_map(|name| jwk[name].as_str());
        let mut secrets: Vec<Vec<u8>> = parts
            .flat_map(|part| [part.as_bytes().to_vec(), URL_SAFE_NO_PAD.decode(part).unwrap()])
            .collect();
        secrets.extend([pem.as_bytes().to_vec(), pem.trim().as_bytes().to_vec()]);
        secrets.push(jwk.to_string().into_bytes());
        for secret in secrets {
            for alg in ["HS256", "HS384", "HS512"] {
                let header = json!({ "alg": alg, "kid": key }).to_string();
                let token = sign(alg, &Signer::Secret(secret.clone()), &header, &claims());
                assert_eq!(judge(&*fixed, &token), Err("token_algorithm"), "{key} {alg}");
            }
        }
    }
}

/// §2.1 in another shape: an algorithm of the same key type that its key is not for.
#[test]
fn an_algorithm_of_another_key() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let keys = ["rsa", "p256", "p384", "ed25519"];
    let algs = ["RS256", "ES256", "ES384", "EdDSA"];
    for (key, own_alg) in keys.iter().zip(algs) {
        let fixed = identity(&json!({ "public_key": public_pem(key) }));
        for (other, alg) in keys.iter().zip(algs) {
            let signer = Signer::Key((*other).to_owned());
            let token = sign(alg, &signer, &json!({ "alg": alg }).to_string(), &claims());
            let expected = if alg == own_alg { None } else { Some("token_algorithm") };
            assert_eq!(judge(&*fixed, &token).err(), expected, "{key} {alg}");
            // The same signature under the key's own name.
            if alg != own_alg {
                let header = json!({ "alg": own_alg }).to_string();
                let token = sign(alg, &signer, &header, &claims());
                assert_eq!(judge(&*fixed, &token), Err("token_signature"), "{key} {alg}");
            }
        }
    }
}

/// §2.3, §2.5: a signature that is not one: empty, short, long, zeros, of another encoding.
#[test]
fn signatures_that_are_none() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let own = own();
    let token = good();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    assert_eq!(judge(&*own, &format!("{message}.")), Err("token_malformed"));
    for other in [&bytes[..31], &bytes[..16], &bytes[..1], &[0; 32], &[&bytes[..], &[0]].concat()] {
        let token = format!("{message}.{}", base64(other));
        assert_eq!(judge(&*own, &token), Err("token_signature"), "{} bytes", other.len());
    }
    // Zeros for r and s verify everything where nobody looks (CVE-2022-21449).
    for (key, alg, size) in [("p256", "ES256", 64), ("p384", "ES384", 96)] {
        let fixed = identity(&json!({ "public_key": public_pem(key) }));
        let header = json!({ "alg": alg }).to_string();
        let message = format!("{}.{}", base64(&header), base64(claims()));
        for size in [1, size - 1, size, size + 1, 2 * size] {
            let token = format!("{message}.{}", base64(vec![0; size]));
            assert_eq!(judge(&*fixed, &token), Err("token_signature"), "{alg} {size}");
        }
        // The DER form (RFC 3279) is a second way to write the same signature.
        let good = sign(alg, &Signer::Key(key.to_owned()), &header, &claims());
        let fixed_size = URL_SAFE_NO_PAD.decode(good.rsplit_once('.').unwrap().1).unwrap();
        let (r, s) = fixed_size.split_at(size / 2);
        let number = |bytes: &[u8]| {
            let bytes = [&[0], bytes].concat();
            [&[2, u8::try_from(bytes.len()).unwrap()], &bytes[..]].concat()
        };
        let both = [number(r), number(s)].concat();
        let der = [&[0x30, u8::try_from(both.len()).unwrap()], &both[..]].concat();
        let signed = good.rsplit_once('.').unwrap().0;
        let token = format!("{signed}.{}", base64(der));
        assert_eq!(judge(&*fixed, &token), Err("token_signature"), "{alg} DER");
    }
    for bytes in [vec![0; 256], vec![0xff; 256], vec![1], vec![0; 255]] {
        let fixed = identity(&json!({ "public_key": public_pem("rsa") }));
        let message = format!("{}.{}", base64(r#"{"alg":"RS256"}"#), base64(claims()));
        let token = format!("{message}.{}", base64(bytes));
        assert_eq!(judge(&*fixed, &token), Err("token_signature"));
    }
}

/// §2.4, §2.6: one token, many texts; one text, many readings.
#[test]
fn a_token_is_written_in_one_way() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let own = own();
    let token = good();
    let parts: Vec<&str> = token.split('.').collect();
    for at in 0..3 {
        for spoil in [
            |part: &str| format!("{part}="),
            |part: &str| format!("{part}=="),
            |part: &str| format!("{part} "),
            |part: &str| format!("{part}\t"),
            |part: &str| format!("{part}%3D"),
            |part: &str| format!("{part}A"),
            |part: &str| part.replace(['-', '_'], "+") + "+",
            |part: &str| part[..part.len() - 1].to_owned() + "/",
        ] {
            let mut parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
            parts[at] = spoil(&parts[at]);
            assert!(judge(&*own, &parts.join(".")).is_err(), "{at}: {}", parts[at]);
        }
    }
    // 32 bytes leave two bits of the last letter over: those must be zero.
    let (message, signature) = token.rsplit_once('.').unwrap();
    let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = letters.find(&signature[signature.len() - 1..]).unwrap();
    for low in 1..4 {
        let other = &letters[last + low..=last + low];
        let token = format!("{message}.{}{other}", &signature[..signature.len() - 1]);
        assert_eq!(judge(&*own, &token), Err("token_malformed"), "{low}");
    }
    for token in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "....".to_owned(),
        message.to_owned(),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{}", parts[2]),
        format!("{}..{}", parts[0], parts[2]),
        format!("{}.{}.{}.{}.{}", parts[0], parts[1], parts[2], parts[1], parts[2]),
    ] {
        assert_eq!(judge(&*own, &token), Err("token_malformed"), "{token}");
    }
}

/// §2.4: members that stand twice are read differently by different readers.
#[test]
fn members_that_stand_twice() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let own = own();
    for header in [
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","\u0061lg":"none"}"#,
        r#"{"alg":"HS256","x":{"a":1,"a":2}}"#,
    ] {
        assert_eq!(judge(&*own, &signed(header, &claims())), Err("token_malformed"), "{header}");
    }
    let exp = crate::clock::now() + 3600;
    for claims in [
        format!(r#"{{"sub":"alice","sub":"root","exp":{exp}}}"#),
        format!(r#"{{"sub":"alice","exp":1,"exp":{exp}}}"#),
        format!(r#"{{"sub":"alice","exp":{exp},"realm":{{"roles":["a"],"roles":["b"]}}}}"#),
    ] {
        assert_eq!(judge(&*own, &signed(HEADER, &claims)), Err("token_malformed"), "{claims}");
    }
}

/// Not an object, not JSON, not UTF-8, more behind it.
#[test]
fn what_is_no_json_object() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let own = own();
    let claims = claims();
    for text in ["", "null", "[]", "\"x\"", "7", "{", "{}{}", "{} x", "\u{feff}{}"] {
        assert_eq!(judge(&*own, &signed(text, &claims)), Err("token_malformed"), "{text}");
        assert_eq!(judge(&*own, &signed(HEADER, text)), Err("token_malformed"), "{text}");
    }
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(1000), "]".repeat(1000));
    assert_eq!(judge(&*own, &signed(HEADER, &deep)), Err("token_malformed"));
}

/// §2.10, §3.10: what the header says of keys is never followed, and never believed.
#[test]
fn keys_in_the_header() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let fixed = identity(&json!({ "public_key": public_pem("rsa") }));
    let evil = jwk("rsa2");
    for (name, value) in [
        ("jwk", evil.clone()),
        ("jku", "https://evil.example/keys".into()),
        ("x5u", "https://evil.example/cert".into()),
        ("x5c", json!(["MIIB"])),
        ("kid", "../../../../dev/null".into()),
        ("kid", "' OR 1=1 --".into()),
    ] {
        let header = json!({ "alg": "RS256", name: value }).to_string();
        let forged = sign("RS256", &Signer::Key("rsa2".to_owned()), &header, &claims());
        assert_eq!(judge(&*fixed, &forged), Err("token_signature"), "{name}");
        let own = sign("RS256", &Signer::Key("rsa".to_owned()), &header, &claims());
        assert_eq!(judge(&*fixed, &own).as_deref(), Ok("alice"), "{name}");
    }
}

/// RFC 7515 §4.1.11, RFC 7797.
#[test]
fn extensions_that_are_critical() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let own = own();
    for more in [
        r#""crit":["exp"]"#,
        r#""crit":["b64"],"b64":false"#,
        r#""crit":["b64"],"b64":true"#,
        r#""crit":[]"#,
        r#""crit":null"#,
        r#""crit":"x""#,
        r#""b64":false"#,
        r#""crit":["http://x.example/y"],"http://x.example/y":1"#,
    ] {
        let header = format!(r#"{{"alg":"HS256",{more}}}"#);
        assert_eq!(judge(&*own, &signed(&header, &claims())), Err("token_critical"), "{more}");
    }
}

/// §2.5 (and RFC 7519 A.2): tokens in tokens, and encrypted ones.
#[test]
fn tokens_that_are_encrypted_or_nested() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let own = own();
    let token = good();
    let nested = signed(r#"{"alg":"HS256","cty":"JWT"}"#, &token);
    assert_eq!(judge(&*own, &nested), Err("token_malformed"));
    assert_eq!(judge(&*own, &signed(HEADER, &token)), Err("token_malformed"));
    assert_eq!(
        judge(&*own, &signed(r#"{"alg":"HS256","cty":"jwt"}"#, &claims())),
        Err("token_malformed"),
    );
    for header in [
        r#"{"alg":"dir","enc":"A128GCM"}"#,
        r#"{"alg":"HS256","enc":"A128GCM"}"#,
        r#"{"alg":"PBES2-HS256+A128KW","p2c":2147483647,"enc":"A128GCM"}"#,
        r#"{"alg":"HS256","zip":"DEF"}"#,
    ] {
        let three = signed(header, &claims());
        assert_eq!(judge(&*own, &three), Err("token_malformed"), "{header}");
        let five = format!("{three}.AAAA.AAAA");
        assert_eq!(judge(&*own, &five), Err("token_malformed"), "{header}");
    }
}

/// Cheap to send, dear to read.
#[test]
fn tokens_that_are_too_large() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let own = own();
    let exp = crate::clock::now() + 3600;
    let of = |size: usize| {
        let pad = "x".repeat(size);
        signed(HEADER, &json!({ "sub": "a", "exp": exp, "pad": pad }).to_string())
    };
    assert_eq!(judge(&*own, &of(5900)).as_deref(), Ok("a"));
    assert_eq!(judge(&*own, &of(6100)), Err("token_too_large"));
    let wide = identity(&json!({ "secret": SECRET, "max_size": "16KiB" }));
    assert_eq!(judge(&*wide, &of(6100)).as_deref(), Ok("a"));
}

/// A token that was verified opens nothing for one that only begins or ends like it.
#[test]
fn the_memory_of_verified_tokens_is_of_whole_ones() {
    let runtime = runtime();
    let _inside = runtime.enter();
    let own = own();
    let token = good();
    assert_eq!(judge(&*own, &token).as_deref(), Ok("alice"));
    for end in 0..token.len() {
        assert!(judge(&*own, &token[..end]).is_err(), "{end}");
    }
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let header = signed.split('.').next().unwrap();
    let root = base64(json!({ "sub": "root", "exp": 9_999_999_999_i64 }).to_string());
    assert_eq!(judge(&*own, &format!("{header}.{root}.{signature}")), Err("token_signature"));
}
