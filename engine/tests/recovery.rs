//! What an open decides about the files that it finds, one decision a test: the
//! directory is spoilt by hand, and the answer names the file and the offset. An
//! open that refuses has changed nothing. (What crashes leave is the simulator's.)

#![allow(clippy::disallowed_methods, reason = "tests")]

#[path = "support/snapshot.rs"]
mod snapshot;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use afterimage_engine::format::{CommitHint, SECTOR, SegmentHeader};
use afterimage_engine::fs::OsFs;
use afterimage_engine::raft::LogView;
use afterimage_engine::store::{Batch, Options, Report, Store};
use afterimage_engine::threads::SystemEnv;
use afterimage_engine::{Corruption, Entry, EntryKind, Error, Host, Index, Step, Term};
use snapshot::{Once, meta};

/// Two entries make a segment.
const SEGMENT_BYTES: u64 = 1024;

fn open(dir: &Path) -> Result<(Store, Report), Error> {
    let env = Arc::new(SystemEnv::new(|_| {}).unwrap());
    let options = Options {
        segment_bytes: SEGMENT_BYTES,
        chunk_bytes: 256,
        cache_bytes: 0,
        commit_hint_every: 1,
        ..Options::default()
    };
    let fs = Arc::new(OsFs);
    Store::open(Host { fs, env }, dir, options).run()
}

fn entry(index: u64) -> Entry {
    Entry {
        index: Index(index),
        term: Term(1),
        kind: EntryKind::Command,
        timestamp_ms: 0,
        data: vec![index as u8; 300].into(),
    }
}

fn append(store: &Store, indexes: std::ops::RangeInclusive<u64>) {
    for index in indexes {
        let batch = Batch {
            hard_state: None,
            entries: vec![entry(index)],
        };
        store.submit(batch).unwrap();
        write_all(store);
    }
}

/// The same without a sync.
fn leave(store: &Store, indexes: std::ops::RangeInclusive<u64>) {
    for index in indexes {
        store.submit_unsynced(vec![entry(index)]).unwrap();
        write_all(store);
    }
}

fn sync(store: &Store) {
    store.submit(Batch::default()).unwrap();
    write_all(store);
}

fn write_all(store: &Store) {
    let mut writer = store.writer();
    while writer.step().unwrap() != Step::Idle {}
}

/// Flips a bit in the middle of the data of entry `index`, wherever it stands first.
fn spoil(dir: &Path, index: u64) {
    let data = [index as u8; 300];
    for segment in segments(dir) {
        let mut bytes = fs::read(&segment).unwrap();
        let found = bytes.windows(data.len()).position(|window| window == data);
        if let Some(at) = found {
            bytes[at + 150] ^= 1;
            return fs::write(&segment, bytes).unwrap();
        }
    }
    panic!("{index} is nowhere");
}

fn save(store: &Store, last: u64) {
    let source = Box::new(Once(vec![7; 1000]));
    assert!(store.save_snapshot(meta(1, last), source).run().unwrap());
}

fn hint(store: &Store, index: u64) {
    store.hint_commit(Index(index));
    let mut hinter = store.hinter();
    while hinter.step().unwrap() != Step::Idle {}
}

/// A log 1..=9 in several segments.
fn log() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    append(&open(dir.path()).unwrap().0, 1..=9);
    dir
}

/// The same with a snapshot up to here, and nothing purged.
fn log_with_snapshot(last: u64) -> tempfile::TempDir {
    let dir = log();
    save(&open(dir.path()).unwrap().0, last);
    dir
}

/// The segments, in the order of their bases.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut segments: Vec<_> = names
        .filter(|path| path.extension().is_some_and(|e| e == "seg"))
        .collect();
    segments.sort();
    segments
}

/// The last entries are gone, with each copy that an open made of them. Where
/// the log ends now.
fn lose_the_end(dir: &Path) -> Index {
    let base = header(&segments(dir).pop().unwrap()).base;
    for segment in segments(dir) {
        if header(&segment).base == base {
            fs::remove_file(segment).unwrap();
        }
    }
    base.prev()
}

