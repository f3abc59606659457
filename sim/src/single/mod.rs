//! One store, driven step by step by a plan: no cluster, no time, no madsim.
//! What a cluster run does to a store by chance is written down here, operation
//! by operation, and its trace read as a story.

mod data;
mod outcome;
mod up;

use std::path::Path;
use std::sync::Arc;

use afterimage_engine::raft::LogView;
use afterimage_engine::store::{Batch, Install, Options, Store};
use afterimage_engine::{Error, HardState, Host, Index, Job, NodeId, Step, Term};

use crate::check::Judges;
use crate::disk::{
    Capture, CrashTrigger, Damage, Fates, Keep, OpRecord, Pattern, SimFs, is_corruption, is_excused,
};
use crate::env::SimEnv;
use crate::mutants::MutantInfo;
use crate::plan::{Action, Plan, StoreOp};
use crate::recorder::Recorder;
use crate::report::RunReport;
use crate::rng::hash;
use crate::run::{Detail, RunOptions};
use crate::trace::{Contents, Style, What};
use crate::twin::Twin;
pub(crate) use data::entry;
use data::{State, meta};
use outcome::Wanted;
use up::{Task, Up};

pub(crate) const NODE: NodeId = NodeId(1);
pub(crate) const DIR: &str = "/raft";
/// Bytes that a caller asks for at once: less than a few entries.
const PIECE: usize = 700;
/// A task that still has work after this many steps goes in circles.
const STEPS_MAX: u32 = 100_000;

/// Carries out a plan for one store.
pub fn run(plan: &Plan, options: &RunOptions) -> RunReport {
    let mut single = Single::new(plan, options);
    single.carry_out_all();
    single.report()
}

/// The store's options in a plan.
pub(crate) fn store_options(plan: &Plan, mutant: Option<&MutantInfo>) -> Options {
    let cluster = &plan.cluster;
    Options {
        segment_bytes: cluster.segment_bytes,
        cache_bytes: cluster.cache_bytes as usize,
        chunk_bytes: cluster.chunk_bytes as usize,
        trail_entries: cluster.trail_entries,
        commit_hint_every: cluster.commit_hint_every,
        // What it reports is judged.
        accept_bad_slot: true,
        mutants: mutant.map(|m| m.engine()).unwrap_or_default(),
    }
}

/// Whether the plan begins with a `restart`, or with faults for one to meet.
fn opens_by_itself(plan: &Plan) -> bool {
    let first = plan.steps.iter().find_map(|step| match &step.action {
        Action::Store(
            StoreOp::Crash { .. }
            | StoreOp::KillAt { .. }
            | StoreOp::Fail(_)
            | StoreOp::Full { .. },
        ) => None,
        Action::Store(op) => Some(op),
        _ => None,
    });
    matches!(first, Some(StoreOp::Restart))
}

struct Single {
    /// As carried out so far: fates are written back.
    plan: Plan,
    options: RunOptions,
    disk: SimFs,
    env: Arc<SimEnv>,
    incarnation: u64,
    up: Option<Up>,
    /// The store was told that so much is committed.
    committed: Index,
    /// Nothing is pending on the disk: the power was cut last.
    settled: bool,
    /// The disk was full since the last open, or a task gave up: not all that
    /// was asked for need be done.
    refused: bool,
    gave_up: bool,
    /// The id of the step at hand.
    current: u32,
    /// Its place, from 1; 0 before the first.
    at: usize,
    /// The crash step that waits for the next step.
    armed: Option<(usize, CrashTrigger)>,
    /// The kill that does, and how many operations it still lets pass.
    doom: Option<Doom>,
    recorder: Recorder,
    /// File operations so far; stands for the time.
    ops: u64,
    /// The number of the latest one within its incarnation, as traces show it.
    last_op: u64,
    /// Where a crash could come, if somebody wants to know.
    moments: Option<Vec<Moment>>,
}

/// The disk before a mutating operation, and what was promised by then.
pub(crate) struct Moment {
    /// 0 for the open with which a plan begins that does not say so; then the
    /// plan's steps from 1 on.
    pub step: usize,
    /// `None`: the end of the plan.
    pub capture: Option<Capture>,
    pub disk: SimFs,
    pub judges: Judges,
}

