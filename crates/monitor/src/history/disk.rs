//! The history on disk: one SQLite file, written by one process at a time. The right to write is a
//! lock on a file beside it, which the system takes back however the process ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lockgate_core::Standing;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};

use super::line::{MOST_SPANS, Row, Span};
use super::took::{TookRow, pack, unpack};
use super::{Key, MOST_SERVICES};

const FILE: &str = "uptime.db";
const LOCK: &str = "uptime.lock";
const BROKEN: &str = "uptime.db.broken";
/// What this program writes, and the only one that it reads.
const VERSION: i64 = 1;
/// Nobody else writes; a backup may read.
const BUSY: Duration = Duration::from_secs(2);
/// The file grows no larger, in pages of 4 KiB: 256 MiB.
const MOST_PAGES: u32 = 65_536;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS spans (
        upstream TEXT NOT NULL, endpoint TEXT NOT NULL, start INTEGER NOT NULL, stop INTEGER,
        standing TEXT NOT NULL, PRIMARY KEY (upstream, endpoint, start)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS tooks (
        upstream TEXT NOT NULL, endpoint TEXT NOT NULL, level INTEGER NOT NULL,
        slot INTEGER NOT NULL, spread BLOB NOT NULL,
        PRIMARY KEY (upstream, endpoint, level, slot)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT;
";

/// Why the history is not on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotOpen {
    /// Another process writes it.
    Taken,
    /// It cannot be opened.
    Failed(String),
}

/// An open history, and the right to write it.
pub(crate) struct Disk {
    connection: Connection,
    _lock: File,
}

/// What is written in one go.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// The last look: spans that have no end were seen until then.
    pub(crate) seen: u64,
    pub(crate) spans: Vec<(Key, Vec<Row>)>,
    pub(crate) tooks: Vec<(Key, Vec<TookRow>)>,
    pub(crate) alerts: Option<String>,
    pub(crate) prune: Option<Prune>,
}

/// What is to be forgotten.
#[derive(Debug)]
pub(crate) struct Prune {
    /// Spans that ended before.
    pub(crate) before: u64,
    /// Spreads of older slots, by level.
    pub(crate) oldest: [u64; 3],
}

/// What was there.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) spans: Vec<(Key, Vec<Span>)>,
    pub(crate) tooks: Vec<(Key, Vec<TookRow>)>,
    pub(crate) alerts: Option<String>,
}

