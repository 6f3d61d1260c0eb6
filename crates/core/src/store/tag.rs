//! Tags: by what a blob can be purged without a look at all the others. A tag is a hash with a
//! fixed seed, so that nodes agree; two texts that share one make a purge take too much, never
//! too little.

/// A word, the URI or a part of the URI that a blob belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag(u64);

/// Deepest part of a path that is a tag.
const DEEPEST: usize = 16;
/// The lowest bit tells URIs from all other tags.
const URI: u64 = 1;

impl Tag {
    /// A word that an upstream has given.
    pub fn word(word: &str) -> Self {
        Self(Fnv::begin(b'w').and(word.as_bytes()).end() & !URI)
    }

    /// Whatever has this path, whatever its query, on a host in lower case.
    pub fn uri(host: &str, path: &str) -> Self {
        Self(Fnv::begin(b'u').and(host.as_bytes()).and(b"\0").and(path.as_bytes()).end() | URI)
    }

    /// A path and all below it. `None` when it is too deep to be a tag.
    pub fn under(host: &str, path: &str) -> Option<Self> {
        let path = path.trim_end_matches('/');
        let depth = path.bytes().filter(|byte| *byte == b'/').count();
        (depth <= DEEPEST).then(|| Self(below(host).and(path.as_bytes()).end() & !URI))
    }

    /// All the tags that a URI has by itself.
    pub fn of_uri(host: &str, path: &str) -> impl Iterator<Item = Self> {
        let mut state = below(host);
        // The root, then each longer part of the path.
        let root = Self(state.end() & !URI);
        let parts = path.trim_end_matches('/').split('/').skip(1).take(DEEPEST);
        let parts = parts.map(move |part| {
            state = state.and(b"/").and(part.as_bytes());
            Self(state.end() & !URI)
        });
        [Self::uri(host, path), root].into_iter().chain(parts)
    }

    /// The tag of a hash that another process has told.
    pub fn of_hash(hash: u64) -> Self {
        Self(hash)
    }

    /// The hash. Its lowest bit is set in tags of whole URIs alone.
    pub fn hash(self) -> u64 {
        self.0
    }
}

fn below(host: &str) -> Fnv {
    Fnv::begin(b'b').and(host.as_bytes()).and(b"\0")
}

/// FNV-1a, its end mixed so that every bit counts.
#[derive(Clone, Copy)]
struct Fnv(u64);

impl Fnv {
    fn begin(kind: u8) -> Self {
        Self(0xcbf2_9ce4_8422_2325).and(&[kind])
    }

    fn and(self, bytes: &[u8]) -> Self {
        let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        Self(bytes.iter().fold(self.0, mix))
    }

    fn end(self) -> u64 {
        let mut hash = self.0;
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ (hash >> 33)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(path: &str, tag: Option<Tag>) -> bool {
        Tag::of_uri("a.test", path).any(|own| Some(own) == tag)
    }

    #[test]
    fn a_uri_is_under_each_part_of_its_path() {
        for part in ["/", "", "/accounts", "/accounts/7", "/accounts/7/", "/accounts/7/cards"] {
            assert!(has("/accounts/7/cards", Tag::under("a.test", part)), "{part}");
        }
        for part in ["/account", "/accounts/70", "/accounts/7/cards/1", "/cards"] {
            assert!(!has("/accounts/7/cards", Tag::under("a.test", part)), "{part}");
        }
        assert!(!has("/accounts/7", Tag::under("b.test", "/accounts")));
        assert!(has("/accounts/7", Some(Tag::uri("a.test", "/accounts/7"))));
        assert!(!has("/accounts/7/cards", Some(Tag::uri("a.test", "/accounts/7"))));
    }

    #[test]
    fn what_is_too_deep_is_no_tag() {
        let deep = "/a".repeat(40);
        assert_eq!(Tag::under("a.test", &deep), None);
        assert_eq!(Tag::of_uri("a.test", &deep).count(), DEEPEST + 2);
        assert!(has(&deep, Tag::under("a.test", &"/a".repeat(DEEPEST))));
    }
}
