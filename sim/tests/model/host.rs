//! Carries out a case: the store on a simulated disk, its tasks, and the list.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use afterimage_engine::raft::LogView;
use afterimage_engine::store::{
    Batch, Cleaner, Install, Options, Preparer, SnapshotSource, Store, Writer,
};
use afterimage_engine::{
    Entry, EntryKind, Env, Error, Event, HardState, Host, Index, Job, Membership, NodeId,
    SnapshotMeta, Step, Term,
};
use afterimage_sim::disk::{CrashTrigger, FailTrigger, Fates, Pattern, SimFs, is_injected};
use afterimage_sim::rng::hash;

use crate::expect::{Expect, Found, Item, List, Snapshot, Vote};
use crate::ops::{Cut, Op};

const DIR: &str = "/store";
/// Steps of a drain; with a full disk the preparer and the cleaner never rest.
const STEPS_MAX: u64 = 3000;
/// A term and a vote for `None`.
const NO_VOTE: u64 = 0;

#[derive(Default)]
struct Numbers(AtomicU64);

impl Env for Numbers {
    fn now_ms(&self) -> i64 {
        0
    }
    fn random(&self) -> u64 {
        hash(&[self.0.fetch_add(1, Ordering::Relaxed)])
    }
    fn observe(&self, _: Event) {}
}

struct Up {
    store: Store,
    writer: Writer,
    cleaner: Cleaner,
    preparer: Preparer,
    save: Option<Job<Result<bool, Error>>>,
    install: Option<Install>,
}

pub struct Bench {
    disk: SimFs,
    env: Arc<Numbers>,
    options: Options,
    up: Option<Up>,
    expect: Expect,
    /// What a state machine has applied is committed: nothing replaces it.
    applied: u64,
    term: u64,
    /// Of the power cut that is armed.
    fates: u64,
    /// How the next opens are cut off, the last one first.
    recovery: Vec<Cut>,
    /// Nothing is pending on the disk.
    settled: bool,
    story: String,
}

type Checked = Result<(), String>;

impl Bench {
    pub fn new(seed: u64, options: Options) -> Self {
        Bench {
            disk: SimFs::new(seed),
            env: Arc::default(),
            options,
            up: None,
            expect: Expect::new(),
            applied: 0,
            term: 1,
            fates: 0,
            recovery: Vec::new(),
            settled: true,
            story: String::new(),
        }
    }

    pub fn story(&self) -> &str {
        &self.story
    }

    pub fn run(&mut self, ops: &[Op]) -> Checked {
        self.open()?;
        for op in ops {
            self.op(op).map_err(|what| format!("{op:?}: {what}"))?;
        }
        self.end()
    }

    /// Whatever came before, the store comes up and holds what it promised.
    fn end(&mut self) -> Checked {
        self.disk.limit_space(None);
        self.disk.disarm_fails();
        self.disk.disarm_crash();
        self.recovery.clear();
        self.drain(0)?;
        self.check()?;
        self.disk.power_cut(&Fates::Lose);
        self.settled = true;
        self.open()?;
        self.check()
    }

    fn op(&mut self, op: &Op) -> Checked {
        match op {
            Op::Append { depth, sizes } => self.append(*depth, sizes),
            Op::Truncate { depth } => self.truncate(*depth),
            Op::HardState { later, vote } => self.vote(*later, *vote),
            Op::Save { back, bytes } => self.save(*back, *bytes),
            Op::Install {
                offset,
                agrees,
                bytes,
            } => self.install(*offset, *agrees, *bytes),
            Op::Run { steps, order } => {
                for turn in 0..*steps {
                    self.step(hash(&[*order, u64::from(turn)]))?;
                }
                Ok(())
            }
            Op::Drain { order } => self.drain(*order),
            Op::Cut(cut) => {
                self.arm(cut);
                Ok(())
            }
            Op::Kill { recovery } => {
                self.recovery.extend(recovery.iter().cloned());
                self.close();
                self.open()
            }
            Op::CutRecovery(cut) => {
                self.recovery.push(cut.clone());
                Ok(())
            }
            Op::Fail { kind, nth, fault } => {
                self.disk.arm_fail(FailTrigger {
                    pattern: Pattern {
                        kind: Some(*kind),
                        name: "*".into(),
                    },
                    nth: *nth,
                    fault: *fault,
                });
                Ok(())
            }
            Op::Full { bytes } => {
                self.disk.limit_space(Some(*bytes));
                Ok(())
            }
            Op::Space => {
                self.disk.limit_space(None);
                match self.up {
                    Some(_) => Ok(()),
                    None => self.open(),
                }
            }
            Op::Evict => {
                self.disk.evict();
                Ok(())
            }
            Op::Check => self.check(),
        }
    }
}

