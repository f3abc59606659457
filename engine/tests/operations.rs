//! What each protocol asks of the disk: the operations, one by one. The syncs
//! among them are what it costs; `docs/performance.md` speaks of them.

#[path = "support/snapshot.rs"]
mod snapshot;

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use afterimage_engine::fs::{Advice, File, FileExt, Fs, Lock, OsFs, SyncMode};
use afterimage_engine::raft::LogView;
use afterimage_engine::store::{Batch, Options, Store, Ticket};
use afterimage_engine::threads::SystemEnv;
use afterimage_engine::{Entry, EntryKind, HardState, Host, Index, Step, Term};
use snapshot::{Once, meta};

type Seen = Arc<Mutex<Vec<&'static str>>>;

/// A disk that writes down what changes it. It may know how to write through.
#[derive(Debug)]
struct Watched(Seen, bool);

#[derive(Debug)]
struct WatchedFile(Box<dyn File>, Seen, bool);

fn note(seen: &Seen, what: &'static str) {
    seen.lock().unwrap().push(what);
}

impl Watched {
    fn file(&self, file: Box<dyn File>) -> Box<dyn File> {
        Box::new(WatchedFile(file, self.0.clone(), self.1))
    }
}

impl Fs for Watched {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(self.file(OsFs.open(path)?))
    }
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        note(&self.0, "create");
        Ok(self.file(OsFs.create_new(path)?))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        note(&self.0, "rename");
        OsFs.rename(from, to)
    }
    fn unlink(&self, path: &Path) -> io::Result<()> {
        note(&self.0, "unlink");
        OsFs.unlink(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        OsFs.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        note(&self.0, "create dir");
        OsFs.create_dir(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        note(&self.0, "sync dir");
        OsFs.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        OsFs.lock(path)
    }
}

impl File for WatchedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        note(&self.1, "write");
        self.0.write_at(buf, offset)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        note(&self.1, "set len");
        self.0.set_len(len)
    }
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        note(&self.1, "allocate");
        self.0.allocate(offset, len)
    }
    fn sync(&self, mode: SyncMode) -> io::Result<()> {
        note(&self.1, "sync");
        self.0.sync(mode)
    }
    fn write_through(&self, buf: &[u8], offset: u64) -> Option<io::Result<()>> {
        self.2.then(|| {
            note(&self.1, "write through");
            self.0.write_all_at(buf, offset)?;
            self.0.sync(SyncMode::Data)
        })
    }
    fn advise(&self, advice: Advice, offset: u64, len: u64) {
        if advice == Advice::WillWriteThrough {
            assert_eq!(offset, 4096, "behind the header's page");
            assert_eq!(offset + len, self.0.len().unwrap());
            note(&self.1, "drop pages");
        }
    }
}

const SEGMENT_BYTES: u64 = 4096;

struct Rig {
    store: Store,
    seen: Seen,
    dir: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        Rig::on(false)
    }

    fn on(writes_through: bool) -> Self {
        Rig::with_segments(SEGMENT_BYTES, writes_through)
    }

    fn with_segments(segment_bytes: u64, writes_through: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let seen = Seen::default();
        let host = Host {
            fs: Arc::new(Watched(seen.clone(), writes_through)),
            env: Arc::new(SystemEnv::unobserved().unwrap()),
        };
        let options = Options {
            segment_bytes,
            ..Options::default()
        };
        let (store, _) = Store::open(host, dir.path(), options).run().unwrap();
        Rig { store, seen, dir }
    }

    /// What the writer does until this is durable.
    fn writes(&self, submit: impl FnOnce(&Store) -> Ticket) -> Vec<&'static str> {
        self.works(submit, Store::persisted)
    }

    /// What the writer does until it has come so far with this.
    fn works(
        &self,
        submit: impl FnOnce(&Store) -> Ticket,
        done: impl Fn(&Store) -> Ticket,
    ) -> Vec<&'static str> {
        let ticket = submit(&self.store);
        self.seen.lock().unwrap().clear();
        let mut writer = self.store.writer();
        while done(&self.store) < ticket {
            assert_eq!(writer.step().unwrap(), Step::Ran);
        }
        self.seen.lock().unwrap().clone()
    }

    fn appends(&self, from: u64, count: u64) -> Vec<&'static str> {
        let batch = Batch {
            hard_state: None,
            entries: Self::entries(from, count),
        };
        self.writes(|store| store.submit(batch).unwrap())
    }

    /// The same without a sync.
    fn leaves(&self, from: u64, count: u64) -> Vec<&'static str> {
        let entries = Self::entries(from, count);
        self.works(
            |store| store.submit_unsynced(entries).unwrap(),
            Store::written,
        )
    }

    /// Of 1 KiB each.
    fn entries(from: u64, count: u64) -> Vec<Entry> {
        let entry = |index| Entry {
            index: Index(index),
            term: Term(1),
            kind: EntryKind::Command,
            timestamp_ms: 0,
            data: vec![7; 1 << 10].into(),
        };
        (from..from + count).map(entry).collect()
    }

    fn prepare(&self) {
        let mut preparer = self.store.preparer();
        preparer.begin();
        while preparer.has_work() {
            assert_eq!(preparer.step().unwrap(), Step::Ran);
        }
    }
}

