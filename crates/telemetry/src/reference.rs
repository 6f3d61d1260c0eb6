//! Keeps the generated parts of `docs/reference` equal to the tables in the code. With
//! `LOCKGATE_WRITE_DOCS` set, the test writes the page instead of comparing it.

use std::path::Path;
use std::{env, fs};

const BEGIN: &str = "<!-- generated: begin -->\n";
const END: &str = "<!-- generated: end -->\n";

/// Asserts that what stands between the marks of a page is `generated`.
pub(crate) fn agrees(page: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(page);
    let text = fs::read_to_string(&path).unwrap();
    let (head, rest) = text.split_once(BEGIN).unwrap();
    let (found, tail) = rest.split_once(END).unwrap();
    if env::var_os("LOCKGATE_WRITE_DOCS").is_some() {
        return fs::write(path, format!("{head}{BEGIN}{generated}{END}{tail}")).unwrap();
    }
    assert_eq!(found, generated, "run this test with LOCKGATE_WRITE_DOCS=1 to renew {page}");
}
