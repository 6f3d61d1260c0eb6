//! Keys: every one under the store's prefix, and with a tag that decides its slot, so that all the
//! keys of a decision are on one server.

/// Longest tag or rest that stands in a key as it is. What is longer is told by its hash.
const LONGEST: usize = 64;
/// Bytes of the hash that tell keys apart.
const HASH: usize = 20;
/// How many slots a Cluster has.
pub(crate) const SLOTS: u16 = 16_384;

/// `PREFIX:KIND:{TAG}:REST`.
pub(crate) fn key(prefix: &str, kind: &str, tag: &[u8], rest: &[u8]) -> Vec<u8> {
    let (tag_room, rest_room) = (tag.len().min(LONGEST), rest.len().min(LONGEST));
    let mut key = Vec::with_capacity(prefix.len() + kind.len() + tag_room + rest_room + 5);
    key.extend_from_slice(prefix.as_bytes());
    key.push(b':');
    key.extend_from_slice(kind.as_bytes());
    key.extend_from_slice(b":{");
    put(&mut key, tag);
    key.push(b'}');
    if !rest.is_empty() {
        key.push(b':');
        put(&mut key, rest);
    }
    key
}

/// A part as it is, or its hash: of what is long, of what would end the tag, and of what looks
/// like a hash, so that nobody can pass one part for another.
fn put(key: &mut Vec<u8>, part: &[u8]) {
    let plain = (1..=LONGEST).contains(&part.len())
        && !part.starts_with(b"#")
        && memchr::memchr2(b'{', b'}', part).is_none();
    if plain {
        key.extend_from_slice(part);
        return;
    }
    key.push(b'#');
    let hash = blake3::hash(part);
    for byte in hash.as_bytes().iter().take(HASH) {
        key.extend([byte >> 4, byte & 15].map(|nibble| match nibble {
            0..10 => b'0' + nibble,
            _ => b'a' + nibble - 10,
        }));
    }
}

/// The slot of a key: of what stands between its first `{` and the next `}`, if anything does.
pub(crate) fn slot(key: &[u8]) -> u16 {
    let tag = memchr::memchr(b'{', key).and_then(|open| {
        let after = key.get(open + 1..)?;
        let close = memchr::memchr(b'}', after)?;
        after.get(..close).filter(|tag| !tag.is_empty())
    });
    crc16(tag.unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM, which the Cluster specification names.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |mut crc, byte| {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
        }
        crc
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{crc16, key, slot};

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        // As `CLUSTER KEYSLOT` says.
        assert_eq!(slot(b"foo"), 12_182);
        assert_eq!(slot(b"x:{foo}:1"), 12_182);
        assert_eq!(slot(b"{}foo"), slot(b"{}foo"));
        assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
    }

    #[test]
    fn keys_are_as_they_are_documented() {
        assert_eq!(key("lockgate", "lease", b"a:7", b"w"), b"lockgate:lease:{a:7}:w");
        assert_eq!(key("lockgate", "live", b"gateways", b""), b"lockgate:live:{gateways}");
        let long = key("p", "k", &[b'x'; 65], b"");
        assert!(long.starts_with(b"p:k:{#") && long.len() == "p:k:{}".len() + 41);
    }

    proptest! {
        #[test]
        fn keys_of_one_tag_share_a_slot(
            tag in prop::collection::vec(any::<u8>(), 0..80),
            one in prop::collection::vec(any::<u8>(), 0..80),
            other in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let keys = [key("p", "a", &tag, &one), key("p", "b", &tag, &other)];
            prop_assert_eq!(slot(&keys[0]), slot(&keys[1]));
            let inner = keys[0].split(|byte| *byte == b'{').nth(1).unwrap();
            let has_tag = inner.iter().position(|byte| *byte == b'}').is_some_and(|end| end > 0);
            prop_assert!(has_tag);
            if one != other {
                prop_assert_ne!(key("p", "a", &tag, &one), key("p", "a", &tag, &other));
            }
        }
    }
}
