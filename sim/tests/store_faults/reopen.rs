//! Opens of directories that a crash left, with a fault or a full disk at each of
//! their operations.

use std::collections::BTreeSet;

use afterimage_engine::raft::LogView;
use afterimage_engine::store::{Batch, Options, Report, Store};
use afterimage_engine::{Error, HardState, Index, SnapshotMeta, Step, Term};
use afterimage_sim::disk::{CrashPoint, CrashTrigger, Damage, DamageKind, Fates, FaultKind};

use crate::rig::{
    Acked, Bytes, Rig, check_works, drain, entry, install, meta, submit, terms, told_faults, vote,
};

/// A directory without its process, and what the store had promised.
struct Left {
    name: &'static str,
    rig: Rig,
    acked: Acked,
}

/// What an open comes to.
#[derive(Debug, PartialEq)]
struct Found {
    terms: Vec<u64>,
    first_index: Index,
    snapshot: Option<SnapshotMeta>,
    hard_state: HardState,
    commit_hint: Index,
    ambiguous_tail: bool,
    bad_hard_state_slot: bool,
}

fn found((store, report): &(Store, Report)) -> Found {
    Found {
        terms: terms(store),
        first_index: report.first_index,
        snapshot: report.snapshot.clone(),
        hard_state: report.hard_state,
        commit_hint: report.commit_hint,
        ambiguous_tail: report.ambiguous_tail,
        bad_hard_state_slot: report.bad_hard_state_slot,
    }
}

/// Nothing at all, and a first open that ended before its file had its name.
fn unborn() -> [Left; 2] {
    let cut_off = Rig::new();
    cut_off.disk.arm_crash(CrashTrigger {
        pattern: "rename:hardstate".parse().unwrap(),
        nth: 1,
        point: CrashPoint::Before,
    });
    assert!(cut_off.open().is_err());
    cut_off.disk.power_cut(&Fates::KeepAll);
    assert!(has(&cut_off, "hardstate-", ".tmp"));
    [("nothing", Rig::new()), ("no first open", cut_off)].map(|(name, rig)| Left {
        name,
        rig,
        acked: Acked::default(),
    })
}

/// Whether there is a file of such a name.
fn has(rig: &Rig, start: &str, end: &str) -> bool {
    let files = rig.disk.cached_files();
    let mut names = files.keys().filter_map(|path| path.strip_prefix("raft/"));
    names.any(|name| name.starts_with(start) && name.ends_with(end))
}

/// What the last writes leave besides: entries that nobody synced, an unfinished
/// snapshot of the leader's, and a segment that is prepared.
fn leave(store: Store) {
    let next = store.last_index().0 + 1;
    let mut preparer = store.preparer();
    preparer.begin();
    while preparer.has_work() {
        assert_eq!(preparer.step().unwrap(), Step::Ran);
    }
    let mut install = store.install(meta(9, next + 50));
    assert!(install.push(0, vec![5; 1500], false));
    while install.has_work() {
        install.step().unwrap();
    }
    let unsynced: Vec<_> = (next..next + 6).map(|index| (7, index)).collect();
    submit(&store, &unsynced).unwrap();
    // The write, and not the sync.
    let mut writer = store.writer();
    while store.status().queued > 0 {
        assert_eq!(writer.step().unwrap(), Step::Ran);
    }
}

/// A log that has been through everything but a cleaning: hidden segments, and
/// a snapshot that covers others.
fn lived(rig: &Rig) -> Acked {
    let store = rig.open().unwrap();
    let mut acked = Acked::default();
    let mut writer = store.writer();
    // A new leader's entries hide the whole of the last segment.
    let first = (1..=24).map(|index| (1, index));
    let then = (11..=18).map(|index| (2, index));
    let all: Vec<_> = first.chain(then).collect();
    for entries in all.chunks(2) {
        submit(&store, entries).unwrap();
        assert!(!drain(&mut writer).unwrap());
    }
    // Twice, so that it is in both slots: either may rot.
    for _ in 0..2 {
        store
            .submit(Batch {
                hard_state: Some(vote(3, 2)),
                entries: Vec::new(),
            })
            .unwrap();
        drain(&mut writer).unwrap();
    }
    acked.hard_state_is(vote(3, 2));
    let save = store.save_snapshot(meta(2, 16), Box::new(Bytes(5)));
    assert!(save.run().unwrap());
    acked.snapshot_is(16);
    store.hint_commit(Index(17));
    let mut hinter = store.hinter();
    while hinter.has_work() {
        assert_eq!(hinter.step().unwrap(), Step::Ran);
    }
    acked.log_is(&store);
    leave(store);
    acked
}

