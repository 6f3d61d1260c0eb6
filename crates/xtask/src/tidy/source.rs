//! The rules of one source file: its first line, its size, its columns, its functions' sizes, its
//! names. Tests are held to the first line and the names alone.

use std::path::Path;

use super::Violation;
use super::blank::blank;

const MAX_LINES: usize = 600;
const MAX_FUNCTION: usize = 70;
const MAX_COLUMNS: usize = 100;

/// Words that say nothing of what a thing does.
const EMPTY_NAMES: [&str; 7] = ["util", "utils", "common", "manager", "helper", "helpers", "misc"];

/// Holds one file to the rules.
pub(super) fn check(file: &Path, text: &str) -> Vec<Violation> {
    let code = blank(text);
    let mut violations = Vec::new();
    let mut add = |line: usize, what: String| violations.push(Violation::new(file, line, what));
    if !text.starts_with("//!") {
        add(1, "open the file with a `//!` paragraph: its job, and what it refuses".to_owned());
    }
    for (line, what) in names(file, &code).into_iter().chain(leftovers(&code)) {
        add(line, what);
    }
    if is_test(file) {
        return violations;
    }
    let lines = code.lines().collect::<Vec<_>>();
    let end = lines.windows(2).position(|pair| match pair {
        [first, second] => first.trim() == "#[cfg(test)]" && second.ends_with("mod tests {"),
        _ => false,
    });
    let own = end.unwrap_or(lines.len());
    for (number, line) in text.lines().take(own).enumerate() {
        let columns = line.chars().count();
        // A sentence for people stays whole, so that it can be searched for.
        let sentence = line.trim_end_matches([' ', ',', ';', ')', '}']).ends_with('"');
        if columns > MAX_COLUMNS && !sentence {
            add(number + 1, format!("{columns} columns, where {MAX_COLUMNS} are the limit"));
        }
    }
    if own > MAX_LINES {
        let what = format!("{own} lines, where {MAX_LINES} are the limit: split by what it does");
        add(MAX_LINES + 1, what);
    }
    for (line, name, length) in functions(lines.get(..own).unwrap_or_default()) {
        if length > MAX_FUNCTION {
            let what = format!("`{name}` has {length} lines, where {MAX_FUNCTION} are the limit");
            add(line, format!("{what}: name its parts"));
        }
    }
    violations
}

/// Tests and benches have their own files, or stand in a folder of that name.
fn is_test(file: &Path) -> bool {
    let folder = |name: &str| file.components().any(|part| part.as_os_str() == name);
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    folder("tests") || folder("benches") || folder("cases") || stem == "tests"
}

/// Each function's first line, name and number of lines.
fn functions(lines: &[&str]) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let mut depth = 0_usize;
        for (count, line) in lines.iter().skip(number).enumerate() {
            let opened = line.matches('{').count();
            let closed = line.matches('}').count();
            let bodiless = depth == 0 && opened == 0 && line.trim_end().ends_with(';');
            depth = (depth + opened).saturating_sub(closed);
            if bodiless || (depth == 0 && opened + closed > 0) {
                found.push((number + 1, name.to_owned(), count + 1));
                break;
            }
        }
    }
    found
}

/// The name of the function that begins on this line.
fn function_name(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let mut word = words.next()?;
    while word == "async"
        || word == "const"
        || word == "unsafe"
        || word == "extern"
        || word.starts_with("pub")
    {
        word = words.next()?;
    }
    let name = (word == "fn").then(|| words.next())??;
    name.split(['(', '<']).next()
}

