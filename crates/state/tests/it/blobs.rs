//! What every store of blobs has in common: the same behaviours, in memory and on a Redis.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lockgate_core::{Blob, BlobHead, Blobs, Purge, Step, StoreError, Tag};
use lockgate_state::MemoryBlobs;
use lockgate_state::redis::{Address, Login, RedisBlobs, RedisStore, Servers, Settings};
use lockgate_testkit::redis::RedisServer;
use lockgate_testkit::until;
use tokio::runtime::Handle;

pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// A head that is a text.
pub(crate) struct Text(pub(crate) String);

impl BlobHead for Text {
    fn size(&self) -> usize {
        self.0.len()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
    }
}

pub(crate) fn read(bytes: &[u8], _: Duration) -> Option<Box<dyn BlobHead>> {
    let text = String::from_utf8(bytes.to_vec()).ok()?;
    (!text.contains("unread")).then(|| Box::new(Text(text)) as Box<dyn BlobHead>)
}

/// A gateway's blobs on a server, once it has heard of all purges.
pub(crate) async fn gateway(server: &RedisServer, name: &str) -> Arc<RedisBlobs> {
    let settings = Settings {
        servers: Servers::One(Address::new("127.0.0.1", server.address().port())),
        login: Login::default(),
        database: 0,
        prefix: "test".into(),
        timeout: Some(Duration::from_secs(5)),
        tls: None,
    };
    let store = RedisStore::start("shared", &settings, &Arc::from(name), &Handle::current());
    let blobs = Arc::new(RedisBlobs::start(&Arc::new(store), 8 << 20, &Handle::current()));
    blobs.reads(read);
    until("the log to be read", async || blobs.hears()).await;
    blobs
}

pub(crate) fn blob(blobs: &dyn Blobs, path: &str, body: impl Into<Bytes>) -> Arc<Blob> {
    let mut tags: Vec<Tag> = Tag::of_uri("a.test", path).collect();
    tags.push(Tag::word(path.rsplit('/').next().unwrap()));
    Arc::new(Blob {
        name: format!("a.test{path}?q").into(),
        head: Box::new(Text(format!("head of {path}"))),
        body: body.into(),
        tags: tags.into(),
        stamp: blobs.stamp(),
        id: Blob::new_id(),
    })
}

pub(crate) fn put(blobs: &dyn Blobs, path: &str) -> bool {
    blobs.put(path.as_bytes(), blob(blobs, path, path.to_owned()), MINUTE)
}

pub(crate) async fn get(blobs: &dyn Blobs, path: &str) -> Result<Option<Arc<Blob>>, StoreError> {
    match blobs.get(path.as_bytes()) {
        Step::Now(got) => got,
        Step::Later(got) => got.await,
    }
}

pub(crate) async fn has(blobs: &dyn Blobs, path: &str) -> bool {
    let Some(blob) = get(blobs, path).await.unwrap() else { return false };
    assert_eq!(blob.body, path);
    assert_eq!(blob.head::<Text>().unwrap().0, format!("head of {path}"));
    true
}

/// Every kind of store, empty.
async fn each(behaviour: impl AsyncFn(&dyn Blobs)) {
    behaviour(&MemoryBlobs::new(8 << 20)).await;
    let server = RedisServer::start().await;
    behaviour(&*gateway(&server, "a").await).await;
}

#[tokio::test]
async fn what_is_put_is_there_until_it_is_taken_away() {
    each(async |blobs| {
        assert!(!has(blobs, "/a").await);
        assert!(put(blobs, "/a"));
        assert!(has(blobs, "/a").await);
        let second = blob(blobs, "/a", "/a");
        assert!(blobs.put(b"/a", Arc::clone(&second), MINUTE));
        let got = get(blobs, "/a").await.unwrap().unwrap();
        assert_eq!(got.id, second.id, "the last one is there");
        blobs.remove(b"/a");
        until("it to be gone", async || !has(blobs, "/a").await).await;
    })
    .await;
}

#[tokio::test]
async fn what_is_over_is_gone() {
    each(async |blobs| {
        assert!(blobs.put(b"/a", blob(blobs, "/a", "/a"), Duration::from_millis(150)));
        assert!(has(blobs, "/a").await);
        until("it to be over", async || !has(blobs, "/a").await).await;
    })
    .await;
}

#[tokio::test]
async fn each_purge_takes_what_it_names_and_no_more() {
    let paths = ["/a/1", "/a/1/x", "/a/2", "/b/1"];
    each(async |blobs| {
        for (what, left) in [
            (Purge::All, vec![]),
            (Purge::Tag(Tag::uri("a.test", "/a/1")), vec!["/a/1/x", "/a/2", "/b/1"]),
            (Purge::Tag(Tag::uri("b.test", "/a/1")), paths.to_vec()),
            (Purge::Tag(Tag::under("a.test", "/a/1").unwrap()), vec!["/a/2", "/b/1"]),
            (Purge::Tag(Tag::word("1")), vec!["/a/1/x", "/a/2"]),
            (Purge::Names("/*/1".parse().unwrap()), vec!["/a/1/x", "/a/2"]),
            (Purge::Names("b.test/**".parse().unwrap()), paths.to_vec()),
        ] {
            for path in paths {
                assert!(put(blobs, path));
            }
            blobs.purge(&what).told().await.unwrap();
            let mut found = Vec::new();
            for path in paths {
                if has(blobs, path).await {
                    found.push(path);
                }
            }
            assert_eq!(found, left, "{what:?}");
            assert!(put(blobs, "/a/1"));
            assert!(has(blobs, "/a/1").await, "what is put later stays");
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_asked_for_before_a_purge_is_not_put_after_it() {
    each(async |blobs| {
        for what in
            [Purge::All, Purge::Tag(Tag::uri("a.test", "/a")), Purge::Names("/*".parse().unwrap())]
        {
            let made = blob(blobs, "/a", "/a");
            blobs.purge(&what).told().await.unwrap();
            assert!(!blobs.put(b"/a", made, MINUTE), "{what:?}");
            assert!(!has(blobs, "/a").await);
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_too_large_is_not_taken_and_what_is_purged_can_be_swept() {
    each(async |blobs| {
        let large = blob(blobs, "/large", vec![b'x'; 9 << 20]);
        assert!(!blobs.put(b"/large", large, MINUTE));
        assert!(put(blobs, "/a/1") && put(blobs, "/a/2"));
        drop(blobs.purge(&Purge::Tag(Tag::word("1"))));
        let mut seen = Vec::new();
        blobs.each(&mut |blob, left| seen.push((blob.name.clone(), left <= MINUTE)));
        assert_eq!(seen, [("a.test/a/2?q".into(), true)]);
        assert_eq!((blobs.stats().entries, blobs.sweep(), blobs.stats().entries), (2, 1, 1));
        assert!(blobs.stats().bytes > 0 && blobs.stats().purges > 0);
    })
    .await;
}
