//! A row of crashes that broke a rule, as a plan that a replay carries out.

use crate::disk::{CrashPoint, CrashTrigger, Pattern};
use crate::explore::point::{End, Place};
use crate::plan::{Action, Plan, Step, StoreEntry, StoreOp};

use super::life::{APPEND, OPEN};

/// The workload up to the first crash, the lives up to the others, and the one
/// in which it showed.
///
/// `entries` has what each life appended, or would have: one for each crash.
pub(super) fn tell(
    workload: &Plan,
    crashes: &[(Place, End)],
    entries: &[Option<StoreEntry>],
) -> Plan {
    let mut teller = Teller { ops: Vec::new() };
    let mut steps: Vec<StoreOp> = workload.steps.iter().filter_map(store_op).collect();
    if crashes.is_empty() {
        return renumbered(workload, steps);
    }
    let is_fault = |op: &StoreOp| matches!(op, StoreOp::Fail(_) | StoreOp::Full { .. });
    let has_faults = steps.iter().any(is_fault);
    // The open with which a plan begins that does not say so.
    let opens = !matches!(steps.first(), Some(StoreOp::Restart));
    if opens {
        steps.insert(0, StoreOp::Restart);
    }
    for (n, (place, end)) in crashes.iter().enumerate() {
        let life = match n.checked_sub(1) {
            None => std::mem::take(&mut steps),
            Some(before) => life(entries[before]),
        };
        // Of a workload that opens by itself, its first step is number 1.
        let step = place.step - usize::from(n == 0 && !opens);
        teller.lived(&life, step, place, end);
        // The faults of the workload end with it.
        if n == 0 && has_faults {
            teller.ops.push(StoreOp::Heal);
        }
    }
    let last = entries.last().copied().flatten();
    teller.ops.extend(life(last));
    teller.ops.push(StoreOp::Check);
    let mut ops = teller.ops;
    // A first open that ends well is not worth a step.
    if opens && matches!(ops.first(), Some(StoreOp::Restart)) {
        ops.remove(0);
    }
    renumbered(workload, ops)
}

/// What a store does after a crash.
fn life(entry: Option<StoreEntry>) -> Vec<StoreOp> {
    let mut ops = vec![StoreOp::Restart];
    debug_assert_eq!((OPEN, APPEND), (0, 1));
    ops.extend(entry.map(|entry| StoreOp::Append {
        entries: vec![entry],
        unsynced: false,
    }));
    ops
}

struct Teller {
    ops: Vec<StoreOp>,
}

impl Teller {
    fn lived(&mut self, life: &[StoreOp], step: usize, place: &Place, end: &End) {
        let step = step.min(life.len());
        self.ops.extend(life[..step].iter().cloned());
        let during = life.get(step).filter(|_| !place.is_end());
        let pattern = Pattern::any();
        match (end, during) {
            (End::Cut(keep), Some(op)) => {
                let trigger = CrashTrigger {
                    pattern,
                    nth: place.nth,
                    point: CrashPoint::Before,
                };
                let keep = Some(keep.clone());
                self.ops.push(StoreOp::Crash { trigger, keep });
                self.ops.push(op.clone());
            }
            (End::Cut(keep), None) => self.ops.push(StoreOp::Cut {
                keep: Some(keep.clone()),
            }),
            (End::Kill, Some(op)) if place.nth > 1 => {
                let nth = place.nth - 1;
                self.ops.push(StoreOp::KillAt { pattern, nth });
                self.ops.push(op.clone());
            }
            (End::Kill, _) => self.ops.push(StoreOp::Kill),
        }
    }
}

fn store_op(step: &Step) -> Option<StoreOp> {
    match &step.action {
        Action::Store(op) => Some(op.clone()),
        _ => None,
    }
}

fn renumbered(workload: &Plan, ops: Vec<StoreOp>) -> Plan {
    let steps = (1..).zip(ops).map(|(id, op)| Step {
        id,
        at_ms: 0,
        action: Action::Store(op),
    });
    Plan {
        steps: steps.collect(),
        ..workload.clone()
    }
}
