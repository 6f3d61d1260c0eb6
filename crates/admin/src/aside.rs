//! Work that takes milliseconds, such as writing out the whole configuration: not on the
//! control runtime, which has probes, reloads and alerts to see to.

/// Does it elsewhere, and waits for what comes of it.
///
/// # Errors
/// When it broke off, in words.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|_| "it cannot be read: a bug".to_owned())
}
