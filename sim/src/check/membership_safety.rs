//! membership-safety: who leads was voted for by a quorum, and what is committed
//! is durable on one, whatever the membership was at that time; and that changes
//! so that quorums overlap (Raft thesis, chapter 4).

use std::collections::BTreeMap;

use afterimage_engine::{Event, HardState, Index, Membership, NodeId, Role, Term};

use super::{Harm, Judge, Model, NodeModel, broken};
use crate::trace::{Record, What};
use crate::verdict::{Invariant::MembershipSafety as RULE, Violation};

/// Looked at where it is decided, not where it hurts: two disjoint quorums need
/// much bad luck until they contradict each other.
#[derive(Default, Clone)]
pub struct MembershipSafety {
    /// Who leads, in which term.
    leaders: BTreeMap<NodeId, Term>,
    /// Durable votes: by term, whom each node votes for.
    votes: BTreeMap<Term, BTreeMap<NodeId, NodeId>>,
}

impl Judge for MembershipSafety {
    fn record(&mut self, record: &Record, model: &Model) -> Result<(), Violation> {
        let Some((id, node)) = model.node_of(record) else {
            return Ok(());
        };
        let found = match &record.what {
            What::Boot { .. } => {
                self.leaders.remove(&id);
                Ok(())
            }
            What::Up(contents) => {
                self.vote(id, contents.hard_state);
                Ok(())
            }
            What::Engine(Event::HardStateDurable { hard_state }) => {
                self.vote(id, *hard_state);
                Ok(())
            }
            What::Engine(Event::RoleChanged { term, role, .. }) => {
                self.leaders.remove(&id);
                if *role != Role::Leader {
                    return Ok(());
                }
                self.leaders.insert(id, *term);
                self.elected(id, node, *term)
            }
            What::Engine(Event::MembershipChanged { membership, .. }) => {
                match (self.leaders.get(&id), &node.membership) {
                    (Some(term), Some(former)) => changed(node, *term, former, membership),
                    _ => Ok(()),
                }
            }
            What::Engine(Event::Committed { index, .. }) if self.leaders.contains_key(&id) => {
                committed(model, node, *index)
            }
            _ => Ok(()),
        };
        found.or_else(|what| broken(RULE, format!("n{id}: {what}")))
    }
}

impl MembershipSafety {
    fn vote(&mut self, id: NodeId, HardState { term, vote }: HardState) {
        if let Some(candidate) = vote {
            self.votes.entry(term).or_default().insert(id, candidate);
        }
    }

    fn elected(&self, id: NodeId, node: &NodeModel, term: Term) -> Result<(), String> {
        let votes = self.votes.get(&term);
        let voted = |voter: NodeId| votes.and_then(|votes| votes.get(&voter)) == Some(&id);
        match &node.membership {
            Some((_, membership)) if !is_quorum(membership, voted) => Err(format!(
                "leads in term {term} without the votes of a quorum"
            )),
            _ => Ok(()),
        }
    }
}

/// A leader proposes another membership, which counts at once.
fn changed(
    node: &NodeModel,
    term: Term,
    (former_at, former): &(Index, Membership),
    next: &Membership,
) -> Result<(), String> {
    if !quorums_overlap(&former.voters, &next.voters) {
        return Err("a quorum of the new membership shares nobody with one of the former".into());
    }
    if *former_at > node.commit {
        return Err(format!(
            "changes the membership of index {former_at}, committed is {}",
            node.commit
        ));
    }
    // Two leaders' changes of the same membership may be two servers apart.
    match node.store.term(node.commit) {
        Some(committed) if committed < term => Err(format!(
            "changes the membership in term {term} without a committed entry of it"
        )),
        _ => Ok(()),
    }
}

/// A leader commits: a quorum has the entry, durable. A voter whose disk went bad
/// had it once, perhaps.
fn committed(model: &Model, node: &NodeModel, index: Index) -> Result<(), String> {
    let Some((_, membership)) = &node.membership else {
        return Ok(());
    };
    let entry = node.store.entry(index);
    let has = |id: NodeId| {
        let other = model.node(id);
        let store = &other.store;
        let same = store.snapshot_index() >= index || store.entry(index) == entry;
        other.harm != Harm::None || (store.durable_index() >= index && same)
    };
    if is_quorum(membership, has) {
        return Ok(());
    }
    Err(format!("commits {index}, which is not on a quorum"))
}

fn is_quorum(membership: &Membership, is: impl Fn(NodeId) -> bool) -> bool {
    let voters = &membership.voters;
    voters.iter().filter(|id| is(**id)).count() * 2 > voters.len()
}

