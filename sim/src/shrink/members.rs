//! Fewer members. A step that names one that is gone goes too.

use std::collections::BTreeMap;

use afterimage_engine::NodeId;

use crate::plan::{Action, Plan, STORE, Side, Step, Target};
use crate::report::RunReport;

/// With one member, with two, and so on, of those that the steps name most;
/// without each member.
pub(super) fn fewer(failed: &RunReport) -> Vec<Plan> {
    let plan = &failed.resolved;
    if plan.scenario == STORE {
        return Vec::new();
    }
    let first: Vec<NodeId> = (1..=u64::from(plan.cluster.nodes)).map(NodeId).collect();
    let mut most = first.clone();
    most.sort_by_key(|id| std::cmp::Reverse(named(plan, *id)));
    let few = (1..first.len()).map(|n| with(plan, &most[..n]));
    let without = |gone: &NodeId| {
        let left: Vec<NodeId> = first.iter().filter(|id| *id != gone).copied().collect();
        with(plan, &left)
    };
    let without = first.iter().rev().map(without);
    match first.len() {
        0 | 1 => Vec::new(),
        _ => few.chain(without).collect(),
    }
}

/// In how many steps the member occurs.
fn named(plan: &Plan, id: NodeId) -> usize {
    let names = |step: &&Step| match (&step.action, target(&step.action)) {
        (_, Some(target)) => target == Target::Node(id),
        (Action::Partition { side, .. } | Action::Lose { from: side, .. }, _) => match side {
            Side::Nodes(nodes) => nodes.contains(&id),
            Side::Leader | Side::LeaderMinority => false,
        },
        _ => false,
    };
    plan.steps.iter().filter(names).count()
}

/// With these members alone, numbered again.
fn with(plan: &Plan, members: &[NodeId]) -> Plan {
    let mut left = members.to_vec();
    left.sort_unstable();
    let new: BTreeMap<NodeId, NodeId> = left.into_iter().zip((1..).map(NodeId)).collect();
    let mut fewer = plan.clone();
    fewer.cluster.nodes = members.len() as u32;
    fewer
        .steps
        .retain_mut(|step| rename(&mut step.action, &new));
    fewer
}

/// Whether the action still makes sense.
fn rename(action: &mut Action, new: &BTreeMap<NodeId, NodeId>) -> bool {
    if let Action::Partition {
        side: Side::Nodes(nodes),
        ..
    } = action
    {
        *nodes = nodes.iter().filter_map(|id| new.get(id)).copied().collect();
        return (1..new.len()).contains(&nodes.len());
    }
    if let Action::Lose { from, to, .. } = action {
        let sides = std::iter::once(from).chain(to);
        return sides.fold(true, |makes_sense, side| {
            let Side::Nodes(nodes) = side else {
                return makes_sense;
            };
            *nodes = nodes.iter().filter_map(|id| new.get(id)).copied().collect();
            makes_sense && !nodes.is_empty()
        });
    }
    match target_mut(action) {
        Some(Target::Node(id)) => match new.get(id) {
            Some(new) => {
                *id = *new;
                true
            }
            None => false,
        },
        _ => true,
    }
}

fn target(action: &Action) -> Option<Target> {
    target_mut(&mut action.clone()).copied()
}

fn target_mut(action: &mut Action) -> Option<&mut Target> {
    match action {
        Action::Crash { target, .. }
        | Action::Kill { target, .. }
        | Action::Fail { target, .. }
        | Action::Full { target, .. }
        | Action::Evict { target }
        | Action::Damage { target, .. }
        | Action::Await { target, .. }
        | Action::Slow { target, .. } => Some(target),
        Action::Partition { .. }
        | Action::Lose { .. }
        | Action::Mend { .. }
        | Action::Heal
        | Action::Store(_) => None,
    }
}
