//! `tracestate` (W3C Trace Context, Level 2, §3.3) and `baggage` (W3C Baggage, §3.3): whether a
//! request's lines are well formed. They are handed on as they came or not at all.

use http::HeaderValue;

use crate::trimmed;

/// Most members of a `tracestate`.
const MOST_STATES: usize = 32;
/// Longest key or value in it.
const LONGEST: usize = 256;
/// Most members of a `baggage`.
const MOST_BAGGAGE: usize = 180;
/// Most bytes of it.
const BAGGAGE_BYTES: usize = 8192;

/// Whether lines of `tracestate` are well formed, taken together.
pub fn is_tracestate<'h>(lines: impl Iterator<Item = &'h HeaderValue>) -> bool {
    let mut keys: [&[u8]; MOST_STATES] = [&[]; MOST_STATES];
    let mut count = 0;
    for line in lines {
        for member in line.as_bytes().split(|byte| *byte == b',') {
            let member = trimmed(member);
            if member.is_empty() {
                continue;
            }
            let Some(key) = state_key(member) else { return false };
            if keys.iter().take(count).any(|known| *known == key) {
                return false;
            }
            let Some(place) = keys.get_mut(count) else { return false };
            *place = key;
            count += 1;
        }
    }
    count > 0
}

/// The key of a member that is well formed.
fn state_key(member: &[u8]) -> Option<&[u8]> {
    let equals = member.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (member.get(..equals)?, member.get(equals + 1..)?);
    let (first, rest) = key.split_first()?;
    let begins = first.is_ascii_lowercase() || first.is_ascii_digit();
    let goes_on = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-*/@".contains(b);
    // Blanks at its end have been trimmed: a value of blanks alone is none.
    let says = |b: &u8| (0x20..0x7f).contains(b) && !b",=".contains(b);
    let fits = key.len() <= LONGEST && (1..=LONGEST).contains(&value.len());
    (fits && begins && rest.iter().all(goes_on) && value.iter().all(says)).then_some(key)
}

/// Whether lines of `baggage` are well formed, taken together, and no more than anyone must bear.
pub fn is_baggage<'h>(lines: impl Iterator<Item = &'h HeaderValue>) -> bool {
    let (mut count, mut bytes) = (0, 0);
    for line in lines {
        // Joined, the lines have a comma between them.
        bytes += line.len() + usize::from(bytes > 0);
        if bytes > BAGGAGE_BYTES {
            return false;
        }
        for member in line.as_bytes().split(|byte| *byte == b',') {
            count += 1;
            if count > MOST_BAGGAGE || !is_baggage_member(member) {
                return false;
            }
        }
    }
    count > 0
}

fn is_baggage_member(member: &[u8]) -> bool {
    let mut parts = member.split(|byte| *byte == b';');
    let Some((key, Some(value))) = parts.next().map(pair) else { return false };
    let is_property = |(key, value): (&[u8], Option<&[u8]>)| {
        is_token(key) && value.is_none_or(|value| value.iter().all(is_baggage_octet))
    };
    is_token(key) && value.iter().all(is_baggage_octet) && parts.map(pair).all(is_property)
}

/// A key, and what stands after its equals sign, if there is one.
fn pair(part: &[u8]) -> (&[u8], Option<&[u8]>) {
    match part.iter().position(|byte| *byte == b'=') {
        Some(equals) => {
            let (key, value) = part.split_at(equals);
            (trimmed(key), value.get(1..).map(trimmed))
        }
        None => (trimmed(part), None),
    }
}

/// RFC 9110 §5.6.2.
fn is_token(text: &[u8]) -> bool {
    let fits = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    !text.is_empty() && text.iter().all(fits)
}