/// A log that was discarded for a leader's snapshot, and begun anew behind it.
fn discarded(rig: &Rig) -> Acked {
    let store = rig.open().unwrap();
    let mut acked = Acked::default();
    let mut writer = store.writer();
    for index in 1..=16 {
        submit(&store, &[(1, index)]).unwrap();
        drain(&mut writer).unwrap();
    }
    let mut install = install(&store, 4, 30);
    while install.outcome().is_none() {
        install.step().unwrap();
    }
    acked.snapshot_is(30);
    submit(&store, &[(5, 31), (5, 32)]).unwrap();
    drain(&mut writer).unwrap();
    acked.log_is(&store);
    leave(store);
    acked
}

/// Cuts the power so that the last write is torn: some records are whole, and
/// none of them is proven durable.
fn tear(rig: &Rig) {
    for seed in 0..1000 {
        let torn = rig.fork();
        torn.disk.power_cut(&Fates::Random(seed));
        let keeps = has(&torn, "snapshot-", ".tmp") && has(&torn, "segment-", ".tmp");
        let (_, report) = torn.opening().run().unwrap();
        if keeps && report.ambiguous_tail && report.last_index > report.proven_index {
            rig.disk.power_cut(&Fates::Random(seed));
            return;
        }
    }
    panic!("no power cut tears the last write");
}

fn rot(rig: &Rig, file: &str, sector: u32) {
    let damage = Damage {
        kind: DamageKind::Rot,
        file: file.to_owned(),
        sector: Some(sector),
        bit: None,
    };
    assert!(rig.disk.damage(&damage, 1).is_some());
}

/// A directory of each kind.
fn lefts() -> Vec<Left> {
    let hinted = || Options {
        commit_hint_every: 2,
        trail_entries: 3,
        ..Options::default()
    };
    let mut all = Vec::from(unborn());
    let mut add = |name, rig: Rig, live: fn(&Rig) -> Acked, end: fn(&Rig)| {
        let acked = live(&rig);
        end(&rig);
        all.push(Left { name, rig, acked });
    };
    add("torn", Rig::new(), lived, tear);
    add("torn, hint and trail", Rig::with(hinted()), lived, tear);
    add("torn, written through", Rig::with(hinted()), lived, |rig| {
        tear(rig);
        rig.disk.direct_io(true);
    });
    add("killed", Rig::with(hinted()), lived, |rig| rig.disk.kill());
    add("all kept", Rig::with(hinted()), lived, |rig| {
        rig.disk.power_cut(&Fates::KeepAll);
    });
    add("discarded", Rig::new(), discarded, tear);
    add("discarded, killed", Rig::with(hinted()), discarded, |rig| {
        rig.disk.kill();
    });
    add("no hint", Rig::with(hinted()), lived, |rig| {
        rig.disk.power_cut(&Fates::KeepAll);
        rot(rig, "commit", 0);
    });
    let told = Options {
        accept_bad_slot: true,
        ..hinted()
    };
    add("a bad slot", Rig::with(told), lived, |rig| {
        rig.disk.power_cut(&Fates::KeepAll);
        // Only the newer one counts.
        let sector = (0..2).find(|&sector| {
            let rotten = rig.fork();
            rot(&rotten, "hardstate", sector);
            let (_, report) = rotten.opening().run().unwrap();
            report.bad_hard_state_slot
        });
        rot(rig, "hardstate", sector.unwrap());
    });
    all
}

