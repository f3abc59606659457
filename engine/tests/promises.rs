//! What an open store promises, call by call: what it refuses, what waits for
//! what, and what is given back.

#[path = "support/no_sync.rs"]
mod no_sync;

use std::ffi::OsString;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use afterimage_engine::format::{SegmentHeader, Slot};
use afterimage_engine::fs::{FileExt, Fs, FsExt, OsFs};
use afterimage_engine::raft::LogView;
use afterimage_engine::store::{Batch, Install, Options, SnapshotSource, Store, Ticket};
use afterimage_engine::threads::SystemEnv;
use afterimage_engine::{
    Corruption, Entry, EntryKind, Error, Event, HardState, Host, Index, Membership, NodeId,
    SnapshotMeta, Step, Term,
};
use no_sync::NoSync;

const CACHE_BYTES: usize = 1000;

fn options() -> Options {
    Options {
        segment_bytes: 4096,
        cache_bytes: CACHE_BYTES,
        ..Options::default()
    }
}

struct Rig {
    store: Store,
    seen: Arc<Mutex<Vec<Event>>>,
    dir: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        Rig::on(Arc::new(OsFs), options())
    }

    fn on(fs: Arc<dyn Fs>, options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let seen = Arc::default();
        let store = open(fs, dir.path(), &seen, options).unwrap();
        Rig { store, seen, dir }
    }

    /// With entries 1 to 10 of term 2, 100 bytes each, durable.
    fn with_ten() -> Self {
        let rig = Rig::new();
        rig.written(entries(2, 1..=10));
        rig
    }

    fn reopened(self) -> Self {
        let Rig { store, dir, .. } = self;
        drop(store);
        let seen = Arc::default();
        let store = open(Arc::new(OsFs), dir.path(), &seen, options()).unwrap();
        Rig { store, seen, dir }
    }

    /// Lets the writer work until this is durable.
    fn written(&self, batch: Batch) {
        let ticket = self.store.submit(batch).unwrap();
        self.until(ticket);
    }

    fn until(&self, ticket: Ticket) {
        let mut writer = self.store.writer();
        while self.store.persisted() < ticket {
            assert_eq!(writer.step().unwrap(), Step::Ran);
        }
        assert_eq!(self.store.persisted(), ticket, "and no further");
    }

    fn save(&self, term: u64, last: u64, bytes: usize) {
        let source = Box::new(Once(vec![7; bytes]));
        let save = self.store.save_snapshot(meta(term, last), source);
        assert!(save.run().unwrap());
    }

    fn clean(&self) {
        let mut cleaner = self.store.cleaner();
        while cleaner.step().unwrap() == Step::Ran {}
        assert_eq!(self.store.status().garbage, 0);
    }

    fn terms(&self, indexes: std::ops::RangeInclusive<u64>) -> Vec<u64> {
        let term = |index| self.store.entry(Index(index)).unwrap().term.0;
        indexes.map(term).collect()
    }

    fn has_seen(&self, wanted: impl Fn(&Event) -> bool) -> bool {
        self.seen.lock().unwrap().iter().any(wanted)
    }
}

fn open(
    fs: Arc<dyn Fs>,
    dir: &Path,
    seen: &Arc<Mutex<Vec<Event>>>,
    options: Options,
) -> Result<Store, Error> {
    let seen = seen.clone();
    let env = SystemEnv::new(move |event| seen.lock().unwrap().push(event)).unwrap();
    let host = Host {
        fs,
        env: Arc::new(env),
    };
    Ok(Store::open(host, dir, options).run()?.0)
}

fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    Entry {
        index: Index(index),
        term: Term(term),
        kind: EntryKind::Command,
        timestamp_ms: 0,
        data: vec![index as u8; bytes].into(),
    }
}

fn batch(entries: Vec<Entry>) -> Batch {
    Batch {
        hard_state: None,
        entries,
    }
}

fn entries(term: u64, indexes: std::ops::RangeInclusive<u64>) -> Batch {
    batch(indexes.map(|index| entry(term, index, 100)).collect())
}

