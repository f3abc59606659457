//! What readers are given.

use afterimage_engine::Corruption;

use super::*;

#[test]
fn a_reader_keeps_to_one_history() {
    let rig = Rig::with_ten();
    let mut reader = rig.store.reader(Index(3)).unwrap();
    assert_eq!(reader.next_index(), Index(3));
    let read = reader.read(250).unwrap();
    assert_eq!(read.iter().map(|e| e.index.0).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(reader.next_index(), Index(5));
    // What it has not read is replaced: it goes on with what is there now.
    rig.written(entries(3, 5..=6));
    let read = reader.read(1000).unwrap();
    assert_eq!(read.iter().map(|e| e.term.0).collect::<Vec<_>>(), [3, 3]);
    assert!(reader.read(1000).unwrap().is_empty(), "the end, for now");
    // What it read last is replaced.
    rig.written(entries(4, 6..=9));
    for _ in 0..2 {
        let replaced = reader.read(1000);
        assert!(matches!(replaced, Err(Error::Replaced { index: Index(6) })));
    }
    assert!(matches!(
        rig.store.reader(Index(11)),
        Err(Error::Unavailable { last: Index(9) })
    ));
    // Cut, and nothing in its place yet.
    let mut reader = rig.store.reader(Index(8)).unwrap();
    assert_eq!(reader.read(1).unwrap().len(), 1);
    rig.until(rig.store.truncate_suffix(Index(8)).unwrap());
    assert!(matches!(
        reader.read(1),
        Err(Error::Replaced { index: Index(8) })
    ));
}

/// At least one, and more until their data passes the limit: out of the cache, out
/// of a file, and out of several.
#[test]
fn as_many_entries_are_read_as_fit() {
    let many = || {
        let rig = Rig::new();
        for index in 1..=60 {
            rig.written(entries(2, index..=index));
        }
        assert!(rig.store.status().segments > 1);
        rig
    };
    let limits = [(0, 1), (99, 1), (100, 1), (199, 1), (200, 2), (1000, 10)];
    for (rig, from) in [
        (Rig::with_ten(), 1),
        (Rig::with_ten().reopened(), 1),
        (many(), 51),
        (many(), 45),
        (many().reopened(), 1),
        (many().reopened(), 20),
    ] {
        for (limit, count) in limits {
            let read = rig.store.entries(Index(from), limit).unwrap();
            assert_eq!(read.len(), count, "{limit} from {from}");
        }
    }
    let all = many().reopened().store.entries(Index(1), 5999).unwrap();
    assert_eq!(all.len(), 59);
}

#[test]
fn the_cache_answers_for_what_it_has_alone() {
    let rig = Rig::with_ten();
    let indexes = |from, end, bytes| {
        let cached = rig.store.cached_entries(Index(from), Index(end), bytes)?;
        Some(cached.iter().map(|e| e.index.0).collect::<Vec<_>>())
    };
    assert_eq!(indexes(1, 11, 10_000), Some((1..=10).collect()));
    assert_eq!(indexes(3, 6, 10_000), Some(vec![3, 4, 5]));
    assert_eq!(indexes(3, 100, 10_000), Some((3..=10).collect()));
    for (bytes, count) in [(0, 1), (99, 1), (100, 1), (199, 1), (200, 2), (301, 3)] {
        assert_eq!(indexes(4, 11, bytes), Some((4..4 + count).collect()));
    }
    assert_eq!(indexes(4, 4, 10_000), Some(vec![]));
    assert_eq!(indexes(11, 12, 10_000), Some(vec![]), "behind the end");
    rig.written(entries(2, 11..=15));
    assert_eq!(rig.store.status().cached_bytes, CACHE_BYTES);
    assert_eq!(indexes(5, 16, 10_000), None, "on the disk");
    assert_eq!(indexes(6, 16, 10_000), Some((6..=15).collect()));
}

#[test]
fn there_is_nothing_to_read_beyond_the_ends() {
    let rig = Rig::with_ten().reopened();
    for index in [11, 12] {
        let beyond = rig.store.entries(Index(index), 1000);
        assert!(matches!(
            beyond,
            Err(Error::Unavailable { last: Index(10) })
        ));
    }
    let before = rig.store.entries(Index(0), 1000);
    assert!(matches!(before, Err(Error::Purged { first: Index(1) })));
    assert_eq!(rig.store.entries(Index(10), 1000).unwrap().len(), 1);
}

/// A file that somebody cut short under a running store.
#[test]
fn a_segment_that_ends_too_early_is_named() {
    type Read = fn(&Store) -> Result<(), Error>;
    let ways: [Read; 3] = [
        |store| (1..=10).try_for_each(|n| store.entry(Index(n)).map(drop)),
        |store| store.entries(Index(1), 10_000).map(drop),
        |store| {
            let mut scan = store.scan(Index(1));
            while scan.read_next()?.is_some() {}
            Ok(())
        },
    ];
    for left in [600, 700, 1000] {
        for read in ways {
            let rig = Rig::with_ten().reopened();
            for path in rig.files("seg") {
                OsFs.open(&path).unwrap().set_len(left).unwrap();
            }
            match read(&rig.store) {
                Err(Error::Corrupt { what, offset, .. }) => {
                    assert!((512..=left).contains(&offset), "{offset} of {left}");
                    assert_eq!(what, Corruption::DurableRecord);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn the_readers_are_counted() {
    let rig = Rig::with_ten();
    assert_eq!(rig.store.status().readers, 0);
    let one = rig.store.reader(Index(1)).unwrap();
    let two = rig.store.reader(Index(2)).unwrap();
    assert_eq!(rig.store.status().readers, 2);
    drop(one);
    assert_eq!(rig.store.status().readers, 1);
    drop(two);
    assert_eq!(rig.store.status().readers, 0);
}

/// Also if the new log has an entry in the place of what was read last.
#[test]
fn a_reader_does_not_go_on_in_the_log_behind_an_install() {
    let rig = Rig::with_ten();
    let mut reader = rig.store.reader(Index(9)).unwrap();
    assert_eq!(reader.read(1000).unwrap().len(), 2);
    let mut install = install(&rig, 8);
    install.push(0, vec![1; 10], true);
    finish(&mut install);
    rig.written(entries(9, 9..=12));
    let replaced = reader.read(1000);
    assert!(matches!(
        replaced,
        Err(Error::Replaced { index: Index(10) })
    ));
}
