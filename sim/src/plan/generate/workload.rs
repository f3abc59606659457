//! Plans of the workloads that are explored by name: the same steps, with
//! crashes where chance puts them. What is too much to be explored can be
//! sampled.

use crate::disk::{CrashPoint, CrashTrigger, Pattern};
use crate::explore::store::Scenario;
use crate::plan::{Action, Plan, Step, StoreOp};
use crate::rng::SimRng;

/// Most steps have fewer mutating operations; so has an open.
const OPERATIONS_MAX: u64 = 12;

/// The workload with up to three crashes in it, one of them perhaps in the
/// recovery from another.
pub(super) fn draw(scenario: &Scenario, seed: u64) -> Plan {
    let mut rng = SimRng::new(seed, "plan/crashes");
    let workload = scenario.plan();
    let ops = workload.steps.iter().filter_map(|step| match &step.action {
        Action::Store(op) => Some(op.clone()),
        _ => None,
    });
    let mut ops: Vec<StoreOp> = ops.collect();
    for _ in 0..rng.between(1, 3) {
        let at = rng.below(ops.len() as u64 + 1) as usize;
        let mut inserted = end(&mut rng, at == ops.len());
        // What comes in between is the step itself, which is cut off.
        let rest = ops.split_off((at + 1).min(ops.len()));
        let during = ops.split_off(at.min(ops.len()));
        if let Some(StoreOp::Crash { .. } | StoreOp::KillAt { .. }) = inserted.last() {
            inserted.extend(during);
            inserted.push(StoreOp::Restart);
        } else {
            inserted.push(StoreOp::Restart);
            inserted.extend(during);
        }
        ops.extend(inserted);
        ops.extend(rest);
    }
    let cut = StoreOp::Cut { keep: None };
    ops.extend([StoreOp::Heal, cut, StoreOp::Restart, StoreOp::Check]);
    let steps = (1..).zip(ops).map(|(id, op)| Step {
        id,
        at_ms: 0,
        action: Action::Store(op),
    });
    Plan {
        seed,
        steps: steps.collect(),
        ..workload
    }
}

/// How a life ends: between two steps, or in the one that follows.
fn end(rng: &mut SimRng, between: bool) -> Vec<StoreOp> {
    let kill = rng.below(4) == 0;
    if between {
        return vec![match kill {
            true => StoreOp::Kill,
            false => StoreOp::Cut { keep: None },
        }];
    }
    let nth = rng.between(1, OPERATIONS_MAX);
    let pattern = Pattern::any();
    vec![match kill {
        true => StoreOp::KillAt { pattern, nth },
        false => StoreOp::Crash {
            trigger: CrashTrigger {
                pattern,
                nth,
                point: *rng.pick(&[CrashPoint::Before, CrashPoint::Mid, CrashPoint::After]),
            },
            keep: None,
        },
    }]
}
