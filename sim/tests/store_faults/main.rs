//! One store on a simulated disk: single faults at single file operations, and
//! what it may still promise after them.

mod life;
mod reopen;
mod rig;

use std::path::Path;

use afterimage_engine::{Corruption, Error, Index};
use afterimage_sim::disk::{Damage, DamageKind, Fates, FaultKind};

use rig::{Rig, drain, install, meta, submit, terms};

#[test]
fn a_directory_is_durable_in_its_parent_before_anything_is_promised() {
    // The first open ends right before it is.
    let rig = Rig::new();
    rig.fail("sync_dir:.", 1, FaultKind::Eio);
    assert!(rig.open().is_err());
    let store = rig.open().unwrap();
    submit(&store, &[(1, 1), (1, 2)]).unwrap();
    drain(&mut store.writer()).unwrap();
    assert_eq!(store.durable_index(), Index(2));
    rig.cut();
    assert_eq!(terms(&rig.open().unwrap()), [1, 1]);
}

#[test]
fn a_directory_that_has_no_space_for_a_snapshots_name_poisons() {
    for fault in [FaultKind::Enospc, FaultKind::Eio] {
        let rig = Rig::new();
        let store = rig.open().unwrap();
        submit(&store, &[(1, 1), (1, 2), (1, 3)]).unwrap();
        let mut writer = store.writer();
        drain(&mut writer).unwrap();
        rig.fail("sync_dir:raft", 1, fault);
        let mut install = install(&store, 2, 2);
        while install.step().is_ok() {
            assert!(install.outcome().is_none());
        }
        drop(install);
        // Which log counts is not known: nothing may be promised on top of it.
        let acked = submit(&store, &[(1, 4)]).and_then(|_| drain(&mut writer));
        let acked = acked.is_ok() && store.durable_index() == Index(4);
        drop((store, writer));
        rig.disk.kill();
        let found = terms(&rig.open().unwrap());
        assert!(!acked || found == [1, 1, 1, 1], "{fault}: left {found:?}");
    }
}

#[test]
fn an_install_dropped_behind_its_rename_poisons() {
    let rig = Rig::new();
    let store = rig.open().unwrap();
    submit(&store, &[(1, 1), (1, 2), (1, 3)]).unwrap();
    let mut writer = store.writer();
    drain(&mut writer).unwrap();
    let mut install = install(&store, 2, 2);
    while !rig.disk.cached_files().contains_key("raft/snapshot") {
        install.step().unwrap();
    }
    drop(install);
    let acked = submit(&store, &[(1, 4)]).and_then(|_| drain(&mut writer));
    let acked = acked.is_ok() && store.durable_index() == Index(4);
    drop((store, writer));
    rig.disk.kill();
    let found = terms(&rig.open().unwrap());
    assert!(!acked || found == [1, 1, 1, 1], "left {found:?}");
}

#[test]
fn terms_that_go_back_are_refused_where_entries_are_replaced_too() {
    let rig = Rig::new();
    let store = rig.open().unwrap();
    submit(&store, &[(1, 1), (5, 2), (5, 3)]).unwrap();
    let mut writer = store.writer();
    drain(&mut writer).unwrap();
    let refused = submit(&store, &[(4, 3)]);
    drain(&mut writer).unwrap();
    let promised = terms(&store);
    drop((store, writer));
    rig.disk.kill();
    assert_eq!(terms(&rig.open().unwrap()), promised);
    assert!(matches!(refused, Err(Error::Misuse(_))), "{refused:?}");
}

#[test]
fn an_install_does_not_hold_the_space_that_the_writer_waits_for() {
    let rig = Rig::new();
    let store = rig.open().unwrap();
    let mut writer = store.writer();
    submit(&store, &[(1, 1)]).unwrap();
    drain(&mut writer).unwrap();
    let mut install = store.install(meta(1, 9));
    assert!(install.push(0, vec![5; 4096], false));
    while install.has_work() {
        install.step().unwrap();
    }
    rig.disk.limit_space(Some(0));
    submit(&store, &[(1, 2), (1, 3), (1, 4), (1, 5), (1, 6)]).unwrap();
    assert!(drain(&mut writer).unwrap(), "the disk is full");
    assert!(install.push(4096, vec![5; 10], true));
    let failed = (0..1000).find_map(|_| {
        let _ = drain(&mut writer).unwrap();
        install.step().err()
    });
    assert!(failed.is_some_and(|e| e.is_no_space()), "waits for ever");
    drop(install);
    let mut cleaner = store.cleaner();
    while cleaner.has_work() {
        cleaner.step().unwrap();
    }
    assert!(!drain(&mut writer).unwrap(), "the space is back");
    assert_eq!(store.durable_index(), Index(6));
}

/// The two slots are no copies of each other: a bad one may have held the vote,
/// unless it is known to have been the older one.
#[test]
fn a_bad_slot_of_the_hard_state_is_refused_unless_told() {
    for (slot, counts) in [(0, true), (1, false)] {
        let mut rig = Rig::new();
        drop(rig.open().unwrap());
        rig.disk.power_cut(&Fates::KeepAll);
        let damage = Damage {
            kind: DamageKind::Rot,
            file: "hardstate".to_owned(),
            sector: Some(slot),
            bit: None,
        };
        assert!(rig.disk.damage(&damage, 1).is_some());
        let before = rig.disk.image_hash();
        match rig.open() {
            Err(Error::Corrupt { path, offset, what }) => {
                assert_eq!(path, Path::new("/raft/hardstate"));
                assert_eq!(offset, u64::from(slot) * 512);
                assert_eq!(what, Corruption::HardStateSlot);
            }
            Ok(_) if !counts => continue,
            other => panic!("slot {slot}: {other:?}"),
        }
        rig.disk.kill();
        assert_eq!(rig.disk.image_hash(), before, "slot {slot}");
        rig.options.accept_bad_slot = true;
        let (_store, report) = rig.opening().run().unwrap();
        assert!(report.bad_hard_state_slot, "slot {slot}");
        // It has written it again.
        rig.options.accept_bad_slot = false;
        assert!(rig.open().is_ok(), "slot {slot}");
    }
}
