//! The committed log id, where the options ask for it: a hint that may be old.

use std::path::Path;
use std::sync::Arc;

use afterimage_engine::fs::Fs;
use afterimage_engine::store::Options;
use afterimage_openraft::{LogId, LogStore};
use afterimage_sim::disk::{Fates, SimFs};
use openraft::alias::EntryOf;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;

use crate::{Types, host, options, run};

fn open(fs: &Arc<dyn Fs>) -> LogStore<Types> {
    let options = Options {
        commit_hint_every: 1,
        ..options()
    };
    LogStore::open(host(fs).unwrap(), Path::new("/log"), options).unwrap()
}

fn id(term: u64, index: u64) -> LogId {
    LogId::new(term.into(), index)
}

#[test]
fn what_was_committed_is_known_after_a_restart_or_it_is_not() {
    run(async {
        let disk = SimFs::new(7);
        let mut log = open(&disk.boot());
        assert_eq!(log.read_committed().await.unwrap(), None);
        let entries = (0..10).map(|i| EntryOf::<Types>::new_normal(id(1, i), "x".to_owned()));
        let (done, flushed) = Types::oneshot();
        log.append(entries, IOFlushed::signal(done)).await.unwrap();
        flushed.await.unwrap().unwrap();
        log.save_committed(Some(id(1, 4))).await.unwrap();
        // Another leader's, which is not in this log: said of the cluster's.
        log.save_committed(Some(id(2, 8))).await.unwrap();
        log.save_committed(Some(id(1, 99))).await.unwrap();
        while !disk.cached_files().contains_key("log/commit") {
            std::thread::yield_now();
        }
        drop(log);
        disk.kill();
        let mut log = open(&disk.boot());
        assert_eq!(log.read_committed().await.unwrap(), Some(id(1, 4)));
        drop(log);
        // It was never synced.
        disk.power_cut(&Fates::Lose);
        let mut log = open(&disk.boot());
        assert_eq!(log.read_committed().await.unwrap(), None);
        let last = log.get_log_state().await.unwrap().last_log_id;
        assert_eq!(last, Some(id(1, 9)));
    });
}
