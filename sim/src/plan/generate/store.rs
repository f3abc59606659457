//! Plans for one store: what a replica does to its store, and the faults that
//! meet it in the middle, without a cluster around it. A run takes a
//! millisecond or two, so that a campaign reaches deep into the store.
//!
//! The drawer follows along what the store must hold by now. Where a fault left
//! two possibilities open, the next steps are such that they apply to both: a
//! new leader replaces what may or may not be there.

use std::collections::BTreeMap;

use afterimage_engine::{Index, NodeId, Term};

use super::aims::{Aim, RECOVERY, of_work};
use super::ratio;
use crate::disk::{
    CrashPoint, CrashTrigger, Damage, DamageKind, FailTrigger, FaultKind, OpKind, Pattern,
};
use crate::plan::{Action, Step, StoreEntry, StoreOp};
use crate::rng::{SimRng, hash};

/// Steps before the last ones.
const STEPS: (u64, u64) = (30, 110);

/// How far behind what is applied a reader begins at the most, in entries.
const READ_BEHIND: u64 = 12;

/// What a seed's plan may have in it. Work is always drawn; of the faults a
/// seed has about half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The power goes at an operation of some work.
    Crash,
    /// It goes between two steps.
    Cut,
    /// The process dies at an operation; then the power may go.
    Kill,
    /// A sync fails.
    FailedSync,
    /// Another operation fails, or stops short.
    FailedOp,
    Full,
}

const FAULTS: [Fault; 6] = [
    Fault::Crash,
    Fault::Cut,
    Fault::Kill,
    Fault::FailedSync,
    Fault::FailedOp,
    Fault::Full,
];

/// The steps of `seed`.
pub(super) fn draw(seed: u64, commits: bool, direct: bool, unsynced: bool) -> Vec<Step> {
    let mut rng = SimRng::new(seed, "plan/store");
    let mut faults: Vec<Fault> = FAULTS
        .into_iter()
        .filter(|_| rng.chance(ratio(1, 2)))
        .collect();
    if faults.is_empty() {
        faults.push(*rng.pick(&[Fault::Crash, Fault::Cut, Fault::Kill]));
    }
    let bytes_max = *rng.pick(&[40, 200, 600, 1500, 5000]);
    let fault_every = rng.between(3, 9);
    let steps_max = rng.between(STEPS.0, STEPS.1) as usize;
    let clean_every = *rng.pick(&[1, 1, 1, 8]);
    let mut drawer = Drawer {
        seed,
        rng,
        steps: Vec::new(),
        bytes_max,
        clean_every,
        term: 2,
        terms: BTreeMap::new(),
        last: 0,
        synced: 0,
        applied: 0,
        vote_term: 0,
        commits: commits.then(|| SimRng::new(seed, "plan/store/commit")),
        reads: None,
        leaves: unsynced.then(|| SimRng::new(seed, "plan/store/unsynced")),
        prepares: direct.then(|| SimRng::new(seed, "plan/store/prepare")),
    };
    let mut reads = SimRng::new(seed, "plan/store/read");
    if reads.chance(ratio(1, 2)) {
        drawer.reads = Some(reads);
    }
    // Mostly the story begins behind the first open; at times with it.
    if drawer.rng.chance(ratio(1, 8)) {
        let crash = drawer.crash(RECOVERY);
        drawer.push(crash);
        drawer.push(StoreOp::Restart);
        drawer.reopen();
    }
    while drawer.steps.len() < steps_max {
        if drawer.rng.below(fault_every) == 0 {
            let fault = *drawer.rng.pick(&faults);
            drawer.fault(fault);
        } else {
            drawer.work();
        }
    }
    // A stream of its own: the other seeds' plans are what they would be.
    let mut decays = SimRng::new(seed, "plan/store/decay");
    if decays.chance(ratio(1, 2)) {
        // Last, for a store that found it refuses all further work.
        (0..decays.between(1, 2)).for_each(|_| drawer.decay());
    }
    drawer.end();
    (1..)
        .zip(drawer.steps)
        .map(|(id, op)| Step {
            id,
            at_ms: 0,
            action: Action::Store(op),
        })
        .collect()
}

