//! What an open store promises, call by call: what it refuses, what waits for
//! what, and what is given back.

#[path = "../support/no_sync.rs"]
mod no_sync;
#[path = "../support/snapshot.rs"]
mod snapshots;

mod death;
mod hard_state;
mod log;
mod reading;
mod snapshot;
mod space;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use afterimage_engine::fs::{Fs, FsExt, OsFs};
use afterimage_engine::raft::LogView;
use afterimage_engine::store::{Batch, Install, Options, Store, Ticket};
use afterimage_engine::threads::SystemEnv;
use afterimage_engine::{
    Entry, EntryKind, Error, Event, HardState, Host, Index, NodeId, Step, Term,
};
use snapshots::{Once, meta};

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

    /// The files whose names end so.
    fn files(&self, extension: &str) -> Vec<PathBuf> {
        let names = OsFs.list(self.dir.path()).unwrap();
        let paths = names.iter().map(|name| self.dir.path().join(name));
        let wanted = paths.filter(|path| path.extension().is_some_and(|e| e == extension));
        wanted.collect()
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

#[track_caller]
fn is_refused<T>(result: Result<T, Error>, why: &str) {
    match result {
        Err(Error::Misuse(said)) => assert!(said.contains(why), "{said}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("accepted: {why}"),
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
