//! The engine's own store, explored: a workload is a plan for one store.

mod life;
mod scenarios;
mod story;

use std::sync::Arc;

use afterimage_engine::store::Options;

use super::point::{End, Life, Place, Point};
use super::search::{Bounds, Counts, Found, Subject, search};
use crate::disk::SimFs;
use crate::mutants::MutantInfo;
use crate::plan::{Plan, StoreEntry};
use crate::report::RunReport;
use crate::run::RunOptions;
use crate::single;
use crate::verdict::{Verdict, Violation};
use life::{Broken, Promised};
pub use scenarios::{SCENARIOS, Scenario, find};

/// What an exploration came to.
#[derive(Debug)]
pub struct Explored {
    pub counts: Counts,
    pub violations: Vec<Counterexample>,
    /// Nothing was left out: it was not stopped, and did not find enough.
    pub complete: bool,
}

/// A broken rule, and the plan that shows it.
#[derive(Debug)]
pub struct Counterexample {
    pub violation: Violation,
    /// The crashes in their order, each with the place where it came.
    pub crashes: Vec<(Place, End)>,
    pub plan: Plan,
    /// What a replay of the plan comes to: to be the same.
    pub replayed: Verdict,
}

impl Counterexample {
    /// Where the power went, for people: `s3 before sync log-…, then …`.
    pub fn crash_point(&self) -> String {
        let mut parts = Vec::new();
        for (n, (place, end)) in self.crashes.iter().enumerate() {
            let how = match end {
                End::Cut(_) => "cut",
                End::Kill => "kill",
            };
            let part = match n {
                0 => format!("step {}: {how} {place}", place.step),
                _ => format!("then {how} {place}"),
            };
            parts.push(part);
        }
        match parts.is_empty() {
            true => "the workload itself".to_owned(),
            false => parts.join(", "),
        }
    }
}

/// The store under test.
struct Engine {
    options: Options,
    mutant: Option<&'static MutantInfo>,
}

impl Subject for Engine {
    type Must = Promised;
    type Fault = Broken;

    fn live(
        &self,
        disk: &SimFs,
        promised: &Promised,
        end: &End,
        wanted: bool,
    ) -> Life<Promised, Broken> {
        life::live(self, disk, promised, end, wanted)
    }
}

/// Tries every crash point of a workload with every state that a crash may
/// leave. `watch` is told of the progress, and says whether to go on.
///
/// # Panics
/// When `workload` is not a plan for one store.
pub fn explore(
    workload: &Plan,
    mutant: Option<&'static MutantInfo>,
    bounds: Bounds,
    watch: &mut dyn FnMut(&Counts) -> bool,
) -> Explored {
    assert_eq!(workload.scenario, crate::plan::STORE, "not for one store");
    let options = RunOptions {
        mutant,
        trace: None,
        history: false,
    };
    let (moments, report) = single::moments(workload, &options);
    if let Some(violation) = &report.violation {
        // It broke without a crash of ours.
        return Explored {
            counts: Counts::default(),
            violations: vec![counterexample(
                workload,
                &options,
                violation,
                Vec::new(),
                &[],
            )],
            complete: false,
        };
    }
    let engine = Engine {
        options: single::store_options(workload, mutant),
        mutant,
    };
    let searched = search(&engine, points(moments), bounds, watch);
    let tell = |found: Found<Broken>| {
        let crashes = found.trail.crashes();
        let Broken { violation, entries } = found.fault;
        counterexample(workload, &options, &violation, crashes, &entries)
    };
    Explored {
        counts: searched.counts,
        violations: searched.found.into_iter().map(tell).collect(),
        complete: searched.complete,
    }
}

fn points(moments: Vec<single::Moment>) -> Vec<Point<Promised>> {
    let mut last_step = 0;
    let mut nth = 0;
    let mut points: Vec<Point<Promised>> = Vec::new();
    for moment in moments {
        if moment.step != last_step {
            nth = 0;
            last_step = moment.step;
        }
        nth += 1;
        let place = match &moment.capture {
            Some(capture) => Place::of(moment.step, nth, capture),
            None => Place::end(moment.step + 1),
        };
        let promised = Promised::new(moment.judges, Arc::default());
        points.push(Point {
            place,
            disk: moment.disk,
            key: promised.fingerprint,
            must: promised,
        });
    }
    points
}

fn counterexample(
    workload: &Plan,
    options: &RunOptions,
    violation: &Violation,
    crashes: Vec<(Place, End)>,
    entries: &[Option<StoreEntry>],
) -> Counterexample {
    let plan = story::tell(workload, &crashes, entries);
    let report: RunReport = single::run(&plan, options);
    Counterexample {
        violation: violation.clone(),
        crashes,
        replayed: report.verdict,
        plan: report.resolved,
    }
}
