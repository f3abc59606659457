//! Saves and installs.

use afterimage_engine::format::SegmentHeader;
use afterimage_engine::{Membership, SnapshotMeta};

use super::*;

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
    let headers = rig.files("seg").into_iter().map(|path| {
        let bytes = OsFs.read(&path).unwrap();
        SegmentHeader::decode(bytes.first_chunk().unwrap()).unwrap()
    });
    let newest = headers.map(Option::unwrap).max_by_key(|header| header.base);
    assert_eq!(newest.unwrap().prev.term, Term(9));
}

fn unfinished(rig: &Rig) -> usize {
    rig.files("tmp").len()
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

/// The log is judged when all that was submitted before is in it. Until then there is
/// nothing to do for an install: a host that goes by `has_work` does not spin.
#[test]
fn an_install_waits_for_what_was_submitted() {
    let rig = Rig::with_ten();
    let mut install = install(&rig, 12);
    install.push(0, vec![1; 10], true);
    let ticket = rig.store.submit(entries(9, 11..=14)).unwrap();
    for _ in 0..100 {
        install.step().unwrap();
    }
    assert!(install.outcome().is_none() && !install.has_work());
    assert_eq!(install.step().unwrap(), Step::Idle);
    let mut writer = rig.store.writer();
    while rig.store.persisted() < ticket {
        writer.step().unwrap();
    }
    assert!(install.has_work());
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
