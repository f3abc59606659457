//! How large a plan is: what it costs to read.

use super::load::CLIENTS;
use crate::plan::{Action, Plan, StoreEntry, StoreOp};

/// Compared field by field. Each candidate that is taken is smaller than the
/// one before, so that shrinking ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size {
    pub steps: usize,
    pub nodes: u32,
    /// Not at their defaults.
    settings: usize,
    /// The sum of all other numbers.
    weight: u64,
}

/// Settings that are smaller when they are lower, and have no default that one
/// would go back to.
pub(super) const COUNTED: &[&str] = &["nodes", "spares", "duration_ms", CLIENTS[0], CLIENTS[1]];

impl Size {
    pub fn of(plan: &Plan) -> Size {
        let workload = &plan.workload;
        let load = u64::from(workload.clients) + u64::from(workload.readers);
        let steps = plan.steps.iter();
        let steps: u64 = steps.map(|step| step.at_ms + weight(&step.action)).sum();
        Size {
            steps: plan.steps.len(),
            nodes: plan.cluster.nodes + plan.cluster.spares,
            settings: plan.settings(COUNTED).len(),
            weight: plan.cluster.duration_ms + load + steps,
        }
    }
}

fn weight(action: &Action) -> u64 {
    let quantities = action.quantities().into_iter();
    let numbers: u64 = quantities.map(|quantity| quantity.value).sum();
    let rest = match action {
        Action::Store(StoreOp::Append { entries, .. }) => entries.iter().map(entry).sum(),
        _ => 0,
    };
    numbers + rest + super::fates::weight(action) + super::details::weight(action)
}

fn entry(entry: &StoreEntry) -> u64 {
    1 + entry.term.0 + entry.index.0 + entry.bytes
}
