//! One store, driven step by step by a plan: no cluster, no time, no madsim.
//! What a cluster run does to a store by chance is written down here, operation
//! by operation, and its trace read as a story.

mod data;
mod life;
mod moment;
mod operate;
mod outcome;
mod tasks;
mod up;

use std::sync::Arc;

use afterimage_engine::store::Options;
use afterimage_engine::{Index, NodeId};

use crate::check::Judges;
use crate::disk::{CrashTrigger, SimFs};
use crate::env::SimEnv;
use crate::mutants::MutantInfo;
use crate::plan::{Action, Plan, StoreOp};
use crate::recorder::Recorder;
use crate::report::RunReport;
use crate::rng::hash;
use crate::run::RunOptions;
use crate::trace::{Record, Style, What};
pub(crate) use data::entry;
use life::Doom;
pub(crate) use moment::{Moment, moments};
use up::Up;

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
        unsynced_bytes: cluster.unsynced_bytes,
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

impl Single {
    fn new(plan: &Plan, options: &RunOptions) -> Self {
        let disk = SimFs::with_profile(hash(&[plan.seed, 1]), plan.disk.profile);
        disk.record_ops(true);
        disk.short_io(plan.disk.short);
        disk.direct_io(plan.disk.direct);
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

    pub(super) fn record(&mut self, what: What) {
        self.recorder.record(&Record {
            time_us: self.ops,
            node: Some(NODE),
            what,
        });
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

    /// A line of the judges, in the columns of the trace.
    fn judged(&mut self, how: &str, what: &str) {
        self.recorder.say(&format!("  {how:<16}{what}"));
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
