//! One store on a simulated disk: single faults at single file operations, and
//! what it may still promise after them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use afterimage_engine::raft::LogView;
use afterimage_engine::store::{Batch, Install, Options, Report, SnapshotSource, Store, Writer};
use afterimage_engine::{
    Corruption, Entry, EntryKind, Env, Error, Event, Host, Index, Membership, NodeId, SnapshotMeta,
    Step, Term,
};
use afterimage_sim::disk::{
    CrashPoint, CrashTrigger, Damage, DamageKind, FailTrigger, Fates, FaultKind, SimFs,
};

/// Numbers one after the other for entropy; nobody watches.
#[derive(Default)]
struct Counting(AtomicU64);

impl Env for Counting {
    fn now_ms(&self) -> i64 {
        0
    }
    fn random(&self) -> u64 {
        let n = self.0.fetch_add(1, Ordering::Relaxed);
        n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
    fn observe(&self, _: Event) {}
}

struct Rig {
    disk: SimFs,
    env: Arc<Counting>,
}

impl Rig {
    fn new() -> Self {
        Rig {
            disk: SimFs::new(7),
            env: Arc::default(),
        }
    }

    fn open(&self) -> Result<Store, Error> {
        let (store, _) = self.open_with(Options::default())?;
        Ok(store)
    }

    fn open_with(&self, options: Options) -> Result<(Store, Report), Error> {
        let host = Host {
            fs: self.disk.boot(),
            env: self.env.clone(),
        };
        let options = Options {
            segment_bytes: 2048,
            chunk_bytes: 512,
            ..options
        };
        Store::open(host, Path::new("/raft"), options).run()
    }

    /// The `nth` operation that matches from now on fails.
    fn fail(&self, pattern: &str, nth: u64, fault: FaultKind) {
        self.disk.arm_fail(FailTrigger {
            pattern: pattern.parse().unwrap(),
            nth,
            fault,
        });
    }

