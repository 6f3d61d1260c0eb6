//! The ledger: accounts, their history, the keys that have been applied and the largest fencing
//! token seen of each account, in one SQLite file that several processes share. Reading and
//! writing are transactions of their own, on purpose; what makes the pair safe stands before the
//! service (one at a time) or in `Guard` (the token).

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use serde::Serialize;

/// Longest wait for another process that writes.
const BUSY: Duration = Duration::from_secs(10);

const TABLES: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS accounts (
        id TEXT PRIMARY KEY, opening INTEGER NOT NULL, balance INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS history (
        n INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL, change INTEGER NOT NULL,
        before INTEGER NOT NULL, after INTEGER NOT NULL, key TEXT, fence INTEGER
    ) STRICT;
    CREATE TABLE IF NOT EXISTS applied (
        key TEXT PRIMARY KEY, account TEXT NOT NULL, change INTEGER NOT NULL,
        accepted INTEGER NOT NULL, balance INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS fences (
        account TEXT PRIMARY KEY, fence INTEGER NOT NULL, key TEXT NOT NULL
    ) STRICT;
";

/// One movement of an account: a debit is a change below zero.
#[derive(Debug, Clone)]
pub(super) struct Movement {
    pub(super) account: String,
    pub(super) change: i64,
    pub(super) key: Option<String>,
    pub(super) fence: Option<i64>,
}

/// What a fenced movement is held to.
#[derive(Debug, Clone)]
struct Guard {
    key: String,
    fence: i64,
}

/// A movement that has been read and not yet written.
#[derive(Debug)]
pub(super) struct Begun {
    movement: Movement,
    balance: i64,
    guard: Option<Guard>,
}

/// How a movement ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It stands in the history; the balance after it.
    Accepted(i64),
    /// There was too little money; the balance that was read.
    Refused(i64),
}

/// Why a movement did not end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// There is no such account.
    NoAccount,
    /// Fenced, and the request has no key or no token.
    Unguarded,
    /// A request with a larger token has been here, or another one with this token.
    Stale { seen: i64 },
    /// The key belongs to another movement.
    KeyReused,
    /// The amount does not fit into a balance.
    TooMuch,
    /// The file failed.
    Failed(String),
}

impl From<rusqlite::Error> for Stopped {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// An account as it stands, beside what its history says.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub(super) struct Account {
    id: String,
    balance: i64,
    /// The opening balance and every change since: what the balance should be.
    by_history: i64,
    movements: i64,
}

/// An open ledger.
pub(super) struct Ledger(Mutex<Connection>);

impl Ledger {
    /// Opens the file, and makes what is missing in it.
    pub(super) fn open(file: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(file)?;
        connection.busy_timeout(BUSY)?;
        connection.execute_batch(TABLES)?;
        Ok(Self(Mutex::new(connection)))
    }

    /// Opens an account; whether there was none of this name.
    pub(super) fn create(&self, id: &str, opening: i64) -> Result<bool, Stopped> {
        let added = self.connection().execute(
            "INSERT INTO accounts VALUES (?1, ?2, ?2) ON CONFLICT DO NOTHING",
            params![id, opening],
        )?;
        Ok(added == 1)
    }

    /// An account, if there is one of this name.
    pub(super) fn account(&self, id: &str) -> Result<Option<Account>, Stopped> {
        let connection = self.connection();
        let found = connection.query_row(
            "SELECT id, balance, opening + coalesce(sum(change), 0), count(n)
             FROM accounts LEFT JOIN history ON account = id WHERE id = ?1 GROUP BY id",
            [id],
            |row| {
                Ok(Account {
                    id: row.get(0)?,
                    balance: row.get(1)?,
                    by_history: row.get(2)?,
                    movements: row.get(3)?,
                })
            },
        );
        Ok(found.optional()?)
    }

    /// The first half: reads the balance. Fenced, the token is taken note of in the same
    /// transaction: from here on nobody with a smaller one can write. `Ok(Err(_))`: the key has
    /// been applied before, and that was its end.
    pub(super) fn begin(
        &self,
        movement: Movement,
        fenced: bool,
    ) -> Result<Result<Begun, Ended>, Stopped> {
        let mut connection = self.connection();
        let work = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut guard = None;
        if fenced {
            let (Some(key), Some(fence)) = (movement.key.clone(), movement.fence) else {
                return Err(Stopped::Unguarded);
            };
            if let Some(ended) = applied(&work, &key, &movement)? {
                return Ok(Err(ended));
            }
            let mine = Guard { key, fence };
            mine.take(&work, &movement.account)?;
            guard = Some(mine);
        }
        let balance = balance(&work, &movement.account)?;
        work.commit()?;
        Ok(Ok(Begun { movement, balance, guard }))
    }

