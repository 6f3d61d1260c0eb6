//! Parts of a line that many requests have in common, kept as they were written: what is said of
//! a connection, and of how a route's requests are mostly answered. A part is taken again only for
//! the same values, each compared as it is, so that it does not matter where it is kept.

use std::net::{IpAddr, SocketAddr};

use lockgate_core::Origin;

/// Parts of one kind that are kept; what comes to another's place takes it.
const SLOTS: usize = 256;
/// Parts whose texts are longer than this together are not kept.
const LONGEST: usize = 512;
/// Stands for the end of a text that is not there.
const NONE: u16 = u16::MAX;

/// What one worker keeps.
#[derive(Default)]
pub(super) struct Memo {
    /// From the client's address to the host.
    pub(super) came: Parts<Came, 3>,
    /// From the status to the upstream's own.
    pub(super) went: Parts<Went, 6>,
}

/// What a connection's part depends on beside its texts.
#[derive(Clone, Copy)]
pub(super) struct Came {
    pub(super) ecs: bool,
    pub(super) client_ip: IpAddr,
    pub(super) peer: SocketAddr,
    pub(super) worker: usize,
    pub(super) protocol: &'static str,
    pub(super) scheme: &'static str,
}

impl PartialEq for Came {
    fn eq(&self, other: &Self) -> bool {
        // Words of our own: the same one nearly always lies in the same place.
        std::ptr::eq(self.protocol, other.protocol)
            && std::ptr::eq(self.scheme, other.scheme)
            && (self.ecs, self.client_ip, self.peer, self.worker)
                == (other.ecs, other.client_ip, other.peer, other.worker)
    }
}

/// What an answer's part depends on beside its texts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Went {
    pub(super) ecs: bool,
    pub(super) status: u16,
    pub(super) origin: Origin,
    pub(super) attempts: u32,
    pub(super) upstream_status: Option<u16>,
    pub(super) cache: Option<&'static str>,
}

/// Parts of one kind: of a key and so many texts.
pub(super) struct Parts<K, const N: usize>(Vec<Slot<K, N>>);

struct Slot<K, const N: usize> {
    key: Option<K>,
    /// The texts one after the other, and where each ends.
    texts: Vec<u8>,
    ends: [u16; N],
    /// What was written of them.
    part: Vec<u8>,
}

impl<K, const N: usize> Default for Parts<K, N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: PartialEq, const N: usize> Parts<K, N> {
    /// Appends the part of a key and its texts, which `write` writes when it is not kept. `hint`
    /// says where it may be: anything that is mostly the same for the same part.
    pub(super) fn push(
        &mut self,
        out: &mut Vec<u8>,
        hint: usize,
        key: K,
        texts: [Option<&str>; N],
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let Some(slot) = self.0.get_mut(hint % SLOTS) else {
            // The first part of all: for the others there is room from now on.
            let empty = || Slot { key: None, texts: vec![], ends: [NONE; N], part: vec![] };
            self.0.resize_with(SLOTS, empty);
            return write(out);
        };
        if !slot.is(&key, &texts) {
            if texts.iter().flatten().map(|text| text.len()).sum::<usize>() > LONGEST {
                return write(out);
            }
            slot.keep(key, &texts);
            slot.part.clear();
            write(&mut slot.part);
        }
        out.extend_from_slice(&slot.part);
    }
}

impl<K: PartialEq, const N: usize> Slot<K, N> {
    fn is(&self, key: &K, texts: &[Option<&str>; N]) -> bool {
        if self.key.as_ref() != Some(key) {
            return false;
        }
        let mut begin = 0;
        texts.iter().zip(&self.ends).all(|(text, end)| match text {
            None => *end == NONE,
            Some(text) => {
                let kept = self.texts.get(begin..usize::from(*end));
                begin = usize::from(*end);
                kept == Some(text.as_bytes())
            }
        })
    }

    fn keep(&mut self, key: K, texts: &[Option<&str>; N]) {
        self.key = Some(key);
        self.texts.clear();
        for (text, end) in texts.iter().zip(&mut self.ends) {
            *end = NONE;
            if let Some(text) = text {
                self.texts.extend_from_slice(text.as_bytes());
                // No longer than `LONGEST` together.
                *end = u16::try_from(self.texts.len()).unwrap_or(NONE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(parts: &mut Parts<u8, 2>, key: u8, texts: [Option<&str>; 2]) -> (String, bool) {
        let (mut out, mut written) = (b"<".to_vec(), false);
        parts.push(&mut out, 7, key, texts, |out| {
            written = true;
            out.extend_from_slice(format!("{key} {texts:?}").as_bytes());
        });
        (String::from_utf8(out).unwrap(), written)
    }

    #[test]
    fn a_part_is_taken_again_for_the_same_values_alone() {
        let mut parts = Parts::default();
        pushed(&mut parts, 0, [None, None]);
        let all = [
            (1, [Some("a"), Some("bc")]),
            (1, [Some("ab"), Some("c")]),
            (1, [Some("abc"), Some("")]),
            (1, [Some("abc"), None]),
            (1, [None, Some("abc")]),
            (2, [None, Some("abc")]),
            (2, [None, None]),
            (2, [Some(""), None]),
        ];
        for (key, texts) in all {
            let wanted = format!("<{key} {texts:?}");
            assert_eq!(pushed(&mut parts, key, texts), (wanted.clone(), true));
            assert_eq!(pushed(&mut parts, key, texts), (wanted, false));
        }
    }

    #[test]
    fn long_texts_are_written_and_not_kept() {
        let mut parts = Parts::default();
        pushed(&mut parts, 0, [None, None]);
        let long = "x".repeat(LONGEST + 1);
        for _ in 0..2 {
            let (text, written) = pushed(&mut parts, 1, [Some(&long), None]);
            assert!(written && text.len() > LONGEST);
        }
        assert!(parts.0.iter().all(|slot| slot.texts.len() <= LONGEST));
    }
}
