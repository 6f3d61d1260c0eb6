//! Other ways to say what a `traceparent` says: B3, in one header or several, and Jaeger's own.
//! Ids of 64 bits become the low half; what is malformed says nothing.

use http::{HeaderMap, HeaderValue};

use super::parent::{Parent, SAMPLED, SpanId, TraceId};

/// What `b3: {trace}-{span}-{sampled}-{parent}` says, or `x-b3-traceid` and the others: the parent,
/// and the flag of sampling. B3 may leave that to whoever reads it, and may say nothing else:
/// `b3: 0`.
pub fn b3(headers: &HeaderMap) -> Option<(Option<Parent>, Option<u8>)> {
    let one = |name: &str| {
        let mut lines = headers.get_all(name).iter().map(HeaderValue::as_bytes);
        let first = lines.next();
        first.filter(|_| lines.next().is_none())
    };
    if headers.contains_key("b3") {
        let whole = one("b3")?;
        if let Some(flag) = b3_sampled(whole) {
            return Some((None, Some(flag)));
        }
        let mut parts = whole.split(|byte| *byte == b'-');
        let (trace, span) = (trace_id(parts.next()?)?, span_id(parts.next()?)?);
        let sampled = parts.next().map(b3_sampled);
        let is_span = |id: &[u8]| span_id(id).is_some();
        let ends = parts.next().is_none_or(is_span) && parts.next().is_none();
        return ends.then(|| b3_parent(trace, span, sampled))?;
    }
    let debug = one("x-b3-flags") == Some(b"1");
    let sampled = if debug { Some(Some(SAMPLED)) } else { one("x-b3-sampled").map(b3_sampled) };
    if !headers.contains_key("x-b3-traceid") && !headers.contains_key("x-b3-spanid") {
        return sampled?.map(|flag| (None, Some(flag)));
    }
    let (trace, span) = (trace_id(one("x-b3-traceid")?)?, span_id(one("x-b3-spanid")?)?);
    b3_parent(trace, span, sampled)
}

/// `sampled`: what is said of it, if anything is; `None` in it when that is malformed.
fn b3_parent(
    trace: TraceId,
    span: SpanId,
    sampled: Option<Option<u8>>,
) -> Option<(Option<Parent>, Option<u8>)> {
    let flags = sampled.unwrap_or(Some(0))?;
    Some((Some(Parent { trace, span, flags }), sampled.map(|_| flags)))
}

/// What `uber-trace-id: {trace}:{span}:{parent}:{flags}` says; colons may be percent-encoded, and
/// leading zeros left out.
pub fn jaeger(headers: &HeaderMap) -> Option<Parent> {
    let mut lines = headers.get_all("uber-trace-id").iter();
    let text = lines.next()?.to_str().ok()?.replace("%3A", ":").replace("%3a", ":");
    let mut parts = text.split(':');
    let (trace, span) = (parts.next()?, parts.next()?);
    let (_grandparent, flags) = (parts.next()?, parts.next()?);
    if lines.next().is_some() || parts.next().is_some() || flags.len() > 2 {
        return None;
    }
    let (high, low) = match trace.len().checked_sub(16) {
        Some(0) | None => (0, number(trace.as_bytes(), 16)?),
        Some(at) => {
            let (high, low) = trace.as_bytes().split_at_checked(at)?;
            (number(high, 16)?, number(low, 16)?)
        }
    };
    let trace = TraceId::new(high, low)?;
    let span = SpanId::new(number(span.as_bytes(), 16)?)?;
    let flags = number(flags.as_bytes(), 2)?;
    Some(Parent { trace, span, flags: if flags & 1 == 1 { SAMPLED } else { 0 } })
}

/// `1` and `true`, `d` for debugging; `0` and `false`.
fn b3_sampled(said: &[u8]) -> Option<u8> {
    match said {
        b"1" | b"d" | b"true" => Some(SAMPLED),
        b"0" | b"false" => Some(0),
        _ => None,
    }
}

/// 32 or 16 digits.
fn trace_id(text: &[u8]) -> Option<TraceId> {
    match text.len() {
        16 => TraceId::new(0, number(text, 16)?),
        32 => {
            let (high, low) = text.split_at_checked(16)?;
            TraceId::new(number(high, 16)?, number(low, 16)?)
        }
        _ => None,
    }
}

/// 16 digits.
fn span_id(text: &[u8]) -> Option<SpanId> {
    (text.len() == 16).then(|| number(text, 16)).flatten().and_then(SpanId::new)
}