/// Carries out a plan and returns each moment at which a crash could come.
pub(crate) fn moments(plan: &Plan, options: &RunOptions) -> (Vec<Moment>, RunReport) {
    let mut single = Single::new(plan, options);
    single.disk.capture(true);
    single.moments = Some(Vec::new());
    single.carry_out_all();
    single.disk.take_captures();
    let mut moments = single.moments.take().unwrap_or_default();
    moments.push(Moment {
        step: plan.steps.len(),
        capture: None,
        disk: single.disk.fork(),
        judges: single.recorder.judges().clone(),
    });
    (moments, single.report())
}

/// A process is to be killed after a file operation.
struct Doom {
    /// The plan's step.
    at: usize,
    pattern: Pattern,
    left: u64,
}

impl Doom {
    fn count(&mut self, op: &OpRecord) {
        let name = op.to.as_ref().unwrap_or(&op.path);
        if self.left > 0 && op.kind.mutates() && self.pattern.matches(op.kind, name) {
            self.left -= 1;
        }
    }
}

/// A step that does not apply says why.
type Applies = Result<(), &'static str>;

impl Single {
    fn new(plan: &Plan, options: &RunOptions) -> Self {
        let disk = SimFs::with_profile(hash(&[plan.seed, 1]), plan.disk.profile);
        disk.record_ops(true);
        disk.short_io(plan.disk.short);
        Single {
            plan: plan.clone(),
            options: *options,
            disk,
            env: Arc::new(SimEnv::new(plan.seed, "env")),
            incarnation: 0,
            up: None,
            committed: Index(0),
            settled: true,
            refused: false,
            gave_up: false,
            current: 0,
            at: 0,
            armed: None,
            doom: None,
            recorder: Recorder::new(options, Style::SINGLE, Judges::of_a_store()),
            moments: None,
            ops: 0,
            last_op: 0,
        }
    }

    fn record(&mut self, what: What) {
        self.recorder.record(self.ops, Some(NODE), what);
    }

    /// A step of a task has at most one file operation, and what the engine
    /// says in that step it says before it.
    fn take_records(&mut self) {
        for event in self.env.take_events() {
            self.record(What::Engine(event));
        }
        self.take_moments();
        for op in self.disk.take_ops() {
            self.ops += 1;
            self.last_op = op.n;
            if let Some(doom) = &mut self.doom {
                doom.count(&op);
            }
            self.note_refusal(&op);
            self.record(What::Disk(op));
        }
    }

    fn take_moments(&mut self) {
        let Some(moments) = &mut self.moments else {
            return;
        };
        for capture in self.disk.take_captures() {
            moments.push(Moment {
                step: self.at,
                disk: capture.disk.clone(),
                capture: Some(capture),
                judges: self.recorder.judges().clone(),
            });
        }
    }

    fn carry_out_all(&mut self) {
        if !opens_by_itself(&self.plan) {
            self.open_new();
        }
        for at in 0..self.plan.steps.len() {
            if self.recorder.violation().is_some() {
                break;
            }
            self.carry_out(at);
        }
    }

    fn carry_out(&mut self, at: usize) {
        let step = self.plan.steps[at].clone();
        self.at = at + 1;
        self.current = step.id;
        self.recorder.say(&step.to_string());
        let Action::Store(op) = step.action else {
            self.skip(step.id, "for a cluster");
            return;
        };
        match op {
            StoreOp::Crash { trigger, .. } => {
                self.missed();
                self.armed = Some((at, trigger));
                return;
            }
            StoreOp::KillAt { pattern, nth } => {
                self.missed();
                let left = nth;
                self.doom = Some(Doom { at, pattern, left });
                return;
            }
            _ => {}
        }
        if let Some((_, trigger)) = &self.armed {
            self.disk.arm_crash(trigger.clone());
        }
        if let Err(why) = self.operate(at, op) {
            self.skip(step.id, why);
        }
        self.take_records();
        self.disk.disarm_crash();
        self.missed();
    }