/// What is submitted.
impl Bench {
    /// The open store, if it may be given batches.
    fn writable(&self) -> Option<Store> {
        let up = self.up.as_ref()?;
        up.install.is_none().then(|| up.store.clone())
    }

    fn append(&mut self, depth: u64, sizes: &[usize]) -> Checked {
        let Some(store) = self.writable() else {
            return Ok(());
        };
        let last = self.expect.newest().log.last();
        let from = (last + 1 - depth.min(last)).max(self.applied + 1);
        if from <= last {
            self.term += 1;
        }
        let term = self.term;
        let item = |&size: &usize| Item { term, size };
        let items: Vec<Item> = sizes.iter().map(item).collect();
        let entries = (from..)
            .zip(&items)
            .map(|(index, item)| entry(index, *item));
        let batch = Batch {
            hard_state: None,
            entries: entries.collect(),
        };
        match store.submit(batch) {
            Ok(ticket) => self.expect.submit(ticket, from, &items, None),
            // The term of the entry before could not be read.
            Err(e) if is_fault(&e) => return self.died(&e),
            Err(e) => return Err(format!("refused: {e}")),
        }
        Ok(())
    }

    fn truncate(&mut self, depth: u64) -> Checked {
        let Some(store) = self.writable() else {
            return Ok(());
        };
        let last = self.expect.newest().log.last();
        let from = (last + 1).saturating_sub(depth).max(self.applied + 1);
        match store.truncate_suffix(Index(from)) {
            Ok(ticket) => self.expect.submit(ticket, from, &[], None),
            Err(e) if is_fault(&e) => return self.died(&e),
            Err(e) => return Err(format!("refused: {e}")),
        }
        self.term += 1;
        Ok(())
    }

    fn vote(&mut self, later: u64, vote: u64) -> Checked {
        let Some(store) = self.writable() else {
            return Ok(());
        };
        let now = self.expect.newest().vote;
        let vote = match (later, now.vote) {
            (0, NO_VOTE) => vote,
            (0, same) => same,
            _ => vote,
        };
        let next = Vote {
            term: now.term + later,
            vote,
        };
        let batch = Batch {
            hard_state: Some(HardState {
                term: Term(next.term),
                vote: Some(NodeId(vote)),
            }),
            entries: Vec::new(),
        };
        let ticket = store.submit(batch).map_err(|e| format!("refused: {e}"))?;
        let from = self.expect.newest().log.last() + 1;
        self.expect.submit(ticket, from, &[], Some(next));
        Ok(())
    }

    fn save(&mut self, back: u64, bytes: usize) -> Checked {
        let Some(up) = &mut self.up else {
            return Ok(());
        };
        let durable = &self.expect.versions[0].log;
        let upto = up.store.durable_index().0.saturating_sub(back);
        if up.save.is_some() || upto <= self.expect.covered() || upto <= durable.base {
            return Ok(());
        }
        // What is applied is committed, and no leader's snapshot contradicts it.
        if self
            .expect
            .install
            .is_some_and(|install| upto >= install.last)
        {
            return Ok(());
        }
        // A snapshot is of what was applied, and that is durable here.
        let Some(item) = self.expect.newest().log.get(upto) else {
            return Err(format!("{upto} is durable, but not in the log"));
        };
        if durable.get(upto) != Some(item) {
            return Err(format!("{upto} counts as durable and is not persisted"));
        }
        let snapshot = Snapshot {
            last: upto,
            term: item.term,
            bytes,
        };
        let source = State(snapshot.data());
        up.save = Some(up.store.save_snapshot(snapshot.meta(), Box::new(source)));
        self.expect.save = Some(snapshot);
        self.applied = self.applied.max(upto);
        Ok(())
    }

    fn install(&mut self, offset: i64, agrees: bool, bytes: usize) -> Checked {
        let newest = &self.expect.newest().log;
        let last = newest.last().saturating_add_signed(offset).max(1);
        let Some(up) = &mut self.up else {
            return Ok(());
        };
        // Everybody agrees on what was applied.
        if up.install.is_some() || last <= self.applied {
            return Ok(());
        }
        let ours = newest.get(last).filter(|_| agrees).map(|item| item.term);
        let term = ours.unwrap_or_else(|| {
            self.term += 1;
            self.term
        });
        let snapshot = Snapshot { last, term, bytes };
        let mut install = up.store.install(snapshot.meta());
        let data = snapshot.data();
        let half = data.len() / 2;
        install.push(0, data[..half].to_vec(), false);
        install.push(half as u64, data[half..].to_vec(), true);
        up.install = Some(install);
        self.expect.install = Some(snapshot);
        Ok(())
    }
}

