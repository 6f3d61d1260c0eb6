//! Blanks out what is not code: the insides of comments, strings and character literals become
//! spaces, line for line, so that braces and words can be looked for in what is left.

/// The text with everything but code blanked. As many lines as before.
pub(super) fn blank(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(&letter) = letters.get(at) {
        let end = match letter {
            '/' if letters.get(at + 1) == Some(&'/') => line_end(&letters, at),
            '/' if letters.get(at + 1) == Some(&'*') => comment_end(&letters, at),
            '"' => string_end(&letters, at + 1),
            'r' | 'b' | 'c' if !is_word(&letters, at) => raw_end(&letters, at).unwrap_or(at),
            '\'' => character_end(&letters, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            out.push(letter);
            at += 1;
            continue;
        }
        for blanked in letters.get(at..end).unwrap_or_default() {
            out.push(if *blanked == '\n' { '\n' } else { ' ' });
        }
        at = end;
    }
    out
}

/// Whether the letter before belongs to the same word.
fn is_word(letters: &[char], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| letters.get(before));
    before.is_some_and(|letter| letter.is_alphanumeric() || *letter == '_')
}

fn line_end(letters: &[char], at: usize) -> usize {
    let rest = letters.get(at..).unwrap_or_default();
    at + rest.iter().position(|letter| *letter == '\n').unwrap_or(rest.len())
}

fn comment_end(letters: &[char], begin: usize) -> usize {
    let (mut at, mut depth) = (begin, 0_usize);
    while at < letters.len() {
        match (letters.get(at), letters.get(at + 1)) {
            (Some('/'), Some('*')) => {
                depth += 1;
                at += 2;
            }
            (Some('*'), Some('/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    letters.len()
}

/// The place after the closing quote of a string whose inside begins at `at`.
fn string_end(letters: &[char], mut at: usize) -> usize {
    while let Some(letter) = letters.get(at) {
        match letter {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    letters.len()
}

/// `r"…"`, `r#"…"#`, `b"…"`, `br#"…"#`, `c"…"`, `b'…'`; `None` when it is a plain word.
fn raw_end(letters: &[char], begin: usize) -> Option<usize> {
    let mut at = begin;
    while matches!(letters.get(at), Some('r' | 'b' | 'c')) {
        at += 1;
    }
    if at - begin > 2 {
        return None;
    }
    let raw = letters.get(begin..at)?.contains(&'r');
    let first = at;
    while raw && letters.get(at) == Some(&'#') {
        at += 1;
    }
    let hashes = at - first;
    match letters.get(at) {
        Some('\'') if !raw => character_end(letters, at),
        Some('"') if !raw => Some(string_end(letters, at + 1)),
        Some('"') => {
            at += 1;
            while at < letters.len() {
                let after = letters.get(at + 1..at + 1 + hashes)?;
                if letters.get(at) == Some(&'"') && after.iter().all(|letter| *letter == '#') {
                    return Some(at + 1 + hashes);
                }
                at += 1;
            }
            Some(letters.len())
        }
        _ => None,
    }
}

/// The end of a character literal; `None` for a lifetime.
fn character_end(letters: &[char], at: usize) -> Option<usize> {
    if letters.get(at + 1) == Some(&'\\') {
        let rest = letters.get(at + 3..)?;
        return Some(at + 4 + rest.iter().position(|letter| *letter == '\'')?);
    }
    (letters.get(at + 2) == Some(&'\'')).then_some(at + 3)
}

#[cfg(test)]
mod tests {
    use super::blank;

    #[test]
    fn only_code_is_left() {
        for (text, left) in [
            ("a { // }", "a {"),
            ("a /* { /* } */ */ b", "a b"),
            ("a \"}\\\"}\" b", "a b"),
            ("a r#\"}\"}\"# b", "a b"),
            ("a b\"}\" b'{' c", "a c"),
            ("a '{' '\\'' '\\u{7b}' b", "a b"),
            ("fn a<'b>(c: &'b str) {", "fn a<'b>(c: &'b str) {"),
            ("for r in rows {}", "for r in rows {}"),
            ("/// x\nfn a() {}", "fn a() {}"),
            ("\"a\n{\"", ""),
        ] {
            let blanked = blank(text);
            assert_eq!(blanked.split_whitespace().collect::<Vec<_>>().join(" "), left, "{text}");
            assert_eq!(blanked.len(), text.len(), "{text}");
            assert_eq!(blanked.lines().count(), text.lines().count(), "{text}");
        }
    }

    #[test]
    fn nothing_unfinished_runs_over_the_end() {
        for text in ["\"", "'", "r#\"", "/*", "b'", "'\\", "r", "\"\\", "br##\"x\"#"] {
            assert!(blank(text).len() <= text.len(), "{text}");
        }
    }
}