/// Behind a prepared segment: write and sync it, then its name.
const PREPARED: [&str; 4] = ["write", "sync", "rename", "sync dir"];

#[test]
fn an_append_costs_one_write_and_one_sync() {
    let rig = Rig::new();
    rig.prepare();
    assert_eq!(rig.appends(1, 1), PREPARED);
    assert_eq!(rig.appends(2, 2), ["write", "sync"]);
    assert_eq!(rig.appends(4, 1), ["write", "sync"]);
}

/// But not where a part of the group is in the file already, unsynced.
#[test]
fn an_append_is_one_operation_where_the_file_writes_through() {
    let rig = Rig::on(true);
    rig.prepare();
    assert_eq!(rig.appends(1, 1), PREPARED);
    assert_eq!(rig.appends(2, 1), ["write through"]);
    // Of 600 KiB, in pieces of 256.
    assert_eq!(rig.appends(3, 600), ["write", "write", "write", "sync"]);
    let Rig { store, dir, .. } = rig;
    drop(store);
    let host = Host {
        fs: Arc::new(OsFs),
        env: Arc::new(SystemEnv::unobserved().unwrap()),
    };
    let store = Store::open(host, dir.path(), Options::default());
    let (store, _) = store.run().unwrap();
    assert_eq!(store.last_index(), Index(602));
    for index in 1..=602 {
        assert_eq!(store.entry(Index(index)).unwrap().index, Index(index));
    }
}

#[test]
fn a_roll_costs_two_syncs_and_nothing_in_the_old_segment() {
    let rig = Rig::new();
    rig.prepare();
    rig.appends(1, 4); // fills the segment
    for turn in 0..5 {
        rig.prepare();
        assert_eq!(rig.appends(5 + turn * 4, 4), PREPARED);
    }
    // Nobody was quick enough to prepare one: a file more, no sync more.
    let mut created = vec!["create"];
    created.extend(PREPARED);
    assert_eq!(rig.appends(25, 4), created);
}

/// One write each, and a roll a file more, whose header is durable before it has its
/// name. The sync covers each segment and the names.
#[test]
fn appends_without_a_sync_leave_all_of_it_to_one() {
    let rig = Rig::new();
    rig.prepare();
    rig.appends(1, 2);
    assert_eq!(rig.leaves(3, 1), ["write"]);
    assert_eq!(rig.leaves(4, 1), ["write"]);
    let rolled = ["create", "allocate", "write", "sync", "rename", "write"];
    assert_eq!(rig.leaves(5, 4), rolled);
    assert_eq!(rig.leaves(9, 1), rolled);
    assert_eq!(rig.store.durable_index(), Index(2));
    let synced = rig.writes(|store| store.submit(Batch::default()).unwrap());
    assert_eq!(synced, ["sync", "sync", "sync", "sync dir"]);
    assert_eq!(rig.store.durable_index(), Index(9));
    // Within one segment it costs no more than any append.
    assert_eq!(rig.leaves(10, 1), ["write"]);
    assert_eq!(rig.appends(11, 1), ["write", "sync"]);
    assert_eq!(rig.store.durable_index(), Index(11));
    // What is replaced is durable before, as far as it stays.
    assert_eq!(rig.leaves(12, 1), ["write"]);
    let replaced = ["sync", "create", "write", "sync", "rename", "sync dir"];
    assert_eq!(rig.leaves(12, 1), replaced);
    assert_eq!(rig.store.durable_index(), Index(12));
}

