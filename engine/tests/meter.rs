//! What a meter counts, on a real disk.

#[path = "support/no_sync.rs"]
mod no_sync;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use afterimage_engine::fs::{Fs, OsFs};
use afterimage_engine::raft::LogView;
use afterimage_engine::store::{Batch, Options, SnapshotSource, Store};
use afterimage_engine::threads::{Meter, SystemEnv, Threads};
use afterimage_engine::{
    Entry, EntryKind, Env, Event, HardState, Host, Index, Membership, SnapshotMeta, Term,
};

use no_sync::no_sync;

fn open(meter: &Arc<Meter>, fs: Arc<dyn Fs>, dir: &Path) -> Store {
    let env = Arc::new(SystemEnv::unobserved().unwrap());
    let options = Options {
        segment_bytes: 16 << 10,
        commit_hint_every: 1,
        ..Options::default()
    };
    let host = meter.host(Host { fs, env });
    Store::open(host, dir, options).run().unwrap().0
}

fn batch(index: u64) -> Batch {
    Batch {
        hard_state: None,
        entries: vec![Entry {
            index: Index(index),
            term: Term(1),
            kind: EntryKind::Command,
            timestamp_ms: 0,
            data: vec![1; 1000].into(),
        }],
    }
}

struct Nothing;

impl SnapshotSource for Nothing {
    fn read(&mut self, _: &mut Vec<u8>, _: usize) -> bool {
        false
    }
}

#[test]
fn a_meter_counts_what_the_disk_took() {
    let dir = tempfile::tempdir().unwrap();
    let meter = Arc::new(Meter::default());
    let threads = Threads::start(open(&meter, Arc::new(OsFs), dir.path())).unwrap();
    for index in 1..=40 {
        let ticket = threads.append(batch(index)).unwrap();
        threads.wait(ticket).unwrap();
    }
    let before = meter.stats(threads.store());
    assert_eq!(before.store.last_index, Index(40));
    assert_eq!(before.store.durable_index, Index(40));
    // 40 kB in segments of 16.
    assert!((2..=4).contains(&before.segments_begun), "{before:?}");
    assert_eq!(before.store.segments as u64, before.segments_begun);
    let appends = before.data_syncs.count();
    assert!((36..=42).contains(&appends), "{appends}");
    assert!(before.data_syncs.quantile_us(500) <= before.data_syncs.quantile_us(1000));
    assert!(before.written_bytes > 40_000);
    assert!(before.dir_syncs.count() >= before.segments_begun);
    assert_eq!((before.recoveries, before.torn_tails), (1, 0));

    let hard_state = Some(HardState {
        term: Term(1),
        vote: None,
    });
    let entries = Vec::new();
    let ticket = threads.append(Batch {
        hard_state,
        entries,
    });
    threads.wait(ticket.unwrap()).unwrap();
    let voted = meter.stats(threads.store());
    assert_eq!(voted.data_syncs.count(), appends + 1);

    let reader = threads.store().reader(Index(1)).unwrap();
    let meta = SnapshotMeta {
        last_index: Index(35),
        last_term: Term(1),
        membership: Membership::default(),
    };
    assert!(threads.save_snapshot(meta, Box::new(Nothing)).unwrap());
    let saved = meter.stats(threads.store());
    assert_eq!(saved.snapshots_saved, 1);
    assert_eq!(saved.store.snapshot_index, Index(35));
    assert_eq!((saved.store.readers, saved.segments_purged), (1, 0));
    drop(reader);
    threads.truncate_suffix(Index(39)).unwrap();
    let last = threads.append(batch(39)).unwrap();
    threads.wait(last).unwrap();
    threads.hint_commit(Index(39));
    // The background thread looked around on its way.
    while meter.stats(threads.store()).segments_purged == 0 || !dir.path().join("commit").exists() {
        std::thread::yield_now();
    }
    assert_eq!(meter.stats(threads.store()).truncations, 1);
    threads.close().unwrap();

    // It goes on counting when the store is opened again.
    let threads = Threads::start(open(&meter, Arc::new(OsFs), dir.path())).unwrap();
    let again = meter.stats(threads.store());
    assert_eq!((again.recoveries, again.poisonings), (2, 0));
    assert!(again.store.first_index > Index(1));
    assert_eq!(threads.store().last_index(), Index(39));
}

#[test]
fn a_meter_counts_a_failed_sync() {
    let dir = tempfile::tempdir().unwrap();
    let meter = Arc::new(Meter::default());
    let broken = Arc::new(AtomicBool::new(false));
    let store = open(&meter, Arc::new(no_sync(broken.clone())), dir.path());
    let mut writer = store.writer();
    broken.store(true, Ordering::SeqCst);
    store.submit(batch(1)).unwrap();
    while writer.step().is_ok() {}
    let stats = meter.stats(&store);
    assert_eq!(stats.poisonings, 1);
    assert!(stats.store.is_poisoned);
    assert_eq!(stats.store.durable_index, Index(0));
}

/// Naming an entry costs a checksum over it.
#[test]
fn entries_are_named_only_for_those_who_listen() {
    assert!(!SystemEnv::unobserved().unwrap().wants_entries());
    assert!(SystemEnv::new(|_| {}).unwrap().wants_entries());
    let named = Arc::new(AtomicBool::new(false));
    for listens in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let seen = named.clone();
        let env: Arc<dyn Env> = match listens {
            false => Arc::new(SystemEnv::unobserved().unwrap()),
            true => Arc::new(
                SystemEnv::new(move |event| {
                    if let Event::Appended { .. } = event {
                        seen.store(true, Ordering::SeqCst);
                    }
                })
                .unwrap(),
            ),
        };
        let fs = Arc::new(OsFs);
        let host = Arc::new(Meter::default()).host(Host { fs, env });
        let (store, _) = Store::open(host, dir.path(), Options::default())
            .run()
            .unwrap();
        store.submit(batch(1)).unwrap();
        assert_eq!(named.load(Ordering::SeqCst), listens);
    }
}
