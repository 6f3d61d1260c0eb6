//! Dictionaries of structured fields (RFC 9651 §4.2.2), as far as caching needs them: strict in
//! what is one, and with values only told apart as numbers, yes, no, and all others.

/// A member's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'t> {
    /// A number as it is written.
    Number(&'t str),
    /// `?1`, or a name alone.
    True,
    /// `?0`.
    False,
    /// A string, a token, bytes, a date, an inner list.
    Other,
}

/// Most members; more is no dictionary.
const MOST: usize = 64;
/// Most values of an inner list, and parameters of one value.
const MOST_INNER: usize = 64;

/// The members, the last of each name. `None` when it is no dictionary.
pub(super) fn dictionary(text: &str) -> Option<Vec<(&str, Value<'_>)>> {
    let mut reader = Reader(text.trim_matches(' '));
    let mut members: Vec<(&str, Value<'_>)> = Vec::new();
    while !reader.0.is_empty() {
        let name = reader.key()?;
        let value = match reader.eat('=') {
            true => reader.member()?,
            false => Value::True,
        };
        reader.parameters()?;
        members.retain(|(old, _)| *old != name);
        members.push((name, value));
        reader.space();
        if reader.0.is_empty() {
            break;
        }
        reader.expect(',')?;
        reader.space();
        // A comma has something after it.
        if reader.0.is_empty() || members.len() > MOST {
            return None;
        }
    }
    Some(members)
}

struct Reader<'t>(&'t str);

impl<'t> Reader<'t> {
    fn eat(&mut self, sign: char) -> bool {
        let rest = self.0.strip_prefix(sign);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn expect(&mut self, sign: char) -> Option<()> {
        self.eat(sign).then_some(())
    }

    fn space(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t']);
    }

    fn take(&mut self, fits: impl Fn(char) -> bool) -> &'t str {
        let end = self.0.find(|sign| !fits(sign)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn key(&mut self) -> Option<&'t str> {
        if !self.0.starts_with(|sign: char| sign.is_ascii_lowercase() || sign == '*') {
            return None;
        }
        let fits = |sign: char| {
            sign.is_ascii_lowercase() || sign.is_ascii_digit() || "_-.*".contains(sign)
        };
        Some(self.take(fits))
    }

    fn member(&mut self) -> Option<Value<'t>> {
        if !self.eat('(') {
            return self.item();
        }
        for _ in 0..MOST_INNER {
            self.0 = self.0.trim_start_matches(' ');
            if self.eat(')') {
                return Some(Value::Other);
            }
            self.item()?;
            self.parameters()?;
            if !self.0.starts_with([' ', ')']) {
                return None;
            }
        }
        None
    }

    fn parameters(&mut self) -> Option<()> {
        for _ in 0..MOST_INNER {
            if !self.eat(';') {
                return Some(());
            }
            self.0 = self.0.trim_start_matches(' ');
            self.key()?;
            if self.eat('=') {
                self.item()?;
            }
        }
        None
    }

    fn item(&mut self) -> Option<Value<'t>> {
        match self.0.chars().next()? {
            '-' | '0'..='9' => self.number().map(Value::Number),
            '"' => self.string(),
            '?' => match self.0.get(1..2)? {
                "1" => self.skip(2, Value::True),
                "0" => self.skip(2, Value::False),
                _ => None,
            },
            ':' => {
                let end = self.0.get(1..)?.find(':')? + 1;
                let fits = |sign: char| sign.is_ascii_alphanumeric() || "+/=".contains(sign);
                let inner = self.0.get(1..end)?;
                inner.chars().all(fits).then_some(())?;
                self.skip(end + 1, Value::Other)
            }
            '@' => {
                self.0 = self.0.get(1..)?;
                self.number().filter(|date| !date.contains('.')).map(|_| Value::Other)
            }
            'a'..='z' | 'A'..='Z' | '*' => {
                self.take(|sign| {
                    sign.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(sign)
                });
                Some(Value::Other)
            }
            _ => None,
        }
    }

    fn skip(&mut self, count: usize, value: Value<'t>) -> Option<Value<'t>> {
        self.0 = self.0.get(count..)?;
        Some(value)
    }

    fn number(&mut self) -> Option<&'t str> {
        let digits = self.0.strip_prefix('-').unwrap_or(self.0);
        let text = self.0;
        let end = digits.find(|sign: char| !sign.is_ascii_digit() && sign != '.');
        let number = digits.get(..end.unwrap_or(digits.len()))?;
        let fits = match number.split_once('.') {
            None => (1..=15).contains(&number.len()),
            Some((whole, part)) => {
                let lengths = (1..=12).contains(&whole.len()) && (1..=3).contains(&part.len());
                lengths && !part.contains('.')
            }
        };
        fits.then_some(())?;
        self.0 = digits.get(number.len()..)?;
        text.get(..text.len() - self.0.len())
    }

    fn string(&mut self) -> Option<Value<'t>> {
        let mut escaped = false;
        for (at, byte) in self.0.bytes().enumerate().skip(1) {
            match byte {
                b'"' | b'\\' if escaped => escaped = false,
                _ if escaped => return None,
                b'\\' => escaped = true,
                b'"' => return self.skip(at + 1, Value::Other),
                b' '..=b'~' => {}
                _ => return None,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_value_is_read() {
        let text = "a, b=?0;x=1;y, c=-1.5, d=\"q\\\"\" ,\te=tok/en, f=:aGk=:, g=(1 \"a\";p tok);q, \
                    h=@1659578233, a=7";
        let members = dictionary(text).unwrap();
        let find = |name: &str| members.iter().find(|(own, _)| *own == name).map(|(_, v)| *v);
        assert_eq!(find("b"), Some(Value::False));
        assert_eq!(find("c"), Some(Value::Number("-1.5")));
        for name in ["d", "e", "f", "g", "h"] {
            assert_eq!(find(name), Some(Value::Other), "{name}");
        }
        assert_eq!(find("a"), Some(Value::Number("7")), "the last one holds");
        assert_eq!(members.len(), 8);
        assert_eq!(dictionary("  "), Some(Vec::new()));
    }

    #[test]
    fn what_is_no_dictionary_is_refused() {
        for text in [
            "A=1",
            "a=",
            "a,",
            "a,,b",
            "a=1 b",
            "a=\"x",
            "a=\"\\x\"",
            "a=?2",
            "a=(1",
            "a=(1\"x\")",
            "a=1.",
            "a=1.2345",
            "a=--1",
            "a=1234567890123456",
            "a=:é:",
            "a;",
            "a;X",
            "=1",
            "a=@1.5",
        ] {
            assert_eq!(dictionary(text), None, "{text}");
        }
        assert_eq!(dictionary(&vec!["a"; 500].join(",")).map(|m| m.len()), Some(1));
        let many: Vec<String> = (0..100).map(|n| format!("a{n}")).collect();
        assert_eq!(dictionary(&many.join(",")), None);
    }
}
