//! Shorter runs of clusters. The steps of one store have no times.

use crate::plan::{Plan, STORE};
use crate::report::RunReport;

/// How much longer than its violation a run may last while it is being shrunk:
/// without a step, the same may happen later.
const LATER_TIMES: u64 = 2;
const LATER_MS: u64 = 1000;
/// A shorter time between two steps is not halved.
const GAP_MS: u64 = 20;

/// Without what was planned for later: it has not happened.
pub(super) fn after_the_violation(failed: &RunReport) -> Vec<Plan> {
    let plan = &failed.resolved;
    if plan.scenario == STORE {
        return Vec::new();
    }
    let mut shorter = longer(failed);
    shorter.cluster.duration_ms = shorter.cluster.duration_ms.min(plan.cluster.duration_ms);
    let [mut cut, mut cut_only] = [shorter, plan.clone()];
    for plan in [&mut cut, &mut cut_only] {
        plan.steps
            .retain(|step| step.at_ms * 1000 <= failed.simulated_us);
    }
    vec![cut, cut_only]
}

/// With time left after the violation.
pub(super) fn longer(failed: &RunReport) -> Plan {
    let mut plan = failed.resolved.clone();
    if plan.scenario != STORE {
        plan.cluster.duration_ms = failed.simulated_us / 1000 * LATER_TIMES + LATER_MS;
    }
    plan
}

/// With less time before a step, and so before all that follow.
pub(super) fn sooner(failed: &RunReport) -> Vec<Plan> {
    let plan = &failed.resolved;
    let mut candidates = Vec::new();
    let mut before = 0;
    for (at, step) in plan.steps.iter().enumerate() {
        let gap = step.at_ms.saturating_sub(before);
        before = step.at_ms.max(before);
        let half = if gap > GAP_MS { gap / 2 } else { gap };
        for less in [gap, half] {
            candidates.push(earlier(plan, at, less));
        }
    }
    candidates
}

/// With the steps from this one on so much earlier.
fn earlier(plan: &Plan, at: usize, less_ms: u64) -> Plan {
    let mut earlier = plan.clone();
    for step in &mut earlier.steps[at..] {
        step.at_ms = step.at_ms.saturating_sub(less_ms);
    }
    earlier
}

/// Healed right after the violation, or in the middle of the run.
pub(super) fn shorter(failed: &RunReport) -> Vec<Plan> {
    let plan = &failed.resolved;
    if plan.scenario == STORE {
        return Vec::new();
    }
    let right_after = failed.simulated_us / 1000 + 1;
    [right_after, plan.cluster.duration_ms / 2]
        .into_iter()
        .map(|duration_ms| {
            let mut shorter = plan.clone();
            shorter.cluster.duration_ms = duration_ms;
            shorter
        })
        .collect()
}