fn hard_state(term: u64) -> Batch {
    Batch {
        hard_state: Some(HardState {
            term: Term(term),
            vote: Some(NodeId(term)),
        }),
        entries: Vec::new(),
    }
}

fn meta(term: u64, last: u64) -> SnapshotMeta {
    SnapshotMeta {
        last_index: Index(last),
        last_term: Term(term),
        membership: Membership {
            voters: vec![NodeId(1)],
            learners: Vec::new(),
        },
    }
}

struct Once(Vec<u8>);

impl SnapshotSource for Once {
    fn read(&mut self, out: &mut Vec<u8>, _: usize) -> bool {
        out.append(&mut self.0);
        false
    }
}

#[track_caller]
fn is_refused<T>(result: Result<T, Error>, why: &str) {
    match result {
        Err(Error::Misuse(said)) => assert!(said.contains(why), "{said}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("accepted: {why}"),
    }
}

#[test]
fn a_batch_that_would_break_the_log_is_refused_and_the_next_best_is_taken() {
    let rig = Rig::with_ten();
    rig.save(2, 4, 10);
    let before = rig.store.status();
    let submit = |batch| rig.store.submit(batch);
    is_refused(submit(entries(2, 12..=12)), "gap behind the log");
    is_refused(submit(entries(3, 4..=5)), "snapshot covers");
    is_refused(submit(entries(1, 11..=11)), "below that of the one before");
    let gap = vec![entry(2, 11, 1), entry(2, 13, 1)];
    is_refused(submit(batch(gap)), "have a gap");
    let back = vec![entry(3, 11, 1), entry(2, 12, 1)];
    is_refused(submit(batch(back)), "decrease");
    assert_eq!(rig.store.status(), before);
    rig.written(batch(vec![entry(2, 11, 1), entry(3, 12, 1)]));
    rig.written(entries(4, 5..=5));
    assert_eq!(rig.store.last_index(), Index(5));
    assert!(!rig.store.is_poisoned());
    assert_eq!(rig.reopened().terms(5..=5), [4]);
}

#[test]
fn a_truncation_goes_down_to_the_snapshot_and_no_further() {
    let rig = Rig::with_ten();
    rig.save(2, 4, 10);
    let truncate = |from| rig.store.truncate_suffix(Index(from));
    is_refused(truncate(0), "no entry 0");
    is_refused(truncate(1), "snapshot covers");
    is_refused(truncate(4), "snapshot covers");
    for beyond in [11, 12, 1000] {
        rig.until(truncate(beyond).unwrap());
        assert_eq!(rig.store.last_index(), Index(10), "nothing to drop");
    }
    rig.until(truncate(10).unwrap());
    assert_eq!(rig.store.last_index(), Index(9));
    rig.until(truncate(5).unwrap());
    assert_eq!(rig.store.last_index(), Index(4));
    assert_eq!(rig.store.status().cached_bytes, 400);
    assert_eq!(rig.reopened().store.last_index(), Index(4));
}

/// Also where nothing is left to tell the term of.
#[test]
fn a_truncation_below_an_installed_snapshot_is_refused() {
    let rig = Rig::with_ten();
    let mut install = install(&rig, 20);
    install.push(0, vec![1; 10], true);
    finish(&mut install);
    for from in [1, 10, 20] {
        is_refused(rig.store.truncate_suffix(Index(from)), "snapshot covers");
    }
    rig.until(rig.store.truncate_suffix(Index(21)).unwrap());
    assert_eq!(rig.store.last_index(), Index(20));
}

/// Batches that came while nobody wrote are one group: each counts, in order.
#[test]
fn what_waits_is_written_together() {
    let rig = Rig::with_ten();
    rig.seen.lock().unwrap().clear();
    let mut last = Ticket::default();
    for batch in [
        entries(2, 11..=13),
        hard_state(3),
        entries(3, 12..=14),
        hard_state(4),
        entries(4, 9..=9),
        entries(4, 10..=12),
    ] {
        last = rig.store.submit(batch).unwrap();
    }
    assert_eq!(rig.store.durable_index(), Index(8), "the rest was replaced");
    rig.until(last);
    let groups = rig
        .seen
        .lock()
        .unwrap()
        .iter()
        .filter(|e| is_durable(e))
        .count();
    assert_eq!(groups, 1);
    assert_eq!(rig.store.durable_index(), Index(12));
    let rig = rig.reopened();
    assert_eq!(rig.terms(8..=12), [2, 4, 4, 4, 4]);
    assert_eq!(rig.store.hard_state().term, Term(4));
    assert_eq!(rig.store.last_index(), Index(12));
}

fn is_durable(event: &Event) -> bool {
    matches!(event, Event::Durable { .. })
}

/// A group has an end, so that whoever came first does not wait for all.
#[test]
fn large_batches_are_not_all_one_group() {
    let rig = Rig::new();
    let mebibytes = |index, n: usize| batch(vec![entry(1, index, n << 20)]);
    for (index, n) in [(1, 3), (2, 3), (3, 1), (4, 9), (5, 1)] {
        rig.store.submit(mebibytes(index, n)).unwrap();
    }
    let mut writer = rig.store.writer();
    while writer.step().unwrap() == Step::Ran {}
    let seen = rig.seen.lock().unwrap();
    let ends: Vec<u64> = (seen.iter())
        .filter_map(|event| match event {
            Event::Durable { index } => Some(index.0),
            _ => None,
        })
        .collect();
    // Up to 4 MiB where no segment has more room; a larger one has its own.
    assert_eq!(ends, [1, 3, 4, 5]);
}

/// What is durable of a log whose end is replaced while it is written.
#[test]
fn what_is_being_replaced_is_not_called_durable() {
    let rig = Rig::with_ten();
    let mut writer = rig.store.writer();
    let first = rig.store.submit(entries(2, 11..=14)).unwrap();
    assert_eq!(writer.step().unwrap(), Step::Ran, "under way");
    rig.store.submit(entries(3, 13..=13)).unwrap();
    while rig.store.persisted() < first {
        writer.step().unwrap();
    }
    assert_eq!(rig.store.durable_index(), Index(12));
    while writer.step().unwrap() == Step::Ran {}
    assert_eq!(rig.store.durable_index(), Index(13));
}

#[test]
fn a_hard_state_never_overwrites_the_newest() {
    let rig = Rig::new();
    let path = rig.dir.path().join("hardstate");
    let slots = || {
        let bytes = OsFs.read(&path).unwrap();
        let (sectors, rest) = bytes.as_chunks();
        assert!(rest.is_empty());
        let slots = sectors.iter().map(|s| Slot::decode(s).unwrap().unwrap());
        slots.collect::<Vec<_>>()
    };
    for term in 1..6 {
        let before = slots();
        let newest = before.iter().max_by_key(|slot| slot.sequence).unwrap();
        rig.written(hard_state(term));
        let after = slots();
        assert!(after.contains(newest), "one to fall back to");
        let written = after.iter().max_by_key(|slot| slot.sequence).unwrap();
        assert_eq!(written.sequence, newest.sequence + 1);
        assert_eq!(written.hard_state.term, Term(term));
    }
}

/// A sector may hold a part of what was written last, and the rest of what was
/// there before, in units of eight bytes.
#[test]
fn a_hard_state_write_that_stopped_anywhere_leaves_the_newest() {
    for len in [8, 24, 96, 504] {
        let rig = Rig::new();
        rig.written(hard_state(5));
        rig.written(hard_state(6));
        let path = rig.dir.path().join("hardstate");
        let bytes = OsFs.read(&path).unwrap();
        let (sectors, _) = bytes.as_chunks();
        let slots = [0, 1].map(|n: usize| Slot::decode(&sectors[n]).unwrap().unwrap());
        let older = usize::from(slots[1].sequence < slots[0].sequence);
        let newest = &sectors[1 - older];
        let next = Slot {
            sequence: slots[1 - older].sequence + 1,
            other_crc: u32::from_le_bytes(*newest.last_chunk().unwrap()),
            hard_state: HardState {
                term: Term(7),
                vote: Some(NodeId(2)),
            },
            ..slots[older]
        };
        let mut torn = sectors[older];
        torn[..len].copy_from_slice(&next.encode()[..len]);
        let file = OsFs.open(&path).unwrap();
        file.write_all_at(&torn, older as u64 * 512).unwrap();
        drop(file);
        assert_eq!(rig.reopened().store.hard_state().term, Term(6), "{len}");
    }
}

/// The newest slot went bad after it was acknowledged: what it held is lost, and
/// until the term is past it the node may have voted for somebody else.
#[test]
fn a_hard_state_that_went_bad_stays_in_doubt() {
    let rig = Rig::new();
    rig.written(hard_state(5));
    rig.written(hard_state(6));
    let path = rig.dir.path().join("hardstate");
    let bytes = OsFs.read(&path).unwrap();
    let (sectors, _) = bytes.as_chunks();
    let newest = (0..2).max_by_key(|&n| Slot::decode(&sectors[n]).unwrap().unwrap().sequence);
    let at = newest.unwrap() as u64 * 512 + 60;
    let file = OsFs.open(&path).unwrap();
    file.write_all_at(&[0xff], at).unwrap();
    drop(file);
    let Rig { store, seen, dir } = rig;
    drop(store);
    let refused = open(Arc::new(OsFs), dir.path(), &seen, options());
    assert!(matches!(
        refused,
        Err(Error::Corrupt {
            what: Corruption::HardStateSlot,
            ..
        })
    ));
    // Said of what is found there, and then of what that open wrote.
    let accepting = Options {
        accept_bad_slot: true,
        ..options()
    };
    let store = open(Arc::new(OsFs), dir.path(), &seen, accepting).unwrap();
    let rig = Rig { store, seen, dir };
    assert!(rig.has_seen(in_doubt));
    let rig = rig.reopened();
    assert!(rig.has_seen(in_doubt));
    assert_eq!(rig.store.hard_state().term, Term(5));
    rig.written(hard_state(7));
    assert!(!rig.reopened().has_seen(in_doubt));
}

fn in_doubt(event: &Event) -> bool {
    matches!(event, Event::Recovered(report) if report.bad_hard_state_slot)
}

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
            let names = OsFs.list(rig.dir.path()).unwrap();
            let segments = names.iter().map(|name| rig.dir.path().join(name));
            for path in segments.filter(|p| p.extension().is_some_and(|e| e == "seg")) {
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
        let names = OsFs.list(rig.dir.path()).unwrap();
        let prepared = names.iter().map(|name| rig.dir.path().join(name));
        let prepared = prepared.filter(|path| path.extension().is_some_and(|e| e == "tmp"));
        let lens = prepared.map(|path| OsFs.open(&path).unwrap().len().unwrap());
        assert_eq!(lens.collect::<Vec<_>>(), [bytes]);
        preparer.begin();
        assert!(!preparer.has_work(), "one is enough");
    }
}

