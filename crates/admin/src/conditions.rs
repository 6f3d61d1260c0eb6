//! The conditions of a request (RFC 9110, section 13): `If-Match` and `If-None-Match`, and the tags
//! of configurations that they name.

use std::sync::OnceLock;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::guard::refuse;

/// When a change is wanted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Only {
    /// While one of these generations is in force.
    pub of: Option<Vec<u64>>,
    /// While none of these is.
    pub not_of: Vec<u64>,
    /// When what is to be changed is there already, or is not.
    pub there: Option<bool>,
}

impl Only {
    /// While this generation is in force.
    pub(crate) fn of_generation(generation: u64) -> Self {
        Self { of: Some(vec![generation]), ..Self::default() }
    }

    /// Whether it is wanted in any case.
    pub fn is_open(&self) -> bool {
        self.of.is_none() && self.not_of.is_empty() && self.there.is_none()
    }

    /// Whether it is wanted while a generation is in force.
    pub fn holds(&self, generation: u64) -> bool {
        self.of.as_ref().is_none_or(|of| of.contains(&generation))
            && !self.not_of.contains(&generation)
    }

    /// What the headers of a change say.
    ///
    /// # Errors
    /// The refusal, when they can never hold, or cannot be read.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, Box<Response>> {
        let mut only = Self::default();
        let failed = |text| {
            Err(Box::new(refuse(StatusCode::PRECONDITION_FAILED, "changed_meanwhile", text)))
        };
        match tags(headers, &header::IF_MATCH) {
            None => {}
            Some(Ok(Tags::Any)) => only.there = Some(true),
            Some(Ok(Tags::Of(tags))) => {
                only.of = Some(tags.iter().filter_map(|tag| tag.strong_generation()).collect());
            }
            Some(Err(())) => only.of = Some(Vec::new()),
        }
        if only.of.as_ref().is_some_and(Vec::is_empty) {
            return failed("If-Match names no configuration that this process has had in force");
        }
        match tags(headers, &header::IF_NONE_MATCH) {
            None => {}
            Some(Ok(Tags::Any)) if only.there.is_some() => {
                return failed("what is to be changed cannot be there and not be there");
            }
            Some(Ok(Tags::Any)) => only.there = Some(false),
            Some(Ok(Tags::Of(tags))) => {
                only.not_of = tags.iter().filter_map(Tag::generation).collect();
            }
            Some(Err(())) => {
                let text = "If-None-Match: expected `*`, or tags in quotes such as those of \
                            GET /admin/config";
                return Err(Box::new(refuse(StatusCode::BAD_REQUEST, "bad_condition", text)));
            }
        }
        Ok(only)
    }
}

/// What a look at a generation is answered with in place of it, if its headers do not hold.
pub(crate) fn unmet(headers: &HeaderMap, generation: u64) -> Option<StatusCode> {
    let name_it = |tags: &Tags, of: fn(&Tag) -> Option<u64>| match tags {
        Tags::Any => true,
        Tags::Of(tags) => tags.iter().any(|tag| of(tag) == Some(generation)),
    };
    let wanted = tags(headers, &header::IF_MATCH);
    if wanted.is_some_and(|tags| !tags.is_ok_and(|tags| name_it(&tags, Tag::strong_generation))) {
        return Some(StatusCode::PRECONDITION_FAILED);
    }
    let known = tags(headers, &header::IF_NONE_MATCH).and_then(Result::ok);
    known.filter(|tags| name_it(tags, Tag::generation)).map(|_| StatusCode::NOT_MODIFIED)
}

/// What tells a configuration in force from the others: the process, by a random word, as in a
/// container its number is always the same; and its generation.
pub(crate) fn tag_of(generation: u64) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("\"{}-{generation}\"", process())).ok()
}

fn process() -> &'static str {
    static WORD: OnceLock<String> = OnceLock::new();
    WORD.get_or_init(|| {
        let mut bytes = [0; 8];
        // Without random numbers there is still the process's own.
        if getrandom::fill(&mut bytes).is_err() {
            bytes = u64::from(std::process::id()).to_le_bytes();
        }
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    })
}

/// What a condition names.
#[derive(Debug, Clone, PartialEq)]
enum Tags {
    /// Whatever there is.
    Any,
    Of(Vec<Tag>),
}

#[derive(Debug, Clone, PartialEq)]
struct Tag {
    is_weak: bool,
    text: String,
}

