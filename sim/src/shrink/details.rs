//! Simpler steps: lower numbers, no flags, a power cut before the operation.

use super::load::lower as lower_number;
use crate::disk::CrashPoint;
use crate::plan::{Action, Plan, StoreOp};
use crate::report::RunReport;

/// With one detail of one step less.
pub(super) fn lower(failed: &RunReport) -> Vec<Plan> {
    let plan = &failed.resolved;
    let mut candidates = Vec::new();
    for (at, step) in plan.steps.iter().enumerate() {
        let mut simpler = |edit: &dyn Fn(&mut Action)| {
            let mut plan = plan.clone();
            edit(&mut plan.steps[at].action);
            candidates.push(plan);
        };
        for (place, quantity) in step.action.quantities().into_iter().enumerate() {
            for lower in lower_number(quantity.value, quantity.least) {
                simpler(&|action| action.lower(place, lower));
            }
        }
        for point in [CrashPoint::Before, CrashPoint::Mid] {
            simpler(&|action| {
                if let Some(now) = point_mut(action) {
                    *now = point;
                }
            });
        }
    }
    candidates
}

/// What the point of a crash weighs.
pub(super) fn weight(action: &Action) -> u64 {
    match point_mut(&mut action.clone()) {
        None | Some(CrashPoint::Before) => 0,
        Some(CrashPoint::Mid) => 1,
        Some(CrashPoint::After) => 2,
    }
}

fn point_mut(action: &mut Action) -> Option<&mut CrashPoint> {
    match action {
        Action::Crash { point, .. } => Some(point),
        Action::Store(StoreOp::Crash { trigger, .. }) => Some(&mut trigger.point),
        _ => None,
    }
}
