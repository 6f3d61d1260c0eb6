//! Texts with words of the request in them: `${ip}`, `${header:NAME}`, `${claim:NAME}`. Read once,
//! when a configuration is loaded; written for each request. `$${` stands for `${`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use http::HeaderValue;

use crate::{Exchange, KeyPart};

/// A text with words in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Word(Word),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    /// The client's address, whole.
    Ip,
    /// The consumer's name.
    Consumer,
    /// The path of the request as it is now.
    WholePath,
    Method,
    Scheme,
    RequestId,
    /// A part of a key, with the key's meaning.
    Part(KeyPart),
}

/// The words, as they are told.
const WORDS: [&str; 13] = [
    "ip",
    "host",
    "path",
    "method",
    "scheme",
    "route",
    "request_id",
    "consumer",
    "query:NAME",
    "header:NAME",
    "cookie:NAME",
    "path:NAME",
    "claim:NAME",
];

/// Longest text that is put into a header.
const MAX_HEADER: usize = 8 * 1024;

/// What became of a template that is to be a header's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// A value.
    Value(HeaderValue),
    /// It has words, and none of them has a value for this request.
    Nothing,
    /// It would be no header value: it has control characters, or is too long.
    Unfit,
}

impl Template {
    /// The text, when it has no words.
    pub fn fixed(&self) -> Option<Cow<'_, str>> {
        match self.0.as_slice() {
            [] => Some("".into()),
            [Piece::Text(text)] => Some((&**text).into()),
            _ => None,
        }
    }

    /// The parts of the text between words.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(&**text),
            Piece::Word(_) => None,
        })
    }

    /// Whether one of its words is a header of the request.
    pub fn reads_headers(&self) -> bool {
        let reads = |piece: &Piece| matches!(piece, Piece::Word(Word::Part(KeyPart::Header(_))));
        self.0.iter().any(reads)
    }

    /// Whether each of its words is the same for all requests that share a host, path, scheme and
    /// route and of which `same` holds; by what else they are told apart is for it to say.
    pub fn is_settled(&self, same: impl Fn(&KeyPart) -> bool) -> bool {
        self.0.iter().all(|piece| match piece {
            Piece::Text(_) | Piece::Word(Word::WholePath | Word::Scheme) => true,
            Piece::Word(Word::Ip | Word::Method | Word::RequestId) => false,
            Piece::Word(Word::Consumer) => same(&KeyPart::Consumer),
            Piece::Word(Word::Part(KeyPart::Route | KeyPart::Host | KeyPart::Path(_))) => true,
            Piece::Word(Word::Part(part)) => same(part),
        })
    }

    /// Writes the text for a request; a word without a value is nothing. Returns whether one of
    /// the words has a value.
    pub fn write(&self, exchange: &Exchange, out: &mut Vec<u8>) -> bool {
        let mut any = false;
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Word(word) => any |= word.write(exchange, out),
            }
        }
        any
    }

    /// The value for a header. Whatever a client or a token puts into a word, no line break and no
    /// other control character comes out of it.
    pub fn header(&self, exchange: &Exchange) -> Written {
        let mut out = Vec::with_capacity(64);
        if !self.write(exchange, &mut out) && self.fixed().is_none() {
            return Written::Nothing;
        }
        let value = out.trim_ascii();
        if value.len() > MAX_HEADER {
            return Written::Unfit;
        }
        HeaderValue::from_bytes(value).map_or(Written::Unfit, Written::Value)
    }
}

impl Word {
    /// False: it has no value.
    fn write(&self, exchange: &Exchange, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Ip => out.extend_from_slice(exchange.client_ip.to_string().as_bytes()),
            Self::Consumer => {
                let Some(consumer) = &exchange.consumer else { return false };
                out.extend_from_slice(consumer.name.as_bytes());
            }
            Self::WholePath => out.extend_from_slice(exchange.head.uri.path().as_bytes()),
            Self::Method => out.extend_from_slice(exchange.head.method.as_str().as_bytes()),
            Self::Scheme => {
                out.extend_from_slice(if exchange.secure { b"https" } else { b"http" });
            }
            Self::RequestId => out.extend_from_slice(exchange.id.as_str().as_bytes()),
            Self::Part(part) => return part.write(exchange, out),
        }
        true
    }
}

impl FromStr for Word {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "ip" => Self::Ip,
            "consumer" => Self::Consumer,
            "path" => Self::WholePath,
            "method" => Self::Method,
            "scheme" => Self::Scheme,
            "request_id" => Self::RequestId,
            _ if known(text) => Self::Part(text.parse()?),
            _ => return Err(unknown(text)),
        })
    }
}

/// Whether the word before the colon is one of those of keys.
fn known(text: &str) -> bool {
    let word = text.split_once(':').map_or(text, |(word, _)| word);
    WORDS.iter().any(|known| known.split(':').next() == Some(word))
}

fn unknown(text: &str) -> String {
    let (word, name) = text.split_once(':').unwrap_or((text, ""));
    let near = WORDS
        .iter()
        .map(|known| (far(word, known.split(':').next().unwrap_or_default()), known))
        .min()
        .filter(|(far, _)| *far <= 2 && *far < word.len());
    let mean = near.map_or(String::new(), |(_, known)| {
        let known = match known.split_once(':') {
            Some((word, _)) if !name.is_empty() => format!("{word}:{name}"),
            _ => (*known).to_owned(),
        };
        format!("; did you mean `${{{known}}}`?")
    });
    format!("`${{{text}}}` is none of {}{mean}", WORDS.join(", "))
}

