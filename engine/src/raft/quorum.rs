//! What a majority of the voters says. All counting of members stands here. Which
//! membership is the one to count by: see `members` and `change`.

use std::collections::BTreeMap;

use crate::entry::Membership;
use crate::ids::NodeId;
use crate::mutant::{Mutant, Mutants};

/// How an election stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tally {
    Won,
    /// A majority refused, or so many that no majority is left.
    Lost,
    Open,
}

pub(super) fn tally(
    membership: &Membership,
    votes: &BTreeMap<NodeId, bool>,
    mutants: Mutants,
) -> Tally {
    if holds(membership, mutants, |id| votes.get(&id) == Some(&true)) {
        Tally::Won
    } else if holds(membership, mutants, |id| votes.get(&id) != Some(&false)) {
        Tally::Open
    } else {
        Tally::Lost
    }
}

/// Whether `is` holds for a majority of the voters.
pub(super) fn holds(
    membership: &Membership,
    mutants: Mutants,
    is: impl Fn(NodeId) -> bool,
) -> bool {
    let count = electors(membership, mutants).filter(|&id| is(id)).count();
    2 * count > membership.voters.len()
}

/// The highest value that a majority of the voters has reached.
pub(super) fn reached(
    membership: &Membership,
    mutants: Mutants,
    value: impl Fn(NodeId) -> u64,
) -> u64 {
    let mut values: Vec<u64> = electors(membership, mutants).map(value).collect();
    // The highest first: so many of them are a majority.
    values.sort_unstable_by(|a, b| b.cmp(a));
    let majority = membership.voters.len() / 2 + 1;
    values.get(majority - 1).copied().unwrap_or(0)
}

/// Whose word counts, and who is asked for a vote: the voters alone.
pub(super) fn electors(membership: &Membership, mutants: Mutants) -> impl Iterator<Item = NodeId> {
    let count = mutants.has(Mutant::LearnersCount);
    let learners = membership.learners.iter().filter(move |_| count);
    membership.voters.iter().chain(learners).copied()
}

pub(super) fn is_voter(membership: &Membership, id: NodeId) -> bool {
    membership.voters.contains(&id)
}

pub(super) fn is_member(membership: &Membership, id: NodeId) -> bool {
    is_voter(membership, id) || membership.learners.contains(&id)
}

/// Everybody but `id`, voters first.
pub(super) fn others(membership: &Membership, id: NodeId) -> impl Iterator<Item = NodeId> {
    let members = membership.voters.iter().chain(&membership.learners);
    members.copied().filter(move |&other| other != id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(values: &[u64], expected: u64) {
        let membership = Membership {
            voters: (1..=values.len() as u64).map(NodeId).collect(),
            learners: vec![NodeId(99)],
        };
        let value = |id: NodeId| values[id.0 as usize - 1];
        let none = Mutants::NONE;
        assert_eq!(reached(&membership, none, value), expected, "{values:?}");
        // The two ways to count agree.
        assert!(holds(&membership, none, |id| value(id) >= expected));
        assert!(!holds(&membership, none, |id| value(id) > expected));
    }

    #[test]
    fn a_majority_has_reached_the_median() {
        check(&[7], 7);
        check(&[7, 3], 3);
        check(&[9, 3, 5], 5);
        check(&[9, 3, 5, 4], 4);
        check(&[1, 9, 9, 2, 9], 9);
        check(&[1, 9, 8, 2, 3], 3);
    }

    #[test]
    fn an_election_is_open_until_a_majority_is_won_or_out_of_reach() {
        let membership = Membership {
            voters: vec![NodeId(1), NodeId(2), NodeId(3), NodeId(4)],
            learners: vec![NodeId(5)],
        };
        let check = |votes: &[(u64, bool)], expected| {
            let votes = votes.iter().map(|&(id, vote)| (NodeId(id), vote)).collect();
            let found = tally(&membership, &votes, Mutants::NONE);
            assert_eq!(found, expected, "{votes:?}");
        };
        check(&[], Tally::Open);
        check(&[(1, true), (2, true)], Tally::Open);
        check(&[(1, true), (2, true), (5, true)], Tally::Open);
        check(&[(1, true), (2, true), (3, true)], Tally::Won);
        check(&[(1, true), (2, false)], Tally::Open);
        check(&[(1, true), (2, false), (3, false)], Tally::Lost);
    }
}