/// One step after the other.
impl Bench {
    /// A step of one of the tasks; whether it did something.
    fn step(&mut self, draw: u64) -> Result<bool, String> {
        let Some(up) = &mut self.up else {
            return Ok(false);
        };
        let mut installed = false;
        let mut saved = None;
        let result = match draw % 5 {
            0 => up.writer.step(),
            1 => up.cleaner.step(),
            2 => up.preparer.step(),
            3 => match up.save.as_mut().map(Job::step) {
                None => Ok(Step::Idle),
                Some(None) => Ok(Step::Ran),
                Some(Some(result)) => {
                    up.save = None;
                    result.map(|taken| {
                        saved = Some(taken);
                        Step::Ran
                    })
                }
            },
            _ => match up.install.as_mut() {
                None => Ok(Step::Idle),
                Some(install) => {
                    let result = install.step();
                    if let Some(outcome) = install.outcome() {
                        installed = outcome.taken;
                    }
                    if result.is_err() || install.outcome().is_some() {
                        up.install = None;
                    }
                    result
                }
            },
        };
        let persisted = up.store.persisted();
        if self.disk.crash_fired() {
            self.lose_power();
            self.open()?;
            return Ok(true);
        }
        self.expect.persisted(persisted);
        if let Some(taken) = saved {
            self.saved(taken)?;
        }
        if installed && let Some(install) = self.expect.install.take() {
            self.expect.installed(install);
            self.applied = self.applied.max(install.last);
        }
        match result {
            Ok(step) => Ok(step == Step::Ran),
            Err(e) => {
                let poisoned = self.up.as_ref().is_some_and(|up| up.store.is_poisoned());
                if poisoned || !is_fault(&e) {
                    self.died(&e)?;
                } else if draw % 5 == 3 {
                    self.expect.save = None;
                } else if draw % 5 == 4 {
                    self.expect.install = None;
                }
                Ok(true)
            }
        }
    }

    fn saved(&mut self, taken: bool) -> Checked {
        let Some(save) = self.expect.save.take() else {
            return Err("a save ended that never began".into());
        };
        if taken != (save.last > self.expect.covered()) {
            return Err(format!(
                "{save:?} taken: {taken}, over {:?}",
                self.expect.snapshot
            ));
        }
        if taken {
            self.expect.snapshot = Some(save);
        }
        Ok(())
    }

    fn drain(&mut self, order: u64) -> Checked {
        let mut idle = 0;
        for turn in 0..STEPS_MAX {
            match self.step(hash(&[order, turn]))? {
                true => idle = 0,
                false => idle += 1,
            }
            if idle == 40 {
                break;
            }
        }
        Ok(())
    }

    fn arm(&mut self, cut: &Cut) {
        self.fates = cut.fates;
        self.disk.arm_crash(CrashTrigger {
            pattern: Pattern::any(),
            nth: cut.nth,
            point: cut.point,
        });
    }

    fn close(&mut self) {
        self.up = None;
        self.disk.kill();
    }

    fn lose_power(&mut self) {
        self.up = None;
        let report = self.disk.power_cut(&Fates::Random(self.fates));
        self.settled = true;
        self.note("power cut", &report.fates);
    }

    /// The store failed by itself, and is opened again without a reboot.
    fn died(&mut self, error: &Error) -> Checked {
        self.note("died", &error.to_string());
        if !is_fault(error) {
            return Err(format!("no fault explains: {error}"));
        }
        self.close();
        self.open()
    }

    fn note(&mut self, what: &str, detail: &dyn std::fmt::Debug) {
        let _ = writeln!(self.story, "{what}: {detail:?}");
    }
}

/// Opening, and reading everything back.
impl Bench {
    /// Until it is open, or no fault of ours is left that keeps it down.
    fn open(&mut self) -> Checked {
        loop {
            let before = self.disk.fork();
            let settled = std::mem::take(&mut self.settled);
            if let Some(cut) = self.recovery.pop() {
                self.arm(&cut);
            }
            let store = match self.try_open() {
                Some(Ok(store)) => store,
                Some(Err(e)) => {
                    self.note("refused", &e.to_string());
                    if !is_fault(&e) {
                        return Err(format!("it does not open: {e}"));
                    }
                    self.close();
                    if e.is_no_space() {
                        return Ok(()); // until there is space again
                    }
                    continue;
                }
                None => {
                    self.lose_power();
                    continue;
                }
            };
            let found = match read(&store) {
                Ok(found) => found,
                Err(e) if is_fault(&e) => {
                    self.close();
                    continue;
                }
                Err(e) => return Err(format!("it does not read back: {e}")),
            };
            self.note("found", &found);
            if settled {
                self.open_again(&before, &found)?;
            }
            self.expect.recovered(&found)?;
            self.applied = self.expect.covered();
            self.term += 1;
            self.up = Some(Up {
                writer: store.writer(),
                cleaner: store.cleaner(),
                preparer: store.preparer(),
                store,
                save: None,
                install: None,
            });
            return Ok(());
        }
    }

