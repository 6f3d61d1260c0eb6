//! Which coding a client gets (RFC 9110 §12.5.3): the one that it likes best, and of several that
//! it likes the same, the one that the route names first.

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;
use schemars::JsonSchema;
use serde::Deserialize;

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Coding {
    /// Zstandard (RFC 8878).
    Zstd,
    /// Brotli (RFC 7932).
    Br,
    /// Gzip (RFC 1952).
    Gzip,
}

impl Coding {
    pub(super) fn token(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Br => "br",
            Self::Gzip => "gzip",
        }
    }

    /// `x-gzip` is an old name of gzip (RFC 9110 §8.4.1.3).
    fn is(self, token: &str) -> bool {
        token.eq_ignore_ascii_case(self.token())
            || (self == Self::Gzip && token.eq_ignore_ascii_case("x-gzip"))
    }
}

/// What the client likes best of the codings on offer; `None`: the content as it is. A client
/// that takes neither gets it as it is too.
pub(super) fn best(headers: &HeaderMap, offered: &[Coding]) -> Option<Coding> {
    let mut liked: [Option<u16>; 3] = [None; 3];
    let (mut others, mut as_is) = (None, None);
    for line in headers.get_all(ACCEPT_ENCODING) {
        for element in line.to_str().ok()?.split(',') {
            let (token, weight) = element.split_once(';').unwrap_or((element, "q=1"));
            let token = token.trim();
            // A weight that is none is no wish.
            let Some(weight) = quality(weight) else { continue };
            if token == "*" {
                others = Some(weight);
            } else if token.eq_ignore_ascii_case("identity") {
                as_is = Some(weight);
            } else if let Some((_, place)) =
                offered.iter().zip(&mut liked).find(|(coding, _)| coding.is(token))
            {
                *place = Some(weight);
            }
        }
    }
    let mut best = (as_is.unwrap_or(0), None);
    for (coding, weight) in offered.iter().zip(liked) {
        let weight = weight.or(others).unwrap_or(0);
        let wins = match best.1 {
            // Of content as it is and a coding that are liked the same, the shorter one.
            None => weight > 0 && weight >= best.0,
            Some(_) => weight > best.0,
        };
        if wins {
            best = (weight, Some(*coding));
        }
    }
    best.1
}

/// `q=0.8` in thousandths.
fn quality(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.trim().split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let value = value.trim();
    let (whole, rest) = value.split_once('.').unwrap_or((value, ""));
    let digits = rest.len() <= 3 && rest.bytes().all(|b| b.is_ascii_digit());
    let thousandths: u16 = format!("{rest:0<3}").parse().ok().filter(|_| digits)?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_chooses_and_the_order_breaks_ties() {
        use Coding::*;
        for (accept, expected) in [
            ("gzip", Some(Gzip)),
            ("X-GZIP", Some(Gzip)),
            ("gzip, deflate, br", Some(Br)),
            ("gzip, deflate, br, zstd", Some(Zstd)),
            ("gzip;q=1.0, br;q=0.9, zstd;q=0.8", Some(Gzip)),
            ("br;q=0.5,gzip ; Q=0.501", Some(Gzip)),
            ("*", Some(Zstd)),
            ("*;q=0.5, zstd;q=0", Some(Br)),
            ("*;q=0, gzip", Some(Gzip)),
            ("gzip;q=0", None),
            ("gzip;q=0, br;q=0.001", Some(Br)),
            ("identity", None),
            ("identity, gzip;q=0.5", None),
            ("identity;q=0.5, gzip;q=0.5", Some(Gzip)),
            ("identity;q=0", None),
            ("identity;q=0, deflate", None),
            ("identity;q=0, *", Some(Zstd)),
            ("deflate, compress", None),
            ("", None),
            (", ,gzip", Some(Gzip)),
            ("gzip;q=2", None),
            ("gzip;q=1.001", None),
            ("gzip;q=0.1234", None),
            ("gzip;q=", None),
            ("gzip;q=x, br", Some(Br)),
            ("gzipped, brr", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, accept.parse().unwrap());
            assert_eq!(best(&headers, &[Zstd, Br, Gzip]), expected, "{accept}");
        }
        assert_eq!(best(&HeaderMap::new(), &[Gzip]), None);
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT_ENCODING, "br".parse().unwrap());
        headers.append(ACCEPT_ENCODING, "gzip;q=0.5".parse().unwrap());
        assert_eq!(best(&headers, &[Gzip]), Some(Gzip));
        assert_eq!(best(&headers, &[Gzip, Br]), Some(Br));
    }
}
