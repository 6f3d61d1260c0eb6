//! Passwords and their hashes. Verifying one costs tens of milliseconds on purpose: it is done off
//! the workers, a few at a time, and others wait in a bounded queue. What has been verified is
//! remembered for a while by a hash of the whole credential.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use lockgate_core::{Blocking, Consumer, Fault, reasons};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

/// How many are verified at once: each takes a core and tens of megabytes.
const AT_ONCE: usize = 2;
/// Most that wait for their turn.
const MAX_WAITING: usize = 64;
/// Most credentials remembered.
const MAX_KNOWN: usize = 4096;
/// The most that a hash may cost: 256 MiB, 16 passes, 8 lanes.
const MAX_COSTS: [(&str, u32); 3] = [("m", 256 << 10), ("t", 16), ("p", 8)];

/// What is stored of a password.
///
/// # Errors
/// When the system has no randomness to give.
pub fn hash(password: &[u8]) -> Result<String, String> {
    let mut salt = [0_u8; 16];
    getrandom::fill(&mut salt).map_err(|error| format!("there is no randomness: {error}"))?;
    let hash = Argon2::default().hash_password_with_salt(password, &salt);
    Ok(hash.map_err(|error| error.to_string())?.to_string())
}

/// Whether a text is a hash that can be verified at a bearable cost. The message never repeats it.
pub(super) fn check(hash: &str) -> Result<(), String> {
    let wrong = "this is no argon2id hash: `lockgate keys password` makes one";
    let parsed = PasswordHash::new(hash).map_err(|_| wrong.to_owned())?;
    if parsed.algorithm.as_str() != "argon2id" || parsed.salt.is_none() || parsed.hash.is_none() {
        return Err(wrong.to_owned());
    }
    for (name, most) in MAX_COSTS {
        let cost = parsed.params.get_decimal(name).ok_or_else(|| wrong.to_owned())?;
        if cost > most {
            return Err(format!("this hash costs too much: `{name}` is at most {most}"));
        }
    }
    Ok(())
}

fn holds(password: &[u8], hash: &str) -> bool {
    let parsed = PasswordHash::new(hash);
    parsed.is_ok_and(|parsed| Argon2::default().verify_password(password, &parsed).is_ok())
}

/// Verifies passwords.
pub(super) struct Verifier {
    blocking: Arc<dyn Blocking>,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Verifier {
    pub(super) fn new(blocking: Arc<dyn Blocking>) -> Self {
        Self { blocking, turns: Arc::new(Semaphore::new(AT_ONCE)), waiting: AtomicUsize::new(0) }
    }

    /// Whether the password is the one of the hash.
    ///
    /// # Errors
    /// `overloaded`, when too many wait already.
    pub(super) async fn verify(&self, password: Vec<u8>, hash: Arc<str>) -> Result<bool, Fault> {
        let _place = Place::take(&self.waiting).ok_or_else(|| {
            let fault = Fault::gateway(&reasons::OVERLOADED).retry_after(Duration::from_secs(1));
            fault.detail("too many passwords wait to be verified")
        })?;
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let (told, answer) = oneshot::channel();
        let work = move || {
            let _ = told.send(holds(&password, &hash));
            // Only now: a client that goes away must not make room for the next.
            drop(turn);
        };
        self.blocking.run(Box::new(work));
        answer
            .await
            .map_err(|_| Fault::gateway(&reasons::INTERNAL).detail("no password was verified"))
    }
}

/// A place in the queue, given back however the wait ends.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Option<Self> {
        let place = Self(waiting);
        (waiting.fetch_add(1, Ordering::Relaxed) < MAX_WAITING).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whose a credential is, and until when that is believed.
type Until = (Instant, Arc<Consumer>);

/// Credentials that were verified lately.
pub(super) struct Known {
    key: [u8; 32],
    ttl: Duration,
    all: Mutex<HashMap<[u8; 32], Until>>,
}

impl Known {
    /// Remembers for so long, by a key of its own.
    pub(super) fn new(ttl: Duration) -> Result<Self, String> {
        let mut key = [0_u8; 32];
        getrandom::fill(&mut key).map_err(|error| format!("there is no randomness: {error}"))?;
        Ok(Self { key, ttl, all: Mutex::default() })
    }

    /// What a credential is known by.
    pub(super) fn name(&self, credential: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&self.key, credential).as_bytes()
    }

    pub(super) fn get(&self, name: &[u8; 32]) -> Option<Arc<Consumer>> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, consumer) = all.get(name)?;
        (Instant::now() < *until).then(|| Arc::clone(consumer))
    }

    pub(super) fn put(&self, name: [u8; 32], consumer: Arc<Consumer>) {
        let now = Instant::now();
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_KNOWN {
            all.retain(|_, (until, _)| now < *until);
        }
        if all.len() < MAX_KNOWN {
            all.insert(name, (now + self.ttl, consumer));
        }
    }
}
