//! One store, driven step by step by a plan: no cluster, no time, no madsim.
//! What a cluster run does to a store by chance is written down here, operation
//! by operation, and its trace read as a story.

use std::path::Path;
use std::sync::Arc;

use afterimage_engine::raft::LogView;
use afterimage_engine::store::{Batch, Cleaner, Options, Preparer, SnapshotSource, Store, Writer};
use afterimage_engine::{
    Entry, EntryKind, Error, HardState, Host, Index, Job, Membership, NodeId, SnapshotMeta, Step,
    Term,
};

use crate::disk::{CrashTrigger, Fates, Keep, SimFs, is_injected};
use crate::env::SimEnv;
use crate::plan::{Action, Plan, StoreEntry, StoreOp};
use crate::recorder::Recorder;
use crate::report::RunReport;
use crate::rng::hash;
use crate::run::RunOptions;
use crate::trace::{Contents, Style, What};

const NODE: NodeId = NodeId(1);
const DIR: &str = "/raft";
/// A task that still has work after this many steps goes in circles.
const STEPS_MAX: u32 = 100_000;

/// Carries out a plan for one store.
pub fn run(plan: &Plan, options: &RunOptions) -> RunReport {
    let mut single = Single::new(plan, options);
    single.open();
    for at in 0..plan.steps.len() {
        if single.recorder.violation().is_some() {
            break;
        }
        single.carry_out(at);
    }
    single.report()
}

/// The open store, and its tasks.
struct Up {
    store: Store,
    writer: Writer,
    cleaner: Cleaner,
    preparer: Preparer,
}

struct Single {
    /// As carried out so far: fates are written back.
    plan: Plan,
    options: RunOptions,
    disk: SimFs,
    env: Arc<SimEnv>,
    incarnation: u64,
    up: Option<Up>,
    /// The crash step that waits for the next step.
    armed: Option<(usize, CrashTrigger)>,
    recorder: Recorder,
    /// File operations so far; stands for the time.
    ops: u64,
}

/// How a piece of work ended.
enum Ended {
    Done,
    /// The power went, or the process died.
    Down,
}

impl Single {
    fn new(plan: &Plan, options: &RunOptions) -> Self {
        let disk = SimFs::new(hash(&[plan.seed, 1]));
        disk.record_ops(true);
        disk.short_io(plan.disk.short);
        Single {
            plan: plan.clone(),
            options: *options,
            disk,
            env: Arc::new(SimEnv::new(plan.seed, "env")),
            incarnation: 0,
            up: None,
            armed: None,
            recorder: Recorder::new(options.trace.is_some(), options.style(Style::SINGLE)),
            ops: 0,
        }
    }

    fn record(&mut self, what: What) {
        self.recorder.record(self.ops, Some(NODE), what);
    }

    fn take_records(&mut self) {
        for event in self.env.take_events() {
            self.record(What::Engine(event));
        }
        for op in self.disk.take_ops() {
            self.ops += 1;
            self.record(What::Disk(op));
        }
    }

    fn carry_out(&mut self, at: usize) {
        let step = self.plan.steps[at].clone();
        let Action::Store(op) = step.action else {
            self.skip(step.id, "for a cluster");
            return;
        };
        self.recorder.say(&self.plan.steps[at].to_string());
        if let StoreOp::Crash { trigger, .. } = op {
            self.armed = Some((at, trigger));
            return;
        }
        if let Some((_, trigger)) = &self.armed {
            self.disk.arm_crash(trigger.clone());
        }
        if let Err(why) = self.operate(at, op) {
            self.skip(step.id, why);
        }
        self.take_records();
        self.disk.disarm_crash();
        self.armed = None;
    }

    fn skip(&mut self, id: u32, why: &str) {
        let note = format!("skip: {why}");
        self.record(What::Step { id, note });
    }