/// What a failed sync left in the cache alone may go between any two steps of an open:
/// then it fails, or takes it for a torn tail, and never for corruption.
#[test]
fn what_leaves_the_cache_during_an_open_is_no_corruption() {
    let rig = Rig::new();
    let store = rig.open().unwrap();
    let mut writer = store.writer();
    submit(&store, &[(1, 1)]).unwrap();
    drain(&mut writer).unwrap();
    for index in 2..=60 {
        store.submit_unsynced(vec![entry(1, index)]).unwrap();
        drain(&mut writer).unwrap();
    }
    assert!(store.status().segments > 3);
    rig.fail("sync:log-*", 2, FaultKind::Eio);
    submit(&store, &[]).unwrap();
    drain(&mut writer).unwrap_err();
    drop((store, writer));
    rig.disk.kill();
    let (mut failed, mut cut) = (0, 0);
    for steps in 0.. {
        let rig = rig.fork();
        let mut open = rig.opening();
        let early = (0..steps).find_map(|_| open.step());
        if early.is_some() {
            break; // all of it was done before
        }
        rig.disk.evict();
        match open.run() {
            Ok((_, report)) => cut += usize::from(report.last_index < Index(60)),
            Err(Error::Io { .. }) => failed += 1,
            Err(e) => panic!("after {steps} steps: {e}"),
        }
        rig.disk.kill();
        let store = rig.open().unwrap();
        assert_eq!(store.term(Index(1)).unwrap(), Term(1), "after {steps}");
    }
    assert!(failed > 0 && cut > 0, "{failed} failed, {cut} cut");
}

/// The directories are what they are called: else nothing is shown with them.
#[test]
fn the_directories_hold_each_kind_of_leftover() {
    let mut kinds = BTreeSet::new();
    for left in lefts() {
        let tmps = ["hardstate-", "snapshot-", "segment-"];
        kinds.extend(tmps.into_iter().filter(|tmp| has(&left.rig, tmp, ".tmp")));
        let (store, report) = left.rig.fork().opening().run().unwrap();
        left.acked.check(&store, left.name);
        let seen = [
            (report.torn_tail.is_some(), "torn tail"),
            (report.bad_hard_state_slot, "bad slot"),
            (report.commit_hint > Index(0), "commit hint"),
            (report.snapshot.is_some(), "snapshot"),
            (report.first_index < Index(16), "trail"),
        ];
        kinds.extend(seen.iter().filter(|(is, _)| *is).map(|(_, kind)| kind));
        let said = report.decisions.join("\n");
        let words = [": hidden", ": dead", "written again", "hint: torn"];
        kinds.extend(words.into_iter().filter(|word| said.contains(word)));
    }
    let expected = [
        ": dead",
        ": hidden",
        "bad slot",
        "commit hint",
        "hardstate-",
        "hint: torn",
        "segment-",
        "snapshot",
        "snapshot-",
        "torn tail",
        "trail",
        "written again",
    ];
    assert!(kinds.iter().eq(expected.iter()), "{kinds:?}");
}

/// An error says what the disk said, of a file: never that something is corrupt.
fn check_error(opened: &Result<(Store, Report), Error>, fault: FaultKind, what: &str) {
    match opened {
        Ok(_) => {}
        Err(e @ Error::Io { path, .. }) => {
            assert!(
                path.starts_with("/raft") || path.as_os_str() == "/",
                "{what}: {e}"
            );
            assert_eq!(e.is_no_space(), fault == FaultKind::Enospc, "{what}: {e}");
        }
        Err(e) => panic!("{what}: {e}"),
    }
}

#[test]
fn a_fault_at_any_operation_of_an_open_changes_nothing_for_the_next() {
    let mut met = 0;
    for left in lefts() {
        let whole = left.rig.fork();
        let before = whole.disk.op_count();
        let expected = found(&whole.opening().run().unwrap());
        let ops = whole.disk.op_count() - before;
        for fault in told_faults() {
            for nth in 1..=ops {
                for evicts in [false, true] {
                    let what = format!("{}, {fault} at {nth}", left.name);
                    let rig = left.rig.fork();
                    rig.fail("*", nth, fault);
                    let opened = rig.opening().run();
                    if rig.disk.disarm_fails() > 0 {
                        continue;
                    }
                    met += 1;
                    check_error(&opened, fault, &what);
                    let is_read_only = rig.disk.is_read_only();
                    drop(opened);
                    rig.die(evicts);
                    let again = rig.opening().run();
                    let again = again.unwrap_or_else(|e| panic!("{what}: {e}"));
                    // A restart of the machine takes what nobody synced.
                    if !is_read_only {
                        assert_eq!(found(&again), expected, "{what}");
                    }
                    check_works(&rig, again.0, &left.acked, &what);
                }
            }
        }
    }
    assert!(met > 2000, "{met}");
}

