//! Bounded waiting: every wait of a test ends, and says what it waited for when it ends badly.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

/// The longest that anything in a test is waited for.
pub const LIMIT: Duration = Duration::from_secs(15);

/// Polls a condition until it holds.
///
/// # Panics
/// When it does not hold within [`LIMIT`]; `what` completes "waited too long for".
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Asks for something until it is as wanted: what it is then.
///
/// # Panics
/// When it never is within [`LIMIT`]; `what` completes "waited too long for".
pub async fn until_is<T>(
    what: &str,
    mut ask: impl AsyncFnMut() -> T,
    wanted: impl Fn(&T) -> bool,
) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        let there = ask().await;
        if wanted(&there) {
            return there;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Awaits something for at most [`LIMIT`].
///
/// # Panics
/// When it takes longer; `what` completes "waited too long for".
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    match timeout(LIMIT, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited too long for {what}"),
    }
}