struct Drawer {
    seed: u64,
    rng: SimRng,
    steps: Vec<StoreOp>,
    /// Data of one entry at the most.
    bytes_max: u64,
    /// A cleaner that seldom runs finds many segments.
    clean_every: u64,
    /// Of the leader whose entries come next. A new one after every doubt, so
    /// that no two entries have the same name.
    term: u64,
    /// Of the entries that are surely there.
    terms: BTreeMap<u64, u64>,
    /// The last index that is surely there, in the log or the snapshot, unless the
    /// store is closed.
    last: u64,
    /// The last one that is so even then.
    synced: u64,
    /// What is applied is never replaced.
    applied: u64,
    vote_term: u64,
    /// For a store that notes what is committed.
    commits: Option<SimRng>,
    /// For a seed that reads its log, at leisure at times.
    reads: Option<SimRng>,
    /// For a seed that does not sync each append.
    leaves: Option<SimRng>,
    /// For a disk that writes through: only into what was prepared.
    prepares: Option<SimRng>,
}

/// What a piece of work left, if it was not cut off.
enum Then {
    Nothing,
    /// The log ends here, with these entries more.
    Log {
        from: u64,
        entries: Vec<(u64, u64)>,
        /// And all before them, durably.
        synced: bool,
    },
    Applied(u64),
    /// The leader's snapshot, and whether the log behind it stays.
    Installed {
        last: u64,
        keeps: bool,
    },
}

impl Drawer {
    fn push(&mut self, op: StoreOp) {
        self.steps.push(op);
    }

    /// Terms are even: an odd one is that of a leader who did not get far.
    fn new_term(&mut self) {
        self.term += 2;
    }

    /// Before what rests on all that is there.
    fn settle(&mut self) {
        if self.synced < self.last {
            self.synced = self.last;
            self.push(StoreOp::Sync);
        }
    }

    fn work(&mut self) {
        let (op, then) = self.draw_work();
        let saves = matches!(op, StoreOp::Save { background, .. } if background);
        self.push(op);
        self.take(then);
        // The cleaner must not trust a snapshot before it is durable.
        if saves && self.rng.chance(ratio(1, 2)) {
            self.push(StoreOp::Clean { background: true });
        }
        self.commit();
        self.read();
        self.prepare();
    }

    fn prepare(&mut self) {
        if let Some(rng) = &mut self.prepares
            && rng.chance(ratio(1, 3))
        {
            self.push(StoreOp::Prepare { background: false });
        }
    }

    /// Around what the next purge takes. Where that is purged already, the step
    /// does not apply.
    fn read(&mut self) {
        if let Some(rng) = &mut self.reads
            && self.last > 0
            && rng.chance(ratio(1, 6))
        {
            let oldest = self.applied.saturating_sub(READ_BEHIND).max(1);
            let from = Index(rng.between(oldest, self.last));
            let background = rng.chance(ratio(3, 4));
            self.push(StoreOp::Read { from, background });
        }
    }

    /// What is surely there may be committed, and is applied then.
    fn commit(&mut self) {
        if let Some(rng) = &mut self.commits
            && self.synced > self.applied
            && rng.chance(ratio(1, 3))
        {
            let upto = rng.between(self.applied + 1, self.synced);
            self.applied = upto;
            self.push(StoreOp::Commit { upto: Index(upto) });
        }
    }

    /// It was done.
    fn take(&mut self, then: Then) {
        match then {
            Then::Nothing => {}
            Then::Log {
                from,
                entries,
                synced,
            } => {
                // What replaces anything is synced.
                let synced = synced || from <= self.last;
                self.terms.split_off(&from);
                self.last = entries.last().map_or(from - 1, |(index, _)| *index);
                self.terms.extend(entries);
                if synced {
                    self.synced = self.last;
                }
            }
            Then::Applied(upto) => self.applied = self.applied.max(upto),
            Then::Installed { last, keeps } => {
                if !keeps {
                    self.terms.clear();
                    self.last = last;
                }
                self.synced = self.last;
                self.applied = self.applied.max(last);
            }
        }
    }

    /// It may have been done or not: what follows must apply to both.
    fn doubt(&mut self, op: StoreOp, then: Then) {
        match then {
            Then::Nothing => {}
            Then::Log { from, .. } => {
                self.terms.split_off(&from);
                self.last = self.last.min(from - 1);
                self.synced = self.synced.min(self.last);
            }
            Then::Applied(upto) => self.applied = self.applied.max(upto),
            // Done again: one that is there already changes nothing.
            Then::Installed { .. } => {
                self.push(op);
                self.take(then);
            }
        }
        self.new_term();
    }

