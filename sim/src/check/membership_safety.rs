//! membership-safety: who leads was voted for by a quorum, and what is committed
//! is durable on one, whatever the membership was at that time; that changes so
//! that quorums overlap, and counts as long as its entry is in the log; who was
//! removed leads no longer; and a snapshot has the membership as of its last entry
//! (Raft thesis, chapter 4 and 5.1).

use std::collections::BTreeMap;

use afterimage_engine::{
    EntryId, Event, HardState, Index, Membership, NodeId, Role, SnapshotMeta, Term,
};

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
    /// Entries that change the membership, and to which.
    changes: BTreeMap<EntryId, Membership>,
    /// A leader's change whose entry its store has not taken yet.
    proposed: BTreeMap<NodeId, (Index, Membership)>,
    /// The committed memberships, each by the index from which on it counts.
    history: BTreeMap<Index, Membership>,
}

impl Judge for MembershipSafety {
    fn record(&mut self, record: &Record, model: &Model) -> Result<(), Violation> {
        if let Some((index, membership)) = &model.members
            && !self.history.contains_key(index)
        {
            self.history.insert(*index, membership.clone());
        }
        let Some((id, node)) = model.node_of(record) else {
            return Ok(());
        };
        let found = match &record.what {
            What::Boot { .. } => {
                self.leaders.remove(&id);
                self.proposed.remove(&id);
                Ok(())
            }
            What::Engine(Event::Appended { entries }) => {
                self.appended(id, entries);
                Ok(())
            }
            What::Engine(Event::SnapshotSaved { meta } | Event::SnapshotInstalled { meta, .. }) => {
                self.stands_for(meta)
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
                let elected = self.elected(id, node, *term);
                elected.and_then(|()| self.goes_by_its_log(node))
            }
            What::Engine(Event::MembershipChanged { index, membership }) => {
                self.changes(id, node, *index, membership);
                match (self.leaders.get(&id), &node.membership) {
                    (Some(term), Some(former)) => changed(node, *term, former, membership),
                    _ => Ok(()),
                }
            }
            What::Engine(Event::Committed { index, .. }) if self.leaders.contains_key(&id) => {
                let quorum = committed(model, node, *index);
                quorum
                    .and_then(|()| self.goes_by_its_log(node))
                    .and_then(|()| takes_part(id, node))
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

    /// A leader's membership is new: that is its own entry of that index, which its
    /// store is about to take.
    fn changes(&mut self, id: NodeId, node: &NodeModel, index: Index, membership: &Membership) {
        if !self.leaders.contains_key(&id) {
            return;
        }
        match node.store.entry(index) {
            Some(entry) => drop(self.changes.insert(entry, membership.clone())),
            None => drop(self.proposed.insert(id, (index, membership.clone()))),
        }
    }

    fn appended(&mut self, id: NodeId, entries: &[EntryId]) {
        let proposed = self.proposed.get(&id).map(|(index, _)| *index);
        if let Some(entry) = entries.iter().find(|entry| Some(entry.index) == proposed)
            && let Some((_, membership)) = self.proposed.remove(&id)
        {
            self.changes.insert(*entry, membership);
        }
    }

    /// A membership counts from the moment its entry is in the log, committed or
    /// not, until it is truncated.
    fn goes_by_its_log(&self, node: &NodeModel) -> Result<(), String> {
        let Some((_, own)) = &node.membership else {
            return Ok(());
        };
        let mut newest_first = self.changes.iter().rev();
        let logged = newest_first.find(|(entry, _)| node.store.entry(entry.index) == Some(**entry));
        let logged = match logged {
            Some((entry, membership)) => Some((entry.index, membership)),
            None => self.as_of(node.store.snapshot_index()),
        };
        match logged {
            Some((index, membership)) if membership != own => Err(format!(
                "leads by {}, and its log has {} of index {index}",
                listed(own),
                listed(membership)
            )),
            _ => Ok(()),
        }
    }

    /// What a snapshot has for its members is what counted at its end. Who joined
    /// later was never told who began: up to the first change, it has nobody.
    fn stands_for(&self, meta: &SnapshotMeta) -> Result<(), String> {
        let Some((index, membership)) = self.as_of(meta.last_index) else {
            return Ok(());
        };
        let founders = self.history.first_key_value().map(|(_, first)| first);
        let unknown = Some(membership) == founders && meta.membership == Membership::default();
        if unknown || *membership == meta.membership {
            return Ok(());
        }
        Err(format!(
            "a snapshot up to {} has {}, but {} counts from {index} on",
            meta.last_index,
            listed(&meta.membership),
            listed(membership)
        ))
    }

    /// The committed membership that counts at `index`. `None` if the run did not
    /// say who takes part.
    fn as_of(&self, index: Index) -> Option<(Index, &Membership)> {
        let upto = self.history.range(..=index).next_back();
        upto.map(|(index, membership)| (*index, membership))
    }
}

/// Who is removed leads until that is committed, and commits nothing more.
fn takes_part(id: NodeId, node: &NodeModel) -> Result<(), String> {
    match &node.membership {
        Some((index, membership)) if *index <= node.commit && !membership.voters.contains(&id) => {
            Err(format!("leads on, though removed with index {index}"))
        }
        _ => Ok(()),
    }
}

fn listed(membership: &Membership) -> String {
    let ids = |ids: &[NodeId]| {
        ids.iter()
            .map(|id| format!("n{id}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    match membership.learners.is_empty() {
        true => format!("({})", ids(&membership.voters)),
        false => format!(
            "({} | {})",
            ids(&membership.voters),
            ids(&membership.learners)
        ),
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

    /// n1 leads in term 2, committed 2/2, and proposes to add n4 with 2/3, which n2
    /// has, too, and n3 has not.
    fn proposed() -> Stream {
        let own = leader().append(1, &[e(2, 2)]).durable(1, 2);
        let both = own.append(2, &[e(2, 2)]).durable(2, 2).committed(1, 2, 2);
        let changed = both.changed(1, 3, &[1, 2, 3, 4]).append(1, &[e(2, 3)]);
        let own = changed.durable(1, 3);
        own.append(2, &[e(2, 3)]).durable(2, 3)
    }

    #[test]
    fn a_change_counts_as_soon_as_it_is_in_the_log() {
        let next = |stream: Stream| {
            let voted = [1, 2, 3]
                .iter()
                .fold(stream, |stream, id| stream.hard_state(*id, 3, Some(2)));
            voted.role(2, 3, Leader)
        };
        next(proposed()).breaks(RULE);
        next(proposed().changed(2, 3, &[1, 2, 3, 4])).passes();
    }

    #[test]
    fn a_truncated_change_counts_no_more() {
        // n2 has lost the change to an entry of n3's, and leads after it.
        let replaced = || {
            let taken = proposed().changed(2, 3, &[1, 2, 3, 4]);
            let cut = taken.truncate(2, 3).append(2, &[e(3, 3)]);
            cut.truncated(2, 3).durable(2, 3)
        };
        let next = |stream: Stream| {
            let voted = [1, 2, 3]
                .iter()
                .fold(stream, |stream, id| stream.hard_state(*id, 4, Some(2)));
            voted.role(2, 4, Leader)
        };
        next(replaced()).breaks(RULE);
        next(replaced().changed(2, 0, &[1, 2, 3])).passes();
    }

    #[test]
    fn who_is_removed_leads_until_that_is_committed() {
        let left = || {
            let own = leader().append(1, &[e(2, 2)]).durable(1, 2);
            let both = own.append(2, &[e(2, 2)]).durable(2, 2).committed(1, 2, 2);
            let left = both.changed(1, 3, &[2, 3]).append(1, &[e(2, 3), e(2, 4)]);
            (2..=3).fold(left, |stream, id| {
                let first = if id == 2 { 3 } else { 2 };
                let entries: Vec<_> = (first..=4).map(|index| e(2, index)).collect();
                stream.append(id, &entries).durable(id, 4)
            })
        };
        left().committed(1, 3, 2).passes();
        left().committed(1, 4, 2).passes();
        left().committed(1, 3, 2).committed(1, 4, 2).breaks(RULE);
    }

    #[test]
    fn a_snapshot_has_the_members_of_its_end() {
        let committed = || {
            let known = proposed().append(3, &[e(2, 2), e(2, 3)]).durable(3, 3);
            known.committed(1, 3, 2)
        };
        let (three, four) = ([1, 2, 3], [1, 2, 3, 4]);
        committed().saved_with(1, (2, 2), &three).passes();
        committed().saved_with(1, (2, 2), &four).breaks(RULE);
        committed().saved_with(1, (3, 2), &four).passes();
        committed().saved_with(1, (3, 2), &three).breaks(RULE);
        // Who joins later does not know who began, but every change.
        committed().saved_with(1, (2, 2), &[]).passes();
        committed().saved_with(1, (3, 2), &[]).breaks(RULE);
    }
}
