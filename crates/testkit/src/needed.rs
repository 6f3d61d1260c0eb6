//! What a test needs of the machine and does not find: that is a failure, unless a variable of the
//! environment says for this one thing that its tests may be skipped. A test that passes because
//! it did nothing is worse than none.

use std::process::Command;

/// Asserts that a program can be run.
///
/// # Panics
/// When it is not there.
pub fn needs(program: &str) {
    let found = Command::new(program).arg("--version").output();
    assert!(found.is_ok(), "{program} is not installed: `cargo xtask test` installs it");
}

/// Says that something is missing, where `variable` is 1 and the test may be skipped.
///
/// # Panics
/// Where it is not.
pub fn may_be_skipped(variable: &str, missing: &str) {
    let allowed = std::env::var_os(variable).is_some_and(|value| value == "1");
    assert!(allowed, "{missing}; with {variable}=1 they are skipped");
    eprintln!("\n**** SKIPPED: {missing} ****\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "lockgate-no-such-program is not installed")]
    fn what_is_missing_fails() {
        needs("lockgate-no-such-program");
    }

    #[test]
    #[should_panic(expected = "the tests need a moon; with LOCKGATE_SKIP_MOON=1 they are skipped")]
    fn nothing_is_skipped_that_nobody_has_named() {
        may_be_skipped("LOCKGATE_SKIP_MOON", "the tests need a moon");
    }
}