    /// The power goes, and nothing of what is pending survives.
    fn cut(&self) {
        self.disk.power_cut(&Fates::Lose);
    }
}

fn entry(term: u64, index: u64) -> Entry {
    Entry {
        index: Index(index),
        term: Term(term),
        kind: EntryKind::Command,
        timestamp_ms: 0,
        data: vec![index as u8; 100].into(),
    }
}

fn submit(store: &Store, entries: &[(u64, u64)]) -> Result<u64, Error> {
    store.submit(Batch {
        hard_state: None,
        entries: entries.iter().map(|&(t, i)| entry(t, i)).collect(),
    })
}

/// Until there is nothing to do; `true` if it waits for space.
fn drain(writer: &mut Writer) -> Result<bool, Error> {
    loop {
        match writer.step()? {
            Step::Ran => {}
            Step::Idle => return Ok(false),
            Step::Stalled => return Ok(true),
        }
    }
}

/// Terms of the whole log.
fn terms(store: &Store) -> Vec<u64> {
    let range = store.first_index().0..=store.last_index().0;
    range.map(|i| store.term(Index(i)).unwrap().0).collect()
}

fn meta(term: u64, last: u64) -> SnapshotMeta {
    SnapshotMeta {
        last_index: Index(last),
        last_term: Term(term),
        membership: Membership {
            voters: vec![NodeId(1)],
            learners: Vec::new(),
        },
    }
}

/// All of a snapshot, handed over.
fn install(store: &Store, term: u64, last: u64) -> Install {
    let mut install = store.install(meta(term, last));
    assert!(install.push(0, vec![5; 1500], true));
    install
}

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

/// A state of a few chunks.
struct Bytes(u32);

impl SnapshotSource for Bytes {
    fn read(&mut self, out: &mut Vec<u8>, max: usize) -> bool {
        out.resize(out.len() + max.min(300), 9);
        self.0 -= 1;
        self.0 > 0
    }
}

/// Appends, a truncation, a roll, a save, an install and cleaning; the terms
/// that were acknowledged, by index.
fn busy(store: &Store, acked: &mut Acked) -> Result<(), Error> {
    let mut writer = store.writer();
    let mut cleaner = store.cleaner();
    let mut preparer = store.preparer();
    let mut write = |entries: &[(u64, u64)], acked: &mut Acked| -> Result<(), Error> {
        submit(store, entries)?;
        acked.replace_from(entries[0].1);
        while drain(&mut writer)? {
            clean(&mut cleaner)?;
        }
        acked.log_is(store);
        clean(&mut cleaner)
    };
    write(&[(1, 1), (1, 2), (1, 3)], acked)?;
    while preparer.has_work() {
        preparer.step()?;
    }
    write(&[(1, 4), (1, 5), (1, 6), (1, 7), (1, 8)], acked)?;
    write(&[(2, 6), (2, 7)], acked)?;
    write(
        &[
            (2, 8),
            (2, 9),
            (2, 10),
            (2, 11),
            (2, 12),
            (2, 13),
            (2, 14),
            (2, 15),
        ],
        acked,
    )?;
    write(&[(2, 16), (2, 17), (2, 18)], acked)?;
    let save = store.save_snapshot(meta(2, 12), Box::new(Bytes(5))).run();
    if retry(save)? {
        acked.snapshot = 12;
    }
    write(&[(3, 18), (3, 19)], acked)?;
    let mut install = install(store, 4, 18);
    loop {
        acked.replace_from(19);
        let step = install.step();
        if retry(step.map(|_| true))? && install.outcome().is_none() {
            continue;
        }
        break;
    }
    if install.outcome().is_some() {
        acked.snapshot = 18;
        acked.log_is(store);
    }
    drop(install);
    let next = store.last_index().0 + 1;
    write(&[(4, next), (4, next + 1)], acked)
}

/// A full disk leaves everything as it was; whoever asked goes on without.
fn retry(result: Result<bool, Error>) -> Result<bool, Error> {
    match result {
        Err(e) if e.is_no_space() => Ok(false),
        other => other,
    }
}

fn clean(cleaner: &mut afterimage_engine::store::Cleaner) -> Result<(), Error> {
    while cleaner.has_work() {
        cleaner.step()?;
    }
    Ok(())
}

/// What a store has promised.
#[derive(Default, Clone, Debug)]
struct Acked {
    /// Terms by index, from 1 on; 0 where nothing is promised.
    terms: Vec<u64>,
    snapshot: u64,
}

impl Acked {
    fn replace_from(&mut self, index: u64) {
        self.terms.truncate(index as usize - 1);
    }
    fn log_is(&mut self, store: &Store) {
        assert_eq!(store.durable_index(), store.last_index());
        self.terms.resize(store.last_index().0 as usize, 0);
        for i in store.first_index().0..=store.last_index().0 {
            self.terms[i as usize - 1] = store.term(Index(i)).unwrap().0;
        }
    }
    fn check(&self, store: &Store, what: &str) {
        let snapshot = store.snapshot().map_or(0, |s| s.last_index.0);
        assert!(
            snapshot >= self.snapshot,
            "{what}: snapshot {snapshot}, {self:?}"
        );
        for (i, &term) in (1..).zip(&self.terms) {
            if i > snapshot && term != 0 {
                let found = store.term(Index(i)).map(|t| t.0).ok();
                assert_eq!(found, Some(term), "{what}: {i} of {self:?}");
            }
        }
        // All of it can be read.
        let _ = terms(store);
    }
}

#[test]
fn a_fault_at_any_single_operation_breaks_no_promise() {
    let whole = Rig::new();
    let store = whole.open().unwrap();
    busy(&store, &mut Acked::default()).unwrap();
    drop(store);
    let ops = whole.disk.op_count();
    assert!(ops > 60, "{ops}");
    let told = FaultKind::ALL
        .into_iter()
        .filter(|fault| !fault.is_latent());
    for fault in told {
        for nth in 1..=ops {
            for evicts in [false, true] {
                let rig = Rig::new();
                let mut acked = Acked::default();
                rig.fail("*", nth, fault);
                let ran = rig.open().and_then(|store| busy(&store, &mut acked));
                let what = format!("{fault} at {nth} ({ran:?})");
                if rig.disk.disarm_fails() > 0 {
                    continue; // a short one: there are not so many
                }
                rig.disk.kill();
                if evicts {
                    rig.disk.evict();
                }
                if rig.disk.is_read_only() {
                    assert!(rig.open().is_err(), "{what}");
                    rig.disk.power_cut(&Fates::Lose);
                }
                let store = rig.open().unwrap_or_else(|e| panic!("{what}: {e}"));
                acked.check(&store, &what);
                acked.log_is(&store);
                let mut writer = store.writer();
                let next = store.last_index().0 + 1;
                submit(&store, &[(9, next), (9, next + 1)]).unwrap();
                drain(&mut writer).unwrap();
                acked.log_is(&store);
                drop((store, writer));
                for seed in 0..4 {
                    let after = Rig {
                        disk: rig.disk.fork(),
                        env: rig.env.clone(),
                    };
                    after.disk.power_cut(&Fates::Random(seed));
                    let store = after
                        .open()
                        .unwrap_or_else(|e| panic!("{what}, cut {seed}: {e}"));
                    acked.check(&store, &format!("{what}, cut {seed}"));
                }
            }
        }
    }
}

/// Every log that an open may come to is a prefix of one of these: `busy`
/// replaces a suffix twice, and discards the log once.
const LOGS: [&[u64]; 4] = [
    &[1, 1, 1, 1, 1, 1, 1, 1],
    &[1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2],
    &[
        1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 4, 4,
    ],
    // Behind the snapshot.
    &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 4],
];

