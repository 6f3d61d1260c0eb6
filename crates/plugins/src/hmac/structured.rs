//! Dictionaries of structured fields (RFC 9651 §3.2), read strictly: what a lenient reader would
//! take in its own way is an error here. Refuses keys that come twice, decimals and dates.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Longest text that is read.
const MAX_TEXT: usize = 16 * 1024;
/// Most members of a dictionary, items of a list, or parameters of one.
const MAX_ITEMS: usize = 64;

/// A bare item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bare {
    Integer(i64),
    Text(String),
    Token(String),
    Bytes(Vec<u8>),
    Boolean(bool),
}

/// Parameters in their order.
pub type Parameters = Vec<(String, Bare)>;

/// An item and its parameters.
pub type Item = (Bare, Parameters);

/// A member of a dictionary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Member {
    Item(Item),
    Inner(Vec<Item>, Parameters),
}

/// Reads a dictionary.
///
/// # Errors
/// What is wrong; the words repeat nothing of the text.
pub fn dictionary(text: &str) -> Result<Vec<(String, Member)>, &'static str> {
    if text.len() > MAX_TEXT {
        return Err("it is too long");
    }
    let mut reader = Reader { left: text.trim_matches(' ').as_bytes() };
    let mut members: Vec<(String, Member)> = Vec::new();
    while !reader.left.is_empty() {
        let key = reader.key()?;
        let member = if reader.take(b'=') { reader.member()? } else { reader.implied()? };
        if members.iter().any(|(other, _)| *other == key) {
            return Err("a key comes twice");
        }
        if members.len() == MAX_ITEMS {
            return Err("it has too many members");
        }
        members.push((key, member));
        reader.skip(b" \t");
        if reader.left.is_empty() {
            break;
        }
        if !reader.take(b',') {
            return Err("a comma is missing");
        }
        reader.skip(b" \t");
        if reader.left.is_empty() {
            return Err("it ends with a comma");
        }
    }
    Ok(members)
}

/// Writes an inner list in its one form.
pub fn inner_list(out: &mut String, items: &[Item], parameters: &Parameters) {
    out.push('(');
    for (place, (bare, own)) in items.iter().enumerate() {
        if place > 0 {
            out.push(' ');
        }
        write_bare(out, bare);
        write_parameters(out, own);
    }
    out.push(')');
    write_parameters(out, parameters);
}

/// Writes a bare item.
pub fn write_bare(out: &mut String, bare: &Bare) {
    match bare {
        Bare::Integer(number) => out.push_str(&number.to_string()),
        Bare::Token(word) => out.push_str(word),
        Bare::Boolean(yes) => out.push_str(if *yes { "?1" } else { "?0" }),
        Bare::Bytes(bytes) => {
            out.push(':');
            STANDARD.encode_string(bytes, out);
            out.push(':');
        }
        Bare::Text(text) => {
            out.push('"');
            for letter in text.chars() {
                if matches!(letter, '"' | '\\') {
                    out.push('\\');
                }
                out.push(letter);
            }
            out.push('"');
        }
    }
}

fn write_parameters(out: &mut String, parameters: &Parameters) {
    for (key, bare) in parameters {
        out.push(';');
        out.push_str(key);
        if *bare != Bare::Boolean(true) {
            out.push('=');
            write_bare(out, bare);
        }
    }
}

