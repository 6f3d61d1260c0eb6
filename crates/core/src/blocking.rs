//! Work that would keep a worker from its requests: hashing a password, say.

/// Where work that takes long is done, off the workers.
pub trait Blocking: Send + Sync {
    /// Does it on a thread of its own, soon. Whoever asks bounds how much there is at once.
    fn run(&self, work: Box<dyn FnOnce() + Send>);
}