fn is_baggage_octet(byte: &u8) -> bool {
    (0x21..0x7f).contains(byte) && !b"\",;\\".contains(byte)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    fn lines(lines: &[&str]) -> Vec<HeaderValue> {
        lines.iter().map(|line| line.parse().unwrap()).collect()
    }

    fn state(texts: &[&str]) -> bool {
        is_tracestate(lines(texts).iter())
    }

    fn baggage(texts: &[&str]) -> bool {
        is_baggage(lines(texts).iter())
    }

    #[test]
    fn states_that_are_well_formed() {
        let (key, value) = ("z".repeat(256), "t".repeat(256));
        let tenant = format!("{}@{}=1", "t".repeat(241), "v".repeat(14));
        let most: Vec<String> = (0..32).map(|n| format!("bar{n:02}={n:02}")).collect();
        let most = most.join(",");
        for good in [
            &["foo=1"][..],
            &["foo=1,bar=2"],
            &["foo=1,bar=2", "baz=3"],
            &["foo=1 \t , \t bar=2, \t baz=3"],
            &["foo=1,,,bar=2", ""],
            &["foo-_*/bar=bar4"],
            &["foo=!\"#$%&'()*+-./0123456789:;<>?@ABCDXYZ[\\]^_`abcdxyz{|}~"],
            &["foo= 1"],
            &["0abc=1", "a@b=2"],
            &[&format!("{key}=1")],
            &[&format!("a={value}")],
            &[&tenant],
            &[&most],
        ] {
            assert!(state(good), "{good:?}");
        }
    }

    #[test]
    fn states_that_are_not() {
        let (key, value) = ("z".repeat(257), "t".repeat(257));
        let many: Vec<String> = (0..33).map(|n| format!("bar{n:02}={n:02}")).collect();
        let many = many.join(",");
        for bad in [
            &[""][..],
            &[" , "],
            &["foo"],
            &["foo="],
            &["=1"],
            &["foo=1,foo=1"],
            &["foo=1", "foo=2"],
            &["foo =1"],
            &["FOO=1"],
            &["foo.bar=1"],
            &["@foo=1"],
            &["_foo=1"],
            &["foo=bar=baz"],
            &[&format!("{key}=1")],
            &[&format!("a={value}")],
            &[&many],
        ] {
            assert!(!state(bad), "{bad:?}");
        }
        let high = HeaderValue::from_bytes(b"foo=\xff").unwrap();
        assert!(!is_tracestate([high].iter()));
    }

    #[test]
    fn baggage_that_is_well_formed() {
        let long = format!("k={}", "v".repeat(8190));
        let many = vec!["k=v"; 180].join(",");
        for good in [
            &["userId=alice,serverNode=DF%2028,isProduction=false"][..],
            &["userId=alice", "isProduction=false"],
            &["key1=value1;property1;property2, key2 = value2, key3=value3; propertyKey=\tvalue"],
            &["empty=", "k=a=b"],
            &[&long],
            &[&many],
        ] {
            assert!(baggage(good), "{good:?}");
        }
    }

    #[test]
    fn baggage_that_is_not() {
        let long = format!("k={}", "v".repeat(8191));
        let half = format!("k={}", "v".repeat(4094));
        let many = vec!["k=v"; 181].join(",");
        for bad in [
            &[""][..],
            &["k"],
            &["=v"],
            &["k=v,"],
            &["k=v,,k=v"],
            &["k y=v"],
            &["k=v w"],
            &["k=\"v\""],
            &["k=v\\w"],
            &["k=v;"],
            &["k=v;p q"],
            &["k=v;p=\"x\""],
            &[&long],
            &[&half, &half],
            &[&many],
        ] {
            assert!(!baggage(bad), "{bad:?}");
        }
    }

    /// The grammars of the standards, as expressions.
    const STATE: &str = r"^([a-z0-9][a-z0-9_\-*/@]{0,255})=[ -+\--<>-~]{0,255}[!-+\--<>-~]$";
    const BAGGAGE: &str = concat!(
        r"^[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*=[ \t]*[!#-+\--:<-\[\]-~]*[ \t]*",
        r"(;[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*(=[ \t]*[!#-+\--:<-\[\]-~]*[ \t]*)?)*$"
    );

    fn state_by_grammar(lines: &[String]) -> bool {
        let member = Regex::new(STATE).unwrap();
        let all = lines.join(",");
        let members: Vec<&str> = all.split(',').map(|m| m.trim_matches([' ', '\t'])).collect();
        let members: Vec<&str> = members.into_iter().filter(|m| !m.is_empty()).collect();
        let keys: Option<HashSet<_>> = members
            .iter()
            .map(|m| member.captures(m).and_then(|found| found.get(1)).map(|key| key.as_str()))
            .collect();
        let distinct = keys.is_some_and(|keys| keys.len() == members.len());
        distinct && (1..=MOST_STATES).contains(&members.len())
    }

    proptest! {
        #[test]
        fn the_grammars_are_what_is_read(
            state in prop::collection::vec("([ab0@-]{0,2}=[ a=.~]{0,2}[ \t,]?){0,3}|[ -~\t]{0,12}", 1..3),
            baggage in prop::collection::vec("[aB.;, =\"%\\\\~\t]{0,10}", 1..3),
        ) {
            let of = |lines: &[String]| -> Vec<HeaderValue> {
                lines.iter().map(|line| line.parse().unwrap()).collect()
            };
            prop_assert_eq!(is_tracestate(of(&state).iter()), state_by_grammar(&state));
            let member = Regex::new(BAGGAGE).unwrap();
            let by_grammar = baggage.join(",").split(',').all(|one| member.is_match(one));
            prop_assert_eq!(is_baggage(of(&baggage).iter()), by_grammar);
        }
    }
}
