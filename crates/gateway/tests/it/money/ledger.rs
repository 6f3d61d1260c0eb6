//! The ledger, read past the service: its balances against its history, and its history against
//! what the clients were told.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::client::Told;

struct Entry {
    account: String,
    change: i64,
    before: i64,
    after: i64,
    key: String,
}

/// A ledger as it stands.
pub(super) struct Ledger {
    /// Name → what it was opened with, and its balance.
    accounts: BTreeMap<String, (i64, i64)>,
    history: Vec<Entry>,
}

/// What is wrong with it; a sentence each.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Balances that are not what their history adds up to.
    pub(super) unequal: Vec<String>,
    /// Entries written over a balance that was not the current one any more.
    pub(super) stale: Vec<String>,
    /// Balances below zero, written or by history.
    pub(super) below_zero: Vec<String>,
    /// Keys that were applied more than once.
    pub(super) twice: Vec<String>,
    /// What a client was told and the history does not have, or the other way round.
    pub(super) contradicted: Vec<String>,
}

impl Findings {
    /// Asserts that everything is right.
    pub(super) fn assert_none(&self) {
        self.assert_kept();
        assert!(self.unequal.is_empty(), "{self:#?}");
        assert!(self.stale.is_empty(), "{self:#?}");
        assert!(self.below_zero.is_empty(), "{self:#?}");
    }

    /// Asserts what holds when turns were not kept, too: each key at most once, and as was told.
    pub(super) fn assert_kept(&self) {
        assert!(self.twice.is_empty(), "{self:#?}");
        assert!(self.contradicted.is_empty(), "{self:#?}");
    }
}

impl Ledger {
    /// Reads it whole.
    pub(super) fn read(file: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let mut accounts = BTreeMap::new();
        let mut query = connection.prepare("SELECT id, opening, balance FROM accounts")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            accounts.insert(row.get(0)?, (row.get(1)?, row.get(2)?));
        }
        let mut history = Vec::new();
        let entries = "SELECT account, change, before, after, key FROM history ORDER BY n";
        let mut query = connection.prepare(entries)?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let (account, change, before) = (row.get(0)?, row.get(1)?, row.get(2)?);
            history.push(Entry { account, change, before, after: row.get(3)?, key: row.get(4)? });
        }
        Ok(Self { accounts, history })
    }

    /// Everything that is wrong with it, given what clients were told.
    pub(super) fn findings(&self, told: &[Told]) -> Findings {
        let mut found = Findings::default();
        self.add_up(&mut found);
        self.compare(told, &mut found);
        found
    }

    fn add_up(&self, found: &mut Findings) {
        let mut running: BTreeMap<&str, i64> =
            self.accounts.iter().map(|(name, (opening, _))| (name.as_str(), *opening)).collect();
        for Entry { account, change, before, after, key } in &self.history {
            let balance = running.get_mut(account.as_str()).expect("an entry's account");
            if before != balance {
                found.stale.push(format!("{account}, {key}: over {before}, it was {balance}"));
            }
            *balance += change;
            if *balance < 0 || *after < 0 {
                found.below_zero.push(format!("{account}, {key}: {balance}, written {after}"));
            }
        }
        for (name, (_, balance)) in &self.accounts {
            let by_history = running[name.as_str()];
            if *balance != by_history {
                found.unequal.push(format!("{name}: {balance}, by its history {by_history}"));
            }
        }
    }

    fn compare(&self, told: &[Told], found: &mut Findings) {
        let mut by_key: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
        for entry in &self.history {
            by_key.entry(&entry.key).or_default().push(entry);
        }
        for (key, entries) in by_key.iter().filter(|(_, entries)| entries.len() > 1) {
            found.twice.push(format!("{key}: {} times", entries.len()));
        }
        for one in told {
            let entry = by_key.remove(one.key.as_str()).and_then(|all| all.first().copied());
            let fits = match entry {
                None => !one.is_accepted(),
                Some(entry) => {
                    !one.is_refused()
                        && (entry.account.as_str(), entry.change)
                            == (one.account.as_str(), one.change)
                }
            };
            if !fits {
                let written = entry.map(|entry| (&entry.account, entry.change));
                found.contradicted.push(format!("{one:?}, in the history: {written:?}"));
            }
        }
        for key in by_key.keys() {
            found.contradicted.push(format!("{key}: nobody asked for it"));
        }
    }
}
