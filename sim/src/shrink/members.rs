//! Fewer members. A step that names one that is gone goes too.

use std::collections::BTreeMap;

use afterimage_engine::NodeId;

use crate::plan::{Action, Plan, STORE, Side, Step, Target};
use crate::report::RunReport;

/// With one member, with two, and so on, of those that the steps name most;
/// without each member, and each spare.
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
    let spares = spares(plan).rev().map(|gone| without_spare(plan, gone));
    match first.len() {
        0 | 1 => spares.collect(),
        _ => few.chain(without).chain(spares).collect(),
    }
}

fn spares(plan: &Plan) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
    let nodes = u64::from(plan.cluster.nodes);
    (nodes + 1..=nodes + u64::from(plan.cluster.spares)).map(NodeId)
}

fn without_spare(plan: &Plan, gone: NodeId) -> Plan {
    let founders = (1..=u64::from(plan.cluster.nodes)).map(NodeId);
    let left = founders.chain(spares(plan).filter(|id| *id != gone));
    let mut fewer = renamed(plan, left);
    fewer.cluster.spares -= 1;
    fewer
}

/// In how many steps the member occurs.
fn named(plan: &Plan, id: NodeId) -> usize {
    let names = |step: &&Step| match (&step.action, step.action.target()) {
        (_, Some(target)) => target == Target::Node(id),
        (Action::Partition { side, .. } | Action::Lose { from: side, .. }, _) => match side {
            Side::Nodes(nodes) => nodes.contains(&id),
            Side::Bridge(bridge) => *bridge == id,
            Side::Leader | Side::LeaderMinority | Side::Ring => false,
        },
        _ => false,
    };
    plan.steps.iter().filter(names).count()
}

/// With these members alone, and all spares.
fn with(plan: &Plan, members: &[NodeId]) -> Plan {
    let mut left = members.to_vec();
    left.sort_unstable();
    let mut fewer = renamed(plan, left.into_iter().chain(spares(plan)));
    fewer.cluster.nodes = members.len() as u32;
    fewer
}

/// With the steps for these nodes alone, numbered again.
fn renamed(plan: &Plan, left: impl Iterator<Item = NodeId>) -> Plan {
    let new: BTreeMap<NodeId, NodeId> = left.zip((1..).map(NodeId)).collect();
    let mut fewer = plan.clone();
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
    if let Action::Partition {
        side: Side::Bridge(id),
        ..
    } = action
    {
        let renamed = new.get(id).map(|new| *id = *new);
        return renamed.is_some();
    }
    match action.target_mut() {
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
