//! A store's whole life, with a fault, a full disk or a power cut at each of its
//! operations.

use afterimage_engine::Error;
use afterimage_engine::raft::LogView;
use afterimage_engine::store::{Batch, Cleaner, Hinter, Options, Preparer, Store, Writer};
use afterimage_engine::{HardState, Index, Step};
use afterimage_sim::disk::{CrashPoint, CrashTrigger, Fates, FaultKind, OpOutcome, SimFs};

use crate::rig::{
    Acked, Bytes, Rig, check_works, drain, install, meta, submit, terms, told_faults, vote,
};

/// One store at work, and what it acknowledged.
struct Life<'a> {
    store: &'a Store,
    disk: &'a SimFs,
    acked: &'a mut Acked,
    writer: Writer,
    cleaner: Cleaner,
    preparer: Preparer,
    hinter: Hinter,
}

impl<'a> Life<'a> {
    fn new(store: &'a Store, disk: &'a SimFs, acked: &'a mut Acked) -> Self {
        Life {
            store,
            disk,
            acked,
            writer: store.writer(),
            cleaner: store.cleaner(),
            preparer: store.preparer(),
            hinter: store.hinter(),
        }
    }

    fn write(&mut self, entries: &[(u64, u64)]) -> Result<(), Error> {
        submit(self.store, entries)?;
        self.acked.replace_from(entries[0].1);
        self.drain()?;
        self.acked.log_is(self.store);
        self.clean()
    }

    fn truncate(&mut self, from: u64) -> Result<(), Error> {
        self.store.truncate_suffix(Index(from))?;
        self.acked.replace_from(from);
        self.drain()?;
        self.acked.log_is(self.store);
        self.clean()
    }

    fn vote(&mut self, hard_state: HardState) -> Result<(), Error> {
        self.store.submit(Batch {
            hard_state: Some(hard_state),
            entries: Vec::new(),
        })?;
        self.acked.asks(hard_state);
        self.drain()?;
        self.acked.hard_state_is(hard_state);
        Ok(())
    }

    /// Nothing is given up for a full disk: where cleaning does not help,
    /// somebody gives space.
    fn drain(&mut self) -> Result<(), Error> {
        while drain(&mut self.writer)? {
            self.clean()?;
            if drain(&mut self.writer)? {
                self.disk.limit_space(None);
            }
        }
        Ok(())
    }

    fn clean(&mut self) -> Result<(), Error> {
        // It tries again what it could not remove.
        let mut failed = false;
        while self.cleaner.has_work() {
            match self.cleaner.step() {
                Err(e) if failed || self.store.is_poisoned() => return Err(e),
                result => failed |= result.is_err(),
            }
        }
        Ok(())
    }

    /// Nothing rests on what is prepared: an error is nobody's.
    fn prepare(&mut self) {
        while self.preparer.has_work() {
            if !matches!(self.preparer.step(), Ok(Step::Ran)) {
                break;
            }
        }
    }

    /// Nor on the hint.
    fn commit(&mut self, index: u64) {
        self.store.hint_commit(Index(index));
        while self.hinter.has_work() {
            if !matches!(self.hinter.step(), Ok(Step::Ran)) {
                break;
            }
        }
    }

    fn save(&mut self, term: u64, last: u64) -> Result<(), Error> {
        let save = self
            .store
            .save_snapshot(meta(term, last), Box::new(Bytes(5)));
        if retry(save.run())? {
            self.acked.snapshot_is(last);
        }
        self.clean()
    }

    fn install(&mut self, term: u64, last: u64) -> Result<(), Error> {
        let mut install = install(self.store, term, last);
        loop {
            self.acked.replace_from(last + 1);
            let step = install.step();
            if retry(step.map(|_| true))? && install.outcome().is_none() {
                continue;
            }
            break;
        }
        if install.outcome().is_some() {
            self.acked.snapshot_is(last);
            self.acked.log_is(self.store);
        }
        Ok(())
    }
}

/// Appends, votes, truncations, rolls, a save, an install, commit hints and
/// cleaning; what was acknowledged by then.
fn busy(store: &Store, disk: &SimFs, acked: &mut Acked) -> Result<(), Error> {
    let mut life = Life::new(store, disk, acked);
    life.vote(vote(1, 1))?;
    life.write(&[(1, 1), (1, 2), (1, 3)])?;
    life.prepare();
    life.commit(3);
    life.write(&[(1, 4), (1, 5), (1, 6), (1, 7), (1, 8)])?;
    life.vote(vote(2, 3))?;
    life.write(&[(2, 6), (2, 7)])?;
    let group: Vec<_> = (8..=15).map(|index| (2, index)).collect();
    life.write(&group)?;
    life.commit(9);
    life.write(&[(2, 16), (2, 17), (2, 18)])?;
    life.save(2, 12)?;
    life.write(&[(3, 18), (3, 19)])?;
    life.truncate(19)?;
    life.commit(17);
    life.install(4, 18)?;
    let next = store.last_index().0 + 1;
    life.write(&[(4, next), (4, next + 1)])?;
    life.commit(next);
    life.vote(vote(5, 2))
}

