//! The form of a blob in the store, its body apart: versioned, and read as if anybody might have
//! written it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lockgate_core::{Blob, BlobHead, Pack, ReadHead, Tag, Unpack};

use super::log;

/// What is written now, and all that is read.
const VERSION: u8 = 1;
/// Most tags of a blob, its URI's own among them.
const MOST_TAGS: usize = 1 << 10;
/// Longest name.
const LONGEST_NAME: usize = 1 << 16;
/// Longest head.
pub(super) const LONGEST_HEAD: usize = 1 << 20;

/// Writes all of a blob but its body and id. `None` when it is more than would be read.
pub(super) fn write(blob: &Blob) -> Option<Vec<u8>> {
    let mut head = Vec::with_capacity(512);
    blob.head.write(&mut head);
    let fits = head.len() <= LONGEST_HEAD
        && blob.tags.len() <= MOST_TAGS
        && blob.name.len() <= LONGEST_NAME;
    if !fits {
        return None;
    }
    let mut out = Vec::with_capacity(head.len() + blob.name.len() + 8 * blob.tags.len() + 64);
    let mut pack = Pack(&mut out);
    // A purge made here alone is not in the log: by the log's count it was asked for before.
    pack.byte(VERSION).number(log::number(blob.stamp)).count(blob.tags.len());
    for tag in &blob.tags {
        pack.number(tag.hash());
    }
    pack.bytes(blob.name.as_bytes()).number(blob.body.len() as u64).bytes(&head);
    Some(out)
}

/// Reads a blob that was written so long ago.
pub(super) fn read(
    id: u64,
    packed: &[u8],
    body: Vec<u8>,
    ago: Duration,
    head: ReadHead,
) -> Option<Arc<Blob>> {
    let mut packed = Unpack::new(packed);
    if packed.byte()? != VERSION {
        return None;
    }
    let number = packed.number().filter(|number| log::number(log::stamp(*number)) == *number)?;
    let tags = packed.count(MOST_TAGS)?;
    let tags: Option<Box<[Tag]>> = (0..tags).map(|_| packed.number().map(Tag::of_hash)).collect();
    let name = std::str::from_utf8(packed.bytes(LONGEST_NAME)?).ok()?;
    if packed.number()? != body.len() as u64 {
        return None;
    }
    let head = head(packed.bytes(LONGEST_HEAD)?, ago)?;
    packed.end()?;
    let stamp = log::stamp(number);
    Some(Arc::new(Blob {
        name: name.into(),
        head,
        body: Bytes::from(body),
        tags: tags?,
        stamp,
        id,
    }))
}

/// A head of any bytes.
struct Text(Vec<u8>);

impl BlobHead for Text {
    fn size(&self) -> usize {
        self.0.len()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}

fn text(bytes: &[u8], _: Duration) -> Option<Box<dyn BlobHead>> {
    Some(Box::new(Text(bytes.to_vec())))
}

/// Reads anything as a blob: what can be read is written as the same.
pub(super) fn fuzz(bytes: &[u8]) {
    // Its last byte says how long its body is.
    let Some((length, packed)) = bytes.split_last() else { return };
    let body = vec![0; usize::from(*length)];
    if let Some(blob) = read(7, packed, body, Duration::ZERO, text) {
        assert_eq!(write(&blob).as_deref(), Some(packed), "it is read as another");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn blob(stamp: u64) -> Blob {
        Blob {
            name: "a.test/x?y".into(),
            head: Box::new(Text(b"head".to_vec())),
            body: Bytes::from_static(b"body"),
            tags: Tag::of_uri("a.test", "/x/y").collect(),
            stamp,
            id: 7,
        }
    }

    fn back(packed: &[u8], body: &[u8]) -> Option<Arc<Blob>> {
        read(7, packed, body.to_vec(), Duration::ZERO, text)
    }

    #[test]
    fn a_blob_comes_back_and_counts_as_asked_for_before_what_only_this_process_knows() {
        let sent = blob(log::stamp(5) + 3);
        let packed = write(&sent).unwrap();
        let read = back(&packed, b"body").unwrap();
        assert_eq!((&read.name, &read.tags, &read.body), (&sent.name, &sent.tags, &sent.body));
        assert_eq!(read.head::<Text>().unwrap().0, b"head");
        assert_eq!((read.stamp, read.id), (log::stamp(5), 7));
        assert!(back(&packed, b"bod").is_none(), "a body that is cut");
        let long = Blob { head: Box::new(Text(vec![0; LONGEST_HEAD + 1])), ..blob(0) };
        assert!(write(&long).is_none());
    }

    proptest! {
        #[test]
        fn anything_is_read_without_a_panic(place in 0_usize..200, byte: u8, cut in 0_usize..200) {
            let mut packed = write(&blob(log::stamp(9))).unwrap();
            let whole = packed.len();
            prop_assert!(back(&packed[..cut.min(whole - 1)], b"body").is_none());
            packed[place % whole] = byte;
            back(&packed, b"body");
        }
    }
}