/// An append behind unsynced ones is no use if it alone is written through.
#[test]
fn nothing_is_written_through_behind_what_is_unsynced() {
    let rig = Rig::on(true);
    rig.prepare();
    rig.appends(1, 1);
    assert_eq!(rig.leaves(2, 1), ["write"]);
    assert_eq!(rig.appends(3, 1), ["write", "sync"]);
    assert_eq!(rig.appends(4, 1), ["write through"]);
}

#[test]
fn a_truncation_costs_what_a_roll_does() {
    let rig = Rig::new();
    rig.appends(1, 3);
    rig.prepare();
    assert_eq!(rig.appends(2, 1), PREPARED);
    rig.prepare();
    let truncated = rig.writes(|store| store.truncate_suffix(Index(2)).unwrap());
    assert_eq!(truncated, PREPARED);
    assert_eq!(rig.store.last_index(), Index(1));
}

#[test]
fn a_hard_state_costs_one_write_and_one_sync() {
    let rig = Rig::new();
    for term in 1..4 {
        let hard_state = HardState {
            term: Term(term),
            vote: None,
        };
        let batch = Batch {
            hard_state: Some(hard_state),
            entries: Vec::new(),
        };
        let written = rig.writes(|store| store.submit(batch).unwrap());
        assert_eq!(written, ["write", "sync"]);
    }
}

/// An append that is synced meanwhile waits for one MiB of zeros, not for all.
#[test]
fn zeros_are_synced_piece_by_piece() {
    let rig = Rig::with_segments(3 << 20, false);
    rig.seen.lock().unwrap().clear();
    rig.prepare();
    let pieces = ["write", "sync"].repeat(3);
    assert_eq!(*rig.seen.lock().unwrap(), [&["create"], &*pieces].concat());
}

/// Each direct write drops the pages that it replaces, while somebody waits for it.
/// What goes through the page cache is better off with them.
#[test]
fn pages_of_zeros_are_dropped_where_the_last_append_was_written_through() {
    let rig = Rig::with_segments(3 << 20, true);
    let prepared = |rig: &Rig| {
        rig.seen.lock().unwrap().clear();
        rig.prepare();
        rig.seen.lock().unwrap().last().copied()
    };
    assert_eq!(prepared(&rig), Some("sync"));
    rig.appends(1, 1);
    assert_eq!(rig.appends(2, 1), ["write through"]);
    assert_eq!(prepared(&rig), Some("drop pages"));
    rig.writes(|store| store.truncate_suffix(Index(2)).unwrap());
    rig.appends(2, 600);
    assert_eq!(prepared(&rig), Some("sync"));
}

/// Of a file of many blocks, a filesystem gives the space back in one go, while
/// every sync waits. So this is the cleaner's, not the rename's.
#[test]
fn a_snapshot_that_was_replaced_is_freed_by_the_cleaner() {
    let rig = Rig::new();
    rig.appends(1, 9);
    for last in [3, 6] {
        let source = Box::new(Once(vec![7; 5 << 20]));
        rig.seen.lock().unwrap().clear();
        assert!(
            rig.store
                .save_snapshot(meta(1, last), source)
                .run()
                .unwrap()
        );
        assert!(!rig.seen.lock().unwrap().contains(&"set len"));
    }
    rig.seen.lock().unwrap().clear();
    rig.store.cleaner().free_unused();
    // 5 MiB and a header in pieces of 512 KiB; the last one goes when the file is closed.
    assert_eq!(*rig.seen.lock().unwrap(), ["set len"; 10]);
}
