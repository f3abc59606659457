//! Fewer steps.

use crate::plan::Plan;
use crate::report::RunReport;

/// Without each chunk of so many steps; from the last to the first, as a step
/// builds on those before it.
pub(super) fn fewer(failed: &RunReport, chunk: usize) -> Vec<Plan> {
    let plan = &failed.resolved;
    let mut candidates = Vec::new();
    let mut end = plan.steps.len();
    while end > 0 {
        let start = end.saturating_sub(chunk);
        candidates.push(with(plan, |at| !(start..end).contains(&at)));
        end = start;
    }
    candidates
}

/// Where one step less does not lead on: with a few that follow one another
/// alone; without any two. A step less moves all that comes later, so each is
/// tried with more time, and with fates that fit what is pending then.
pub(super) fn far_fewer(failed: &RunReport) -> Vec<Plan> {
    let plan = &super::time::longer(failed);
    let n = plan.steps.len();
    let mut candidates = Vec::new();
    for length in 1..n {
        for start in 0..=n - length {
            let few = with(plan, |at| (start..start + length).contains(&at));
            candidates.extend([super::fates::drawn_again(&few), few]);
        }
    }
    for first in 0..n {
        for second in first + 1..n {
            let fewer = with(plan, |at| at != first && at != second);
            candidates.extend([super::fates::drawn_again(&fewer), fewer]);
        }
    }
    candidates
}

fn with(plan: &Plan, stays: impl Fn(usize) -> bool) -> Plan {
    let mut fewer = plan.clone();
    let steps = plan.steps.iter().enumerate();
    let steps = steps.filter(|(at, _)| stays(*at));
    fewer.steps = steps.map(|(_, step)| step.clone()).collect();
    fewer
}