    /// A crash whose operation did not come is no crash, and says so.
    fn missed(&mut self) {
        let armed = self.armed.take().map(|(at, _)| at);
        for at in armed
            .into_iter()
            .chain(self.doom.take().map(|doom| doom.at))
        {
            self.skip(self.plan.steps[at].id, "no such operation in the next step");
        }
    }

    fn skip(&mut self, id: u32, why: &str) {
        let note = format!("skip: {why}");
        self.record(What::Step { id, note });
    }

    fn operate(&mut self, at: usize, op: StoreOp) -> Applies {
        match op {
            StoreOp::Append { entries } => {
                let from = entries.first().map_or(Index(0), |e| e.index);
                let batch = Batch {
                    hard_state: None,
                    entries: entries.iter().map(entry).collect(),
                };
                self.replaceable(from)?;
                let durable = entries.last().map(|e| e.index);
                self.submit(|store| {
                    let ticket = store.submit(batch)?;
                    Ok(Wanted {
                        ticket,
                        durable,
                        ..Wanted::default()
                    })
                })?;
            }
            StoreOp::Truncate { from } => {
                self.replaceable(from)?;
                self.submit(|store| {
                    let ticket = store.truncate_suffix(from)?;
                    Ok(Wanted {
                        ticket,
                        ends_before: Some(from),
                        ..Wanted::default()
                    })
                })?;
            }
            StoreOp::HardState { term, vote } => self.hard_state(HardState { term, vote })?,
            StoreOp::Save {
                upto,
                bytes,
                background,
            } => {
                self.save(upto, bytes)?;
                self.go(Task::Save, background);
            }
            StoreOp::Install {
                last,
                term,
                bytes,
                background,
            } => {
                self.install(last, term, bytes)?;
                self.go(Task::Install, background);
            }
            StoreOp::Commit { upto } => self.commit(upto)?,
            StoreOp::Read { from, background } => {
                self.read(from)?;
                self.go(Task::Reader, background);
            }
            StoreOp::Clean { background } => {
                self.is_up()?;
                self.go(Task::Cleaner, background);
                if !background {
                    self.expect_clean();
                }
            }
            StoreOp::Prepare { background } => {
                self.is_up()?;
                self.go(Task::Preparer, background);
            }
            StoreOp::Wait => {
                let cleans = self.is_up()?.background.contains(&Task::Cleaner);
                self.wait();
                if cleans {
                    self.expect_clean();
                }
            }
            StoreOp::Crash { .. } | StoreOp::KillAt { .. } => {
                unreachable!("handled by the caller")
            }
            StoreOp::Cut { keep } => self.cut_power(at, keep),
            StoreOp::Kill => {
                self.is_up()?;
                self.kill();
            }
            StoreOp::Restart => {
                if self.up.is_some() {
                    self.kill();
                }
                self.open();
            }
            StoreOp::Fail(trigger) => self.disk.arm_fail(trigger),
            StoreOp::Full { bytes } => self.disk.limit_space(Some(bytes)),
            StoreOp::Heal => {
                self.disk.disarm_fails();
                self.disk.limit_space(None);
            }
            StoreOp::Space => {
                self.disk.limit_space(None);
                self.finish(Task::Writer);
            }
            StoreOp::Evict => self.disk.evict(),
            StoreOp::Damage(damage) => self.damage(at, &damage)?,
            StoreOp::Check => self.check()?,
        }
        Ok(())
    }

    fn damage(&mut self, at: usize, damage: &Damage) -> Applies {
        let id = self.plan.steps[at].id;
        let draw = hash(&[self.plan.seed, u64::from(id)]);
        let damage = self.disk.damage(damage, draw).ok_or("nothing to harm")?;
        let kind = damage.kind.receipt();
        self.record(What::Fault { kind });
        let note = damage.to_string();
        self.record(What::Step { id, note });
        self.plan.steps[at].action = Action::Store(StoreOp::Damage(damage));
        Ok(())
    }