    /// The second half: writes what follows from the balance that was read, however long ago.
    /// Fenced, only if nobody with a larger token has read since, and with the key, all or nothing.
    pub(super) fn finish(&self, begun: Begun) -> Result<Ended, Stopped> {
        let Begun { movement, balance: before, guard } = begun;
        let mut connection = self.connection();
        let work = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Some(guard) = &guard {
            if let Some(ended) = applied(&work, &guard.key, &movement)? {
                return Ok(ended);
            }
            guard.holds(&work, &movement.account)?;
        }
        let after = before.checked_add(movement.change).ok_or(Stopped::TooMuch)?;
        let ended = if after < 0 { Ended::Refused(before) } else { Ended::Accepted(after) };
        if ended == Ended::Accepted(after) {
            work.execute(
                "UPDATE accounts SET balance = ?2 WHERE id = ?1",
                params![movement.account, after],
            )?;
            work.execute(
                "INSERT INTO history (account, change, before, after, key, fence)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    movement.account,
                    movement.change,
                    before,
                    after,
                    movement.key,
                    movement.fence
                ],
            )?;
        }
        if let Some(guard) = &guard {
            remember(&work, &guard.key, &movement, ended)?;
        }
        work.commit()?;
        Ok(ended)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guard {
    /// Takes note of the token: it must be the largest so far. The same one again is the same
    /// request, sent a second time.
    fn take(&self, work: &Transaction<'_>, account: &str) -> Result<(), Stopped> {
        if let Some((seen, key)) = fence(work, account)? {
            let same = seen == self.fence && key == self.key;
            if seen >= self.fence && !same {
                return Err(Stopped::Stale { seen });
            }
        }
        work.execute(
            "INSERT INTO fences VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET fence = excluded.fence, key = excluded.key",
            params![account, self.fence, self.key],
        )?;
        Ok(())
    }

    /// Whether the token is still the largest.
    fn holds(&self, work: &Transaction<'_>, account: &str) -> Result<(), Stopped> {
        match fence(work, account)? {
            Some((seen, key)) if seen == self.fence && key == self.key => Ok(()),
            Some((seen, _)) => Err(Stopped::Stale { seen }),
            None => Err(Stopped::Unguarded),
        }
    }
}

fn balance(work: &Transaction<'_>, account: &str) -> Result<i64, Stopped> {
    let found =
        work.query_row("SELECT balance FROM accounts WHERE id = ?1", [account], |row| row.get(0));
    found.optional()?.ok_or(Stopped::NoAccount)
}

fn fence(work: &Transaction<'_>, account: &str) -> rusqlite::Result<Option<(i64, String)>> {
    let read = "SELECT fence, key FROM fences WHERE account = ?1";
    work.query_row(read, [account], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

/// How this key ended, if it has.
fn applied(
    work: &Transaction<'_>,
    key: &str,
    movement: &Movement,
) -> Result<Option<Ended>, Stopped> {
    let found = work
        .query_row(
            "SELECT account, change, accepted, balance FROM applied WHERE key = ?1",
            [key],
            |row| {
                let of: (String, i64) = (row.get(0)?, row.get(1)?);
                let (accepted, balance): (bool, i64) = (row.get(2)?, row.get(3)?);
                Ok((of, if accepted { Ended::Accepted(balance) } else { Ended::Refused(balance) }))
            },
        )
        .optional()?;
    match found {
        Some((of, _)) if of != (movement.account.clone(), movement.change) => {
            Err(Stopped::KeyReused)
        }
        found => Ok(found.map(|(_, ended)| ended)),
    }
}

fn remember(
    work: &Transaction<'_>,
    key: &str,
    movement: &Movement,
    ended: Ended,
) -> rusqlite::Result<()> {
    let (accepted, balance) = match ended {
        Ended::Accepted(balance) => (true, balance),
        Ended::Refused(balance) => (false, balance),
    };
    work.execute(
        "INSERT INTO applied VALUES (?1, ?2, ?3, ?4, ?5)",
        params![key, movement.account, movement.change, accepted, balance],
    )?;
    Ok(())
}
