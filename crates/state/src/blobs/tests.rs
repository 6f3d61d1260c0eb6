//! Purges, bounds and evictions, alone and against a map that forgets.

use std::collections::HashMap;

use bytes::Bytes;
use lockgate_core::{BlobHead, Glob, Tag};
use proptest::prelude::*;

use super::*;

struct Nothing;

impl BlobHead for Nothing {
    fn size(&self) -> usize {
        0
    }

    fn write(&self, _: &mut Vec<u8>) {}
}

fn blob(store: &MemoryBlobs, path: &str, size: usize) -> Arc<Blob> {
    let mut tags: Vec<Tag> = Tag::of_uri("a.test", path).collect();
    tags.push(Tag::word(path.rsplit('/').next().unwrap()));
    Arc::new(Blob {
        name: format!("a.test{path}?q").into(),
        head: Box::new(Nothing),
        body: vec![b'x'; size].into(),
        tags: tags.into(),
        stamp: store.stamp(),
        id: Blob::new_id(),
    })
}

const MINUTE: Duration = Duration::from_secs(60);

fn put(store: &MemoryBlobs, path: &str) {
    assert!(store.put(path.as_bytes(), blob(store, path, 10), MINUTE));
}

fn has(store: &MemoryBlobs, key: &str) -> bool {
    let Step::Now(found) = store.get(key.as_bytes()) else { panic!("memory never waits") };
    found.unwrap().is_some()
}

fn purge(store: &MemoryBlobs, what: Purge) {
    let Purged::Now(done) = store.purge(&what) else { panic!("memory never waits") };
    done.unwrap();
}

fn glob(text: &str) -> Purge {
    Purge::Names(text.parse::<Glob>().unwrap())
}

#[tokio::test(start_paused = true)]
async fn what_is_over_is_gone() {
    let store = MemoryBlobs::new(1 << 20);
    put(&store, "/a");
    tokio::time::advance(MINUTE - Duration::from_millis(1)).await;
    assert!(has(&store, "/a"));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(!has(&store, "/a"));
    assert_eq!(store.stats().entries, 0, "and not only hidden");
}

#[tokio::test]
async fn each_purge_takes_what_it_names_and_no_more() {
    let paths = ["/a/1", "/a/1/x", "/a/2", "/b/1"];
    for (what, left) in [
        (Purge::All, vec![]),
        (Purge::Tag(Tag::uri("a.test", "/a/1")), vec!["/a/1/x", "/a/2", "/b/1"]),
        (Purge::Tag(Tag::uri("b.test", "/a/1")), paths.to_vec()),
        (Purge::Tag(Tag::under("a.test", "/a/1").unwrap()), vec!["/a/2", "/b/1"]),
        (Purge::Tag(Tag::word("1")), vec!["/a/1/x", "/a/2"]),
        (glob("/*/1"), vec!["/a/1/x", "/a/2"]),
        (glob("b.test/**"), paths.to_vec()),
    ] {
        let store = MemoryBlobs::new(1 << 20);
        paths.iter().for_each(|path| put(&store, path));
        purge(&store, what.clone());
        let found: Vec<&str> = paths.into_iter().filter(|path| has(&store, path)).collect();
        assert_eq!(found, left, "{what:?}");
        put(&store, "/a/1");
        assert!(has(&store, "/a/1"), "what is put later stays");
    }
}

#[tokio::test]
async fn what_was_asked_for_before_a_purge_is_not_put_after_it() {
    for what in [Purge::All, Purge::Tag(Tag::uri("a.test", "/a")), glob("/*")] {
        let store = MemoryBlobs::new(1 << 20);
        let made = blob(&store, "/a", 10);
        purge(&store, what.clone());
        assert!(!store.put(b"/a", made, MINUTE), "{what:?}");
        assert!(!has(&store, "/a"));
    }
}

#[tokio::test]
async fn a_purge_from_elsewhere_takes_what_is_older_and_spares_what_is_younger() {
    let what = Purge::Tag(Tag::uri("a.test", "/a"));
    let store = MemoryBlobs::new(1 << 20);
    put(&store, "/a");
    // Something of a later time has been seen, and what is there has been found alive in it.
    store.reach(100);
    assert!(has(&store, "/a"));
    store.heard(&what, 50);
    assert!(!has(&store, "/a"), "heard late, it holds all the same");
    put(&store, "/a");
    store.heard(&what, 80);
    assert!(has(&store, "/a"), "it was asked for after that purge");
    purge(&store, what.clone());
    assert!(!has(&store, "/a"), "a purge from here reaches all that is here");
    store.heard(&glob("/x/*"), 300);
    store.heard(&glob("/y/*"), 200);
    let made = blob(&store, "/y/1", 10);
    assert!(made.stamp >= 300);
    let old = Arc::new(Blob { stamp: 150, ..Arc::into_inner(made).unwrap() });
    assert!(!store.put(b"/y/1", old, MINUTE), "patterns are told apart by their own numbers");
}