impl Tag {
    /// The generation that it tells, if it is of this process.
    fn generation(&self) -> Option<u64> {
        let (process, generation) = self.text.split_once('-')?;
        generation.parse().ok().filter(|_| process == self::process())
    }

    /// The same as `If-Match` compares: no weak one matches.
    fn strong_generation(&self) -> Option<u64> {
        self.generation().filter(|_| !self.is_weak)
    }
}

/// The tags of all lines of a header; `None` where there is none, an error for what is no tag.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<Result<Tags, ()>> {
    let mut lines = headers.get_all(name).iter().peekable();
    lines.peek()?;
    let mut all = Vec::new();
    let mut is_any = false;
    for line in lines {
        let Some(mut rest) = line.to_str().ok().map(str::trim) else { return Some(Err(())) };
        if rest == "*" {
            is_any = true;
            continue;
        }
        while !rest.is_empty() {
            let Some((tag, after)) = tag(rest) else { return Some(Err(())) };
            all.push(tag);
            rest = after;
        }
    }
    match (is_any, all.is_empty()) {
        (true, true) => Some(Ok(Tags::Any)),
        (false, false) => Some(Ok(Tags::Of(all))),
        _ => Some(Err(())),
    }
}

/// The first tag of a list, and what is behind its comma.
fn tag(text: &str) -> Option<(Tag, &str)> {
    let (is_weak, quoted) = match text.strip_prefix("W/") {
        Some(quoted) => (true, quoted),
        None => (false, text),
    };
    let (text, rest) = quoted.strip_prefix('"')?.split_once('"')?;
    let rest = rest.trim_start();
    let after = if rest.is_empty() { rest } else { rest.strip_prefix(',')?.trim_start() };
    Some((Tag { is_weak, text: text.to_owned() }, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn own(generation: u64) -> String {
        tag_of(generation).unwrap().to_str().unwrap().to_owned()
    }

    fn read(pairs: &[(HeaderName, &str)]) -> Result<Only, u16> {
        Only::read(&with(pairs)).map_err(|refused| refused.status().as_u16())
    }

    #[test]
    fn a_change_is_wanted_of_what_was_looked_at() {
        let (three, four) = (own(3), own(4));
        let both = format!("\"other, one\", {three},{four}");
        let only = read(&[(header::IF_MATCH, &both)]).unwrap();
        assert_eq!(only.of, Some(vec![3, 4]));
        assert!(only.holds(3) && only.holds(4) && !only.holds(5) && !only.is_open());
        let weak = format!("W/{three}");
        for never in ["nonsense", "\"1-1\"", "", "\"open", &weak, "*, \"a\"", "\"a\" \"b\""] {
            assert_eq!(read(&[(header::IF_MATCH, never)]), Err(412), "{never}");
        }
        let only = read(&[(header::IF_NONE_MATCH, &weak)]).unwrap();
        assert!(!only.holds(3) && only.holds(4));
        assert_eq!(read(&[(header::IF_NONE_MATCH, "nonsense")]), Err(400));
        assert!(read(&[]).unwrap().is_open());
    }

    #[test]
    fn a_star_asks_whether_it_is_there() {
        assert_eq!(read(&[(header::IF_MATCH, "*")]).unwrap().there, Some(true));
        assert_eq!(read(&[(header::IF_NONE_MATCH, " * ")]).unwrap().there, Some(false));
        let both = [(header::IF_MATCH, "*"), (header::IF_NONE_MATCH, "*")];
        assert_eq!(read(&both), Err(412));
    }

    #[test]
    fn who_has_it_already_is_told_so() {
        let (three, four) = (own(3), own(4));
        let look = |name: HeaderName, value: &str| unmet(&with(&[(name, value)]), 3);
        let status = |code| Some(StatusCode::from_u16(code).unwrap());
        let list = format!("\"a\", W/{three}");
        for (name, value, wanted) in [
            (header::IF_NONE_MATCH, three.as_str(), status(304)),
            (header::IF_NONE_MATCH, &list, status(304)),
            (header::IF_NONE_MATCH, "*", status(304)),
            (header::IF_NONE_MATCH, &four, None),
            (header::IF_NONE_MATCH, "nonsense", None),
            (header::IF_MATCH, &three, None),
            (header::IF_MATCH, "*", None),
            (header::IF_MATCH, &four, status(412)),
            (header::IF_MATCH, &list, status(412)),
        ] {
            assert_eq!(look(name, value), wanted, "{value}");
        }
        assert_eq!(unmet(&HeaderMap::new(), 3), None);
    }
}