impl Disk {
    /// Opens the history of a directory, which is made if need be. A file that is none is put
    /// aside, and a new one begun.
    ///
    /// # Errors
    /// When another process has it, or the disk does not let us.
    pub(crate) fn open(directory: &Path) -> Result<Self, NotOpen> {
        let failed =
            |error: std::io::Error| NotOpen::Failed(format!("{}: {error}", directory.display()));
        std::fs::create_dir_all(directory).map_err(failed)?;
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        let lock = options.open(directory.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(NotOpen::Taken),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let file = directory.join(FILE);
        let connection = match connect(&file) {
            Err(error) if is_broken(&error) => {
                put_aside(directory).map_err(failed)?;
                tracing::warn!(
                    file = %file.display(),
                    "the history was broken: it stands beside as {BROKEN}, and begins anew"
                );
                connect(&file)
            }
            other => other,
        };
        let told = |error| NotOpen::Failed(format!("{}: {error}", file.display()));
        let connection = connection.map_err(told)?;
        let version: i64 =
            connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(told)?;
        if version != VERSION {
            let why = format!("{}: written by another version of this program", file.display());
            return Err(NotOpen::Failed(why));
        }
        Ok(Self { connection, _lock: lock })
    }

    /// The most pages that the file may have.
    #[cfg(test)]
    pub(super) fn bound(&self, pages: u32) {
        self.connection.pragma_update(None, "max_page_count", pages).unwrap();
    }

    /// All there is.
    pub(crate) fn load(&self) -> rusqlite::Result<Loaded> {
        let kept = |name: &str| -> rusqlite::Result<Option<String>> {
            let sql = "SELECT text FROM kept WHERE name = ?1";
            self.connection.query_row(sql, [name], |row| row.get(0)).optional()
        };
        let seen: u64 = kept("seen")?.and_then(|text| text.parse().ok()).unwrap_or_default();
        // What went on when the process before ended was seen until then.
        let sql = "UPDATE spans SET stop = max(start, ?1) WHERE stop IS NULL";
        self.connection.execute(sql, [whole(seen)])?;
        let mut loaded = Loaded { alerts: kept("alerts")?, ..Loaded::default() };
        let mut select = self.connection.prepare(
            "SELECT upstream, endpoint, start, stop, standing FROM spans
             ORDER BY upstream, endpoint, start",
        )?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let from = natural(row.get(2)?);
            let Some(standing) = standing(&row.get::<_, String>(4)?) else { continue };
            let to = row.get::<_, Option<i64>>(3)?.map_or(seen, natural).max(from);
            let own = of(&mut loaded.spans, row.get(0)?, row.get(1)?);
            own.push(Span { standing, from, to });
            // Newer ones are wanted more.
            if own.len() > 2 * MOST_SPANS {
                own.drain(..MOST_SPANS);
            }
            if loaded.spans.len() > 2 * MOST_SERVICES {
                break;
            }
        }
        let mut select = self.connection.prepare(
            "SELECT upstream, endpoint, level, slot, spread FROM tooks
             ORDER BY upstream, endpoint, level, slot",
        )?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let Some(spread) = unpack(&row.get::<_, Vec<u8>>(4)?) else { continue };
            let took = TookRow {
                level: usize::from(row.get::<_, u8>(2)?),
                slot: natural(row.get(3)?),
                spread,
            };
            of(&mut loaded.tooks, row.get(0)?, row.get(1)?).push(took);
            if loaded.tooks.len() > 2 * MOST_SERVICES {
                break;
            }
        }
        Ok(loaded)
    }

    /// Writes all of it, or nothing.
    pub(crate) fn write(&mut self, batch: &Batch) -> rusqlite::Result<()> {
        let write = self.connection.transaction()?;
        {
            let mut put = write.prepare(
                "INSERT INTO spans (upstream, endpoint, start, stop, standing)
                 VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (upstream, endpoint, start)
                 DO UPDATE SET stop = excluded.stop, standing = excluded.standing",
            )?;
            for (key, rows) in &batch.spans {
                for row in rows {
                    let (from, to) = (whole(row.from), row.to.map(whole));
                    let word = row.standing.word();
                    put.execute(params![&*key.upstream, &*key.endpoint, from, to, word])?;
                }
            }
            let mut put = write.prepare(
                "INSERT INTO tooks (upstream, endpoint, level, slot, spread)
                 VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (upstream, endpoint, level, slot)
                 DO UPDATE SET spread = excluded.spread",
            )?;
            for (key, rows) in &batch.tooks {
                for TookRow { level, slot, spread } in rows {
                    let spread = pack(spread);
                    let (level, slot) = (whole(*level as u64), whole(*slot));
                    put.execute(params![&*key.upstream, &*key.endpoint, level, slot, spread])?;
                }
            }
            let mut put = write.prepare(
                "INSERT INTO kept (name, text) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET text = excluded.text",
            )?;
            put.execute(params!["seen", batch.seen.to_string()])?;
            if let Some(alerts) = &batch.alerts {
                put.execute(params!["alerts", alerts])?;
            }
            if let Some(prune) = &batch.prune {
                let before = whole(prune.before);
                write.execute("DELETE FROM spans WHERE coalesce(stop, ?1) < ?1", [before])?;
                for (level, oldest) in (0_i64..).zip(prune.oldest) {
                    let sql = "DELETE FROM tooks WHERE level = ?1 AND slot < ?2";
                    write.execute(sql, params![level, whole(oldest)])?;
                }
            }
        }
        write.commit()
    }
}

/// SQLite's numbers have a sign.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn natural(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

fn connect(file: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // Nothing torn after a crash; the last moments may be lost with the machine's power.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "max_page_count", MOST_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", 8 << 20)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == 0 {
        connection.execute_batch(TABLES)?;
        connection.pragma_update(None, "user_version", VERSION)?;
    }
    Ok(connection)
}

fn is_broken(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
}

fn put_aside(directory: &Path) -> std::io::Result<()> {
    for rest in ["uptime.db-wal", "uptime.db-shm"] {
        let rest: PathBuf = directory.join(rest);
        if rest.exists() {
            std::fs::remove_file(rest)?;
        }
    }
    std::fs::rename(directory.join(FILE), directory.join(BROKEN))
}

/// The rows of a service, which come one service after the other.
fn of<T>(all: &mut Vec<(Key, Vec<T>)>, upstream: String, endpoint: String) -> &mut Vec<T> {
    let same =
        all.last().is_some_and(|(key, _)| *key.upstream == *upstream && *key.endpoint == *endpoint);
    if !same {
        let key = Key { upstream: Arc::from(upstream), endpoint: Arc::from(endpoint) };
        all.push((key, Vec::new()));
    }
    let last = all.len() - 1;
    // Just looked at or pushed, so it is there.
    #[expect(clippy::indexing_slicing)]
    &mut all[last].1
}

fn standing(word: &str) -> Option<Standing> {
    let all = [Standing::Up, Standing::Degraded, Standing::Down, Standing::Out];
    all.into_iter().find(|standing| standing.word() == word)
}