struct Reader<'t> {
    left: &'t [u8],
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.left.first().copied()
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.left.split_first()?;
        self.left = rest;
        Some(*first)
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        if is_there {
            self.next();
        }
        is_there
    }

    fn skip(&mut self, bytes: &[u8]) {
        while self.peek().is_some_and(|byte| bytes.contains(&byte)) {
            self.next();
        }
    }

    fn run(&mut self, fits: impl Fn(u8) -> bool) -> String {
        let mut run = String::new();
        while let Some(byte) = self.peek().filter(|byte| fits(*byte)) {
            run.push(char::from(byte));
            self.next();
        }
        run
    }

    fn key(&mut self) -> Result<String, &'static str> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'*') {
            return Err("a key is missing, or does not begin with a lower-case letter");
        }
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(&b);
        Ok(self.run(fits))
    }

    fn implied(&mut self) -> Result<Member, &'static str> {
        Ok(Member::Item((Bare::Boolean(true), self.parameters()?)))
    }

    fn member(&mut self) -> Result<Member, &'static str> {
        if self.peek() != Some(b'(') {
            return Ok(Member::Item(self.item()?));
        }
        self.next();
        let mut items = Vec::new();
        loop {
            self.skip(b" ");
            if self.take(b')') {
                return Ok(Member::Inner(items, self.parameters()?));
            }
            if items.len() == MAX_ITEMS {
                return Err("a list has too many items");
            }
            items.push(self.item()?);
            if !matches!(self.peek(), Some(b' ' | b')')) {
                return Err("a list does not end, or its items are not apart");
            }
        }
    }

    fn item(&mut self) -> Result<Item, &'static str> {
        let bare = self.bare()?;
        Ok((bare, self.parameters()?))
    }

    fn parameters(&mut self) -> Result<Parameters, &'static str> {
        let mut all = Parameters::new();
        while self.take(b';') {
            self.skip(b" ");
            let key = self.key()?;
            let value = if self.take(b'=') { self.bare()? } else { Bare::Boolean(true) };
            if all.iter().any(|(other, _)| *other == key) {
                return Err("a parameter comes twice");
            }
            if all.len() == MAX_ITEMS {
                return Err("it has too many parameters");
            }
            all.push((key, value));
        }
        Ok(all)
    }

    fn bare(&mut self) -> Result<Bare, &'static str> {
        match self.peek() {
            Some(b'"') => self.text(),
            Some(b':') => self.bytes(),
            Some(b'?') => {
                self.next();
                match self.next() {
                    Some(b'1') => Ok(Bare::Boolean(true)),
                    Some(b'0') => Ok(Bare::Boolean(false)),
                    _ => Err("a boolean is neither ?0 nor ?1"),
                }
            }
            Some(b'-' | b'0'..=b'9') => self.integer(),
            Some(byte) if byte.is_ascii_alphabetic() || byte == b'*' => {
                let fits = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&b);
                Ok(Bare::Token(self.run(fits)))
            }
            _ => Err("a value is missing, or of no kind that is read here"),
        }
    }

    fn integer(&mut self) -> Result<Bare, &'static str> {
        let minus = self.take(b'-');
        let digits = self.run(|byte| byte.is_ascii_digit());
        if digits.is_empty() || digits.len() > 15 || self.peek() == Some(b'.') {
            return Err("a number is no integer of at most 15 digits");
        }
        let number: i64 = digits.parse().map_err(|_| "a number is no integer")?;
        Ok(Bare::Integer(if minus { -number } else { number }))
    }

    fn text(&mut self) -> Result<Bare, &'static str> {
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                Some(b'"') => return Ok(Bare::Text(text)),
                Some(b'\\') => match self.next() {
                    Some(byte @ (b'"' | b'\\')) => text.push(char::from(byte)),
                    _ => return Err("a text escapes what needs no escape"),
                },
                Some(byte @ 0x20..=0x7e) => text.push(char::from(byte)),
                _ => return Err("a text does not end, or is not plain ASCII"),
            }
        }
    }

    fn bytes(&mut self) -> Result<Bare, &'static str> {
        self.next();
        let text = self.run(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
        if !self.take(b':') {
            return Err("bytes do not end, or are not base64");
        }
        STANDARD.decode(text).map(Bare::Bytes).map_err(|_| "bytes are not padded base64")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_well_formed_is_read() {
        let text =
            r#" sig1=("@method" "a\"b";sf);created=-5;keyid="k";x, b=:aGk=:;y=?0 ,c , d=tok/en "#;
        let read = dictionary(text).unwrap();
        let keys: Vec<&str> = read.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["sig1", "b", "c", "d"]);
        let Member::Inner(items, parameters) = &read[0].1 else { panic!("no list") };
        let mut out = String::new();
        inner_list(&mut out, items, parameters);
        assert_eq!(out, r#"("@method" "a\"b";sf);created=-5;keyid="k";x"#);
        let Member::Item((Bare::Bytes(bytes), _)) = &read[1].1 else { panic!("no bytes") };
        assert_eq!(bytes, b"hi");
        assert_eq!(dictionary("").unwrap(), []);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for text in [
            "a=1, a=2",
            "a=1,",
            ",a=1",
            "a=1 b=2",
            "A=1",
            "=1",
            "a=",
            "a=1.5",
            "a=@1",
            "a=%\"x\"",
            "a=1234567890123456",
            "a=\"x",
            "a=\"\\x\"",
            "a=\"é\"",
            "a=:aGk:",
            "a=:aGk=",
            "a=:a-_=:",
            "a=?2",
            "a=(",
            "a=(1",
            "a=(1)(2)",
            "a=(\"x\"\"y\")",
            "a=();b;b",
            "a=();B",
            "a=1;",
            "a==1",
            "a=(1\t2)",
            "a=\"\u{7f}\"",
            "a=-",
            "a=()x",
        ] {
            assert!(dictionary(text).is_err(), "{text}");
        }
        assert!(dictionary(&format!("a=\"{}\"", "x".repeat(MAX_TEXT))).is_err());
        let many: Vec<String> = (0..=MAX_ITEMS).map(|n| format!("k{n}")).collect();
        assert!(dictionary(&many.join(",")).is_err());
        assert!(dictionary(&format!("a=({})", many.join(" "))).is_err());
        assert!(dictionary(&format!("a;{}", many.join(";"))).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_itself(text in r#"[ab=();,"\\:?01 \t-]{0,40}"#) {
            let Ok(read) = dictionary(&text) else { return Ok(()) };
            for (_, member) in read {
                let mut out = "k=".to_owned();
                match &member {
                    Member::Inner(items, parameters) => inner_list(&mut out, items, parameters),
                    Member::Item((bare, parameters)) => {
                        write_bare(&mut out, bare);
                        write_parameters(&mut out, parameters);
                    }
                }
                let again = dictionary(&out).map(|mut again| again.remove(0).1);
                prop_assert_eq!(again, Ok(member));
            }
        }
    }
}
