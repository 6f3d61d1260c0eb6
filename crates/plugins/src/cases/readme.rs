//! Holds every README to its form: the five headings in their order, and examples that build.

use std::fs;

use super::{folder, run, runtime, yaml};
use crate::ALL;

const HEADINGS: [&str; 5] = ["What it does", "When to use it", "Example", "Works with", "Limits"];

#[test]
fn every_readme_has_its_form_and_its_examples_build() {
    let runtime = runtime();
    // Building may begin work in the background.
    let _inside = runtime.enter();
    for plugin in ALL {
        let name = plugin.name();
        let text = fs::read_to_string(folder().join(name).join("README.md")).unwrap();
        assert!(text.starts_with(&format!("# {name}\n")), "{name}: the title is its name");
        let headings: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(headings, HEADINGS, "{name}");
        let mut built = 0;
        for example in examples(&text) {
            let documents = yaml::read(example).unwrap_or_else(|e| panic!("{name}: {e}"));
            for document in documents {
                built += run::example(&document).unwrap_or_else(|e| panic!("{name}: {e}"));
                assert!(example.contains(&format!("{name}:")), "{name}: another's example");
            }
        }
        assert!(built > 0, "{name}: its README shows no route");
    }
}

/// The texts inside fences marked `yaml`.
fn examples(text: &str) -> Vec<&str> {
    text.split("```yaml\n").skip(1).filter_map(|part| part.split("```").next()).collect()
}
