//! Targets that are slow, full, gone or rotated: what is lost is counted, and nothing stands still.

use super::*;

#[test]
fn lines_that_a_blocked_target_cannot_take_are_counted() {
    const LINES: u64 = 20_000;
    let (log, reader) = piped(2);
    let worker = log.worker(0);
    (0..LINES).for_each(|id| write_id(&worker, id)); // megabytes, and nobody reads
    drop(worker);
    let dropped = log.counts().dropped;
    assert!(dropped > LINES / 2, "only {dropped} lines were dropped");
    assert!(!log.close(Duration::from_millis(20)), "it cannot end while its target is blocked");

    let reading = thread::spawn(move || ids(reader));
    assert!(log.close(LONG));
    drop(log);
    let seen = reading.join().unwrap();
    assert_eq!(seen.len() as u64 + dropped, LINES, "each line is either there or counted");
    assert!(seen.is_sorted());
}

#[test]
fn a_line_waits_for_a_flush_and_no_longer() {
    let (log, reader) = piped(8);
    let worker = log.worker(3);
    write_id(&worker, 7);
    worker.flush();
    let mut line = String::new();
    BufReader::new(reader).read_line(&mut line).unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["id"], &line["worker"]), (&"7".into(), &3.into()));
}

#[test]
fn a_target_that_is_gone_costs_its_lines_only() {
    let (log, reader) = piped(8);
    drop(reader);
    let worker = log.worker(0);
    for id in 0..3 {
        write_id(&worker, id);
        worker.flush();
    }
    assert!(log.close(LONG));
    assert_eq!(log.counts(), LogCounts { written: 0, dropped: 3, errors: 3 });
    write_id(&worker, 4);
    drop(worker);
    assert_eq!(log.counts().dropped, 4, "after the end there is nobody to take lines");
}

#[test]
fn a_full_disk_is_counted_and_survived() {
    let full = Path::new("/dev/full");
    assert!(full.exists(), "Linux has it");
    let to = model::LogTo::File(full.to_owned());
    let log = AccessLog::start(&config(to, model::LogFormat::Ecs)).unwrap();
    let worker = log.worker(0);
    write_id(&worker, 1);
    drop(worker);
    assert!(log.close(LONG));
    assert_eq!(log.counts(), LogCounts { written: 0, dropped: 1, errors: 1 });
}

/// A directory of this test's own, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let name = format!("lockgate-{name}-{}-{now}", std::process::id());
        let path = env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn rotation_by_renaming_loses_no_line() {
    const LINES: u64 = 3_000;
    const TURNS: usize = 20;
    let scratch = Scratch::new("rotation");
    let path = scratch.0.join("access.log");
    let to = model::LogTo::File(path.clone());
    let log = AccessLog::start(&config(to, model::LogFormat::Json)).unwrap();
    thread::scope(|scope| {
        for worker in 0..2 {
            let log = &log;
            scope.spawn(move || {
                let mine = log.worker(worker);
                for n in 0..LINES {
                    write_id(&mine, n * 2 + worker as u64);
                    // So seldom that the queue holds them all, however late the writer is.
                    if n % 200 == 0 {
                        mine.flush();
                    }
                }
            });
        }
        for turn in 0..TURNS {
            if path.exists() {
                fs::rename(&path, scratch.0.join(format!("access.log.{turn}"))).unwrap();
            }
            log.reopen();
            thread::yield_now();
        }
    });
    // One more, so that at least one turn has surely been seen by the writer.
    fs::rename(&path, scratch.0.join("access.log.last")).unwrap_or_default();
    log.reopen();
    let late = log.worker(0);
    write_id(&late, LINES * 2);
    drop(late);
    assert!(log.close(LONG));

    let mut times = HashMap::<u64, u32>::new();
    let mut files = 0;
    for file in fs::read_dir(&scratch.0).unwrap() {
        files += 1;
        let file = fs::File::open(file.unwrap().path()).unwrap();
        ids(file).into_iter().for_each(|id| *times.entry(id).or_default() += 1);
    }
    assert!(files >= 2, "{files} files");
    assert_eq!(times.len() as u64, LINES * 2 + 1);
    assert!(times.values().all(|times| *times == 1));
    assert_eq!(log.counts(), LogCounts { written: LINES * 2 + 1, dropped: 0, errors: 0 });
    let last = fs::File::open(&path).unwrap();
    assert_eq!(ids(last).last(), Some(&(LINES * 2)), "the new file took what came after");
}

#[test]
fn a_file_that_cannot_be_reopened_leaves_the_old_one() {
    let scratch = Scratch::new("reopen");
    let inner = scratch.0.join("dir");
    fs::create_dir(&inner).unwrap();
    let path = inner.join("access.log");
    let to = model::LogTo::File(path.clone());
    let log = AccessLog::start(&config(to, model::LogFormat::Json)).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o137, 0, "{mode:o}: no more than 0640");

    let moved = scratch.0.join("moved");
    fs::rename(&inner, &moved).unwrap();
    log.reopen();
    let worker = log.worker(0);
    write_id(&worker, 5);
    drop(worker);
    assert!(log.close(LONG));
    assert_eq!(log.counts(), LogCounts { written: 1, dropped: 0, errors: 1 });
    assert_eq!(ids(fs::File::open(moved.join("access.log")).unwrap()), [5]);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_at_the_start() {
    let to = model::LogTo::File("/nowhere/at/all.log".into());
    let error = AccessLog::start(&config(to, model::LogFormat::Json)).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}
