//! Shrinking by rules made up for the purpose, and of a store with planted bugs.

mod rules;
mod store;

use super::{Shrunk, Tried, shrink};
use crate::plan::Plan;
use crate::report::RunReport;
use crate::verdict::{Invariant, Verdict};

const BROKEN: Verdict = Verdict::Fail(Invariant::AckedDurable);

/// Shrinks the plan of a failed run, one candidate at a time.
fn shrunk(failed: RunReport, budget: u64, mut run: impl FnMut(&Plan) -> RunReport) -> Shrunk {
    let verdict = failed.verdict;
    shrink(failed, budget, &mut |candidates| {
        for (at, candidate) in candidates.iter().enumerate() {
            let report = run(candidate);
            if report.verdict == verdict {
                let report = Box::new(report);
                return Tried::Failed { at, report };
            }
        }
        Tried::Passed
    })
}

/// A run of one millisecond a step that came to this.
fn report(plan: &Plan, verdict: Verdict) -> RunReport {
    RunReport {
        history: None,
        verdict,
        violation: None,
        digest: 0,
        events: 0,
        simulated_us: 1000 + plan.steps.iter().map(|s| s.at_ms * 1000).max().unwrap_or(0),
        fs_ops: 0,
        messages: 0,
        crashes: 0,
        kills: 0,
        elections: 0,
        client_ops: 0,
        faults: Default::default(),
        sometimes: Default::default(),
        kinds: Default::default(),
        watermarks: Default::default(),
        resolved: plan.clone(),
        trace: None,
    }
}
