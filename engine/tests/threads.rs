//! The production host on a real disk.

#[path = "support/no_sync.rs"]
mod no_sync;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use afterimage_engine::fs::{Fs, OsBuffered, OsFs};
use afterimage_engine::raft::LogView;
use afterimage_engine::store::{Batch, Options, Report, Store};
use afterimage_engine::threads::{SystemEnv, Threads};
use afterimage_engine::{Entry, EntryKind, Error, Event, Host, Index, Phase, Term};

use no_sync::no_sync;

fn open(fs: Arc<dyn Fs>, dir: &Path) -> (Store, Report) {
    let env = Arc::new(SystemEnv::unobserved().unwrap());
    let options = Options {
        segment_bytes: 16 << 10,
        ..Options::default()
    };
    Store::open(Host { fs, env }, dir, options).run().unwrap()
}

fn batch(index: u64) -> Batch {
    Batch {
        hard_state: None,
        entries: vec![Entry {
            index: Index(index),
            term: Term(1),
            kind: EntryKind::Command,
            timestamp_ms: 0,
            data: index.to_le_bytes().repeat(32).into(),
        }],
    }
}

#[test]
fn what_was_waited_for_is_there_after_reopening() {
    check_reopening(Arc::new(OsBuffered));
}

/// However it comes about: asked for, waited for, or at the end.
#[test]
fn what_was_appended_unsynced_is_durable_when_somebody_wants_it() {
    let dir = tempfile::tempdir().unwrap();
    for (n, how) in ["sync", "wait", "close", "append"].into_iter().enumerate() {
        let threads = Threads::start(open(Arc::new(OsFs), dir.path()).0).unwrap();
        let first = 1 + 200 * n as u64;
        let mut last = 0;
        for index in first..first + 200 {
            last = threads.append_unsynced(batch(index).entries).unwrap();
        }
        let store = threads.store().clone();
        while store.written() < last {
            std::thread::yield_now();
        }
        assert!(store.persisted() < last, "{how}: nobody asked for a sync");
        assert_eq!(store.durable_index(), Index(first - 1));
        assert!(store.status().unsynced_bytes > 0);
        match how {
            "sync" => threads.sync().unwrap(),
            "wait" => threads.wait(last).unwrap(),
            "append" => {
                let ticket = threads.append(Batch::default()).unwrap();
                threads.wait(ticket).unwrap();
            }
            _ => {}
        }
        if how != "close" {
            assert!(store.persisted() >= last, "{how}");
        }
        threads.close().unwrap();
        assert_eq!(store.durable_index(), Index(first + 199), "{how}");
        assert_eq!(store.status().unsynced_bytes, 0, "{how}");
    }
    let (store, report) = open(Arc::new(OsFs), dir.path());
    assert_eq!(report.last_index, Index(800));
    for index in 1..=800 {
        assert_eq!(store.entry(Index(index)).unwrap(), batch(index).entries[0]);
    }
}

/// More than may be left is synced without being asked for.
#[test]
fn what_may_be_left_unsynced_has_a_limit() {
    let dir = tempfile::tempdir().unwrap();
    let env = Arc::new(SystemEnv::unobserved().unwrap());
    let options = Options {
        segment_bytes: 16 << 10,
        unsynced_bytes: 40 << 10,
        ..Options::default()
    };
    let fs = Arc::new(OsFs);
    let (store, _) = Store::open(Host { fs, env }, dir.path(), options)
        .run()
        .unwrap();
    let threads = Threads::start(store.clone()).unwrap();
    let mut last = 0;
    for index in 1..=1000 {
        last = threads.append_unsynced(batch(index).entries).unwrap();
        assert!(store.status().unsynced_bytes <= 40 << 10);
    }
    while store.written() < last {
        std::thread::yield_now();
    }
    // 304 bytes each with what a record adds, so that 134 make the limit.
    assert!(store.durable_index() >= Index(1000 - 134));
    threads.close().unwrap();
}

#[test]
fn what_was_written_through_is_there_after_reopening() {
    check_reopening(Arc::new(OsFs));
}

fn check_reopening(fs: Arc<dyn Fs>) {
    // On the disk of the build, for a tmpfs may know no direct writes.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let threads = Threads::start(open(fs, dir.path()).0).unwrap();
    std::thread::scope(|scope| {
        for index in 1..=300 {
            let ticket = threads.append(batch(index)).unwrap();
            let threads = &threads;
            if index % 10 == 0 {
                scope.spawn(move || threads.wait(ticket).unwrap());
            }
        }
    });
    assert_eq!(threads.store().durable_index(), Index(300));
    threads.truncate_suffix(Index(251)).unwrap();
    let last = threads.append(batch(251)).unwrap();
    threads.wait(last).unwrap();
    assert!(matches!(threads.wait(last + 1), Err(Error::Misuse(_))));
    threads.close().unwrap();

    let (store, report) = open(Arc::new(OsFs), dir.path());
    assert_eq!(report.last_index, Index(251));
    let mut index = store.first_index();
    while index <= store.last_index() {
        for entry in store.entries(index, 10_000).unwrap() {
            assert_eq!(entry, batch(entry.index.0).entries[0]);
            index = entry.index.next();
        }
    }
}