fn install(rig: &Rig, last: u64) -> Install {
    rig.store.install(meta(9, last))
}

fn finish(install: &mut Install) {
    while install.outcome().is_none() {
        assert_eq!(install.step().unwrap(), Step::Ran);
    }
}

#[test]
fn the_pieces_of_an_install_come_in_order() {
    let rig = Rig::with_ten();
    let mut install = install(&rig, 20);
    assert_eq!(install.meta(), &meta(9, 20));
    assert!(!install.push(1, vec![1; 10], false), "not the first");
    assert!(install.push(0, vec![1; 600], false));
    assert_eq!(install.wanted(), 600);
    for not_wanted in [0, 599, 601] {
        assert!(!install.push(not_wanted, vec![9; 10], true));
    }
    while install.step().unwrap() == Step::Ran {}
    assert!(!install.has_work(), "it waits for the next");
    assert!(install.push(600, vec![2; 2], false));
    assert!(install.has_work(), "one that is not the last");
    while install.step().unwrap() == Step::Ran {}
    assert!(install.push(602, vec![2; 3], true));
    assert!(!install.push(605, vec![9; 10], true), "that was the last");
    assert!(install.has_work());
    finish(&mut install);
    assert!(!install.has_work());
    let reader = rig.store.open_snapshot().unwrap().unwrap();
    let mut data = Vec::new();
    while (data.len() as u64) < reader.data_len() {
        data.extend(reader.read(data.len() as u64).unwrap());
    }
    assert_eq!(data, [vec![1; 600], vec![2; 5]].concat());
    // The first entry behind it names the term before it.
    rig.written(entries(9, 21..=21));
    let names = OsFs.list(rig.dir.path()).unwrap();
    let segments = names.iter().map(|name| rig.dir.path().join(name));
    let bytes = segments
        .filter(|path| path.extension().is_some_and(|e| e == "seg"))
        .map(|path| OsFs.read(&path).unwrap())
        .collect::<Vec<_>>();
    let headers = bytes
        .iter()
        .map(|b| SegmentHeader::decode(b.first_chunk().unwrap()));
    let newest = headers.map(|h| h.unwrap().unwrap()).max_by_key(|h| h.base);
    assert_eq!(newest.unwrap().prev.term, Term(9));
}

