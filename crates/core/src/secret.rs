//! What is a secret by its name: parameters of a query, headers, arguments of a program. One rule
//! for all that shows what others have sent or written.

/// A name that decodes to more than this is not looked at: its value is taken for a secret.
const MAX_NAME: usize = 64;

/// Names whose values are secrets, in lower case, `-` written as `_`.
const SECRET_NAMES: &[&str] = &[
    "token",
    "tokens",
    "jwt",
    "api_key",
    "apikey",
    "key",
    "x_api_key",
    "access_key",
    "private_key",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "pass",
    "pin",
    "otp",
    "secret",
    "credential",
    "credentials",
    "sig",
    "signature",
    "hmac",
    "code",
    "code_verifier",
    "auth",
    "authorization",
    "proxy_authorization",
    "session",
    "sessionid",
    "session_id",
    "sid",
    "cookie",
    "set_cookie",
    "ticket",
    "assertion",
    "client_assertion",
    "samlresponse",
    "samlrequest",
    "nonce",
    "bearer",
    "accesstoken",
    "refreshtoken",
    "idtoken",
    "clientsecret",
    "x_auth",
    "x_session",
];

/// What names of secrets end in.
const SECRET_ENDINGS: &[&str] = &[
    "_token",
    "_secret",
    "_password",
    "_passwd",
    "_apikey",
    "_key",
    "_signature",
    "_credential",
    "_assertion",
    "_session",
    "_cookie",
    "_authorization",
    "_auth",
    "_jwt",
];

/// Whether a header's or parameter's value is a secret, judged by the name: case, `-` and `_`,
/// percent-encoding and array brackets do not matter.
pub fn is_secret_name(name: &[u8]) -> bool {
    let mut plain = [0_u8; MAX_NAME];
    let Some(length) = normalise(name, &mut plain) else { return true };
    let Some(Ok(plain)) = plain.get(..length).map(std::str::from_utf8) else { return false };
    // `user[password]`, `filter.token` and `tokens[]` say it in their last word.
    let plain = plain.trim_end_matches("[]").trim_end_matches(']');
    let last = plain.rsplit(['[', '.', ':', '/', '?']).next().unwrap_or(plain);
    SECRET_NAMES.contains(&last) || SECRET_ENDINGS.iter().any(|ending| last.ends_with(ending))
}

/// Percent-decodes, folds case and turns `-` and `+` into `_`. `None` when it does not fit.
fn normalise(name: &[u8], plain: &mut [u8; MAX_NAME]) -> Option<usize> {
    let mut bytes = name.iter().copied();
    let mut length = 0;
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let mut ahead = bytes.clone();
                match (ahead.next().and_then(hex), ahead.next().and_then(hex)) {
                    (Some(high), Some(low)) => {
                        bytes = ahead;
                        high << 4 | low
                    }
                    _ => byte,
                }
            }
            byte => byte,
        };
        if byte.is_ascii_whitespace() || byte == b'+' || byte == 0 {
            continue;
        }
        let folded = if byte == b'-' { b'_' } else { byte.to_ascii_lowercase() };
        *plain.get_mut(length)? = folded;
        length += 1;
    }
    Some(length)
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_secrets() {
        for name in ["token", "X-Api-Key", "user[password]", "%74oken", "client.secret", "my_auth"]
        {
            assert!(is_secret_name(name.as_bytes()), "{name}");
        }
        for name in ["page", "keyboard", "tokenise", "author", "", "x"] {
            assert!(!is_secret_name(name.as_bytes()), "{name}");
        }
        assert!(is_secret_name(&[b'x'; 65]), "nobody looks at what is so long");
    }
}