/// Not when so much was handed over that somebody looks, which might be in the middle
/// of something else.
#[test]
fn the_next_segment_is_prepared_as_soon_as_one_is_begun() {
    let dir = tempfile::tempdir().unwrap();
    let (said, heard) = std::sync::mpsc::channel();
    let env = SystemEnv::new(move |event| {
        if matches!(event, Event::End(Phase::Prepare)) {
            said.send(()).unwrap();
        }
    });
    let host = Host {
        fs: Arc::new(OsFs),
        env: Arc::new(env.unwrap()),
    };
    let options = Options {
        segment_bytes: 16 << 10,
        ..Options::default()
    };
    let (store, _) = Store::open(host, dir.path(), options).run().unwrap();
    let threads = Threads::start(store).unwrap();
    let prepared = |which: &str| {
        let heard = heard.recv_timeout(Duration::from_secs(60));
        assert!(heard.is_ok(), "{which} is not prepared");
    };
    prepared("the first");
    for index in 1..=200 {
        let segments = threads.store().status().segments;
        threads.wait(threads.queue(batch(index)).unwrap()).unwrap();
        if threads.store().status().segments > segments {
            prepared("the next");
        }
    }
    assert!(threads.store().status().segments > 3);
    threads.close().unwrap();
}

#[test]
fn whoever_waits_writes_what_nobody_was_woken_for() {
    let dir = tempfile::tempdir().unwrap();
    let threads = Threads::start(open(Arc::new(OsFs), dir.path()).0).unwrap();
    let next = Mutex::new(1..=1_600);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let ticket = {
                        let mut next = next.lock().unwrap();
                        let Some(index) = next.next() else { break };
                        // Some are left to the log thread, some to nobody.
                        match index % 5 {
                            0 => threads.append(batch(index)).unwrap(),
                            _ => threads.queue(batch(index)).unwrap(),
                        }
                    };
                    if ticket % 3 != 0 {
                        threads.wait(ticket).unwrap();
                        assert!(threads.store().persisted() >= ticket);
                    }
                }
            });
        }
    });
    threads.close().unwrap();
    let (_, report) = open(Arc::new(OsFs), dir.path());
    assert_eq!(report.last_index, Index(1_600));
}

#[test]
fn a_full_queue_is_written_although_nobody_waits() {
    let dir = tempfile::tempdir().unwrap();
    let threads = Threads::start(open(Arc::new(OsFs), dir.path()).0).unwrap();
    let data: Arc<[u8]> = vec![7; 8 << 20].into();
    for index in 1..=20 {
        let mut batch = batch(index);
        batch.entries[0].data = data.clone();
        threads.queue(batch).unwrap();
    }
    threads.close().unwrap();
    let (_, report) = open(Arc::new(OsFs), dir.path());
    assert_eq!(report.last_index, Index(20));
}

#[test]
fn closing_waits_for_what_was_handed_over() {
    let dir = tempfile::tempdir().unwrap();
    let threads = Threads::start(open(Arc::new(OsFs), dir.path()).0).unwrap();
    for index in 1..=50 {
        threads.append(batch(index)).unwrap();
    }
    threads.close().unwrap();
    let (_, report) = open(Arc::new(OsFs), dir.path());
    assert_eq!(report.last_index, Index(50));
}

#[test]
fn a_failed_sync_fails_whoever_waits_and_everything_after() {
    let dir = tempfile::tempdir().unwrap();
    let broken = Arc::new(AtomicBool::new(false));
    let fs = Arc::new(no_sync(broken.clone()));
    let threads = Threads::start(open(fs, dir.path()).0).unwrap();
    let good = threads.append(batch(1)).unwrap();
    threads.wait(good).unwrap();
    broken.store(true, Ordering::SeqCst);
    let bad = threads.append(batch(2)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(threads.wait(bad).is_err()));
        }
    });
    threads.wait(good).unwrap();
    // The disk is well again, but nothing says what it kept.
    broken.store(false, Ordering::SeqCst);
    assert!(threads.append(batch(3)).is_err());
    assert!(threads.close().is_err());
}
