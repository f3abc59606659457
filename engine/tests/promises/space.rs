//! What is prepared, and what is given back.

use super::*;

/// In pieces of 1 MiB.
#[test]
fn a_segment_is_prepared_to_its_end() {
    for bytes in [4096, (1 << 20) + 4096, 3 << 20] {
        let options = Options {
            segment_bytes: bytes,
            ..options()
        };
        let rig = Rig::on(Arc::new(OsFs), options);
        let mut preparer = rig.store.preparer();
        assert!(!preparer.has_work(), "nobody appended yet");
        rig.written(entries(1, 1..=1));
        assert!(preparer.has_work());
        while preparer.step().unwrap() == Step::Ran {}
        assert!(rig.store.status().is_prepared && !preparer.has_work());
        let prepared = rig.files("tmp").into_iter();
        let lens = prepared.map(|path| OsFs.open(&path).unwrap().len().unwrap());
        assert_eq!(lens.collect::<Vec<_>>(), [bytes]);
        preparer.begin();
        assert!(!preparer.has_work(), "one is enough");
    }
}

/// Space that nobody needs any more: of segments, and of snapshots replaced.
#[test]
fn the_cleaner_gives_space_back() {
    let rig = Rig::with_ten();
    for index in 11..=60 {
        rig.written(entries(2, index..=index));
    }
    assert_eq!(rig.store.status().cached_bytes, CACHE_BYTES);
    let segments = rig.store.status().segments;
    assert!(segments > 1);
    rig.save(2, 55, 5000);
    let old = rig.store.open_snapshot().unwrap().unwrap();
    rig.save(2, 60, 10);
    drop(old);
    rig.clean();
    let after = rig.store.status();
    assert_eq!(after.segments, 1, "of {segments}");
    let cached = 60 - after.first_index.0 + 1;
    assert_eq!(after.cached_bytes as u64, 100 * cached.min(10));
    assert_eq!(rig.terms(after.first_index.0..=60).len() as u64, cached);
}

/// Who appends does not wait until what leaves the cache is freed.
#[test]
fn the_cleaner_frees_what_left_the_cache() {
    let rig = Rig::with_ten();
    let mut batch = entries(2, 11..=11);
    let data: Arc<[u8]> = Arc::from([7; 100]);
    batch.entries[0].data = data.clone();
    rig.written(batch);
    assert_eq!(rig.store.entry(Index(11)).unwrap().data, data);
    for index in 12..=21 {
        assert_eq!(Arc::strong_count(&data), 2, "cached");
        rig.written(entries(2, index..=index));
    }
    assert_eq!(Arc::strong_count(&data), 2, "evicted");
    let mut cleaner = rig.store.cleaner();
    cleaner.free_unused();
    assert_eq!(Arc::strong_count(&data), 1);
    assert_eq!(rig.store.status().cached_bytes, CACHE_BYTES);
    assert_eq!(rig.store.entry(Index(11)).unwrap().data, data, "read back");
}

/// Each open writes the tail again, and dies before its cleaner's first turn: the
/// segments that it hides don't pile up.
#[test]
fn opens_that_never_come_to_clean_do_not_fill_the_disk() {
    let mut rig = Rig::with_ten();
    let mut most = 0;
    for _ in 0..30 {
        rig = rig.reopened();
        let segments = OsFs.list(rig.dir.path()).unwrap();
        let is_segment = |name: &&std::ffi::OsString| name.to_string_lossy().starts_with("log-");
        most = most.max(segments.iter().filter(is_segment).count());
        assert_eq!(rig.terms(1..=10), [2; 10]);
    }
    assert!((4..8).contains(&most), "{most} segments");
    rig.clean();
    assert_eq!(rig.terms(1..=10), [2; 10]);
    assert_eq!(rig.reopened().terms(1..=10), [2; 10]);
}