fn names(file: &Path, code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for part in file.components().map(|part| part.as_os_str().to_string_lossy()) {
        let word = part.trim_end_matches(".rs");
        if EMPTY_NAMES.contains(&word) {
            found.push((1, format!("`{word}` says nothing: name the file by what it does")));
        }
    }
    for (number, line) in code.lines().enumerate() {
        let mut words = line.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        while let Some(word) = words.next() {
            if !matches!(word, "mod" | "struct" | "enum" | "trait" | "type" | "fn") {
                continue;
            }
            let name = words.next().unwrap_or_default();
            let camel = ["Util", "Utils", "Common", "Manager", "Helper", "Helpers"];
            let empty = EMPTY_NAMES.contains(&name) || camel.iter().any(|end| name.ends_with(end));
            if empty {
                found.push((number + 1, format!("`{name}` says nothing: name what it does")));
            }
        }
    }
    found
}

fn leftovers(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in code.lines().enumerate() {
        for word in ["todo!", "dbg!", "unimplemented!"] {
            if line.contains(word) {
                found.push((number + 1, format!("`{word}` is for work in progress: finish it")));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(file: &str, text: &str) -> Vec<(usize, String)> {
        check(Path::new(file), text).into_iter().map(|v| (v.line, v.what)).collect()
    }

    fn function(lines: usize) -> String {
        format!("//! x\nimpl X {{\n    pub(crate) async fn long<T>(\n{}    }}\n}}\n", body(lines))
    }

    fn body(lines: usize) -> String {
        let middle = "        a(\"{\");\n".repeat(lines - 4);
        format!("        x: T,\n    ) -> U {{\n{middle}")
    }

    #[test]
    fn a_file_says_what_it_is_for() {
        assert_eq!(broken("a.rs", "use x;\n")[0].0, 1);
        assert_eq!(broken("a.rs", "//! x\n"), []);
    }

    #[test]
    fn functions_are_counted_from_their_first_line_to_their_last() {
        assert_eq!(broken("a.rs", &function(70)), []);
        let found = broken("a.rs", &function(71));
        assert_eq!(found.len(), 1);
        assert!(found[0].0 == 3 && found[0].1.contains("`long` has 71 lines"), "{found:?}");
        assert_eq!(broken("tests/a.rs", &function(71)), []);
        let bodiless = format!("//! x\ntrait A {{\n    fn a();\n{}}}\n", "    // x\n".repeat(80));
        assert_eq!(broken("a.rs", &bodiless), []);
    }

    #[test]
    fn files_are_counted_without_their_tests() {
        let text = |own: usize, tests: usize| {
            let tests = "    // y\n".repeat(tests);
            format!("//! x\n{}#[cfg(test)]\nmod tests {{\n{tests}}}\n", "// x\n".repeat(own - 1))
        };
        assert_eq!(broken("a.rs", &text(600, 300)), []);
        assert_eq!(broken("a.rs", &text(601, 0)).len(), 1);
        assert_eq!(broken("tests.rs", &text(601, 0)), []);
    }

    #[test]
    fn columns_are_letters_not_bytes() {
        let line = |length: usize| format!("//! x\n// {}\n", "é".repeat(length - 3));
        assert_eq!(broken("a.rs", &line(100)), []);
        assert_eq!(broken("a.rs", &line(101))[0].0, 2);
        assert_eq!(broken("a.rs", &format!("//! x\n    \"{}\",\n", "x".repeat(120))), []);
        assert_eq!(broken("tests/a.rs", &line(101)), []);
    }

    #[test]
    fn empty_names_and_leftovers_are_found_in_code_alone() {
        assert_eq!(broken("src/utils.rs", "//! x\n").len(), 1);
        assert_eq!(broken("src/helper/mod.rs", "//! x\n").len(), 1);
        for line in ["mod common;", "struct PoolManager;", "fn helper() {}", "dbg!(x);", "todo!()"]
        {
            assert_eq!(broken("a.rs", &format!("//! x\n{line}\n")).len(), 1, "{line}");
            assert_eq!(broken("a.rs", &format!("//! x\n// {line}\n")), [], "{line}");
        }
        assert_eq!(broken("a.rs", "//! x\nuse hyper_util::rt;\nlet common = 1;\n"), []);
    }
}