    fn draw_work(&mut self) -> (StoreOp, Then) {
        assert!(self.applied <= self.last, "what is applied is there");
        match self.rng.below(32) {
            0..12 => self.append(),
            12..15 => self.replace(),
            15 if self.last > self.applied => {
                let from = self.rng.between(self.applied + 1, self.last);
                self.new_term();
                let entries = Vec::new();
                let op = StoreOp::Truncate { from: Index(from) };
                let synced = true;
                (
                    op,
                    Then::Log {
                        from,
                        entries,
                        synced,
                    },
                )
            }
            16..19 => self.hard_state(),
            19..22 if self.can_save() => self.save(),
            22..25 => self.install(),
            27 if self.synced < self.last => {
                self.synced = self.last;
                (StoreOp::Sync, Then::Nothing)
            }
            25..28 if self.rng.below(self.clean_every) == 0 => {
                let background = self.rng.chance(ratio(1, 4));
                (StoreOp::Clean { background }, Then::Nothing)
            }
            28 => {
                let background = self.rng.chance(ratio(1, 4));
                (StoreOp::Prepare { background }, Then::Nothing)
            }
            29 => (StoreOp::Wait, Then::Nothing),
            30 => (StoreOp::Check, Then::Nothing),
            _ => self.append(),
        }
    }

    fn append(&mut self) -> (StoreOp, Then) {
        if self.rng.chance(ratio(1, 8)) {
            self.new_term();
        }
        self.append_from(self.last + 1, self.term)
    }

    /// So many, one after the other.
    fn appends(&mut self, least: u64, most: u64) {
        for _ in 0..self.rng.between(least, most) {
            let (op, then) = self.append();
            self.push(op);
            self.take(then);
        }
    }

    /// A new leader replaces some of it: by entries of its own term, or by some
    /// that it has from a leader before it. Those may be of an older term than
    /// what they replace, which never was on a quorum.
    fn replace(&mut self) -> (StoreOp, Then) {
        self.new_term();
        let depth = self.rng.between(0, (self.last - self.applied).min(12));
        let from = self.last + 1 - depth;
        let before = match from {
            1 => Some(0),
            from => self.terms.get(&(from - 1)).copied(),
        };
        let replaced = self.terms.get(&from).copied().filter(|term| term % 2 == 0);
        match (before, replaced) {
            (Some(before), Some(replaced)) if before < replaced && self.rng.chance(ratio(1, 2)) => {
                self.append_from(from, replaced - 1)
            }
            _ => self.append_from(from, self.term),
        }
    }

    fn append_from(&mut self, from: u64, term: u64) -> (StoreOp, Then) {
        let count = *self.rng.pick(&[1, 1, 2, 3, 6]);
        let names: Vec<(u64, u64)> = (from..from + count).map(|i| (i, term)).collect();
        let entries = names
            .iter()
            .map(|&(index, term)| StoreEntry {
                term: Term(term),
                index: Index(index),
                bytes: hash(&[self.seed, term, index]) % (self.bytes_max + 1),
            })
            .collect();
        let leaves = self.leaves.as_mut();
        let unsynced = leaves.is_some_and(|rng| rng.chance(ratio(5, 6)));
        let then = Then::Log {
            from,
            entries: names,
            synced: !unsynced,
        };
        (StoreOp::Append { entries, unsynced }, then)
    }

    fn hard_state(&mut self) -> (StoreOp, Then) {
        self.vote_term = (self.vote_term + self.rng.between(1, 2)).max(self.term);
        let vote = self.rng.chance(ratio(2, 3));
        let vote = vote.then(|| NodeId(self.rng.between(1, 3)));
        let term = Term(self.vote_term);
        (StoreOp::HardState { term, vote }, Then::Nothing)
    }

    fn state_bytes(&mut self) -> u64 {
        let most = *self.rng.pick(&[0, 100, 1500, 6000]);
        self.rng.between(0, most)
    }

    fn can_save(&self) -> bool {
        self.last > self.applied && !self.terms.is_empty()
    }

    /// A purge, behind or beside the snapshot that it waits for.
    fn save_and_clean(&mut self) -> (StoreOp, Then) {
        let (save, then) = self.save();
        self.push(save);
        self.take(then);
        (StoreOp::Clean { background: false }, Then::Nothing)
    }

