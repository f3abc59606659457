//! A sync fails: whoever waits is told, nothing more is promised, and what was
//! acknowledged before is there after a restart.

use std::io;
use std::path::Path;

use afterimage_openraft::{LogId, LogStore};
use afterimage_sim::disk::{FailTrigger, Fates, FaultKind, SimFs};
use openraft::alias::EntryOf;
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use openraft::vote::RaftVote;
use openraft::{RaftLogReader, Vote};

use crate::{Types, open_log, run};

type Log = LogStore<Types>;

fn entry(index: u64) -> EntryOf<Types> {
    EntryOf::<Types>::new_normal(LogId::new(1.into(), index), format!("command {index}"))
}

fn vote(term: u64) -> Vote<openraft::impls::leader_id_std::LeaderId<u64, u64>> {
    let leader = openraft::impls::leader_id_std::LeaderId { term, voted_for: 1 };
    Vote::from_leader_id(leader, false)
}

/// What the callback says.
async fn append(log: &mut Log, index: u64) -> io::Result<()> {
    let (done, flushed) = Types::oneshot();
    log.append([entry(index)], IOFlushed::signal(done)).await?;
    flushed.await.map_err(io::Error::other)?
}

fn open(disk: &SimFs) -> Log {
    open_log(&disk.boot(), Path::new("/")).expect("it opens")
}

/// The next sync of this file fails, then the disk is well again.
fn fail(disk: &SimFs, file: &str, fault: FaultKind) {
    disk.arm_fail(FailTrigger {
        pattern: format!("sync:{file}").parse().expect("a pattern"),
        nth: 1,
        fault,
    });
}

async fn found(log: &mut Log) -> (Vec<u64>, Option<u64>) {
    let mut reader = log.get_log_reader().await;
    let entries = reader.try_get_log_entries(0..).await.unwrap();
    let vote = reader.read_vote().await.unwrap();
    (
        entries.iter().map(|e| e.index()).collect(),
        vote.map(|vote| vote.leader_id().term),
    )
}

#[test]
fn a_failed_sync_of_the_log_fails_everything_after_it() {
    for fault in [FaultKind::Eio, FaultKind::Enospc] {
        for evicts in [false, true] {
            run(async {
                let disk = SimFs::new(7);
                let mut log = open(&disk);
                log.save_vote(&vote(1)).await.unwrap();
                append(&mut log, 0).await.unwrap();
                append(&mut log, 1).await.unwrap();
                // The segment has its name since its first sync.
                fail(&disk, "log-*", fault);
                append(&mut log, 2).await.unwrap_err();
                assert_eq!(disk.disarm_fails(), 0, "the fault was met");
                append(&mut log, 3).await.unwrap_err();
                log.save_vote(&vote(9)).await.unwrap_err();
                log.truncate_after(None).await.unwrap_err();
                drop(log);

                // Without a reboot: the cache reads well, unless it is evicted.
                disk.kill();
                if evicts {
                    disk.evict();
                }
                let mut log = open(&disk);
                let (indexes, term) = found(&mut log).await;
                assert!(indexes == [0, 1] || indexes == [0, 1, 2], "{indexes:?}");
                assert_eq!(term, Some(1));
                // What it shows now is durable.
                let next = indexes.len() as u64;
                append(&mut log, next).await.unwrap();
                drop(log);
                disk.power_cut(&Fates::Lose);
                let (after, _) = found(&mut open(&disk)).await;
                assert_eq!(after, (0..=next).collect::<Vec<_>>());
            });
        }
    }
}

#[test]
fn a_failed_sync_of_the_vote_promises_neither_vote() {
    run(async {
        let disk = SimFs::new(7);
        let mut log = open(&disk);
        log.save_vote(&vote(1)).await.unwrap();
        append(&mut log, 0).await.unwrap();
        fail(&disk, "hardstate", FaultKind::Eio);
        log.save_vote(&vote(2)).await.unwrap_err();
        append(&mut log, 1).await.unwrap_err();
        drop(log);
        disk.power_cut(&Fates::Lose);
        assert_eq!(found(&mut open(&disk)).await, (vec![0], Some(1)));
    });
}
