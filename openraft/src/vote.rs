//! OpenRaft's vote in the engine's hard state.
//!
//! A vote is (term, node, committed), the hard state (term, number). The number
//! holds both of the others: the node's id times two, plus one if the vote is
//! committed. So the three are written in one sector, or not at all, and the
//! format stays what it is. A node's id must be below 2^63.

use afterimage_engine::{HardState, NodeId, Term};
use openraft::impls::leader_id_std::LeaderId;
use openraft::vote::RaftVote;
use std::io;

use crate::error::invalid_input;

pub(crate) fn to_hard_state<V>(vote: &V) -> io::Result<HardState>
where
    V: RaftVote<LeaderId = LeaderId<u64, u64>>,
{
    let leader = vote.leader_id();
    let node = leader.voted_for;
    let number = node
        .checked_mul(2)
        .ok_or_else(|| invalid_input(format!("node id {node}: must be below 2^63")))?;
    Ok(HardState {
        term: Term(leader.term),
        vote: Some(NodeId(number | u64::from(vote.is_committed()))),
    })
}

/// `None`: no vote was ever saved.
pub(crate) fn from_hard_state<V>(hard_state: HardState) -> Option<V>
where
    V: RaftVote<LeaderId = LeaderId<u64, u64>>,
{
    let NodeId(number) = hard_state.vote?;
    let leader = LeaderId {
        term: hard_state.term.0,
        voted_for: number >> 1,
    };
    Some(V::from_leader_id(leader, number & 1 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use openraft::Vote;

    type V = Vote<LeaderId<u64, u64>>;

    fn vote(term: u64, voted_for: u64, committed: bool) -> V {
        V::from_leader_id(LeaderId { term, voted_for }, committed)
    }

    #[test]
    fn a_vote_comes_back_as_it_was() {
        for node in [0, 1, 7, (1 << 63) - 1] {
            for committed in [false, true] {
                let saved = vote(5, node, committed);
                let hard_state = to_hard_state(&saved).unwrap();
                assert_eq!(from_hard_state(hard_state), Some(saved));
            }
        }
        assert_eq!(from_hard_state::<V>(HardState::default()), None);
    }

    #[test]
    fn a_node_id_that_does_not_fit_is_refused() {
        let error = to_hard_state(&vote(1, 1 << 63, false)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
