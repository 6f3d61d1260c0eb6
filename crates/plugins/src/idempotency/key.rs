//! Reading the key out of its header: a string of structured fields as the IETF draft has it, or
//! the same bare. Refuses what two readers could take for two keys.

use std::borrow::Cow;

use http::header::{HeaderMap, HeaderName};

/// Most characters of a key.
const LONGEST: usize = 255;

/// The key of a request; `None` when it has none.
///
/// # Errors
/// Why what is there is no key, in words that repeat nothing of it.
pub(super) fn read<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<Cow<'h, str>>, &'static str> {
    let mut lines = headers.get_all(name).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err("the header comes more than once");
    }
    let text = line.to_str().map_err(|_| "a key is visible ASCII")?.trim_matches([' ', '\t']);
    let key = match text.strip_prefix('"') {
        Some(rest) => quoted(rest)?,
        None if text.contains(['"', ',', ';', '\\']) => {
            return Err("a key with quotes, commas, semicolons or backslashes is to be quoted");
        }
        None => Cow::Borrowed(text),
    };
    if !(1..=LONGEST).contains(&key.len()) {
        return Err("a key has 1 to 255 characters");
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a key is visible ASCII, without spaces");
    }
    Ok(Some(key))
}

/// What stands between the quotes (RFC 9651 §4.2.5); the first is gone.
fn quoted(rest: &str) -> Result<Cow<'_, str>, &'static str> {
    let Some(inside) = rest.strip_suffix('"') else {
        return Err("nothing may follow the closing quote of a key, and one there must be");
    };
    if !inside.contains(['"', '\\']) {
        return Ok(Cow::Borrowed(inside));
    }
    let mut key = String::with_capacity(inside.len());
    let mut letters = inside.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some(escaped @ ('"' | '\\')) => key.push(escaped),
                _ => return Err("a backslash in a key stands before a quote or a backslash"),
            },
            '"' => return Err("a quote within a key needs a backslash before it"),
            other => key.push(other),
        }
    }
    Ok(Cow::Owned(key))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const NAME: HeaderName = HeaderName::from_static("idempotency-key");

    fn of(lines: &[&str]) -> Result<Option<String>, &'static str> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(NAME, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        read(&headers, &NAME).map(|key| key.map(Cow::into_owned))
    }

    #[test]
    fn a_key_is_the_same_quoted_and_bare() {
        let key = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(
            of(&["8e03978e-40d5-43dd-bc93-6894a57f9324"]),
            key("8e03978e-40d5-43dd-bc93-6894a57f9324")
        );
        assert_eq!(of(&["\"8e03\""]), key("8e03"));
        assert_eq!(of(&[" \"8e03\"\t"]), key("8e03"));
        assert_eq!(of(&[r#""a\"b\\c,d;e""#]), key(r#"a"b\c,d;e"#));
        assert_eq!(of(&[&"x".repeat(255)]), key(&"x".repeat(255)));
        assert_eq!(of(&["a=b:c/d+e"]), key("a=b:c/d+e"));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for lines in [
            &["a", "a"][..],
            &["a", "b"],
            &[""],
            &["\"\""],
            &["\""],
            &["\"a"],
            &["a\""],
            &["\"a\";x=1"],
            &["\"a\", \"b\""],
            &["\"a\"b\""],
            &["a,b"],
            &["a b"],
            &["\"a b\""],
            &["a;b"],
            &[r"a\b"],
            &[r#""a\b""#],
            &[r#""a\""#],
            &["é"],
            &["a\tb"],
            &[&"x".repeat(256)],
        ] {
            assert!(of(lines).is_err(), "{lines:?}");
        }
    }
}
