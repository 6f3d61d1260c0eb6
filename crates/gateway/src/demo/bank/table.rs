//! How the two outcomes are shown: a table of at most 80 columns, or JSON.

use serde_json::{Value, json};

use super::Store;
use super::race::{AMOUNT, OPENING, Outcome, Raced};

/// As a table, with a few words around it.
pub(super) fn text(store: Store, outcome: &Outcome) -> String {
    let above = match store {
        Store::Redis => {
            "Three gateways over a Redis that was started for this; one Lockgate above them."
        }
        Store::Memory { asked: true } => {
            "One gateway, its leases in memory (--memory); one Lockgate above it."
        }
        Store::Memory { asked: false } => {
            "redis-server is not installed: one gateway, its leases in memory; one above it."
        }
    };
    let head = ("accepted", "refused", "balance after", "should be");
    let mut lines = vec![
        above.to_owned(),
        "Below: the accounts services A and B, two processes each, over one SQLite file."
            .to_owned(),
        "A debit reads the balance, waits 200 ms, and writes what follows.".to_owned(),
        String::new(),
        format!("A balance of {OPENING}, and three debits of {AMOUNT} at once:"),
        String::new(),
        format!("{:<18}{:>9}{:>9}{:>15}{:>11}", "", head.0, head.1, head.2, head.3),
        row("without serialize", &outcome.without),
        row("with serialize", &outcome.with),
        String::new(),
    ];
    lines.push(verdict(outcome));
    lines.join("\n")
}

fn row(name: &str, raced: &Raced) -> String {
    let Raced { accepted, refused, balance, should_be, .. } = raced;
    format!("{name:<18}{accepted:>9}{refused:>9}{balance:>15}{should_be:>11}")
}

fn verdict(outcome: &Outcome) -> String {
    if !outcome.is_as_promised() {
        return "This is NOT as promised.".to_owned();
    }
    let lost = outcome.without.balance - outcome.without.should_be;
    format!(
        "Without: all read {OPENING} before any wrote, and {lost} were paid out that the balance\n\
         does not know of. With: one at a time for each account, so one fits and two are\n\
         refused. Both as promised; every process has ended."
    )
}

/// As JSON.
pub(super) fn json(store: Store, outcome: &Outcome) -> Value {
    let store = match store {
        Store::Redis => "redis",
        Store::Memory { .. } => "memory",
    };
    json!({
        "store": store,
        "opening": OPENING,
        "debit": AMOUNT,
        "without": outcome.without,
        "with": outcome.with,
        "as_promised": outcome.is_as_promised(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(lost: bool) -> Outcome {
        let with = Raced { accepted: 1, refused: 2, balance: 30, should_be: 30, gateways: 3 };
        let without = Raced { accepted: 3, refused: 0, balance: 30, should_be: -60, gateways: 3 };
        if lost { Outcome { without, with } } else { Outcome { without: with.clone(), with } }
    }

    #[test]
    fn it_fits_a_terminal_and_says_which_store() {
        for (store, word) in [
            (Store::Redis, "Redis"),
            (Store::Memory { asked: true }, "--memory"),
            (Store::Memory { asked: false }, "not installed"),
        ] {
            let text = text(store, &outcome(true));
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
            assert!(text.contains(word) && text.contains("as promised"), "{text}");
        }
    }

    #[test]
    fn a_race_that_nobody_lost_is_not_what_was_promised() {
        assert!(outcome(true).is_as_promised());
        assert!(!outcome(false).is_as_promised());
        assert!(text(Store::Redis, &outcome(false)).contains("NOT"));
        let mut outcome = outcome(true);
        outcome.with.balance = -15;
        assert!(!outcome.is_as_promised());
    }
}
