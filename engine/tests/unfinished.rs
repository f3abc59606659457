//! A large unfinished file: an open removes its name, and leaves its space to the
//! cleaner; unless the disk is full without it.

#![allow(clippy::disallowed_methods, reason = "tests")]

#[path = "support/over.rs"]
mod over;

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use afterimage_engine::fs::{File, Fs, OsFs, SyncMode};
use afterimage_engine::raft::LogView;
use afterimage_engine::store::{Batch, Options, Store};
use afterimage_engine::threads::SystemEnv;
use afterimage_engine::{Entry, EntryKind, Host, Index, Step, Term};
use over::Over;

const SEGMENT_BYTES: u64 = 8 << 20;
const UNFINISHED: &str = "segment-0123456789abcdef.tmp";

/// A file of a disk that knows how many bytes of the unfinished file it still has
/// to keep, and whether it is full as long as it has them.
#[derive(Debug)]
struct TightFile {
    file: Box<dyn File>,
    kept: Arc<AtomicU64>,
    is_full: bool,
    is_unfinished: bool,
}

fn tight(kept: &Arc<AtomicU64>, is_full: bool) -> impl Fs + use<> {
    let kept = kept.clone();
    Over(move |file: Box<dyn File>, path: &Path| {
        let is_unfinished = path.ends_with(UNFINISHED);
        if is_unfinished {
            kept.store(file.len().unwrap(), Ordering::SeqCst);
        }
        let kept = kept.clone();
        Box::new(TightFile {
            file,
            kept,
            is_full,
            is_unfinished,
        }) as Box<dyn File>
    })
}

impl File for TightFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let grows = offset + buf.len() as u64 > self.file.len()?;
        if self.is_full && grows && self.kept.load(Ordering::SeqCst) > 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        self.file.write_at(buf, offset)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.is_unfinished {
            let before = self.kept.swap(len, Ordering::SeqCst);
            assert!(before - len <= 2 << 20, "freed in pieces");
        }
        self.file.set_len(len)
    }
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.allocate(offset, len)
    }
    fn sync(&self, mode: SyncMode) -> io::Result<()> {
        self.file.sync(mode)
    }
}

impl Drop for TightFile {
    fn drop(&mut self) {
        if self.is_unfinished {
            self.kept.store(0, Ordering::SeqCst);
        }
    }
}

fn open(dir: &Path, fs: impl Fs + 'static) -> Store {
    let env = Arc::new(SystemEnv::unobserved().unwrap());
    let options = Options {
        segment_bytes: SEGMENT_BYTES,
        ..Options::default()
    };
    let fs = Arc::new(fs);
    let (store, _) = Store::open(Host { fs, env }, dir, options).run().unwrap();
    store
}

/// A log with one entry, which an open has to write again, and an unfinished file.
fn spoilt() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), OsFs);
    let entry = Entry {
        index: Index(1),
        term: Term(1),
        kind: EntryKind::Command,
        timestamp_ms: 0,
        data: vec![7; 300].into(),
    };
    let batch = Batch {
        hard_state: None,
        entries: vec![entry],
    };
    store.submit(batch).unwrap();
    let mut writer = store.writer();
    while writer.step().unwrap() != Step::Idle {}
    let zeros = vec![0; SEGMENT_BYTES as usize];
    std::fs::write(dir.path().join(UNFINISHED), zeros).unwrap();
    dir
}

#[test]
fn a_large_unfinished_file_loses_its_name_at_once_and_its_space_by_the_cleaner() {
    let dir = spoilt();
    let kept = Arc::new(AtomicU64::new(0));
    let store = open(dir.path(), tight(&kept, false));
    assert!(!dir.path().join(UNFINISHED).exists());
    assert_eq!(kept.load(Ordering::SeqCst), SEGMENT_BYTES);
    let mut cleaner = store.cleaner();
    while cleaner.has_work() {
        assert_eq!(cleaner.step().unwrap(), Step::Ran);
    }
    assert_eq!(kept.load(Ordering::SeqCst), 0);
}

/// Nothing but such a file is work, too, and no directory is synced for it: a
/// writer may wait for the space.
#[test]
fn the_space_is_work_for_the_cleaner_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path(), OsFs));
    let zeros = vec![0; SEGMENT_BYTES as usize];
    std::fs::write(dir.path().join(UNFINISHED), zeros).unwrap();
    let kept = Arc::new(AtomicU64::new(0));
    let store = open(dir.path(), tight(&kept, false));
    assert_eq!(kept.load(Ordering::SeqCst), SEGMENT_BYTES);
    assert_eq!(store.status().garbage, 0);
    let mut cleaner = store.cleaner();
    assert!(cleaner.has_work());
    assert_eq!(cleaner.step().unwrap(), Step::Ran);
    assert_eq!(kept.load(Ordering::SeqCst), 0);
    assert!(!cleaner.has_work());
}

#[test]
fn an_open_that_needs_the_space_gives_it_back_at_once() {
    let dir = spoilt();
    let kept = Arc::new(AtomicU64::new(0));
    let store = open(dir.path(), tight(&kept, true));
    assert_eq!(kept.load(Ordering::SeqCst), 0);
    assert_eq!(store.last_index(), Index(1));
    assert_eq!(store.entries(Index(1), 1).unwrap().len(), 1);
}
