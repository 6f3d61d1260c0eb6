//! The ledger's two halves, in every order that matters.

use super::ledger::{Begun, Ended, Ledger, Movement, Stopped};

struct Folder(std::path::PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A ledger with the account `a`, and 75 on it.
fn ledger(name: &str) -> (Ledger, Folder) {
    let folder =
        std::env::temp_dir().join(format!("lockgate-ledger-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let ledger = Ledger::open(&folder.join("bank.db")).unwrap();
    assert_eq!(ledger.create("a", 75), Ok(true));
    assert_eq!(ledger.create("a", 1_000), Ok(false), "an account is opened once");
    (ledger, Folder(folder))
}

fn debit(amount: i64, key: &str, fence: i64) -> Movement {
    let (key, fence) = (Some(key.to_owned()), Some(fence));
    Movement { account: "a".to_owned(), change: -amount, key, fence }
}

fn begin(ledger: &Ledger, movement: Movement, fenced: bool) -> Begun {
    ledger.begin(movement, fenced).unwrap().unwrap()
}

fn standing(ledger: &Ledger) -> (i64, i64, i64) {
    let account = serde_json::json!(ledger.account("a").unwrap().unwrap());
    let number = |name: &str| account[name].as_i64().unwrap();
    (number("balance"), number("by_history"), number("movements"))
}

#[test]
fn two_at_once_lose_money_when_nobody_guards_them() {
    let (ledger, _folder) = ledger("race");
    let first = begin(&ledger, debit(45, "x", 1), false);
    let second = begin(&ledger, debit(45, "y", 2), false);
    assert_eq!(ledger.finish(first), Ok(Ended::Accepted(30)));
    assert_eq!(ledger.finish(second), Ok(Ended::Accepted(30)));
    assert_eq!(standing(&ledger), (30, -15, 2), "the history knows what the balance lost");
}

#[test]
fn one_after_the_other_is_right_without_a_fence_too() {
    let (ledger, _folder) = ledger("turns");
    let first = begin(&ledger, debit(45, "x", 1), false);
    assert_eq!(ledger.finish(first), Ok(Ended::Accepted(30)));
    let second = begin(&ledger, debit(45, "y", 2), false);
    assert_eq!(ledger.finish(second), Ok(Ended::Refused(30)));
    assert_eq!(standing(&ledger), (30, 30, 1));
}

#[test]
fn an_older_token_cannot_write_once_a_newer_one_has_read() {
    let (ledger, _folder) = ledger("fence");
    let late = begin(&ledger, debit(45, "x", 1), true);
    let next = begin(&ledger, debit(45, "y", 2), true);
    // The order that a check at the writing alone would let through.
    assert_eq!(ledger.finish(late), Err(Stopped::Stale { seen: 2 }));
    assert_eq!(ledger.finish(next), Ok(Ended::Accepted(30)));
    let back = ledger.begin(debit(45, "z", 1), true).map(|_| ());
    assert_eq!(back, Err(Stopped::Stale { seen: 2 }));
    assert_eq!(standing(&ledger), (30, 30, 1));
}

#[test]
fn a_token_belongs_to_one_request() {
    let (ledger, _folder) = ledger("token");
    let first = begin(&ledger, debit(5, "x", 7), true);
    let other = ledger.begin(debit(5, "y", 7), true).map(|_| ());
    assert_eq!(other, Err(Stopped::Stale { seen: 7 }));
    // The same request once more, while it is under way: applied once, and both are told so.
    let again = begin(&ledger, debit(5, "x", 7), true);
    assert_eq!(ledger.finish(first), Ok(Ended::Accepted(70)));
    assert_eq!(ledger.finish(again), Ok(Ended::Accepted(70)));
    assert_eq!(standing(&ledger), (70, 70, 1));
}

#[test]
fn a_key_has_one_end_whatever_it_was() {
    let (ledger, _folder) = ledger("key");
    let first = begin(&ledger, debit(80, "x", 1), true);
    assert_eq!(ledger.finish(first), Ok(Ended::Refused(75)));
    let credit = Movement { change: 100, ..debit(0, "more", 2) };
    let credit = begin(&ledger, credit, true);
    assert_eq!(ledger.finish(credit), Ok(Ended::Accepted(175)));
    let again = ledger.begin(debit(80, "x", 3), true).unwrap();
    assert_eq!(again.unwrap_err(), Ended::Refused(75), "asked again, it has the end that it had");
    let other = ledger.begin(debit(81, "x", 4), true).map(|_| ());
    assert_eq!(other, Err(Stopped::KeyReused));
    assert_eq!(standing(&ledger), (175, 175, 1));
}

#[test]
fn fenced_nothing_moves_without_a_key_and_a_token() {
    let (ledger, _folder) = ledger("bare");
    for movement in
        [Movement { key: None, ..debit(5, "x", 1) }, Movement { fence: None, ..debit(5, "x", 1) }]
    {
        assert_eq!(ledger.begin(movement, true).map(|_| ()), Err(Stopped::Unguarded));
    }
    let nobody = Movement { account: "b".to_owned(), ..debit(5, "x", 1) };
    assert_eq!(ledger.begin(nobody, true).map(|_| ()), Err(Stopped::NoAccount));
    let huge = Movement { change: i64::MAX, ..debit(0, "x", 1) };
    let huge = begin(&ledger, huge, true);
    assert_eq!(ledger.finish(huge), Err(Stopped::TooMuch));
    assert_eq!(standing(&ledger), (75, 75, 0));
}