    fn is_up(&mut self) -> Result<&mut Up, &'static str> {
        self.up.as_mut().ok_or("the store is not open")
    }

    /// Whether the caller may replace the log from here on.
    fn replaceable(&mut self, from: Index) -> Applies {
        let up = self.is_up()?;
        if up.install.is_some() {
            return Err("an install is under way");
        }
        if from <= up.applied {
            return Err("it was applied");
        }
        Ok(())
    }

    /// Hands something to the writer, and waits for it.
    fn submit(&mut self, submit: impl FnOnce(&Store) -> Result<Wanted, Error>) -> Applies {
        let submitted = submit(&self.is_up()?.store);
        self.take_records();
        match submitted {
            Ok(wanted) => {
                self.finish(Task::Writer);
                self.expect_written(&wanted);
            }
            Err(Error::Misuse(why)) => return Err(why),
            // A term was read and could not be.
            Err(e) => self.died(&e),
        }
        Ok(())
    }

    fn hard_state(&mut self, next: HardState) -> Applies {
        let up = self.is_up()?;
        let now = up.store.hard_state();
        if up.install.is_some() {
            return Err("an install is under way");
        }
        if next.term < now.term
            || (next.term == now.term && now.vote.is_some() && next.vote != now.vote)
        {
            return Err("the hard state would go back");
        }
        let batch = Batch {
            hard_state: Some(next),
            entries: Vec::new(),
        };
        self.submit(|store| {
            let ticket = store.submit(batch)?;
            Ok(Wanted {
                ticket,
                hard_state: Some(next),
                ..Wanted::default()
            })
        })
    }

    fn save(&mut self, upto: Index, bytes: u64) -> Applies {
        let up = self.is_up()?;
        if up.save.is_some() {
            return Err("a save is under way");
        }
        let contradicts = |install: &Install| upto >= install.meta().last_index;
        if up.install.as_ref().is_some_and(contradicts) {
            return Err("a newer snapshot is under way");
        }
        if upto > up.store.durable_index() || upto < up.store.first_index() {
            return Err("not in the durable log");
        }
        let last_term = match up.store.term(upto) {
            Ok(term) => term,
            Err(e) => {
                self.take_records();
                self.died(&e);
                return Ok(());
            }
        };
        up.applied = up.applied.max(upto);
        let state = State::new(upto, last_term, bytes);
        up.saving = Some(upto);
        up.save = Some(
            up.store
                .save_snapshot(meta(upto, last_term), Box::new(state.clone())),
        );
        self.record(state.given());
        Ok(())
    }

    fn read(&mut self, from: Index) -> Applies {
        let up = self.is_up()?;
        if up.reader.is_some() {
            return Err("a reader is at work");
        }
        let reader = up.store.reader(from).map_err(|_| "not in the log")?;
        up.reader = Some(reader);
        Ok(())
    }

    /// What is not durable may be committed all the same: others have it.
    fn commit(&mut self, upto: Index) -> Applies {
        let up = self.is_up()?;
        if up.install.is_some() {
            return Err("an install is under way");
        }
        if upto > up.store.last_index() {
            return Err("not in the log");
        }
        up.store.hint_commit(upto);
        up.applied = up.applied.max(upto);
        self.committed = self.committed.max(upto);
        self.finish(Task::Hinter);
        Ok(())
    }

    fn install(&mut self, last: Index, term: Term, bytes: u64) -> Applies {
        let up = self.is_up()?;
        if up.install.is_some() {
            return Err("an install is under way");
        }
        if up.is_stalled() {
            return Err("batches wait for space");
        }
        // What was applied is committed, and so in every leader's history.
        if last <= up.applied && up.store.term(last).is_ok_and(|ours| ours != term) {
            return Err("it contradicts what was applied");
        }
        let mut install = up.store.install(meta(last, term));
        let state = State::new(last, term, bytes);
        install.push(0, state.clone().into_bytes(), true);
        up.install = Some(install);
        self.record(state.given());
        Ok(())
    }

    /// Runs a task to its end, or lets it run beside what comes.
    fn go(&mut self, task: Task, background: bool) {
        match (background, &mut self.up) {
            (true, Some(up)) => {
                up.background.insert(task);
            }
            _ => self.finish(task),
        }
    }

    /// Runs a task until it has nothing more to do, or waits for space, or the
    /// store is down; what is in the background takes turns with it.
    fn finish(&mut self, task: Task) {
        for _ in 0..STEPS_MAX {
            match self.step(task) {
                Some(Step::Ran) => self.step_background(Some(task)),
                Some(Step::Idle | Step::Stalled) | None => return,
            };
        }
        self.recorder.panicked(format!("{task:?} never ends"));
    }

    /// Runs what is in the background until it has nothing more to do.
    fn wait(&mut self) {
        for _ in 0..STEPS_MAX {
            if !self.step_background(None) {
                return;
            }
        }
        self.recorder.panicked("the background never ends".into());
    }

    /// One step of each task in the background; whether any of them did something.
    fn step_background(&mut self, except: Option<Task>) -> bool {
        let Some(up) = &self.up else { return false };
        let mut ran = false;
        for task in up.background.clone() {
            if Some(task) == except {
                continue;
            }
            match self.step(task) {
                Some(Step::Ran) => ran = true,
                // It came to its end, and others may have work of that.
                Some(Step::Idle) if !self.is_in_background(task) => ran = true,
                // It would only try, fail and leave garbage, over and over.
                Some(Step::Stalled) => self.up.iter_mut().for_each(|up| {
                    up.background.remove(&task);
                }),
                _ => {}
            }
        }
        ran
    }

    fn is_in_background(&self, task: Task) -> bool {
        let up = self.up.as_ref();
        up.is_some_and(|up| up.background.contains(&task))
    }

    /// One step of a task; `None`: the store is down.
    fn step(&mut self, task: Task) -> Option<Step> {
        let result = self.up.as_mut()?.step(task);
        self.take_records();
        self.expect_read();
        if self.power_went() || self.killed() {
            return None;
        }
        let error = match result {
            Err(error) if self.ends_reader(&error) => return Some(Step::Idle),
            Ok(step) => {
                self.expect_done(task, step);
                return Some(step);
            }
            Err(error) => error,
        };
        let poisoned = self.up.as_ref().is_some_and(|up| up.store.is_poisoned());
        if poisoned || !is_excused(&error) {
            self.died(&error);
            return None;
        }
        // A fault that spoilt a file on which nothing rests yet.
        let id = self.current;
        self.gave_up = true;
        let note = format!("gave up: {error}");
        self.record(What::Step { id, note });
        Some(Step::Idle)
    }

    /// The first open, of an empty directory: always the same, so that the
    /// story begins behind it.
    fn open_new(&mut self) {
        let mark = self.recorder.mark();
        self.recorder.say("open");
        self.open();
        if self.up.is_some() && self.options.trace != Some(Detail::Everything) {
            let last = self.last_op;
            self.recorder.shorten(
                mark,
                &format!("open                 a new store, .1 to .{last}"),
            );
        }
    }

    fn open(&mut self) {
        self.incarnation += 1;
        self.refused = false;
        self.gave_up = false;
        let incarnation = self.incarnation;
        let bug = self.options.mutant.and_then(|m| m.fs_bug());
        let options = store_options(&self.plan, self.options.mutant);
        let twin = Twin {
            disk: self.disk.fork(),
            dir: Path::new(DIR),
            options: options.clone(),
            bug,
            settled: std::mem::take(&mut self.settled),
            draw: hash(&[self.plan.seed, incarnation, self.ops]),
        };
        let host = Host {
            fs: crate::mutants::wrap(self.disk.boot(), bug),
            env: self.env.clone(),
        };
        self.record(What::Boot { incarnation });
        let Some(opened) = self.run_job(Store::open(host, Path::new(DIR), options)) else {
            return;
        };
        let (store, hint) = match opened {
            Ok((store, report)) => (store, report.commit_hint),
            Err(e) => {
                self.record(What::OpenFailed {
                    error: e.to_string(),
                    excused: is_excused(&e),
                    corrupt: is_corruption(&e),
                });
                self.disk.kill();
                return;
            }
        };
        if hint > self.committed {
            let told = self.committed;
            self.recorder
                .panicked(format!("the commit hint is {hint}, it was told {told}"));
        }
        let contents = Contents::read(&store);
        self.take_records();
        match contents {
            Ok(contents) => {
                self.up = Some(Up::new(store, hint));
                let died = What::died_of(&contents);
                self.record(What::Up(contents));
                if let Some(died) = died {
                    self.close(died);
                    return;
                }
                let contents = twin.reopen();
                self.record(What::Reopened { contents });
            }
            Err(e) => self.died(&e),
        }
    }

    /// Runs a job to its end; `None` if the power went.
    fn run_job<T>(&mut self, mut job: Job<T>) -> Option<T> {
        for _ in 0..STEPS_MAX {
            let result = job.step();
            self.take_records();
            if self.disk.crash_fired() || self.doom.as_ref().is_some_and(|d| d.left == 0) {
                drop(job);
                assert!(self.power_went() || self.killed());
                return None;
            }
            if result.is_some() {
                return result;
            }
        }
        self.recorder.panicked("the open never ends".to_owned());
        None
    }

    /// Reads everything back: what was acknowledged must be there.
    fn check(&mut self) -> Applies {
        let store = &self.is_up()?.store;
        let contents = Contents::read(store);
        let contents = contents.and_then(|mut c| c.same_in_pieces(store, PIECE).map(|()| c));
        self.take_records();
        let contents = match contents {
            Ok(contents) => contents,
            Err(e) => {
                self.died(&e);
                return Ok(());
            }
        };
        let (first, last) = (contents.first_index, contents.last_index);
        let died = What::died_of(&contents);
        self.record(What::Read(contents));
        if let Some(died) = died {
            self.close(died);
            return Ok(());
        }
        if self.recorder.violation().is_none() {
            let durable = self.recorder.model().node(NODE).store.durable_index();
            self.judged("ok", &format!("acked-durable       acked up to {durable}"));
            self.judged("ok", "no-resurrection");
            let extent = match first <= last {
                true => format!("{first}..{last}"),
                false => "none".to_owned(),
            };
            self.judged("ok", &format!("log-contiguous      {extent}"));
            self.judged("ok", "snapshot-covers-log");
            self.judged("ok", "recovery-idempotent");
        }
        Ok(())
    }

    /// A line of the judges, in the columns of the trace.
    fn judged(&mut self, how: &str, what: &str) {
        self.recorder.say(&format!("  {how:<16}{what}"));
    }

    fn kill(&mut self) {
        self.up = None;
        self.disk.kill();
        self.record(What::Killed);
    }

    /// Whether the operation came after which the process is to die.
    fn killed(&mut self) -> bool {
        if self.doom.take_if(|doom| doom.left == 0).is_none() {
            return false;
        }
        self.kill();
        true
    }

    fn died(&mut self, error: &Error) {
        self.close(What::Died {
            error: error.to_string(),
            excused: is_excused(error),
            corrupt: is_corruption(error),
        });
    }

    fn close(&mut self, why: What) {
        self.up = None;
        self.disk.kill();
        self.record(why);
    }

    /// Whether the armed power cut fired; then its fates are drawn.
    fn power_went(&mut self) -> bool {
        if !self.disk.crash_fired() {
            return false;
        }
        let Some((at, _)) = self.armed.take() else {
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
        self.settled = true;
        self.record(What::PowerCut(report));
    }

    fn report(mut self) -> RunReport {
        self.missed();
        let unmet = self.disk.disarm_fails();
        if unmet > 0 {
            self.judged("unmet", &format!("{unmet} armed failures"));
        }
        match self.recorder.violation().cloned() {
            Some(v) => {
                let detail = v.detail.strip_prefix("n1: ").unwrap_or(&v.detail);
                self.judged("FAIL", &format!("{:<19} {detail}", v.invariant.name()));
                self.recorder.say("FAIL");
            }
            None => self.recorder.say("PASS"),
        }
        self.recorder.into_report(self.plan, self.ops, 0)
    }
}
