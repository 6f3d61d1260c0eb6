//! The wall clock that a token's times are held against, in whole seconds since 1970.

/// Now. A clock that cannot be right makes every token expired.
#[cfg(not(test))]
pub(crate) fn now() -> i64 {
    let passed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    passed.map_or(i64::MAX, |passed| i64::try_from(passed.as_secs()).unwrap_or(i64::MAX))
}

/// In tests it begins in 2030 and goes with tokio's clock, which they pause and advance.
#[cfg(test)]
pub(crate) fn now() -> i64 {
    static BEGAN: std::sync::OnceLock<tokio::time::Instant> = std::sync::OnceLock::new();
    let now = tokio::time::Instant::now();
    let began = *BEGAN.get_or_init(|| now);
    1_893_456_000 + i64::try_from((now - began).as_secs()).unwrap()
}