/// Every open fails a little later than the one before, in what that one left.
#[test]
fn opens_that_fail_one_after_the_other_come_to_the_same() {
    for left in lefts() {
        let whole = left.rig.fork();
        let before = whole.disk.op_count();
        let expected = found(&whole.opening().run().unwrap());
        let ops = whole.disk.op_count() - before;
        for fault in [FaultKind::Enospc, FaultKind::Eio, FaultKind::EioDone] {
            let what = format!("{}, {fault}", left.name);
            let rig = left.rig.fork();
            for nth in 1..=ops {
                rig.fail("*", nth, fault);
                check_error(&rig.opening().run(), fault, &what);
                rig.disk.kill();
            }
            rig.disk.disarm_fails();
            let again = rig.opening().run().unwrap();
            assert_eq!(found(&again), expected, "{what}");
            check_works(&rig, again.0, &left.acked, &what);
        }
    }
}

/// An open on a disk that has room for so many sectors from the `nth` step on.
fn open_full(rig: &Rig, nth: u64, sectors: u64) -> Result<(Store, Report), Error> {
    let mut opening = rig.opening();
    for _ in 1..nth {
        if let Some(opened) = opening.step() {
            return opened;
        }
    }
    rig.disk.limit_space(Some(512 * sectors));
    opening.run()
}

#[test]
fn an_open_on_a_full_disk_fails_clearly_or_waits_with_its_work() {
    let (mut failed, mut waited) = (0, 0);
    for left in lefts() {
        let expected = found(&left.rig.fork().opening().run().unwrap());
        let mut steps = left.rig.fork().opening();
        let steps = (1..).find(|_| steps.step().is_some()).unwrap();
        let at_each = (1..=steps).map(|nth| (nth, 0));
        let with_some = (1..40).map(|sectors| (1, sectors));
        for (nth, sectors) in at_each.chain(with_some) {
            let what = format!("{}, {sectors} sectors from step {nth} on", left.name);
            let rig = left.rig.fork();
            // What is written through fails as a sync does, also for lack of space.
            rig.disk.direct_io(false);
            let mut opened = open_full(&rig, nth, sectors);
            let files = rig.disk.cached_files().len();
            // It may be tried as often as anybody likes.
            for _ in 0..3 {
                check_error(&opened, FaultKind::Enospc, &what);
                if opened.is_ok() {
                    break;
                }
                failed += 1;
                rig.disk.kill();
                opened = rig.opening().run();
                assert!(rig.disk.cached_files().len() <= files, "{what}: litters");
            }
            let mut acked = left.acked.clone();
            let again = match opened {
                Ok((store, report)) => {
                    waited += u32::from(waits_for_space(&rig, &store, &mut acked, &what));
                    (store, report)
                }
                Err(_) => {
                    rig.disk.limit_space(None);
                    rig.disk.kill();
                    let again = rig.opening().run();
                    let again = again.unwrap_or_else(|e| panic!("{what}: {e}"));
                    assert_eq!(found(&again), expected, "{what}");
                    again
                }
            };
            check_works(&rig, again.0, &acked, &what);
        }
    }
    assert!(failed > 50 && waited > 50, "{failed} {waited}");
}

/// More is submitted than there is room for, and then there is room; whether it
/// had to wait.
fn waits_for_space(rig: &Rig, store: &Store, acked: &mut Acked, what: &str) -> bool {
    acked.check(store, what);
    let mut writer = store.writer();
    let next = store.last_index().0 + 1;
    let entries: Vec<_> = (next..next + 30).map(|index| (80, index)).collect();
    submit(store, &entries).unwrap();
    let waited = drain(&mut writer).unwrap();
    assert_eq!(store.status().is_stalled, waited, "{what}");
    rig.disk.limit_space(None);
    assert!(!drain(&mut writer).unwrap(), "{what}");
    acked.log_is(store);
    // Also what was found is durable by now, and not only what came behind it.
    let after = rig.fork();
    after.cut();
    acked.check(&after.open().unwrap(), what);
    waited
}
