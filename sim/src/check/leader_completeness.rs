//! leader-completeness: a leader has every entry committed in earlier terms
//! (Raft thesis, figure 3.2).

use std::collections::BTreeMap;

use afterimage_engine::{Event, Index, NodeId, Role, Term};

use super::{Judge, Model, NodeModel, broken};
use crate::trace::{Record, What};
use crate::verdict::{Invariant::LeaderCompleteness as RULE, Violation};

/// Looked at when a node becomes leader. An entry committed in a later term
/// than the leader's is no reproach: it won by votes that were given before.
///
/// And where a leader commits: by an entry of its own term only. One of an
/// older term may be on a quorum and still be replaced by a later leader
/// (thesis, 3.6.2; figure 8 of the paper), which luck alone hardly ever shows.
#[derive(Default, Clone)]
pub struct LeaderCompleteness {
    /// Who leads, in which term.
    leaders: BTreeMap<NodeId, Term>,
}

impl Judge for LeaderCompleteness {
    fn record(&mut self, record: &Record, model: &Model) -> Result<(), Violation> {
        let Some((id, node)) = model.node_of(record) else {
            return Ok(());
        };
        let found = match &record.what {
            What::Boot { .. } => {
                self.leaders.remove(&id);
                Ok(())
            }
            What::Engine(Event::RoleChanged { term, role, .. }) => {
                self.leaders.remove(&id);
                if *role != Role::Leader {
                    return Ok(());
                }
                self.leaders.insert(id, *term);
                check(model, node, *term)
            }
            What::Engine(Event::Committed { index, .. }) => match self.leaders.get(&id) {
                Some(term) => check_commit(node, *index, *term),
                None => Ok(()),
            },
            _ => Ok(()),
        };
        found.or_else(|what| broken(RULE, format!("n{id}: {what}")))
    }
}

fn check_commit(node: &NodeModel, index: Index, term: Term) -> Result<(), String> {
    match node.store.entry(index) {
        Some(entry) if entry.term != term => Err(format!(
            "the leader of term {term} commits by {}/{index}, of an older term",
            entry.term
        )),
        _ => Ok(()),
    }
}

fn check(model: &Model, node: &NodeModel, term: Term) -> Result<(), String> {
    let uncovered = node.store.snapshot_index().next();
    for (index, committed) in model.committed.iter_from(uncovered) {
        if committed.term >= term {
            continue;
        }
        match node.store.entry(index) {
            Some(entry) if entry == committed.entry => {}
            Some(entry) => {
                return Err(format!(
                    "{}/{index} was committed, its log has {}/{index}",
                    committed.entry.term, entry.term
                ));
            }
            None => {
                return Err(format!(
                    "{}/{index} was committed, its log ends at {}",
                    committed.entry.term,
                    node.store.last_index()
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use afterimage_engine::Role::Leader;

    use super::super::testing::*;
    use super::RULE;

    fn start() -> Stream {
        Stream::new()
            .append(1, &[e(1, 1), e(1, 2)])
            .committed(1, 2, 1)
    }

    #[test]
    fn a_leader_has_what_was_committed() {
        let full = || start().append(2, &[e(1, 1), e(1, 2)]);
        full().role(2, 2, Leader).passes();
        full().append(2, &[e(2, 3)]).role(2, 2, Leader).passes();
        start()
            .append(2, &[e(1, 1)])
            .role(2, 2, Leader)
            .breaks(RULE);
        start()
            .append(2, &[e(1, 1), e(2, 2)])
            .role(2, 2, Leader)
            .breaks(RULE);
    }

    #[test]
    fn a_leader_commits_by_an_entry_of_its_own_term() {
        let leader = || Stream::new().append(1, &[e(1, 1)]).role(1, 2, Leader);
        leader().append(1, &[e(2, 2)]).committed(1, 2, 2).passes();
        leader().committed(1, 1, 2).breaks(RULE);
    }

    #[test]
    fn a_snapshot_is_as_good_as_the_entries() {
        start()
            .installed(2, 2, 1, false)
            .role(2, 2, Leader)
            .passes();
        start()
            .installed(2, 1, 1, false)
            .role(2, 2, Leader)
            .breaks(RULE);
    }

    #[test]
    fn later_terms_are_no_reproach() {
        let late = |term| {
            Stream::new()
                .append(1, &[e(1, 1), e(3, 2)])
                .committed(1, 2, 3)
                .append(2, &[e(1, 1)])
                .role(2, term, Leader)
        };
        late(2).passes();
        late(4).breaks(RULE);
    }
}