    fn save(&mut self) -> (StoreOp, Then) {
        self.settle();
        let upto = self.rng.between(self.applied + 1, self.last);
        let op = StoreOp::Save {
            upto: Index(upto),
            bytes: self.state_bytes(),
            background: self.rng.chance(ratio(1, 2)),
        };
        (op, Then::Applied(upto))
    }

    fn install(&mut self) -> (StoreOp, Then) {
        let inside = self.last > self.applied && self.rng.chance(ratio(2, 3));
        if inside {
            self.settle();
        }
        let last = match inside {
            true => self.rng.between(self.applied + 1, self.last),
            // Ahead of the log, with a gap or without.
            false => self.last + self.rng.between(1, 10),
        };
        let ours = self.terms.get(&last).copied();
        let keeps = ours.is_some() && self.rng.chance(ratio(1, 2));
        let term = match ours {
            Some(ours) if keeps => ours,
            _ => {
                self.new_term();
                self.term
            }
        };
        let op = StoreOp::Install {
            last: Index(last),
            term: Term(term),
            bytes: self.state_bytes(),
            background: false,
        };
        (op, Then::Installed { last, keeps })
    }

    fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Crash => {
                let (op, then) = match self.rng.below(6) {
                    0 if self.can_save() => self.save_and_clean(),
                    _ => self.draw_work(),
                };
                let crash = self.crash(of_work(&op));
                self.push(crash);
                self.push(op.clone());
                self.reopen();
                self.doubt(op, then);
            }
            Fault::Cut => {
                if self.leaves.is_some() {
                    // Several segments, of which the cut takes some.
                    self.appends(2, 5);
                }
                self.push(StoreOp::Cut { keep: None });
                self.reopen();
            }
            Fault::Kill => {
                let (op, then) = self.draw_work();
                let (pattern, nth) = self.aim(of_work(&op));
                self.push(StoreOp::KillAt { pattern, nth });
                self.push(op.clone());
                self.reopen();
                self.cut_at_times();
                self.doubt(op, then);
            }
            Fault::FailedSync => {
                let (op, then) = self.draw_work();
                let is_sync = |aim: &&Aim| matches!(aim.kind, Some(OpKind::Sync | OpKind::SyncDir));
                let syncs: Vec<&Aim> = of_work(&op).iter().filter(is_sync).collect();
                let pattern = match syncs.is_empty() {
                    true => Pattern::any(),
                    false => self.rng.pick(&syncs).pattern(),
                };
                let fault = match self.rng.below(4) {
                    0 => FaultKind::Enospc,
                    1 => FaultKind::Erofs,
                    _ => FaultKind::Eio,
                };
                self.fail(op, then, pattern, 1, fault);
            }
            Fault::FailedOp => {
                let (op, then) = self.draw_work();
                let (mut pattern, nth) = self.aim(of_work(&op));
                if self.rng.chance(ratio(1, 6)) {
                    pattern = Pattern {
                        kind: Some(OpKind::Read),
                        name: "*".to_owned(),
                    };
                }
                let faults = [
                    FaultKind::Eio,
                    FaultKind::EioDone,
                    FaultKind::Enospc,
                    FaultKind::Short,
                ];
                let fault = *self.rng.pick(&faults);
                self.fail(op, then, pattern, nth, fault);
            }
            Fault::Full => self.full(),
        }
    }

    /// Something fails in this work, or later if it has no such operation. The
    /// store may die of it; then it is opened without a reboot.
    fn fail(&mut self, op: StoreOp, then: Then, pattern: Pattern, nth: u64, fault: FaultKind) {
        let trigger = FailTrigger {
            pattern,
            nth,
            fault,
        };
        self.push(StoreOp::Fail(trigger));
        self.push(op.clone());
        self.new_term();
        // A store that did not die of it goes on.
        if self.rng.chance(ratio(1, 3)) {
            self.appends(1, 3);
        }
        if self.rng.chance(ratio(1, 2)) {
            self.push(StoreOp::Evict);
        }
        if fault == FaultKind::Erofs {
            // Before that no open can succeed.
            self.push(StoreOp::Cut { keep: None });
        }
        self.reopen();
        self.cut_at_times();
        self.doubt(op, then);
    }

    /// The disk goes bad, and it comes to light.
    fn decay(&mut self) {
        // Acknowledged entries, and some behind them that know of it: what goes
        // bad in the middle of the log is no torn tail.
        self.appends(0, 4);
        let op = match self.rng.chance(ratio(1, 4)) {
            true => self.bad_sync(),
            false => self.damage(),
        };
        self.push(op);
        // Nobody notices as long as the cache lives.
        (0..self.rng.below(4)).for_each(|_| self.work());
        match self.rng.below(3) {
            0 => self.push(StoreOp::Evict),
            1 => {
                self.push(StoreOp::Evict);
                self.reopen();
            }
            _ => {
                self.push(StoreOp::Cut { keep: None });
                self.reopen();
            }
        }
        self.push(StoreOp::Check);
    }

    /// A sync that acknowledges what it does not write.
    fn bad_sync(&mut self) -> StoreOp {
        let name = *self
            .rng
            .pick(&["log-*", "segment-*", "hardstate", "snapshot-*"]);
        StoreOp::Fail(FailTrigger {
            pattern: Pattern {
                kind: Some(OpKind::Sync),
                name: name.to_owned(),
            },
            nth: self.rng.between(1, 2),
            fault: *self.rng.pick(&[FaultKind::Lost, FaultKind::Misdirected]),
        })
    }

    fn damage(&mut self) -> StoreOp {
        let kinds = [DamageKind::Rot, DamageKind::Rot, DamageKind::Unreadable];
        let files = ["log-*", "log-*", "log-*", "hardstate", "snapshot", "*"];
        StoreOp::Damage(Damage {
            kind: *self.rng.pick(&kinds),
            file: (*self.rng.pick(&files)).to_owned(),
            sector: None,
            bit: None,
        })
    }

    fn cut_at_times(&mut self) {
        if self.rng.chance(ratio(1, 2)) {
            self.push(StoreOp::Cut { keep: None });
            self.reopen();
        }
    }

    fn full(&mut self) {
        let bytes = *self.rng.pick(&[0, 512, 1024, 4096, 16_384]);
        self.push(StoreOp::Full { bytes });
        for _ in 0..self.rng.between(1, 4) {
            let (op, then) = self.draw_work();
            // An install that found no space would have to be done again later.
            if !matches!(op, StoreOp::Install { .. }) {
                self.push(op.clone());
                self.doubt(op, then);
            }
        }
        let crash = self.rng.chance(ratio(1, 3));
        if crash {
            // It cannot come up again before there is space.
            self.push(StoreOp::Cut { keep: None });
            self.push(StoreOp::Restart);
        }
        self.push(StoreOp::Space);
        if crash {
            self.reopen();
        }
    }

    fn aim(&mut self, aims: &[Aim]) -> (Pattern, u64) {
        let aim = self.rng.pick(aims);
        (aim.pattern(), self.rng.between(1, aim.nth_max))
    }

    fn crash(&mut self, aims: &[Aim]) -> StoreOp {
        let (pattern, nth) = self.aim(aims);
        let points = [CrashPoint::Before, CrashPoint::Mid, CrashPoint::After];
        StoreOp::Crash {
            trigger: CrashTrigger {
                pattern,
                nth,
                point: *self.rng.pick(&points),
            },
            keep: None,
        }
    }

    /// Opens the store, at times with the power going in the middle of it, and
    /// in the middle of the open after that.
    fn reopen(&mut self) {
        if self.synced < self.last {
            // Some of it may be there, or nothing.
            self.last = self.synced;
            self.terms.split_off(&(self.last + 1));
            self.new_term();
        }
        while self.rng.chance(ratio(1, 4)) {
            let op = match self.rng.below(4) {
                0 => {
                    let (pattern, nth) = self.aim(RECOVERY);
                    StoreOp::KillAt { pattern, nth }
                }
                _ => self.crash(RECOVERY),
            };
            self.push(op);
            self.push(StoreOp::Restart);
        }
        self.push(StoreOp::Restart);
    }

    /// Whatever came before: what was acknowledged is there, in the cache and
    /// on the disk.
    fn end(&mut self) {
        for op in [
            StoreOp::Space,
            StoreOp::Restart,
            StoreOp::Restart,
            StoreOp::Check,
            StoreOp::Kill,
            StoreOp::Restart,
            StoreOp::Cut { keep: None },
            StoreOp::Restart,
            StoreOp::Check,
        ] {
            self.push(op);
        }
    }
}
