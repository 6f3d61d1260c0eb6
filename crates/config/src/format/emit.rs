//! Writes a value as block YAML, quoting what would be read as something else.

use serde_json::Value;

/// The value as a YAML document.
pub(crate) fn emit(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => block(value, 0, &mut out),
        Value::Array(items) if !items.is_empty() => block(value, 0, &mut out),
        _ => {
            scalar(value, &mut out);
            out.push('\n');
        }
    }
    out
}

fn block(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(map) => {
            for (place, (key, value)) in map.iter().enumerate() {
                if place > 0 || !out.ends_with("- ") {
                    indent(depth, out);
                }
                text(key, out);
                out.push(':');
                nested(value, depth, out);
            }
        }
        Value::Array(items) => {
            for item in items {
                indent(depth, out);
                out.push_str("- ");
                match item {
                    Value::Object(map) if !map.is_empty() => block(item, depth + 1, out),
                    Value::Array(items) if !items.is_empty() => flow(item, out),
                    _ => flow(item, out),
                }
                if !out.ends_with('\n') {
                    out.push('\n');
                }
            }
        }
        _ => {}
    }
}

fn nested(value: &Value, depth: usize, out: &mut String) {
    let deep = match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => items.iter().any(|item| item.is_object() || item.is_array()),
        _ => false,
    };
    if deep {
        out.push('\n');
        block(value, depth + 1, out);
    } else {
        out.push(' ');
        flow(value, out);
        out.push('\n');
    }
}

/// On one line.
fn flow(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            out.push('{');
            for (place, (key, value)) in map.iter().enumerate() {
                out.push_str(if place > 0 { ", " } else { " " });
                text(key, out);
                out.push_str(": ");
                flow(value, out);
            }
            out.push_str(if map.is_empty() { "}" } else { " }" });
        }
        Value::Array(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push_str(", ");
                }
                flow(item, out);
            }
            out.push(']');
        }
        other => scalar(other, out),
    }
}

fn indent(depth: usize, out: &mut String) {
    out.push_str(&"  ".repeat(depth));
}

fn scalar(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push('~'),
        Value::Bool(false) => out.push_str("off"),
        Value::String(word) => text(word, out),
        other => out.push_str(&other.to_string()),
    }
}

/// A plain word where it is surely read as that word, else in double quotes.
fn text(word: &str, out: &mut String) {
    let first = word.chars().next();
    let begins = first.is_some_and(|c| c.is_ascii_alphabetic() || "/_.".contains(c));
    let inside = |c: char| c.is_ascii_alphanumeric() || "/_.-+*%() ".contains(c);
    let meant = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"];
    let special =
        meant.iter().any(|other| word.trim_start_matches('.').eq_ignore_ascii_case(other));
    let percent_or_time = first.is_some_and(|c| c.is_ascii_digit())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || "%/".contains(c))
        && word.chars().any(|c| c.is_ascii_alphabetic() || c == '%')
        && !word.chars().any(|c| "eExXoObB".contains(c) && word.len() < 4)
        && word.parse::<f64>().is_err();
    let plain =
        (begins && word.chars().all(inside) && !special && !word.ends_with(' ')) || percent_or_time;
    if plain {
        out.push_str(word);
        return;
    }
    // JSON's quoting is YAML's.
    out.push_str(&Value::from(word).to_string());
}