/// The names of unfinished files.
fn unfinished(rig: &Rig) -> usize {
    let names = OsFs.list(rig.dir.path()).unwrap();
    let is_tmp = |name: &&OsString| name.to_str().is_some_and(|name| name.ends_with(".tmp"));
    names.iter().filter(is_tmp).count()
}

/// Nothing of one that was given up stays.
#[test]
fn an_install_that_is_dropped_gives_its_space_back() {
    let rig = Rig::with_ten();
    let mut install = install(&rig, 20);
    install.push(0, vec![1; 6000], false);
    while install.step().unwrap() == Step::Ran {}
    drop(install);
    assert_eq!((rig.store.status().garbage, unfinished(&rig)), (1, 1));
    rig.clean();
    assert_eq!(unfinished(&rig), 0);
    assert!(!rig.has_seen(|e| matches!(e, Event::Purged { .. })));
    assert_eq!(rig.store.last_index(), Index(10));
}

/// A snapshot that is no newer than the current one is not taken, and its file is
/// garbage.
#[test]
fn only_a_newer_snapshot_is_taken() {
    let rig = Rig::with_ten();
    rig.save(2, 9, 10);
    assert_eq!(rig.store.status().garbage, 0);
    for last in [9, 8] {
        let source = Box::new(Once(vec![8; 10]));
        let save = rig.store.save_snapshot(meta(2, last), source);
        assert!(!save.run().unwrap());
        assert_eq!((rig.store.status().garbage, unfinished(&rig)), (1, 1));
        rig.clean();
        assert_eq!(unfinished(&rig), 0);
    }
    rig.save(2, 10, 10);
    assert_eq!(rig.store.status().snapshot_index, Index(10));
}

