//! The history as a whole: what is written is what is read, whoever writes, and whatever fails.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lockgate_core::Standing;

use super::disk::{Disk, NotOpen};
use super::*;

/// A directory of its own; gone when dropped.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("lockgate-history-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const SECOND: u64 = 1_000;
const BEGIN: u64 = 1_000 * DAY;

fn key(name: &str) -> Key {
    Key::upstream(&Arc::from(name))
}

/// Looks at one service for so many seconds.
fn watch(book: &mut Book, name: &str, from: u64, seconds: u64, standing: Standing) {
    for second in 0..seconds {
        book.look(from + second * SECOND);
        book.note(&key(name), standing);
        let mut spread = Spread::default();
        spread.note(Duration::from_millis(20));
        book.took(&key(name), &spread);
    }
}

fn save(book: &mut Book, disk: &mut Disk, last: bool) {
    let (batch, receipt) = book.batch(last);
    disk.write(&batch).unwrap();
    book.written(receipt);
}

#[test]
fn what_was_seen_is_there_after_a_crash() {
    let place = Place::new();
    let mut book = Book::default();
    let mut disk = Disk::open(&place.0).unwrap();
    watch(&mut book, "a", BEGIN, 100, Standing::Up);
    save(&mut book, &mut disk, false);
    watch(&mut book, "a", BEGIN + 100 * SECOND, 50, Standing::Down);
    save(&mut book, &mut disk, false);
    watch(&mut book, "a", BEGIN + 150 * SECOND, 5, Standing::Down);
    save(&mut book, &mut disk, false);
    assert!(book.batch(false).0.spans.is_empty(), "nothing is written twice");
    // The end comes without a last word.
    drop(disk);
    let disk = Disk::open(&place.0).unwrap();
    let mut after = Book::default();
    after.look(BEGIN + 1_000 * SECOND);
    after.take(disk.load().unwrap());
    let past = after.past(&key("a"));
    assert_eq!(past.standing, None, "nobody has looked yet");
    assert_eq!(past.intervals.len(), 2);
    assert_eq!((past.intervals[1].from, past.intervals[1].to), (BEGIN, BEGIN + 100 * SECOND));
    assert_eq!(past.intervals[0].to, BEGIN + 154 * SECOND);
    let day = &past.windows[1];
    assert_eq!((day.seconds.up, day.seconds.down), (100.0, 54.0));
    assert_eq!(day.response.count, 155);
    assert_eq!(past.days.len(), 90);
    assert_eq!(past.days[89], Some(100.0 / 154.0));
}

#[test]
fn a_new_process_joins_what_the_old_one_saw() {
    let place = Place::new();
    let mut old = Book::default();
    let mut disk = Disk::open(&place.0).unwrap();
    watch(&mut old, "a", BEGIN, 100, Standing::Up);
    // The new one looks while the old one still has the disk.
    let mut new = Book::default();
    watch(&mut new, "a", BEGIN + 97 * SECOND, 10, Standing::Up);
    assert_eq!(Disk::open(&place.0).err(), Some(NotOpen::Taken));
    save(&mut old, &mut disk, true);
    drop(disk);
    let mut disk = Disk::open(&place.0).unwrap();
    new.take(disk.load().unwrap());
    let past = new.past(&key("a"));
    assert_eq!(past.intervals.len(), 1, "{past:?}");
    assert_eq!((past.since, past.known_since), (Some(BEGIN), Some(BEGIN)));
    save(&mut new, &mut disk, true);
    let mut third = Book::default();
    third.look(BEGIN + 200 * SECOND);
    third.take(disk.load().unwrap());
    assert_eq!(third.past(&key("a")).intervals, new.past(&key("a")).intervals);
}

#[test]
fn what_is_old_is_forgotten_in_memory_and_on_disk() {
    let place = Place::new();
    let mut book = Book::default();
    let mut disk = Disk::open(&place.0).unwrap();
    watch(&mut book, "old", BEGIN, 10, Standing::Up);
    watch(&mut book, "new", BEGIN + 60 * DAY, 10, Standing::Down);
    save(&mut book, &mut disk, false);
    watch(&mut book, "new", BEGIN + 95 * DAY, 10, Standing::Up);
    save(&mut book, &mut disk, false);
    let loaded = disk.load().unwrap();
    assert_eq!(loaded.spans.len(), 1);
    assert_eq!(loaded.spans[0].1.len(), 2);
    assert!(loaded.tooks.iter().all(|(key, _)| &*key.upstream == "new"));
    assert!(book.past(&key("old")).intervals.is_empty());
}

#[test]
fn services_are_bounded_and_those_that_are_gone_make_room() {
    let mut book = Book::default();
    book.look(BEGIN);
    for n in 0..MOST_SERVICES + 5 {
        book.note(&key(&n.to_string()), Standing::Up);
    }
    assert_eq!(book.left_out, 5);
    // They are gone, two looks later.
    for look in 1..4 {
        book.look(BEGIN + look * SECOND);
        book.note(&key("new"), Standing::Up);
    }
    assert_eq!(book.left_out, 0);
    assert_eq!(book.past(&key("new")).standing, Some(Standing::Up));
}

#[test]
fn a_full_disk_loses_nothing_that_memory_has() {
    let place = Place::new();
    let mut book = Book::default();
    let mut disk = Disk::open(&place.0).unwrap();
    disk.bound(16);
    for n in 0..500 {
        watch(&mut book, &format!("a service with a long name {n}"), BEGIN, 2, Standing::Up);
    }
    let (batch, _) = book.batch(false);
    assert!(disk.write(&batch).unwrap_err().to_string().contains("full"));
    assert!(disk.load().unwrap().spans.is_empty(), "all of it, or nothing");
    disk.bound(10_000);
    save(&mut book, &mut disk, false);
    assert_eq!(disk.load().unwrap().spans.len(), 500);
}

#[test]
fn a_later_version_is_left_alone() {
    let place = Place::new();
    drop(Disk::open(&place.0).unwrap());
    let connection = rusqlite::Connection::open(place.0.join("uptime.db")).unwrap();
    connection.pragma_update(None, "user_version", 2).unwrap();
    drop(connection);
    let Err(NotOpen::Failed(why)) = Disk::open(&place.0).map(drop) else { panic!("it opened") };
    assert!(why.contains("another version"), "{why}");
}
