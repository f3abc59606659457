//! The ways to read the log: they agree, whatever was known before, and each
//! says where a record is bad.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use afterimage_engine::fs::{FileExt, Fs, FsExt, OsFs};
use afterimage_engine::raft::LogView;
use afterimage_engine::store::{Batch, Options, Store};
use afterimage_engine::threads::SystemEnv;
use afterimage_engine::{Entry, EntryKind, Error, Host, Index, Step, Term};

fn open(dir: &Path) -> Store {
    let host = Host {
        fs: Arc::new(OsFs),
        env: Arc::new(SystemEnv::unobserved().unwrap()),
    };
    let options = Options {
        segment_bytes: 100_000,
        // Nearly all is read from the files.
        cache_bytes: 3_000,
        ..Options::default()
    };
    Store::open(host, dir, options).run().unwrap().0
}

/// From nothing up to several pages.
fn entry(index: u64) -> Entry {
    let len = index * index * 7 % 600 + if index.is_multiple_of(50) { 9_000 } else { 0 };
    Entry {
        index: Index(index),
        term: Term(1 + index / 100),
        kind: EntryKind::Command,
        timestamp_ms: index as i64,
        data: vec![index as u8; len as usize].into(),
    }
}

fn append(store: &Store, indexes: std::ops::RangeInclusive<u64>) {
    let mut writer = store.writer();
    let indexes: Vec<u64> = indexes.collect();
    for some in indexes.chunks(17) {
        let batch = Batch {
            hard_state: None,
            entries: some.iter().map(|&index| entry(index)).collect(),
        };
        let ticket = store.submit(batch).unwrap();
        while store.persisted() < ticket {
            assert_eq!(writer.step().unwrap(), Step::Ran);
        }
    }
}

/// All ways to read see the entries up to `last`, from anywhere on.
fn check(store: &Store, last: u64) {
    for index in 1..=last {
        let index = index * 7919 % last + 1; // in no order
        assert_eq!(store.entry(Index(index)).unwrap(), entry(index));
        let len = store.visit(Index(index), |entry| entry.data.len()).unwrap();
        assert_eq!(len, entry(index).data.len());
        assert_eq!(store.term(Index(index)).unwrap(), entry(index).term);
    }
    for from in [1, 2, 99, last / 2, last] {
        let mut reader = store.scan(Index(from));
        for index in from..=last {
            let read = reader.read_next().unwrap().unwrap();
            assert_eq!(read, (&entry(index)).into());
        }
        assert_eq!(reader.read_next().unwrap(), None);
        let entries = store.entries(Index(from), 50_000).unwrap();
        assert!(!entries.is_empty());
        for (index, read) in (from..).zip(entries) {
            assert_eq!(read, entry(index));
        }
    }
    for missing in [last + 1, last + 1000] {
        let missing = store.entry(Index(missing));
        assert!(matches!(missing, Err(Error::Unavailable { .. })));
    }
    assert!(matches!(store.entry(Index(0)), Err(Error::Purged { .. })));
}

#[test]
fn all_ways_to_read_agree_before_and_after_an_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, 1..=1500);
    check(&store, 1500);
    drop(store);
    // Now nobody knows where the records stand; the order of the reads differs.
    for last in [1500, 1501] {
        let store = open(dir.path());
        let mut reader = store.scan(Index(700));
        for index in 700..800 {
            assert_eq!(
                reader.read_next().unwrap().unwrap().to_entry(),
                entry(index)
            );
        }
        if last > 1500 {
            append(&store, last..=last);
        }
        check(&store, last);
    }
}

#[test]
fn a_reader_goes_on_when_more_comes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut reader = store.scan(Index(1));
    for n in 0..30 {
        assert_eq!(reader.read_next().unwrap(), None);
        append(&store, n * 40 + 1..=n * 40 + 40);
        for index in n * 40 + 1..=n * 40 + 40 {
            assert_eq!(reader.read_next().unwrap().unwrap(), (&entry(index)).into());
        }
    }
}

/// The newest segment but `back`.
fn segment(dir: &Path, back: usize) -> PathBuf {
    let mut paths: Vec<_> = OsFs
        .list(dir)
        .unwrap()
        .into_iter()
        .map(|name| dir.join(name))
        .filter(|path| path.extension().is_some_and(|e| e == "seg"))
        .collect();
    paths.sort();
    paths.remove(paths.len() - 1 - back)
}

#[test]
fn a_bad_record_is_named_by_whoever_comes_to_it_and_by_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    append(&store, 1..=1500);
    // The data of this one and no other byte of the file.
    let bad = 600;
    let data = &entry(bad).data;
    assert!(data.len() > 400, "easily found");
    let (path, at) = (0..)
        .map(|back| segment(dir.path(), back))
        .find_map(|path| {
            let bytes = OsFs.read(&path).unwrap();
            let at = bytes
                .windows(data.len())
                .position(|bytes| bytes == &data[..])?;
            Some((path, at))
        })
        .unwrap();
    let flipped = [data[5] ^ 1];
    let file = OsFs.open(&path).unwrap();
    file.write_all_at(&flipped, at as u64 + 5).unwrap();
    let offset = at as u64 - 40;
    let is_named = |result: Result<(), Error>| match result {
        Err(Error::Corrupt {
            path: named,
            offset: found,
            ..
        }) => (named, found) == (path.clone(), offset),
        _ => false,
    };
    // With the places known, and without.
    let mut known = Some(store);
    for _ in 0..2 {
        let store = known.take().unwrap_or_else(|| open(dir.path()));
        assert!(is_named(store.entry(Index(bad)).map(|_| ())));
        let mut reader = store.scan(Index(bad - 100));
        for index in bad - 100..bad {
            let read = reader.read_next().unwrap().unwrap();
            assert_eq!(read.index, Index(index));
        }
        assert!(is_named(reader.read_next().map(|_| ())));
        let mut reader = store.scan(Index(bad));
        assert!(is_named(reader.read_next().map(|_| ())));
    }
}