fn header(path: &Path) -> SegmentHeader {
    let bytes = fs::read(path).unwrap();
    SegmentHeader::decode(bytes.first_chunk().unwrap())
        .unwrap()
        .unwrap()
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let names = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    names
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

/// The open refuses, names this, and has changed nothing.
#[track_caller]
fn refuses(dir: &Path, file: &Path, at: u64, because: Corruption) {
    let before = contents(dir);
    match open(dir).map(|(_, report)| report) {
        Err(Error::Corrupt { path, offset, what }) => {
            assert_eq!((&*path, offset, what), (file, at, because));
        }
        other => panic!("{other:?}"),
    }
    assert!(contents(dir) == before, "it changed something");
}

/// It opens, and says this on the way.
#[track_caller]
fn decides(dir: &Path, what: &str) -> (Store, Report) {
    let (store, report) = open(dir).unwrap();
    let said = |line: &String| line.contains(what);
    assert!(report.decisions.iter().any(said), "{:?}", report.decisions);
    (store, report)
}

#[test]
fn a_log_without_its_hard_state_is_refused() {
    let dir = log();
    let file = dir.path().join("hardstate");
    fs::remove_file(&file).unwrap();
    refuses(dir.path(), &file, 0, Corruption::NoHardState);
    // A snapshot without one as well.
    for segment in segments(dir.path()) {
        fs::remove_file(segment).unwrap();
    }
    fs::write(dir.path().join("snapshot"), b"").unwrap();
    refuses(dir.path(), &file, 0, Corruption::NoHardState);
}

#[test]
fn two_bad_slots_are_refused() {
    let dir = log();
    let file = dir.path().join("hardstate");
    flip(&file, 40);
    flip(&file, SECTOR + 40);
    refuses(dir.path(), &file, 0, Corruption::HardState);
}

#[test]
fn a_file_of_another_log_is_refused() {
    let (dir, other) = (log_with_snapshot(4), log_with_snapshot(4));
    let names = |dir: &Path| [dir.join("snapshot"), segments(dir).pop().unwrap()];
    for (ours, theirs) in names(dir.path()).iter().zip(names(other.path())) {
        let kept = fs::read(ours).unwrap();
        // Under a name that fits: its own.
        let put = dir.path().join(theirs.file_name().unwrap());
        fs::copy(&theirs, &put).unwrap();
        refuses(dir.path(), &put, 16, Corruption::Foreign);
        fs::remove_file(&put).unwrap();
        fs::write(ours, kept).unwrap();
    }
    open(dir.path()).unwrap();
}

#[test]
fn a_segment_whose_header_is_bad_is_refused() {
    let dir = log();
    let file = &segments(dir.path())[1];
    flip(file, 30);
    refuses(dir.path(), file, 0, Corruption::SegmentHeader);
}

#[test]
fn a_segment_under_another_name_is_refused() {
    let dir = log();
    let file = &segments(dir.path())[1];
    let named = SegmentHeader {
        base: Index(77),
        ..header(file)
    };
    let moved = dir.path().join(named.file_name());
    fs::rename(file, &moved).unwrap();
    refuses(dir.path(), &moved, 0, Corruption::SegmentHeader);
}

#[test]
fn two_segments_of_one_generation_are_refused() {
    let dir = log();
    let file = &segments(dir.path())[1];
    let twin = SegmentHeader {
        base: header(file).base.next(),
        ..header(file)
    };
    let path = dir.path().join(twin.file_name());
    fs::write(&path, twin.encode()).unwrap();
    refuses(dir.path(), &path, 32, Corruption::SegmentHeader);
}

#[test]
fn a_log_that_begins_too_late_is_refused() {
    let dir = log();
    let segments = segments(dir.path());
    let to = header(&segments[1]).base.prev();
    fs::remove_file(&segments[0]).unwrap();
    let gap = Corruption::Gap { from: Index(1), to };
    refuses(dir.path(), dir.path(), 0, gap);
}

#[test]
fn a_missing_segment_in_the_middle_is_refused() {
    let dir = log();
    let segments = segments(dir.path());
    fs::remove_file(&segments[1]).unwrap();
    let end = header(&segments[2]).prev.end;
    refuses(dir.path(), &segments[0], end, Corruption::BrokenChain);
}

#[test]
fn a_segment_that_is_not_the_one_continued_is_refused() {
    let dir = log();
    let segments = segments(dir.path());
    let end = header(&segments[1]).prev.end;
    // The last byte of the CRC that the next segment knows.
    flip(&segments[0], end as usize - 1);
    refuses(dir.path(), &segments[0], end, Corruption::BrokenChain);
}

#[test]
fn a_missing_segment_below_the_snapshots_end_is_garbage() {
    let dir = log_with_snapshot(8);
    let segments = segments(dir.path());
    fs::remove_file(&segments[1]).unwrap();
    let first = header(&segments[2]).base;
    let (store, report) = decides(dir.path(), "below a gap that the snapshot covers");
    assert_eq!((report.first_index, report.last_index), (first, Index(9)));
    assert_eq!(store.entries(Index(9), 1000).unwrap().len(), 1);
}

#[test]
fn a_log_that_ends_below_the_snapshot_begins_anew_behind_it() {
    let dir = log_with_snapshot(9);
    lose_the_end(dir.path());
    let (store, report) = decides(dir.path(), "the log begins anew");
    assert_eq!(
        (report.first_index, report.last_index),
        (Index(10), Index(9))
    );
    append(&store, 10..=11);
    drop(store);
    assert_eq!(open(dir.path()).unwrap().1.last_index, Index(11));
}

#[test]
fn a_log_that_ends_where_the_snapshot_does_is_kept() {
    let dir = log_with_snapshot(9);
    let (_, report) = open(dir.path()).unwrap();
    let ends = (report.first_index, report.last_index);
    assert_eq!(ends, (Index(1), Index(9)));
    assert!(!report.ambiguous_tail);
}

/// A tail that was cut is in doubt until something was appended behind it.
#[test]
fn the_doubt_about_a_tail_ends_with_the_next_append() {
    let dir = tempfile::tempdir().unwrap();
    append(&open(dir.path()).unwrap().0, 1..=2);
    let path = segments(dir.path()).pop().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    for _ in 0..2 {
        let (_, report) = open(dir.path()).unwrap();
        assert_eq!(report.last_index, Index(1));
        assert!(report.ambiguous_tail);
    }
    // One record was copied, and the next one proves it.
    append(&open(dir.path()).unwrap().0, 2..=2);
    assert!(!open(dir.path()).unwrap().1.ambiguous_tail);
}

#[test]
fn a_discarded_segment_counts_for_nothing_even_if_its_header_is_bad() {
    let dir = log();
    let (store, _) = open(dir.path()).unwrap();
    let mut install = store.install(meta(2, 20));
    assert!(install.push(0, vec![1; 600], true));
    while install.outcome().is_none() {
        install.step().unwrap();
    }
    drop((install, store));
    let left = segments(dir.path());
    flip(&left[0], 30);
    let (store, report) = decides(dir.path(), "dead, its header is bad");
    assert!(report.decisions.iter().any(|line| line.ends_with(": dead")));
    assert_eq!(
        (report.first_index, report.last_index),
        (Index(21), Index(20))
    );
    // The cleaner takes all of them.
    let mut cleaner = store.cleaner();
    while cleaner.has_work() {
        cleaner.step().unwrap();
    }
    assert!(segments(dir.path()).is_empty(), "of {left:?}");
}

#[test]
fn what_was_truncated_stays_hidden_though_its_file_is_there() {
    let dir = log();
    let (store, _) = open(dir.path()).unwrap();
    store.truncate_suffix(Index(2)).unwrap();
    let mut writer = store.writer();
    while writer.step().unwrap() != Step::Idle {}
    drop((writer, store));
    let (_, report) = decides(dir.path(), ": hidden");
    assert_eq!(report.last_index, Index(1));
}

#[test]
fn a_bad_snapshot_is_refused_where_it_is_bad() {
    let dir = log_with_snapshot(8);
    let file = dir.path().join("snapshot");
    let whole = fs::read(&file).unwrap();
    flip(&file, 100);
    refuses(dir.path(), &file, 0, Corruption::SnapshotHeader);
    fs::write(&file, &whole).unwrap();
    flip(&file, SECTOR);
    refuses(dir.path(), &file, SECTOR as u64, Corruption::SnapshotHeader);
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    let len = whole.len() as u64 - 1;
    refuses(dir.path(), &file, len, Corruption::SnapshotData);
    // A chunk is checked when it is read.
    fs::write(&file, &whole).unwrap();
    let second = 2 * SECTOR + 256 + 4;
    flip(&file, second + 9);
    let reader = open(dir.path())
        .unwrap()
        .0
        .open_snapshot()
        .unwrap()
        .unwrap();
    assert_eq!(reader.read(0).unwrap(), [7; 256]);
    match reader.read(256) {
        Err(Error::Corrupt { path, offset, what }) => {
            assert_eq!((path, offset), (file, second as u64));
            assert_eq!(what, Corruption::SnapshotData);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn rot_in_a_closed_segment_is_named_by_whoever_reads_it() {
    let dir = log();
    let file = &segments(dir.path())[0];
    flip(file, SECTOR + 100);
    let (store, report) = open(dir.path()).unwrap();
    assert_eq!(report.last_index, Index(9));
    for _ in 0..2 {
        match store.entries(Index(1), 1 << 20) {
            Err(Error::Corrupt { path, offset, what }) => {
                assert_eq!((&path, offset), (file, SECTOR as u64));
                assert_eq!(what, Corruption::DurableRecord);
            }
            other => panic!("{other:?}"),
        }
    }
    // The rest can be read.
    assert_eq!(store.entries(Index(9), 1).unwrap()[0].index, Index(9));
}

#[test]
fn unfinished_files_are_removed() {
    let dir = log();
    let tmp = dir.path().join("segment-0123456789abcdef.tmp");
    fs::write(&tmp, b"anything").unwrap();
    let foreign = dir.path().join("README");
    fs::write(&foreign, b"not ours").unwrap();
    let (_, report) = open(dir.path()).unwrap();
    assert!(
        report
            .garbage
            .contains(&"segment-0123456789abcdef.tmp".to_owned())
    );
    assert!(!tmp.exists() && foreign.exists());
}

#[test]
fn a_log_that_ends_before_its_commit_hint_is_refused() {
    let dir = log();
    hint(&open(dir.path()).unwrap().0, 9);
    let (_, report) = decides(dir.path(), "commit hint: 9");
    assert_eq!(report.commit_hint, Index(9));
    let last = lose_the_end(dir.path());
    let file = dir.path().join("commit");
    let lost = Corruption::Committed {
        from: last.next(),
        to: Index(9),
    };
    refuses(dir.path(), &file, 24, lost);
    // Without the hint nothing proves it.
    fs::remove_file(file).unwrap();
    assert_eq!(open(dir.path()).unwrap().1.last_index, last);
}

#[test]
fn a_commit_hint_that_is_none_is_written_over() {
    let dir = log();
    let file = dir.path().join("commit");
    let foreign = CommitHint {
        log_id: 1,
        index: Index(1000),
    };
    for bytes in [foreign.encode().to_vec(), vec![0; SECTOR], Vec::new()] {
        fs::write(&file, bytes).unwrap();
        let (store, report) = decides(dir.path(), "commit hint: torn, none");
        assert_eq!(report.commit_hint, Index(0));
        // Nothing is known to be committed, and nothing durable is needed.
        hint(&store, 3);
        drop(store);
        assert_eq!(open(dir.path()).unwrap().1.commit_hint, Index(3));
    }
}

#[test]
fn a_commit_hint_is_never_ahead_of_what_is_durable() {
    let dir = log();
    let (store, _) = open(dir.path()).unwrap();
    let batch = Batch {
        hard_state: None,
        entries: store.entries(Index(9), 1).unwrap(),
    };
    let mut entry = batch.entries[0].clone();
    entry.index = Index(10);
    let batch = Batch {
        hard_state: None,
        entries: vec![entry],
    };
    store.submit(batch).unwrap();
    hint(&store, 10);
    drop(store);
    assert_eq!(open(dir.path()).unwrap().1.commit_hint, Index(9));
}

/// What no sync had covered goes with the tail: here all behind a bad record, across
/// three segments. Each open says so until something was appended.
#[test]
fn an_unsynced_tail_ends_at_the_first_bad_record() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).unwrap();
    append(&store, 1..=2);
    leave(&store, 3..=9);
    drop(store);
    spoil(dir.path(), 6);
    for _ in 0..3 {
        let (store, report) = open(dir.path()).unwrap();
        assert_eq!(report.last_index, Index(5), "{:?}", report.decisions);
        assert!(report.ambiguous_tail, "{:?}", report.decisions);
        assert_eq!(store.entry(Index(5)).unwrap(), entry(5));
    }
    let (store, _) = open(dir.path()).unwrap();
    append(&store, 6..=7);
    drop(store);
    let (_, report) = open(dir.path()).unwrap();
    assert_eq!(report.last_index, Index(7));
    assert!(!report.ambiguous_tail, "{:?}", report.decisions);
}

/// A record behind it knew it to be durable: the open refuses. Or a header: then it is
/// as any other in a closed segment, and met where it is read.
#[test]
fn a_bad_record_that_was_durable_ends_no_unsynced_tail() {
    for known_by_record in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = open(dir.path()).unwrap();
        leave(&store, 1..=5);
        sync(&store);
        match known_by_record {
            true => append(&store, 6..=6),
            // The sixth ends its segment.
            false => leave(&store, 6..=7),
        }
        drop(store);
        spoil(dir.path(), 3);
        let refused = match open(dir.path()) {
            Ok((store, report)) => {
                assert!(!known_by_record && report.last_index == Index(7));
                store.entry(Index(3)).unwrap_err()
            }
            Err(e) => e,
        };
        let what = Corruption::DurableRecord;
        assert!(
            matches!(&refused, Error::Corrupt { what: found, .. } if *found == what),
            "{refused}"
        );
        // And so it is where it is gone with its file.
        fs::remove_file(&segments(dir.path())[1]).unwrap();
        let refused = open(dir.path()).unwrap_err();
        assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
    }
}

/// Where nothing is left but a segment that knows that there was more: by its record, or
/// by its header alone.
#[test]
fn a_log_whose_durable_beginning_is_gone_is_refused() {
    for has_record in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = open(dir.path()).unwrap();
        leave(&store, 1..=5);
        sync(&store);
        leave(&store, 6..=9);
        drop(store);
        if !has_record {
            spoil(dir.path(), 9);
        }
        let mut all = segments(dir.path());
        all.pop();
        for segment in all {
            fs::remove_file(segment).unwrap();
        }
        let refused = open(dir.path()).unwrap_err();
        let Error::Corrupt { what, .. } = &refused else {
            panic!("{refused}");
        };
        let (from, to) = (Index(1), Index(5));
        assert_eq!(*what, Corruption::Gap { from, to });
    }
}

/// A segment that is removed may have hidden others, and only those behind it hide them
/// then: as long as their names are not durable, it stays.
#[test]
fn nothing_is_purged_in_front_of_what_is_not_durable() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).unwrap();
    append(&store, 1..=2);
    leave(&store, 3..=7);
    // Of what others have committed, perhaps.
    save(&store, 7);
    let clean = || {
        let mut cleaner = store.cleaner();
        while cleaner.step().unwrap() == Step::Ran {}
        segments(dir.path()).len()
    };
    assert_eq!(clean(), 4);
    sync(&store);
    assert_eq!(clean(), 1);
}

/// The snapshot proves what it covers, so that what stands behind it stays.
#[test]
fn a_bad_record_that_the_snapshot_covers_ends_no_unsynced_tail() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path()).unwrap();
    leave(&store, 1..=7);
    sync(&store);
    save(&store, 5);
    drop(store);
    spoil(dir.path(), 3);
    let (store, report) = open(dir.path()).unwrap();
    assert_eq!(report.last_index, Index(7), "{:?}", report.decisions);
    assert_eq!(report.proven_index, Index(5));
    assert_eq!(store.entry(Index(7)).unwrap(), entry(7));
}