/// What is accepted can be opened again.
#[test]
fn a_membership_beyond_the_limit_is_refused() {
    let members = |voters: u64| SnapshotMeta {
        membership: Membership {
            voters: (1..=voters).map(NodeId).collect(),
            learners: Vec::new(),
        },
        ..meta(2, 9)
    };
    let most = (1 << 20) / 8;
    let mut accepted = 0;
    for voters in most - 3..=most + 1 {
        let rig = Rig::with_ten();
        let source = Box::new(Once(vec![8; 10]));
        match rig.store.save_snapshot(members(voters), source).run() {
            Ok(taken) => {
                assert!(taken);
                accepted = voters;
                let snapshot = rig.reopened().store.open_snapshot().unwrap().unwrap();
                assert_eq!(snapshot.meta(), &members(voters));
            }
            refused => is_refused(refused, "1 MiB"),
        }
    }
    assert!((most - 3..most).contains(&accepted), "{accepted}");
}

/// Between a snapshot's rename and the sync behind it nobody knows which one is
/// there: a store whose save was given up there goes on no more.
#[test]
fn a_save_that_is_dropped_before_it_is_known_poisons() {
    let rig = Rig::with_ten();
    let has_name = || OsFs.open(&rig.dir.path().join("snapshot")).is_ok();
    let source = Box::new(Once(vec![8; 10]));
    let mut save = rig.store.save_snapshot(meta(2, 9), source);
    while !has_name() {
        assert!(!rig.store.is_poisoned());
        assert!(save.step().is_none());
    }
    assert!(!rig.store.is_poisoned());
    drop(save);
    assert!(rig.store.is_poisoned());
    let store = rig.reopened().store;
    assert_eq!(store.status().snapshot_index, Index(9));
}

