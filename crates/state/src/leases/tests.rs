//! Leases in memory: by hand, over random schedules, and from many threads at once.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicU64};

use lockgate_core::{LocalFuture, Over};
use proptest::prelude::*;
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::{advance, sleep, sleep_until};

use super::*;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn leases() -> Arc<MemoryLeases> {
    Arc::new(MemoryLeases::new(LeaseBounds { keys: 100, waiting: 100 }))
}

fn key(word: u8) -> LeaseKey {
    [word; 32]
}

fn wanted(word: &[u8; 1], wait: Duration) -> Wanted {
    Wanted { key: key(word[0]), wait, hold: 10 * SECOND, ttl: SECOND, queue: 10 }
}

fn turn(leases: &MemoryLeases, wanted: Wanted) -> LocalFuture<'_, Turn> {
    match leases.acquire(wanted) {
        Step::Now(turn) => Box::pin(std::future::ready(turn.unwrap())),
        Step::Later(turn) => Box::pin(async { turn.await.unwrap() }),
    }
}

fn held(turn: Turn) -> Lease {
    match turn {
        Turn::Held(lease) => lease,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn one_holds_a_key_and_the_next_waits_for_it() {
    let all = leases();
    let first = held(turn(&all, wanted(b"a", SECOND)).await);
    let waits = turn(&all, wanted(b"a", 5 * SECOND));
    let other = held(turn(&all, wanted(b"b", Duration::ZERO)).await);
    let begun = Instant::now();
    let second = async {
        sleep(2 * SECOND).await;
        assert_eq!((all.keys(), all.waiting()), (2, 1));
        let before = first.fence();
        drop(first);
        before
    };
    let (second, before) = tokio::join!(waits, second);
    let second = held(second);
    assert_eq!(begun.elapsed().as_secs(), 2);
    assert!(second.fence() > before);
    drop((second, other));
    assert_eq!((all.keys(), all.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_has_waited_long_enough_is_told_so() {
    let all = leases();
    let holder = held(turn(&all, wanted(b"a", SECOND)).await);
    let begun = Instant::now();
    assert!(matches!(turn(&all, wanted(b"a", SECOND)).await, Turn::Busy));
    assert_eq!(begun.elapsed().as_secs(), 1);
    assert!(matches!(turn(&all, wanted(b"a", Duration::ZERO)).await, Turn::Busy));
    assert_eq!(all.waiting(), 0);
    drop(holder);
    held(turn(&all, wanted(b"a", Duration::ZERO)).await);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_holds_too_long_loses_its_place() {
    let all = leases();
    let slow = held(turn(&all, wanted(b"a", SECOND)).await);
    let begun = Instant::now();
    let next = held(turn(&all, wanted(b"a", 60 * SECOND)).await);
    assert_eq!(begun.elapsed().as_secs(), 10);
    assert_eq!((slow.over(), next.over()), (Some(Over::Expired), None));
    // What was let go late is not the next one's.
    drop(slow);
    assert!(matches!(turn(&all, wanted(b"a", Duration::ZERO)).await, Turn::Busy));
    assert_eq!(next.over(), None);
    // Nobody waited: whoever comes later takes over at once.
    advance(20 * SECOND).await;
    let last = Wanted { queue: 0, ..wanted(b"a", Duration::ZERO) };
    assert!(held(turn(&all, last).await).fence() > next.fence());
}

#[tokio::test(start_paused = true)]
async fn everything_has_a_bound() {
    let all = Arc::new(MemoryLeases::new(LeaseBounds { keys: 2, waiting: 3 }));
    let _a = held(turn(&all, wanted(b"a", SECOND)).await);
    let _b = held(turn(&all, wanted(b"b", SECOND)).await);
    assert!(matches!(turn(&all, wanted(b"c", SECOND)).await, Turn::Full));
    let short = Wanted { queue: 1, ..wanted(b"a", SECOND) };
    let one = turn(&all, short);
    assert!(matches!(turn(&all, short).await, Turn::Full));
    let two = [turn(&all, wanted(b"b", SECOND)), turn(&all, wanted(b"b", SECOND))];
    assert!(matches!(turn(&all, wanted(b"b", SECOND)).await, Turn::Full));
    assert_eq!(all.waiting(), 3);
    drop((one, two));
    assert_eq!(all.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_who_leaves_with_the_lease_in_hand_gives_it_to_the_next() {
    let all = leases();
    let holder = held(turn(&all, wanted(b"a", SECOND)).await);
    let leaves = turn(&all, wanted(b"a", SECOND));
    let stays = turn(&all, wanted(b"a", SECOND));
    // Given, but never looked at.
    drop(holder);
    drop(leaves);
    held(stays.await);
    assert_eq!((all.keys(), all.waiting()), (0, 0));
}

/// One request of a schedule, in milliseconds.
#[derive(Debug, Clone)]
struct Request {
    gap: u64,
    key: u8,
    wait: u64,
    hold: u64,
    works: u64,
    /// Leaves by then, whatever it does.
    patience: u64,
}

fn request() -> impl Strategy<Value = Request> {
    (0..30_u64, 0..3_u8, 0..200_u64, 5..120_u64, 0..150_u64, 0..400_u64).prop_map(
        |(gap, key, wait, hold, works, patience)| Request { gap, key, wait, hold, works, patience },
    )
}

/// What happened to one, and when.
#[derive(Debug, Clone, Copy)]
enum Event {
    Asked,
    Held(u64),
    Ended,
    Busy,
    Left,
}

type Log = Rc<RefCell<Vec<(Instant, usize, Event)>>>;

async fn lives(all: Arc<MemoryLeases>, me: usize, request: Request, log: Log) {
    let note = |event| log.borrow_mut().push((Instant::now(), me, event));
    note(Event::Asked);
    let left = sleep_until(Instant::now() + MS * request.patience as u32);
    let work = async {
        let wanted = Wanted {
            key: key(request.key),
            wait: MS * request.wait as u32,
            hold: MS * request.hold as u32,
            ttl: SECOND,
            queue: 1000,
        };
        match turn(&all, wanted).await {
            Turn::Held(lease) => {
                note(Event::Held(lease.fence()));
                tokio::select! {
                    biased;
                    over = lease.until_over() => assert_eq!(over, Over::Expired),
                    () = sleep(MS * request.works as u32) => {}
                }
                note(Event::Ended);
            }
            Turn::Busy => note(Event::Busy),
            Turn::Full => panic!("there is room"),
        }
    };
    tokio::select! {
        biased;
        () = left => note(Event::Left),
        () = work => {}
    }
}

async fn run(schedule: &[Request]) -> (Vec<(Instant, usize, Event)>, Arc<MemoryLeases>) {
    let all = Arc::new(MemoryLeases::new(LeaseBounds { keys: 100, waiting: 10_000 }));
    let log = Log::default();
    let set = LocalSet::new();
    set.run_until(async {
        let mut tasks = Vec::new();
        for (me, request) in schedule.iter().enumerate() {
            sleep(MS * request.gap as u32).await;
            let (all, log) = (Arc::clone(&all), Rc::clone(&log));
            tasks.push(spawn_local(lives(all, me, request.clone(), log)));
            yield_now().await;
        }
        for task in tasks {
            task.await.unwrap();
        }
    })
    .await;
    (log.take(), all)
}

/// Plays the log back: one holder at a time, tokens that grow, those first who came first, and
/// nobody told that it is busy before its time.
fn check(schedule: &[Request], log: &[(Instant, usize, Event)]) {
    let mut asked = vec![None; schedule.len()];
    for key in 0..3 {
        let (mut holder, mut fence, mut queue) = (None::<(usize, Instant)>, 0, Vec::new());
        for &(at, me, event) in log.iter().filter(|(_, me, _)| schedule[*me].key == key) {
            match event {
                Event::Asked => {
                    asked[me] = Some(at);
                    queue.push(me);
                }
                Event::Held(token) => {
                    // A time that is over in this millisecond may not have been noticed yet.
                    let over = |(one, since): (usize, Instant)| {
                        since + MS * schedule[one].hold as u32 <= at
                    };
                    assert!(holder.is_none_or(over), "{me} holds it beside {holder:?}");
                    assert!(token > fence, "the token of {me} has not grown");
                    // Those before it whose time is over in this millisecond are on their way out.
                    let first = queue.iter().find(|one| {
                        let request = &schedule[**one];
                        let patience = request.wait.min(request.patience) as u32;
                        **one == me || asked[**one].unwrap() + MS * patience > at
                    });
                    assert_eq!(first, Some(&me), "{me} went before its turn");
                    (holder, fence) = (Some((me, at)), token);
                    queue.retain(|one| *one != me);
                }
                Event::Ended => holder = holder.filter(|(one, _)| *one != me),
                Event::Busy => {
                    let waited = at - asked[me].unwrap();
                    assert!(waited >= MS * schedule[me].wait as u32, "{me} gave up early");
                    queue.retain(|one| *one != me);
                }
                Event::Left => {
                    holder = holder.filter(|(one, _)| *one != me);
                    queue.retain(|one| *one != me);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_schedule_is_exclusive_and_fair(
        schedule in proptest::collection::vec(request(), 1..60),
    ) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        let (log, all) = runtime.block_on(run(&schedule));
        check(&schedule, &log);
        prop_assert_eq!((all.keys(), all.waiting()), (0, 0));
    }
}

/// The workers' threads, for real: a count that is read and written in two steps stays right.
#[test]
fn threads_take_turns() {
    const THREADS: u32 = 4;
    const ROUNDS: u32 = 300;
    let all = Arc::new(MemoryLeases::new(LeaseBounds::default()));
    let (count, fence) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU64::new(0)));
    let work = |all: Arc<MemoryLeases>, count: Arc<AtomicU32>, fence: Arc<AtomicU64>| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            for _ in 0..ROUNDS {
                let lease = held(turn(&all, wanted(b"k", 60 * SECOND)).await);
                let before = count.load(SeqCst);
                yield_now().await;
                count.store(before + 1, SeqCst);
                assert!(fence.swap(lease.fence(), SeqCst) < lease.fence());
            }
        });
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            let (all, count, fence) = (Arc::clone(&all), Arc::clone(&count), Arc::clone(&fence));
            scope.spawn(move || work(all, count, fence));
        }
    });
    assert_eq!(count.load(SeqCst), THREADS * ROUNDS);
    assert_eq!((all.keys(), all.waiting()), (0, 0));
}