/// Whether every majority of the one set shares a member with every majority of
/// the other: each first takes those that the other does not have.
fn quorums_overlap(one: &[NodeId], other: &[NodeId]) -> bool {
    let common = one.iter().filter(|id| other.contains(id)).count();
    let shared = |set: &[NodeId]| {
        let majority = set.len() / 2 + 1;
        majority.saturating_sub(set.len() - common)
    };
    shared(one) + shared(other) > common
}

#[cfg(test)]
mod tests {
    use afterimage_engine::NodeId;
    use afterimage_engine::Role::Leader;

    use super::super::testing::*;
    use super::{RULE, quorums_overlap};

    #[test]
    fn quorums_overlap_one_server_apart() {
        #[track_caller]
        fn check(one: &[u64], other: &[u64], expected: bool) {
            let ids = |ids: &[u64]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
            let (one, other) = (ids(one), ids(other));
            assert_eq!(quorums_overlap(&one, &other), expected);
            assert_eq!(quorums_overlap(&other, &one), expected);
        }
        for n in 2..8 {
            let set: Vec<u64> = (1..=n).collect();
            check(&set, &set, true);
            check(&set, &set[1..], true);
        }
        check(&[1, 2, 3], &[1, 2, 4], false);
        check(&[1, 2, 3], &[1, 2, 3, 4, 5], false);
        check(&[1, 2, 3, 4], &[1, 2, 3, 5], true);
        check(&[1], &[2], false);
    }

    /// n1 leads {n1, n2, n3} in term 2, voted for by n2, with 1/1 in its log.
    fn leader() -> Stream {
        elected(&[1, 2])
    }

    fn elected(by: &[u64]) -> Stream {
        let mut stream = Stream::new().members(&[1, 2, 3]);
        for id in 1..=3 {
            stream = stream.boot(id).up(id, empty()).append(id, &[e(1, 1)]);
            stream = stream.durable(id, 1);
        }
        for id in by {
            stream = stream.hard_state(*id, 2, Some(1));
        }
        stream.role(1, 2, Leader)
    }

    #[test]
    fn a_leader_has_the_votes_of_a_quorum() {
        elected(&[2, 3]).passes();
        elected(&[1]).breaks(RULE);
    }

    #[test]
    fn what_is_committed_is_on_a_quorum() {
        let own = || leader().append(1, &[e(2, 2)]).durable(1, 2);
        own().committed(1, 2, 2).breaks(RULE);
        let two = || own().append(2, &[e(2, 2)]);
        two().committed(1, 2, 2).breaks(RULE);
        two().durable(2, 2).committed(1, 2, 2).passes();
        own().installed(2, 2, 2, false).committed(1, 2, 2).passes();
        let other = || own().append(2, &[e(1, 2)]).durable(2, 2);
        other().committed(1, 2, 2).breaks(RULE);
        // A disk that went bad may have had it.
        own().rotten(2).committed(1, 2, 2).passes();
    }

    #[test]
    fn a_leader_that_left_does_not_count() {
        let both = || {
            let own = leader().append(1, &[e(2, 2)]).durable(1, 2);
            own.append(2, &[e(2, 2)]).durable(2, 2).committed(1, 2, 2)
        };
        let left = || {
            let left = both().changed(1, 3, &[2, 3]).append(1, &[e(2, 3)]);
            left.durable(1, 3).append(2, &[e(2, 3)]).durable(2, 3)
        };
        left().committed(1, 3, 2).breaks(RULE);
        let third = || left().append(3, &[e(2, 2), e(2, 3)]);
        third().durable(3, 3).committed(1, 3, 2).passes();
    }

    #[test]
    fn one_change_at_a_time_and_after_an_own_commit() {
        leader().changed(1, 2, &[1, 2, 3, 4]).breaks(RULE);
        let ready = || {
            let own = leader().append(1, &[e(2, 2)]).durable(1, 2);
            own.append(2, &[e(2, 2)]).durable(2, 2).committed(1, 2, 2)
        };
        let changed = || ready().changed(1, 3, &[1, 2, 3, 4]).append(1, &[e(2, 3)]);
        changed().passes();
        changed().changed(1, 4, &[1, 2, 3, 4, 5]).breaks(RULE);
        ready().changed(1, 3, &[1, 2, 3, 4, 5]).breaks(RULE);
        // A follower takes what it is sent, and gives back what is truncated.
        let followed = || ready().changed(3, 3, &[1, 2, 3, 4, 5]);
        followed().changed(3, 0, &[1, 2, 3]).passes();
    }
}
