//! The leadership changes hands on request (Raft thesis, 3.10): the leader takes
//! no more proposals, brings the target up to date and tells it to campaign at
//! once. The target's votes are granted in spite of a live leader, since that
//! leader wants it so.

use super::change::Refused;
use super::core::{NotLeader, Raft, State};
use super::leader::Leader;
use super::view::View;
use super::{Body, LogView};
use crate::error::Result;
use crate::ids::NodeId;
use crate::mutant::Mutant;
use crate::sometimes::sometimes;

use super::quorum;

/// A leadership on its way to another member.
#[derive(Debug)]
pub(super) struct Handover {
    pub(super) to: NodeId,
    /// After an election timeout the leader goes on: the target may be dead.
    elapsed_ticks: u32,
    /// The target was told. Once is enough: whether it won or the message got
    /// lost, time tells.
    told: bool,
}

impl Raft {
    /// Hands the leadership to `to`, a voter. Proposals are refused until it
    /// has it, or for an election timeout. Reads go on: each still asks a quorum.
    pub fn transfer_leadership(&mut self, to: NodeId) -> Result<(), Refused> {
        self.proposing_leader()?;
        if to == self.config.id || !quorum::is_voter(self.membership(), to) {
            return Err(Refused::NotVoter(to));
        }
        if let State::Leader(leader) = &mut self.state {
            leader.handover = Some(Handover {
                to,
                elapsed_ticks: 0,
                told: false,
            });
        }
        Ok(())
    }

    /// The leader's part, if this is a leader that takes proposals.
    pub(super) fn proposing_leader(&self) -> Result<&Leader, Refused> {
        match &self.state {
            State::Leader(Leader {
                handover: Some(Handover { to, .. }),
                ..
            }) if !self.config.mutants.has(Mutant::ProposesInHandover) => {
                Err(Refused::HandingOver { to: *to })
            }
            State::Leader(leader) => Ok(leader),
            _ => Err(Refused::NotLeader(NotLeader {
                leader: self.leader,
            })),
        }
    }

    pub(super) fn tick_handover(&mut self) {
        if let State::Leader(leader) = &mut self.state
            && let Some(handover) = &mut leader.handover
        {
            handover.elapsed_ticks += 1;
            if handover.elapsed_ticks >= self.config.election_ticks {
                sometimes!(HandoverGivenUp);
                leader.handover = None;
            }
        }
    }

    /// Tells the target to campaign once its log equals ours.
    pub(super) fn hand_over(&mut self, log: &dyn LogView) {
        if let State::Leader(leader) = &mut self.state
            && let Some(handover) = &mut leader.handover
            && !handover.told
            && leader.progress.get(&handover.to).is_some_and(|target| {
                target.match_index() == View::new(log, &self.fresh).last_index()
            })
        {
            handover.told = true;
            let to = handover.to;
            self.send(to, Body::TimeoutNow);
        }
    }

    /// Our leader wants us to lead in its place.
    pub(super) fn on_timeout_now(&mut self, from: NodeId, log: &dyn LogView) -> Result<()> {
        let asked_by_leader = self.leader == Some(from) && matches!(self.state, State::Follower);
        if asked_by_leader && self.may_campaign() {
            self.start_election(true, log)?;
        }
        Ok(())
    }
}