    /// `Err`: the step does not apply.
    fn operate(&mut self, at: usize, op: StoreOp) -> Result<(), &'static str> {
        match op {
            StoreOp::Append { entries } => self.append(&entries)?,
            StoreOp::Truncate { from } => {
                let up = self.up.as_ref().ok_or("the store is not open")?;
                up.store.truncate_suffix(from).map_err(|_| "covered")?;
                self.drain();
            }
            StoreOp::HardState { term, vote } => {
                let up = self.up.as_ref().ok_or("the store is not open")?;
                let now = up.store.hard_state();
                let next = HardState { term, vote };
                if term < now.term || (term == now.term && now.vote.is_some() && vote != now.vote) {
                    return Err("the hard state would go back");
                }
                let batch = Batch {
                    hard_state: Some(next),
                    entries: Vec::new(),
                };
                up.store.submit(batch).map_err(|_| "poisoned")?;
                self.drain();
            }
            StoreOp::Save { upto, bytes } => self.save(upto, bytes)?,
            StoreOp::Install { last, term, bytes } => self.install(last, term, bytes)?,
            StoreOp::Clean => {
                self.up.as_ref().ok_or("the store is not open")?;
                self.drive(|up| up.cleaner.step());
            }
            StoreOp::Prepare => {
                self.up.as_ref().ok_or("the store is not open")?;
                self.drive(|up| up.preparer.step());
            }
            StoreOp::Crash { .. } => unreachable!("handled by the caller"),
            StoreOp::Cut { keep } => self.cut_power(at, keep),
            StoreOp::Kill => {
                self.up = None;
                self.disk.kill();
                self.record(What::Killed);
            }
            StoreOp::Restart => {
                if self.up.take().is_some() {
                    self.disk.kill();
                    self.record(What::Killed);
                }
                self.open();
            }
            StoreOp::Fail(trigger) => self.disk.arm_fail(trigger),
            StoreOp::Full { bytes } => self.disk.limit_space(Some(bytes)),
            StoreOp::Space => {
                self.disk.limit_space(None);
                self.drain();
            }
            StoreOp::Evict => self.disk.evict(),
            StoreOp::Check => self.check()?,
        }
        Ok(())
    }

    fn append(&mut self, entries: &[StoreEntry]) -> Result<(), &'static str> {
        let up = self.up.as_ref().ok_or("the store is not open")?;
        let entries = entries.iter().map(entry).collect();
        let batch = Batch {
            hard_state: None,
            entries,
        };
        // Only an open store that is in order takes it; the rest is a skip.
        up.store.submit(batch).map_err(|e| match e {
            Error::Poisoned => "the store is poisoned",
            _ => "the entries do not continue the log",
        })?;
        self.drain();
        Ok(())
    }

    fn drain(&mut self) {
        self.drive(|up| up.writer.step());
    }

    /// Runs a task until it has nothing more to do, or waits for space.
    fn drive(&mut self, mut step: impl FnMut(&mut Up) -> afterimage_engine::Result<Step>) -> Ended {
        for _ in 0..STEPS_MAX {
            let Some(up) = &mut self.up else {
                return Ended::Down;
            };
            let result = step(up);
            self.take_records();
            if self.power_went() {
                return Ended::Down;
            }
            match result {
                Ok(Step::Ran) => {}
                Ok(Step::Idle | Step::Stalled) => return Ended::Done,
                Err(e) => {
                    self.died(&e);
                    return Ended::Down;
                }
            }
        }
        self.recorder.panicked("a task never ends".to_owned());
        Ended::Down
    }

    /// Runs a job to its end; `None` if the power went.
    fn finish<T>(&mut self, mut job: Job<T>) -> Option<T> {
        for _ in 0..STEPS_MAX {
            let result = job.step();
            self.take_records();
            if self.disk.crash_fired() {
                drop(job);
                self.power_went();
                return None;
            }
            if result.is_some() {
                return result;
            }
        }
        self.recorder.panicked("a job never ends".to_owned());
        None
    }

    fn save(&mut self, upto: Index, bytes: u64) -> Result<(), &'static str> {
        let up = self.up.as_ref().ok_or("the store is not open")?;
        if upto > up.store.durable_index() || upto < up.store.first_index() {
            return Err("not in the durable log");
        }
        let last_term = up.store.term(upto).map_err(|_| "not in the log")?;
        let meta = meta(upto, last_term);
        let state = Box::new(State::new(upto, bytes));
        let job = up.store.save_snapshot(meta, state);
        if let Some(Err(e)) = self.finish(job)
            && !e.is_no_space()
        {
            self.died(&e);
        }
        Ok(())
    }

    fn install(&mut self, last: Index, term: Term, bytes: u64) -> Result<(), &'static str> {
        let up = self.up.as_ref().ok_or("the store is not open")?;
        let mut install = up.store.install(meta(last, term));
        let mut state = State::new(last, bytes);
        let mut data = Vec::new();
        while state.read(&mut data, 1 << 16) {}
        install.push(0, data, true);
        let mut failed = None;
        let ended = self.drive(|_| match install.step() {
            Ok(step) => Ok(step),
            Err(e) if e.is_no_space() => Ok(Step::Stalled),
            Err(e) => {
                failed = Some(e.clone());
                Err(e)
            }
        });
        drop(install);
        if matches!(ended, Ended::Done) {
            self.drain();
        }
        Ok(())
    }

    fn open(&mut self) {
        self.incarnation += 1;
        let host = Host {
            fs: crate::mutants::wrap(
                self.disk.boot(),
                self.options.mutant.and_then(|m| m.fs_bug()),
            ),
            env: self.env.clone(),
        };
        let incarnation = self.incarnation;
        self.record(What::Boot { incarnation });
        let cluster = &self.plan.cluster;
        let options = Options {
            segment_bytes: cluster.segment_bytes,
            cache_bytes: cluster.cache_bytes as usize,
            chunk_bytes: cluster.chunk_bytes as usize,
            mutants: self.options.mutant.map(|m| m.engine()).unwrap_or_default(),
        };
        match self.finish(Store::open(host, Path::new(DIR), options)) {
            None => {}
            Some(Err(e)) => {
                let excused = matches!(&e, Error::Io { source, .. } if is_injected(source));
                let error = e.to_string();
                self.record(What::OpenFailed { error, excused });
                self.disk.kill();
            }
            Some(Ok((store, _report))) => {
                let contents = Contents::read(&store);
                self.take_records();
                match contents {
                    Ok(contents) => self.record(What::Up(contents)),
                    Err(e) => {
                        self.died(&e);
                        return;
                    }
                }
                self.up = Some(Up {
                    writer: store.writer(),
                    cleaner: store.cleaner(),
                    preparer: store.preparer(),
                    store,
                });
            }
        }
    }

    /// Reads everything back: what was acknowledged must be there.
    fn check(&mut self) -> Result<(), &'static str> {
        let up = self.up.as_ref().ok_or("the store is not open")?;
        let contents = Contents::read(&up.store);
        self.take_records();
        match contents {
            Ok(contents) => self.record(What::Up(contents)),
            Err(e) => self.died(&e),
        }
        Ok(())
    }

    fn died(&mut self, error: &Error) {
        self.up = None;
        self.disk.kill();
        let excused = match error {
            Error::Io { source, .. } => is_injected(source),
            Error::Poisoned => true,
            _ => false,
        };
        let error = error.to_string();
        self.record(What::Died { error, excused });
    }

    /// Whether the armed power cut fired; then its fates are drawn.
    fn power_went(&mut self) -> bool {
        if !self.disk.crash_fired() {
            return false;
        }
        let Some((at, _)) = self.armed else {
            unreachable!("a crash fires only if it was armed");
        };
        let keep = match &self.plan.steps[at].action {
            Action::Store(StoreOp::Crash { keep, .. }) => keep.clone(),
            _ => None,
        };
        self.cut_power(at, keep);
        true
    }

    fn cut_power(&mut self, at: usize, keep: Option<Keep>) {
        self.up = None;
        let id = u64::from(self.plan.steps[at].id);
        let fates = match keep {
            Some(keep) => Fates::Explicit(keep),
            None => Fates::Random(hash(&[self.plan.seed, id])),
        };
        let report = self.disk.power_cut(&fates);
        if let Action::Store(StoreOp::Crash { keep, .. } | StoreOp::Cut { keep }) =
            &mut self.plan.steps[at].action
        {
            *keep = Some(report.keep.clone());
        }
        self.record(What::PowerCut(report));
    }

    fn report(mut self) -> RunReport {
        self.take_records();
        let verdict_line = match self.recorder.violation() {
            Some(v) => format!("FAIL {}: {}", v.invariant, v.detail),
            None => "PASS".to_owned(),
        };
        self.recorder.say(&verdict_line);
        self.recorder.into_report(self.plan, self.ops, 0)
    }
}

/// The data of an entry follows from its position and its length.
fn entry(e: &StoreEntry) -> Entry {
    let word = hash(&[e.term.0, e.index.0]).to_le_bytes();
    Entry {
        index: e.index,
        term: e.term,
        kind: EntryKind::Command,
        timestamp_ms: 0,
        data: word
            .iter()
            .copied()
            .cycle()
            .take(e.bytes as usize)
            .collect(),
    }
}

fn meta(last_index: Index, last_term: Term) -> SnapshotMeta {
    SnapshotMeta {
        last_index,
        last_term,
        membership: Membership {
            voters: vec![NODE],
            learners: Vec::new(),
        },
    }
}

/// A state of so many bytes, as of an index.
struct State {
    word: [u8; 8],
    left: u64,
}

impl State {
    fn new(upto: Index, bytes: u64) -> Self {
        State {
            word: hash(&[upto.0]).to_le_bytes(),
            left: bytes,
        }
    }
}

impl SnapshotSource for State {
    fn read(&mut self, out: &mut Vec<u8>, max: usize) -> bool {
        let n = self.left.min(max as u64);
        out.extend(self.word.iter().cycle().take(n as usize));
        self.left -= n;
        self.left > 0
    }
}
