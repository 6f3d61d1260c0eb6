//! Keys and what is stored of them: `lgk_…` is a key, `lgk1:…` its hash. A key is random, so that a
//! fast hash is enough; with a pepper the hash is worth nothing to who has the configuration alone.

use blake3::Hash;

/// What fresh keys begin with, so that scanners for secrets find them.
const PREFIX: &str = "lgk_";
/// Random characters of a fresh key: 178 bits.
const RANDOM: usize = 30;
const CHECKSUM: usize = 6;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const CONTEXT: &str = "lockgate 2026 api key hash v1";
const CHECKED: &str = "lockgate 2026 api key checksum v1";

/// Hashes keys.
pub struct KeyHasher([u8; 32]);

impl KeyHasher {
    /// A hasher with a pepper; without one it is empty.
    pub fn new(pepper: &str) -> Self {
        Self(blake3::derive_key(CONTEXT, pepper.as_bytes()))
    }

    /// What is stored of a key: `lgk1:` and the hash in hex.
    pub fn stored(&self, key: &str) -> String {
        format!("{}{}", lockgate_core::STORED_KEY, self.hash(key.as_bytes()).to_hex())
    }

    pub(super) fn hash(&self, key: &[u8]) -> Hash {
        blake3::keyed_hash(&self.0, key)
    }
}

/// A fresh key.
///
/// # Errors
/// When the system has no randomness to give.
pub fn fresh() -> Result<String, getrandom::Error> {
    let mut key = PREFIX.to_owned();
    let mut bytes = [0_u8; 64];
    while key.len() < PREFIX.len() + RANDOM {
        getrandom::fill(&mut bytes)?;
        // 248 is the largest multiple of 62: every character is as likely as another.
        for byte in bytes.iter().filter(|byte| **byte < 248) {
            if key.len() < PREFIX.len() + RANDOM {
                key.push(digit(u64::from(*byte)));
            }
        }
    }
    let checksum = checksum(&key);
    Ok(key + &checksum)
}

/// Whether a text that looks like one of our keys cannot be one: mistyped, or cut.
pub fn is_damaged(key: &str) -> bool {
    if !key.starts_with(PREFIX) {
        return false;
    }
    let split = key.len().checked_sub(CHECKSUM).and_then(|place| key.split_at_checked(place));
    split.is_none_or(|(body, sum)| body.len() != PREFIX.len() + RANDOM || checksum(body) != sum)
}

fn checksum(body: &str) -> String {
    let hash = blake3::derive_key(CHECKED, body.as_bytes());
    let mut number = hash.iter().take(8).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let mut text = String::with_capacity(CHECKSUM);
    for _ in 0..CHECKSUM {
        text.push(digit(number));
        number /= 62;
    }
    text
}

fn digit(number: u64) -> char {
    let place = usize::try_from(number % 62).unwrap_or(0);
    char::from(ALPHABET.get(place).copied().unwrap_or(b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_key_is_whole_and_any_change_of_it_is_not() {
        let (key, other) = (fresh().unwrap(), fresh().unwrap());
        assert_ne!(key, other);
        assert_eq!(key.len(), 40);
        assert!(key.is_ascii() && !is_damaged(&key) && !is_damaged("mine-own-key"));
        for place in PREFIX.len()..key.len() {
            let mut changed = key.clone().into_bytes();
            changed[place] = if changed[place] == b'a' { b'b' } else { b'a' };
            assert!(is_damaged(&String::from_utf8(changed).unwrap()), "{place}");
        }
        assert!(is_damaged(&key[..39]) && is_damaged(&format!("{key}x")) && is_damaged("lgk_é"));
    }

    #[test]
    fn a_pepper_makes_another_hash() {
        let hash = KeyHasher::new("").stored("k");
        assert!(hash.starts_with("lgk1:") && hash.len() == 69, "{hash}");
        assert_eq!(hash, KeyHasher::new("").stored("k"));
        assert_ne!(hash, KeyHasher::new("p").stored("k"));
    }
}