fn check_is_no_mixture(store: &Store, what: &str) {
    let first = store.first_index().0 as usize - 1;
    let found = terms(store);
    let is_prefix = |log: &&[u64]| log.get(first..).is_some_and(|log| log.starts_with(&found));
    assert!(
        found.is_empty() || LOGS.iter().any(is_prefix),
        "{what}: {found:?} from {}",
        first + 1
    );
}

/// Opens until nothing cuts the open off any more, at a later operation each
/// time: what each attempt left is what the next one finds.
fn open_through_cuts(rig: &Rig, seed: u64) -> Store {
    for nth in 1.. {
        rig.disk.arm_crash(CrashTrigger {
            pattern: "*".parse().unwrap(),
            nth,
            point: CrashPoint::ALL[(seed + nth) as usize % 3],
        });
        let opened = rig.open();
        if !rig.disk.crash_fired() {
            rig.disk.disarm_crash();
            return opened.unwrap();
        }
        drop(opened);
        rig.disk.power_cut(&Fates::Random(seed * 100 + nth));
    }
    unreachable!()
}

#[test]
fn a_power_cut_at_any_operation_and_in_each_open_after_it_breaks_no_promise() {
    let whole = Rig::new();
    let store = whole.open().unwrap();
    busy(&store, &mut Acked::default()).unwrap();
    drop(store);
    let mut cuts = 0;
    for nth in 1.. {
        let mut fired = false;
        for point in CrashPoint::ALL {
            let rig = Rig::new();
            let mut acked = Acked::default();
            rig.disk.arm_crash(CrashTrigger {
                pattern: "*".parse().unwrap(),
                nth,
                point,
            });
            let _ = rig.open().and_then(|store| busy(&store, &mut acked));
            if !rig.disk.crash_fired() {
                continue;
            }
            fired = true;
            let fates = [Fates::Lose, Fates::KeepAll];
            let fates = fates.into_iter().chain((0..30).map(Fates::Random));
            for (seed, fates) in (0..).zip(fates) {
                let after = Rig {
                    disk: rig.disk.fork(),
                    env: rig.env.clone(),
                };
                after.disk.power_cut(&fates);
                let what = format!("{point} {nth}, {fates:?}");
                let twin = Rig {
                    disk: after.disk.fork(),
                    env: rig.env.clone(),
                };
                let store = after.open().unwrap_or_else(|e| panic!("{what}: {e}"));
                acked.check(&store, &what);
                check_is_no_mixture(&store, &what);
                let again = open_through_cuts(&twin, seed);
                assert_eq!(terms(&store), terms(&again), "{what}: opened through cuts");
                assert_eq!(store.first_index(), again.first_index(), "{what}");
                assert_eq!(store.snapshot(), again.snapshot(), "{what}");
                cuts += 1;
            }
        }
        if !fired {
            break;
        }
    }
    assert!(cuts > 5000, "{cuts}");
}

/// The two slots are no copies of each other: a bad one may have held the vote,
/// unless it is known to have been the older one.
#[test]
fn a_bad_slot_of_the_hard_state_is_refused_unless_told() {
    for (slot, counts) in [(0, true), (1, false)] {
        let rig = Rig::new();
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
        let options = Options {
            accept_bad_slot: true,
            ..Options::default()
        };
        let (_store, report) = rig.open_with(options).unwrap();
        assert!(report.bad_hard_state_slot, "slot {slot}");
        // It has written it again.
        assert!(rig.open().is_ok(), "slot {slot}");
    }
}
