//! Writes a new policy: a folder that builds, a case that passes, a README in its form, and its
//! two words in the list. Refuses names that are taken, or that mean something else in a route.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Keys that a route has of its own, and words that Rust keeps.
const TAKEN: [&str; 34] = [
    "to", "when", "rewrite", "timeout", "retry", "priority", "tags", "off", "route", "request",
    "upstream", "answer", "fields", "cases", "list", "as", "async", "await", "box", "break",
    "const", "crate", "dyn", "else", "enum", "extern", "for", "if", "impl", "match", "move",
    "static", "type", "where",
];

/// Writes it below `root`.
///
/// # Errors
/// A bad or taken name, or a list that is not in its known form. Nothing is written then.
pub(crate) fn write(root: &Path, name: &str) -> Result<()> {
    let source = root.join("crates/plugins/src");
    check(name)?;
    let folder = source.join(name);
    if folder.exists() {
        bail!("`{name}` is taken: {} exists", folder.display());
    }
    let list_file = source.join("list.rs");
    let list = fs::read_to_string(&list_file).with_context(|| list_file.display().to_string())?;
    let list = listed(&list, name).with_context(|| list_file.display().to_string())?;
    fs::create_dir_all(folder.join("cases"))?;
    let fill = |template: &str| template.replace("NAME", name).replace("Type", &camel(name));
    fs::write(folder.join("mod.rs"), fill(include_str!("new_policy/mod.rs.txt")))?;
    fs::write(folder.join("README.md"), fill(include_str!("new_policy/README.md.txt")))?;
    fs::write(folder.join("cases/basic.yaml"), fill(include_str!("new_policy/basic.yaml.txt")))?;
    fs::write(&list_file, list)?;
    println!("wrote crates/plugins/src/{name}/ and its entry in list.rs. Next:");
    println!("  its stage, its settings and its hooks    crates/plugins/src/{name}/mod.rs");
    println!("  what must come of it                     crates/plugins/src/{name}/cases/");
    println!("  cargo test -p lockgate-plugins && cargo xtask docs");
    Ok(())
}

fn check(name: &str) -> Result<()> {
    let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let begins = name.bytes().next().is_some_and(|first| first.is_ascii_lowercase());
    if !letters || !begins || name.ends_with('_') || name.contains("__") || name.len() > 40 {
        bail!("`{name}` is no name for a policy: use snake case, such as `rate_limit`");
    }
    if TAKEN.contains(&name) {
        bail!("`{name}` already means something else in a route or in Rust");
    }
    Ok(())
}

/// The list with the policy's two words in it: modules in the order of the alphabet, policies after
/// those that are there.
fn listed(list: &str, name: &str) -> Result<String> {
    let mut lines: Vec<String> = list.lines().map(str::to_owned).collect();
    let module = |line: &str| {
        let name = line.strip_prefix("mod ")?.strip_suffix(';')?;
        (name != "cases").then(|| name.to_owned())
    };
    let after = lines.iter().rposition(|line| module(line).is_some_and(|other| *other < *name));
    let first = lines.iter().position(|line| module(line).is_some());
    let first = first.context("the list has no modules")?;
    lines.insert(after.map_or(first, |place| place + 1), format!("mod {name};"));
    let end = lines.iter().position(|line| line.trim() == "// handlers");
    let end = end.context("the list has no line `// handlers`, before which policies stand")?;
    lines.insert(end, format!("    Plugin::Policy(&{name}::{}),", camel(name)));
    Ok(lines.join("\n") + "\n")
}

fn camel(name: &str) -> String {
    let mut out = String::new();
    for word in name.split('_') {
        let mut letters = word.chars();
        out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        out.push_str(letters.as_str());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_are_refused() {
        for name in ["", "A", "a-b", "1a", "_a", "a_", "a__b", "a/b", "../a", "to", "match", "é"] {
            assert!(check(name).is_err(), "{name}");
        }
        for name in ["cors", "rate_limit", "a2"] {
            assert!(check(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn the_list_gains_two_lines_in_their_places() {
        let list = "//! x\n\nmod a;\nmod m;\n\n#[cfg(test)]\nmod cases;\n\n&[\n    \
                    Plugin::Policy(&m::M),\n    // handlers\n    Plugin::Handler(&a::A),\n];\n";
        let new = listed(list, "ip_list").unwrap();
        assert!(new.contains("mod a;\nmod ip_list;\nmod m;\n"), "{new}");
        let entry = "&m::M),\n    Plugin::Policy(&ip_list::IpList),\n    // handlers";
        assert!(new.contains(entry), "{new}");
        assert!(listed(list, "a0").unwrap().contains("mod a;\nmod a0;\nmod m;\n"));
        assert!(listed("mod a;\n", "b").is_err());
    }
}
