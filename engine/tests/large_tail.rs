//! A tail that no sync had covered, larger than the memory that a recovery may take.
//!
//! Alone in its process, because the heap that is counted is everybody's.

#![allow(unsafe_code, reason = "an allocator is")]

#[path = "support/heap.rs"]
mod heap;

use std::path::Path;
use std::sync::Arc;

use afterimage_engine::fs::OsFs;
use afterimage_engine::store::{Batch, Options, Report, Store};
use afterimage_engine::threads::SystemEnv;
use afterimage_engine::{Entry, EntryKind, Host, Index, Step, Term};

use heap::peak;

/// Data of one entry, in bytes.
const ENTRY: usize = 10_000;
/// Entries: 64 MB.
const ENTRIES: u64 = 6_400;
/// Entries of which the first sync is.
const SYNCED: u64 = 100;
/// More than this is never on the heap, in bytes.
const HEAP: usize = 8 << 20;

fn open(dir: &Path) -> (Store, Report) {
    let host = Host {
        fs: Arc::new(OsFs),
        env: Arc::new(SystemEnv::unobserved().unwrap()),
    };
    let options = Options {
        segment_bytes: 1 << 20,
        ..Options::default()
    };
    Store::open(host, dir, options).run().unwrap()
}

fn entry(index: u64) -> Entry {
    Entry {
        index: Index(index),
        term: Term(1),
        kind: EntryKind::Command,
        timestamp_ms: 0,
        data: index.to_le_bytes().repeat(ENTRY / 8).into(),
    }
}

#[test]
fn a_tail_larger_than_the_memory_is_written_again_once() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (store, _) = open(dir.path());
    let mut writer = store.writer();
    for index in 1..=ENTRIES {
        let entries = vec![entry(index)];
        match index <= SYNCED {
            true => {
                let hard_state = None;
                let batch = Batch {
                    hard_state,
                    entries,
                };
                store.submit(batch).unwrap()
            }
            false => store.submit_unsynced(entries).unwrap(),
        };
        while writer.step().unwrap() == Step::Ran {}
    }
    assert_eq!(store.durable_index(), Index(SYNCED));
    assert!(store.status().segments > 50);
    drop((writer, store));

    let ((store, report), grown) = peak(|| open(dir.path()));
    assert!(grown < HEAP, "{grown} bytes");
    assert!(
        report.proven_index <= Index(SYNCED),
        "{:?}",
        report.decisions
    );
    assert_eq!(report.last_index, Index(ENTRIES));
    for index in 1..=ENTRIES {
        assert_eq!(store.entry(Index(index)).unwrap(), entry(index));
    }
    // What hid the others, and an empty one that says how far that is durable.
    let mut cleaner = store.cleaner();
    while cleaner.step().unwrap() == Step::Ran {}
    assert!(store.status().segments < 6, "{:?}", store.status());
    drop((cleaner, store));
    let (_, report) = open(dir.path());
    assert_eq!(report.proven_index, Index(ENTRIES));
    assert_eq!(report.last_index, Index(ENTRIES));
}