#[test]
fn a_store_that_died_refuses_everything() {
    let fails = Arc::new(AtomicBool::new(false));
    let rig = Rig::on(Arc::new(NoSync(fails.clone())), options());
    rig.written(entries(2, 1..=10));
    let mut preparer = rig.store.preparer();
    let mut writer = rig.store.writer();
    let mut install = install(&rig, 20);
    install.push(0, vec![1; 10], true);
    fails.store(true, Ordering::Relaxed);
    rig.store.submit(entries(2, 11..=11)).unwrap();
    let died = loop {
        match writer.step() {
            Ok(step) => assert_eq!(step, Step::Ran),
            Err(e) => break e,
        }
    };
    assert!(matches!(died, Error::Io { .. }));
    fails.store(false, Ordering::Relaxed);

    let is_dead = |result: Result<(), Error>| matches!(result, Err(Error::Poisoned));
    assert!(rig.store.is_poisoned());
    assert!(is_dead(rig.store.submit(entries(2, 12..=12)).map(drop)));
    assert!(is_dead(rig.store.truncate_suffix(Index(11)).map(drop)));
    assert!(is_dead(writer.step().map(drop)));
    assert!(is_dead(install.step().map(drop)));
    let source = Box::new(Once(vec![8; 10]));
    let save = rig.store.save_snapshot(meta(2, 9), source);
    assert!(is_dead(save.run().map(drop)));
    assert!(!preparer.has_work() && !rig.store.cleaner().has_work());
    preparer.begin();
    assert!(!preparer.has_work());
    assert_eq!(rig.store.durable_index(), Index(10));
    let poisoned = |e: &&Event| matches!(e, Event::Poisoned);
    assert_eq!(rig.seen.lock().unwrap().iter().filter(poisoned).count(), 1);
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

/// The log is judged when all that was submitted before is in it.
#[test]
fn an_install_waits_for_what_was_submitted() {
    let rig = Rig::with_ten();
    let mut install = install(&rig, 12);
    install.push(0, vec![1; 10], true);
    let ticket = rig.store.submit(entries(9, 11..=14)).unwrap();
    for _ in 0..100 {
        install.step().unwrap();
    }
    assert!(install.outcome().is_none() && install.has_work());
    let mut writer = rig.store.writer();
    while rig.store.persisted() < ticket {
        writer.step().unwrap();
        install.step().unwrap();
    }
    finish(&mut install);
    assert!(install.outcome().unwrap().kept_suffix, "12 is the leader's");
    assert_eq!(rig.terms(13..=14), [9, 9]);
    drop((install, writer));
    rig.save(9, 13, 10);
    assert_eq!(rig.reopened().store.last_index(), Index(14));
}

/// From the announcement on, what is to be discarded is not called durable; and a
/// reader in it ends.
#[test]
fn what_an_install_discards_is_not_called_durable() {
    let rig = Rig::with_ten();
    let mut reader = rig.store.reader(Index(1)).unwrap();
    reader.read(100).unwrap();
    let mut install = install(&rig, 8);
    install.push(0, vec![1; 10], true);
    let is_announced = |e: &Event| matches!(e, Event::TruncateRequested { from: Index(9) });
    let mut steps = 0;
    while install.outcome().is_none() {
        install.step().unwrap();
        if rig.has_seen(is_announced) {
            assert!(rig.store.durable_index() <= Index(8));
            steps += 1;
        }
    }
    assert!(steps > 1, "the rename comes later");
    assert!(!install.outcome().unwrap().kept_suffix);
    assert_eq!(rig.store.last_index(), Index(8));
    let purged = reader.read(100);
    assert!(matches!(purged, Err(Error::Purged { first: Index(9) })));
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