/// A full disk leaves everything as it was; whoever asked goes on without.
fn retry(result: Result<bool, Error>) -> Result<bool, Error> {
    match result {
        Err(e) if e.is_no_space() => Ok(false),
        other => other,
    }
}

/// The ways to live that differ in their file operations.
fn ways() -> [Rig; 2] {
    let direct = hinted();
    direct.disk.direct_io(true);
    [Rig::new(), direct]
}

/// With a commit hint and a trail.
fn hinted() -> Rig {
    Rig::with(Options {
        commit_hint_every: 2,
        trail_entries: 3,
        ..Options::default()
    })
}

/// The operations of a life without faults.
fn operations(way: &Rig) -> u64 {
    let whole = way.fork();
    let store = whole.open().unwrap();
    busy(&store, &whole.disk, &mut Acked::default()).unwrap();
    drop(store);
    whole.disk.op_count()
}

#[test]
fn a_fault_at_any_single_operation_breaks_no_promise() {
    for (i, way) in ways().iter().enumerate() {
        let ops = operations(way);
        assert!(ops >= 80, "{ops}");
        for fault in told_faults() {
            for nth in 1..=ops {
                for evicts in [false, true] {
                    let rig = way.fork();
                    let mut acked = Acked::default();
                    rig.fail("*", nth, fault);
                    let opened = rig.open();
                    let ran = opened.and_then(|store| busy(&store, &rig.disk, &mut acked));
                    let what = format!("way {i}, {fault} at {nth} ({ran:?})");
                    if rig.disk.disarm_fails() > 0 {
                        continue; // a short one: there are not so many
                    }
                    if rig.disk.is_read_only() {
                        rig.disk.kill();
                        assert!(rig.open().is_err(), "{what}");
                    }
                    rig.die(evicts);
                    let store = rig.open().unwrap_or_else(|e| panic!("{what}: {e}"));
                    check_works(&rig, store, &acked, &what);
                }
            }
        }
    }
}

/// Nothing fails, and nothing is lost: the batch waits, a snapshot is not taken,
/// and what nothing rests on is left out. (Not where appends are written through:
/// there a full disk means what it means for a sync.)
#[test]
fn a_disk_that_is_full_from_any_sector_on_stops_nobody_for_good() {
    for (i, way) in [Rig::new(), hinted()].iter().enumerate() {
        for sectors in 0.. {
            let what = format!("way {i}, room for {sectors} sectors");
            let rig = way.fork();
            rig.disk.limit_space(Some(512 * sectors));
            rig.disk.record_ops(true);
            let store = match rig.open() {
                Ok(store) => store,
                Err(e) => {
                    assert!(e.is_no_space(), "{what}: {e}");
                    rig.disk.limit_space(None);
                    rig.open().unwrap()
                }
            };
            let mut acked = Acked::default();
            busy(&store, &rig.disk, &mut acked).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(terms(&store).last(), Some(&4), "{what}");
            rig.disk.limit_space(None);
            let full = OpOutcome::Injected(FaultKind::Enospc);
            let was_full = rig.disk.take_ops().iter().any(|op| op.outcome == full);
            check_works(&rig, store, &acked, &what);
            if !was_full {
                assert!(sectors > 15, "{what}: it needs more than that");
                break;
            }
        }
    }
}

/// Every log that an open may come to is a prefix of one of these: `busy`
/// replaces a suffix twice, and discards the log once.
const LOGS: [&[u64]; 4] = [
    &[1, 1, 1, 1, 1, 1, 1, 1],
    &[1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2],
    &[1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3],
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
            let _ = rig
                .open()
                .and_then(|store| busy(&store, &rig.disk, &mut acked));
            if !rig.disk.crash_fired() {
                continue;
            }
            fired = true;
            let fates = [Fates::Lose, Fates::KeepAll];
            let fates = fates.into_iter().chain((0..30).map(Fates::Random));
            for (seed, fates) in (0..).zip(fates) {
                let after = rig.fork();
                after.disk.power_cut(&fates);
                let what = format!("{point} {nth}, {fates:?}");
                let twin = after.fork();
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