#[tokio::test]
async fn patterns_that_are_forgotten_purge_what_is_older() {
    let store = MemoryBlobs::new(1 << 20);
    put(&store, "/old");
    let made = blob(&store, "/x/0/y", 10);
    for n in 0..100 {
        purge(&store, glob(&format!("/x/{n}*/y")));
    }
    assert!(!store.put(b"/x/0/y", made, MINUTE));
    assert!(!has(&store, "/old"), "too much, never too little");
    put(&store, "/new");
    purge(&store, glob("/x/7*/y"));
    assert!(has(&store, "/new"));
}

#[tokio::test]
async fn a_sweep_frees_what_is_purged() {
    let store = MemoryBlobs::new(1 << 20);
    (0..10).for_each(|n| put(&store, &format!("/a/{n}")));
    purge(&store, Purge::Tag(Tag::under("a.test", "/a").unwrap()));
    put(&store, "/b");
    assert_eq!((store.stats().entries, store.sweep(), store.stats().entries), (11, 10, 1));
    let mut seen = Vec::new();
    store.each(&mut |blob, left| seen.push((blob.name.clone(), left <= MINUTE)));
    assert_eq!(seen, [("a.test/b?q".into(), true)]);
}

#[tokio::test]
async fn a_scan_does_not_push_out_what_is_used() {
    let store = MemoryBlobs::new(4 << 20);
    let hot: Vec<String> = (0..100).map(|n| format!("/hot/{n}")).collect();
    for path in &hot {
        assert!(store.put(path.as_bytes(), blob(&store, path, 10_000), MINUTE));
    }
    for n in 0..10_000 {
        let path = format!("/scan/{n}");
        store.put(path.as_bytes(), blob(&store, &path, 10_000), MINUTE);
        has(&store, &hot[n % hot.len()]);
    }
    let kept = hot.iter().filter(|path| has(&store, path)).count();
    assert!(kept > 90, "{kept} of 100 are left after a scan of 25 times the memory");
    assert!(store.stats().evictions > 5_000);
}

#[tokio::test]
async fn it_can_grow_and_shrink() {
    let store = MemoryBlobs::new(1 << 20);
    let fill = || {
        for n in 0..400 {
            let path = format!("/{n}");
            store.put(path.as_bytes(), blob(&store, &path, 10_000), MINUTE);
        }
    };
    fill();
    assert!(store.stats().bytes <= 1 << 20);
    store.resize(4 << 20);
    fill();
    let grown = store.stats();
    assert!(grown.bytes > 2 << 20 && grown.bytes <= 4 << 20, "{grown:?}");
    store.resize(1 << 20);
    fill();
    assert!(store.stats().bytes <= 1 << 20, "{:?}", store.stats());
}

proptest! {
    /// Whatever is put, got and purged: the bound holds, and what is got is what was put last and
    /// has not been purged since.
    #[test]
    fn it_behaves_like_a_map_that_forgets(
        steps in proptest::collection::vec((0_u8..8, 0_usize..40, 0_usize..60_000), 1..300),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _inside = runtime.enter();
        const MOST: u64 = 512 << 10;
        let store = MemoryBlobs::new(MOST);
        let mut model: HashMap<String, Bytes> = HashMap::new();
        for (what, key, size) in steps {
            let path = format!("/{}/{key}", key % 5);
            match what {
                0..3 => {
                    let blob = blob(&store, &path, size);
                    if store.put(path.as_bytes(), Arc::clone(&blob), MINUTE) {
                        model.insert(path, blob.body.clone());
                    }
                }
                3 => {
                    purge(&store, Purge::Tag(Tag::uri("a.test", &path)));
                    model.remove(&path);
                }
                4 => {
                    let part = format!("/{}", key % 5);
                    purge(&store, Purge::Tag(Tag::under("a.test", &part).unwrap()));
                    model.retain(|path, _| !path.starts_with(&format!("{part}/")));
                }
                5 if key == 0 => {
                    purge(&store, Purge::All);
                    model.clear();
                }
                6 => drop(store.sweep()),
                _ => {
                    let Step::Now(Ok(found)) = store.get(path.as_bytes()) else { panic!() };
                    if let Some(found) = found {
                        prop_assert_eq!(Some(&found.body), model.get(&path));
                    }
                }
            }
            prop_assert!(store.stats().bytes <= MOST);
        }
    }
}
