//! state-machine-safety: a follower commits no further than its leader showed
//! it (Raft, figure 2: min(leaderCommit, index of last new entry)).
//!
//! An entry behind that may be a stale one that the leader is about to replace.
//! Luck alone hardly ever shows the difference, so the rule itself is judged.

use std::collections::BTreeMap;

use afterimage_engine::raft::Body;
use afterimage_engine::{Event, Index, NodeId, Role, Term};

use super::{Judge, Model, broken};
use crate::trace::{Record, What};
use crate::verdict::{Invariant::StateMachineSafety as RULE, Violation};

#[derive(Default, Clone)]
pub struct FollowerCommit {
    /// How far the appends of a term's leader to a node reached: an upper bound
    /// of what the node can have compared.
    shown: BTreeMap<(NodeId, Term), Index>,
    /// The term that a node that does not lead is known to be in, at least.
    followers: BTreeMap<NodeId, Term>,
}

impl Judge for FollowerCommit {
    fn record(&mut self, record: &Record, model: &Model) -> Result<(), Violation> {
        let Some((id, node)) = model.node_of(record) else {
            return Ok(());
        };
        match &record.what {
            What::Engine(Event::RoleChanged { term, role, .. }) => {
                self.followers.remove(&id);
                if *role != Role::Leader {
                    self.followers.insert(id, *term);
                    // A restart goes back to the term that is durable, and to
                    // what its leader has shown.
                    self.forget_below(id, node.store.hard_state().term.min(*term));
                }
                Ok(())
            }
            What::Engine(Event::Committed { index, .. }) => {
                let Some(term) = self.followers.get(&id) else {
                    return Ok(());
                };
                let terms = (id, *term)..=(id, Term(u64::MAX));
                let shown = self.shown.range(terms).map(|(_, index)| *index).max();
                // What a snapshot brought needs no comparison.
                let shown = shown.unwrap_or_default().max(node.store.snapshot_index());
                if *index > shown {
                    let what = format!("n{id}: commits {index}, its leader showed {shown}");
                    return broken(RULE, what);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn message(&mut self, record: &Record, _: &Model) -> Result<(), Violation> {
        if let What::Sent(message) = &record.what
            && let Body::Append {
                prev_index,
                entries,
                ..
            } = &message.body
        {
            let end = *prev_index + entries.len() as u64;
            let key = (message.to, message.term);
            let shown = self.shown.entry(key).or_default();
            *shown = end.max(*shown);
        }
        Ok(())
    }
}

impl FollowerCommit {
    fn forget_below(&mut self, id: NodeId, term: Term) {
        self.shown
            .retain(|(node, shown_in), _| *node != id || *shown_in >= term);
    }
}

#[cfg(test)]
mod tests {
    use afterimage_engine::Role::Follower;
    use afterimage_engine::raft::Body;
    use afterimage_engine::{Index, Term};

    use super::super::testing::*;
    use super::RULE;

    #[test]
    fn a_follower_commits_what_it_was_shown() {
        let start = || {
            Stream::new()
                .append(1, &[e(1, 1), e(1, 2), e(1, 3)])
                .role(1, 2, Follower)
                .hard_state(2, 2, None)
                .sent(2, 1, 2, up_to(2))
        };
        fn up_to(index: u64) -> Body {
            Body::Append {
                prev_index: Index(index),
                prev_term: Term(1),
                commit: Index(3),
                entries: Vec::new(),
            }
        }
        start().committed(1, 2, 2).passes();
        start().committed(1, 3, 2).breaks(RULE);
        // What the leader of an earlier term showed does not count.
        start().role(1, 3, Follower).committed(1, 2, 3).breaks(RULE);
        // It does again after a restart that has forgotten the later one.
        let back = start()
            .hard_state(1, 2, None)
            .role(1, 3, Follower)
            .boot(1)
            .up(1, voted(log(&[e(1, 1), e(1, 2), e(1, 3)]), 2, None))
            .role(1, 2, Follower);
        back.clone().committed(1, 2, 2).passes();
        back.committed(1, 3, 2).breaks(RULE);
    }
}