/// From one to so many digits, in either case: these have no canonical one.
fn number(text: &[u8], most: usize) -> Option<u64> {
    if !(1..=most).contains(&text.len()) {
        return None;
    }
    text.iter().try_fold(0, |number, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(number << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        pairs.collect()
    }

    fn shown(parent: Option<Parent>) -> Option<String> {
        parent.map(|parent| String::from_utf8(parent.written().to_vec()).unwrap())
    }

    fn b3_shown(headers: &HeaderMap) -> Option<String> {
        let (parent, says) = b3(headers)?;
        let flags = if says.is_some() { "" } else { " not said" };
        let Some(parent) = parent else { return Some(format!("{says:?} alone")) };
        assert_eq!(says.unwrap_or_default(), parent.flags);
        shown(Some(parent)).map(|shown| shown + flags)
    }

    const TRACE: &str = "80f198ee56343ba864fe8b2a57d3eff7";
    const SPAN: &str = "e457b5a2e4d86bd1";

    #[test]
    fn b3_in_one_header() {
        let read = |text: &str| b3_shown(&headers(&[("b3", text)]));
        let said = |flags: &str| Some(format!("00-{TRACE}-{SPAN}-{flags}"));
        assert_eq!(read(&format!("{TRACE}-{SPAN}-1")), said("01"));
        assert_eq!(read(&format!("{TRACE}-{SPAN}-d-05e3ac9a4f6e3b90")), said("01"));
        assert_eq!(read(&format!("{TRACE}-{SPAN}-0")), said("00"));
        assert_eq!(read(&format!("{TRACE}-{SPAN}")), said("00 not said"));
        let short = read(&format!("64fe8b2a57d3eff7-{SPAN}-1")).unwrap();
        assert_eq!(short, format!("00-000000000000000064fe8b2a57d3eff7-{SPAN}-01"));
        for (text, flag) in [("0", 0), ("false", 0), ("1", 1), ("d", 1)] {
            assert_eq!(read(text), Some(format!("Some({flag}) alone")), "{text}");
        }
        for bad in ["2", "0-1", "", "x-y-1", &format!("{TRACE}-{SPAN}-2"), &format!("{TRACE}-0-1")]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
        let more = format!("{TRACE}-{SPAN}-1-05e3ac9a4f6e3b90-1");
        assert_eq!(read(&more), None);
        let mut two = headers(&[("b3", &format!("{TRACE}-{SPAN}-1"))]);
        two.append("b3", "0".parse().unwrap());
        assert_eq!(b3(&two), None);
    }

    #[test]
    fn b3_in_several_headers() {
        let ids = [("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)];
        let read = |more: &[(&'static str, &str)]| b3_shown(&headers(&[&ids[..], more].concat()));
        let said = |flags: &str| Some(format!("00-{TRACE}-{SPAN}-{flags}"));
        assert_eq!(read(&[("x-b3-sampled", "1")]), said("01"));
        assert_eq!(read(&[("x-b3-sampled", "0")]), said("00"));
        assert_eq!(read(&[]), said("00 not said"));
        assert_eq!(read(&[("x-b3-flags", "1")]), said("01"));
        assert_eq!(read(&[("x-b3-sampled", "maybe")]), None);
        assert_eq!(b3(&headers(&ids[..1])), None);
        assert_eq!(b3(&headers(&ids[1..])), None);
        let alone = |name, value| b3_shown(&headers(&[(name, value)]));
        assert_eq!(alone("x-b3-sampled", "0").unwrap(), "Some(0) alone");
        assert_eq!(alone("x-b3-flags", "1").unwrap(), "Some(1) alone");
        assert_eq!((alone("x-b3-sampled", "maybe"), alone("x-b3-flags", "0")), (None, None));
    }

    #[test]
    fn jaegers_own() {
        let read = |text: &str| shown(jaeger(&headers(&[("uber-trace-id", text)])));
        let said = |flags: &str| Some(format!("00-{TRACE}-{SPAN}-{flags}"));
        assert_eq!(read(&format!("{TRACE}:{SPAN}:0:1")), said("01"));
        assert_eq!(read(&format!("{TRACE}%3A{SPAN}%3A0%3a3")), said("01"));
        assert_eq!(read(&format!("{TRACE}:{SPAN}:0:0")), said("00"));
        let short = format!("00-0000000000000000000000000000abcd-{SPAN}-01");
        assert_eq!(read(&format!("abcd:{SPAN}:0:1")), Some(short));
        for bad in ["", ":::", "1:1:0", "1:1:0:1:1", "0:1:0:1", "1:0:0:1", "g:1:0:1", "1:1:0:111"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