    /// `None`: the power went.
    fn try_open(&mut self) -> Option<Result<Store, Error>> {
        let mut job = open_job(&self.disk, &self.env, &self.options);
        let result = loop {
            let result = job.step();
            if self.disk.crash_fired() {
                return None;
            }
            if let Some(result) = result {
                break result;
            }
        };
        Some(result.map(|(store, _)| store))
    }

    /// A copy of the disk from before the open, cut off in the middle of it.
    fn open_again(&self, copy: &SimFs, found: &Found) -> Checked {
        let draw = hash(&[self.fates, self.env.0.load(Ordering::Relaxed)]);
        let mut job = open_job(copy, &self.env, &self.options);
        for _ in 0..draw % 40 {
            if job.step().is_some() {
                break;
            }
        }
        drop(job);
        copy.power_cut(&Fates::Random(draw));
        let (store, _) = open_job(copy, &self.env, &self.options)
            .run()
            .map_err(|e| format!("the copy does not open: {e}"))?;
        let other = read(&store).map_err(|e| format!("the copy does not read back: {e}"))?;
        match other == *found {
            true => Ok(()),
            false => Err(format!("opened again: {other:?}, not {found:?}")),
        }
    }

    fn check(&mut self) -> Checked {
        let Some(up) = &self.up else {
            return Ok(());
        };
        match read(&up.store) {
            Ok(found) => self.expect.check_live(&found),
            Err(e) if is_fault(&e) => self.died(&e),
            Err(e) => Err(format!("it does not read back: {e}")),
        }
    }
}

fn open_job(
    disk: &SimFs,
    env: &Arc<Numbers>,
    options: &Options,
) -> Job<Result<(Store, afterimage_engine::store::Report), Error>> {
    let host = Host {
        fs: disk.boot(),
        env: env.clone(),
    };
    Store::open(host, Path::new(DIR), options.clone())
}

/// Whether a failing operation that we asked for is to blame.
fn is_fault(error: &Error) -> bool {
    match error {
        Error::Io { source, .. } => is_injected(source),
        Error::Poisoned => true,
        _ => false,
    }
}

fn read(store: &Store) -> Result<Found, Error> {
    let (first, last) = (store.first_index().0, store.last_index().0);
    let mut items = Vec::new();
    let mut next = first;
    while next <= last {
        for e in store.entries(Index(next), 1000)? {
            let item = Item {
                term: e.term.0,
                size: e.data.len(),
            };
            assert_eq!(e, entry(next, item), "not a byte is another");
            items.push(item);
            next += 1;
        }
    }
    let mut snapshot = None;
    if let Some(reader) = store.open_snapshot()? {
        let mut data = Vec::new();
        loop {
            let piece = reader.read(data.len() as u64)?;
            if piece.is_empty() {
                break;
            }
            data.extend(piece);
        }
        let found = Snapshot {
            last: reader.meta().last_index.0,
            term: reader.meta().last_term.0,
            bytes: data.len(),
        };
        assert!(data == found.data(), "not a byte is another");
        snapshot = Some(found);
    }
    let hard_state = store.hard_state();
    Ok(Found {
        log: List {
            base: first - 1,
            items,
        },
        vote: Vote {
            term: hard_state.term.0,
            vote: hard_state.vote.map_or(NO_VOTE, |id| id.0),
        },
        snapshot,
    })
}

fn entry(index: u64, item: Item) -> Entry {
    let word = hash(&[index, item.term, item.size as u64]).to_le_bytes();
    Entry {
        index: Index(index),
        term: Term(item.term),
        kind: EntryKind::Command,
        timestamp_ms: 7,
        data: word.into_iter().cycle().take(item.size).collect(),
    }
}

impl Snapshot {
    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_index: Index(self.last),
            last_term: Term(self.term),
            membership: Membership {
                voters: vec![NodeId(1)],
                learners: Vec::new(),
            },
        }
    }

    fn data(&self) -> Vec<u8> {
        let word = hash(&[self.last, self.term]).to_le_bytes();
        word.into_iter().cycle().take(self.bytes).collect()
    }
}

/// A state to be saved.
struct State(Vec<u8>);

impl SnapshotSource for State {
    fn read(&mut self, out: &mut Vec<u8>, max: usize) -> bool {
        let rest = self.0.split_off(self.0.len().min(max));
        out.append(&mut self.0);
        self.0 = rest;
        !self.0.is_empty()
    }
}