/// How many letters must be put in, taken out or changed.
fn far(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, a) in one.bytes().take(32).enumerate() {
        let mut corner = at;
        let mut left = at + 1;
        for (b, above) in other.bytes().zip(row.iter_mut().skip(1)) {
            let cost = (corner + usize::from(a != b)).min(left + 1).min(*above + 1);
            (corner, left, *above) = (*above, cost, cost);
        }
        if let Some(first) = row.first_mut() {
            *first = at + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut pieces, mut literal) = (Vec::new(), String::new());
        let mut rest = text;
        while let Some((before, from)) = rest.split_once("${") {
            if let Some(before) = before.strip_suffix('$') {
                literal.push_str(before);
                literal.push_str("${");
                rest = from;
                continue;
            }
            literal.push_str(before);
            let (word, after) =
                from.split_once('}').ok_or("`${` without its `}`; a literal one is `$${`")?;
            rest = after;
            match word {
                // How a configuration's loader writes the `$` of what a reference stood for.
                "$" => literal.push('$'),
                // References as they are written stand for what is not to be shown.
                _ if word.starts_with("env:") || word.starts_with("file:") => {
                    literal.push_str(&format!("${{{word}}}"));
                }
                _ => {
                    let word = word.parse()?;
                    if !literal.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut literal).into()));
                    }
                    pieces.push(Piece::Word(word));
                }
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal.into()));
        }
        Ok(Self(pieces))
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip => f.write_str("ip"),
            Self::Consumer => f.write_str("consumer"),
            Self::WholePath => f.write_str("path"),
            Self::Method => f.write_str("method"),
            Self::Scheme => f.write_str("scheme"),
            Self::RequestId => f.write_str("request_id"),
            Self::Part(part) => part.fmt(f),
        }
    }
}

/// The words alone: what stands between them may be a secret.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.0.iter().filter_map(|piece| match piece {
            Piece::Word(word) => Some(word),
            Piece::Text(_) => None,
        });
        for (place, word) in words.enumerate() {
            write!(f, "{}${{{word}}}", if place > 0 { " " } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Template {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_text_without_words_is_fixed() {
        for (text, fixed) in [
            ("", ""),
            ("plain $ {x}", "plain $ {x}"),
            ("a $${ip} b", "a ${ip} b"),
            ("$$${ip}", "$${ip}"),
            ("p${$}{ip}", "p${ip}"),
            ("${$}${$}{ip}", "$${ip}"),
            ("x ${env:SECRET} y", "x ${env:SECRET} y"),
        ] {
            assert_eq!(read(text).fixed().as_deref(), Some(fixed), "{text}");
        }
        assert_eq!(read("a${$}${ip}").texts().collect::<Vec<_>>(), ["a$"]);
        assert_eq!(read("${ip}").fixed(), None);
    }

    #[test]
    fn each_word_is_read_and_told() {
        for word in WORDS {
            let word = word.to_ascii_lowercase();
            assert_eq!(read(&format!("x${{{word}}}y")).to_string(), format!("${{{word}}}"));
        }
    }

    #[test]
    fn an_unknown_word_is_told_with_the_nearest() {
        for (text, says) in [
            ("${ipp}", "did you mean `${ip}`?"),
            ("${headr:X-A}", "did you mean `${header:X-A}`?"),
            ("${requestid}", "did you mean `${request_id}`?"),
            ("${clam}", "did you mean `${claim:NAME}`?"),
            ("${claim}", "`claim` needs a name"),
            ("${host:x}", "`host` takes no name"),
            ("${ip:x}", "`ip` takes no name"),
            ("${header:a b}", "is not a header name"),
            ("${}", "is none of ip, host"),
            ("${something}", "is none of ip, host"),
            ("a ${ip", "without its"),
        ] {
            let error = text.parse::<Template>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        assert!(!"${something}".parse::<Template>().unwrap_err().contains("did you mean"));
    }

    fn exchange(claims: serde_json::Value) -> Exchange {
        let connection =
            crate::Connection::plain(([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into());
        let (head, ()) = http::Request::new(()).into_parts();
        let claims = claims.as_object().cloned().unwrap_or_default();
        let consumer = crate::Consumer { name: "ann".into(), claims, ..Default::default() };
        Exchange {
            host: "a.example".into(),
            consumer: Some(consumer.into()),
            ..Exchange::begun(head, std::rc::Rc::new(connection))
        }
    }

    #[test]
    fn no_control_character_comes_into_a_header() {
        let exchange = exchange(serde_json::json!({
            "crlf": "a\r\nx-admin: true", "nul": "a\0b", "del": "a\u{7f}", "lf": "\n", "tab": "a\tb",
            "name": "J\u{f6}rg", "long": "x".repeat(9000), "end": " a\n", "n": 7,
        }));
        let write = |text: &str| read(text).header(&exchange);
        for claim in ["crlf", "nul", "del", "long"] {
            assert_eq!(write(&format!("v ${{claim:{claim}}}")), Written::Unfit, "{claim}");
            assert_eq!(write(&format!("${{claim:{claim}}}")), Written::Unfit, "{claim}");
        }
        assert_eq!(write("a${claim:lf}b"), Written::Unfit);
        let value =
            |text: &'static str| Written::Value(HeaderValue::from_bytes(text.as_bytes()).unwrap());
        assert_eq!(write("${claim:tab}"), value("a\tb"));
        assert_eq!(write("${claim:name}"), value("J\u{f6}rg"));
        assert_eq!(write("${claim:end}"), value("a"), "what surrounds a value is no part of it");
        assert_eq!(write("${consumer}:${claim:n}${claim:none}"), value("ann:7"));
        assert_eq!(write("x${claim:none}${route}"), Written::Nothing);
        assert_eq!(write("fixed"), value("fixed"));
    }
}
