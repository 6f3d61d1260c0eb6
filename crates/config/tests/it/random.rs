//! Whatever comes in, something sensible comes out: a document, or problems with places.

use lockgate_config::format;
use proptest::prelude::*;

use crate::examples::{BANK, SHORT, SPELLINGS};
use crate::fake::{read, read_as};

/// Loads, renders, formats; panics are what is looked for.
fn survive(name: &str, text: &str) {
    if let Err(report) = read_as(name, text) {
        assert!(!report.problems.is_empty());
        assert!(report.render(true).ends_with('\n'));
        let lines = text.lines().count().max(1);
        for problem in &report.problems {
            assert!(problem.line <= lines + 1, "{} of {lines}: {}", problem.line, problem.message);
        }
    }
    if let Ok(laid_out) = format(name, text) {
        assert_eq!(format(name, &laid_out).as_deref(), Ok(laid_out.as_str()), "not stable");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text(text in "\\PC{0,200}") {
        survive("x.yaml", &text);
        survive("x.toml", &text);
        survive("x.json", &text);
    }

    #[test]
    fn text_of_yaml_signs(text in "[a-c0-1:,\\-\\[\\]{}#&*!|>'\"%@`?~$/ \\n\\t]{0,120}") {
        survive("x.yaml", &text);
        survive("x.toml", &text);
    }

    #[test]
    fn documents_with_a_part_changed(
        which in 0..3_usize,
        at in 0.0..1.0_f64,
        cut in 0..30_usize,
        put in "[a-z0-9:,\\-\\[\\]{}#\"'$ \\n]{0,12}",
    ) {
        let text = [SHORT, BANK, SPELLINGS][which];
        let mut from = (text.len() as f64 * at) as usize;
        while !text.is_char_boundary(from) {
            from -= 1;
        }
        let mut to = (from + cut).min(text.len());
        while !text.is_char_boundary(to) {
            to += 1;
        }
        let changed = format!("{}{put}{}", &text[..from], &text[to..]);
        survive("tests/data/x.yaml", &changed);
    }

    #[test]
    fn a_value_of_another_kind_anywhere(which in 0..3_usize, line in 0..40_usize, put in prop_oneof![
        Just("[]"), Just("{}"), Just("~"), Just("off"), Just("-1"), Just("[[{}]]"), Just("\"\""),
        Just("${env:SECRET}"), Just("{ a: { b: [1] } }"), Just("99999999999999999999"),
    ]) {
        let text = [SHORT, BANK, SPELLINGS][which];
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let line = line % lines.len();
        if let Some((key, _)) = lines[line].clone().split_once(": ") {
            lines[line] = format!("{key}: {put}");
        }
        let text = lines.join("\n");
        survive("tests/data/x.yaml", &text);
        let shown = format!("{:?}", read(&text).map(|loaded| loaded.document));
        prop_assert!(!shown.contains("s3cr3t"), "{shown}");
    }
}
