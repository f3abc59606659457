//! Power cuts of which less is kept: what is not listed is lost.

use crate::disk::Keep;
use crate::plan::{Action, Plan, StoreOp};
use crate::report::RunReport;

/// For each power cut: with nothing kept, without half of it, without a quarter,
/// and so on down to each effect by itself.
pub(super) fn fewer_kept(failed: &RunReport) -> Vec<Plan> {
    let plan = &failed.resolved;
    let mut candidates = Vec::new();
    for (at, step) in plan.steps.iter().enumerate() {
        let Some(keep) = keep(&step.action) else {
            continue;
        };
        let units: Vec<_> = keep.units().collect();
        let mut chunk = units.len();
        while chunk > 0 {
            for (number, lost) in units.chunks(chunk).enumerate() {
                let (before, after) = (&units[..number * chunk], number * chunk + lost.len());
                let kept = before.iter().chain(&units[after..]).copied();
                let mut fewer = plan.clone();
                if let Some(keep) = keep_mut(&mut fewer.steps[at].action) {
                    *keep = kept.collect();
                }
                candidates.push(fewer);
            }
            chunk /= 2;
        }
    }
    candidates
}

/// With other fates: those that hash(seed, step id) gives.
pub(super) fn drawn_again(plan: &Plan) -> Plan {
    let mut other = plan.clone();
    for step in &mut other.steps {
        if let Action::Crash { keep, .. }
        | Action::Store(StoreOp::Crash { keep, .. } | StoreOp::Cut { keep }) = &mut step.action
        {
            *keep = None;
        }
    }
    other
}

/// What the kept effects of a power cut weigh.
pub(super) fn weight(action: &Action) -> u64 {
    keep(action).map_or(0, |keep| keep.units().count() as u64)
}

fn keep(action: &Action) -> Option<&Keep> {
    match action {
        Action::Crash { keep, .. } => keep.as_ref(),
        Action::Store(StoreOp::Crash { keep, .. } | StoreOp::Cut { keep }) => keep.as_ref(),
        _ => None,
    }
}

fn keep_mut(action: &mut Action) -> Option<&mut Keep> {
    match action {
        Action::Crash { keep, .. } => keep.as_mut(),
        Action::Store(StoreOp::Crash { keep, .. } | StoreOp::Cut { keep }) => keep.as_mut(),
        _ => None,
    }
}
