//! Any text as a configuration: nothing panics, every problem stands on a line of the text, and
//! what loads can be formatted without a change of meaning.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockgate_config::{format, load_str};

fuzz_target!(|text: &str| {
    match load_str("fuzz.yaml", text, &[]) {
        Err(report) => {
            assert!(!report.problems.is_empty());
            // YAML ends lines at a lone CR too.
            let lines = text.split(['\n', '\r']).count();
            assert!(report.problems.iter().all(|problem| problem.line <= lines + 1));
            let _ = report.render(false);
        }
        Ok(loaded) => {
            let Ok(formatted) = format("fuzz.yaml", text) else { return };
            let again = load_str("fuzz.yaml", &formatted, &[]);
            assert_eq!(again.map(|again| again.document).ok(), Some(loaded.document));
        }
    }
});
