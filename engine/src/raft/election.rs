//! Who leads: pre-votes, votes, and what makes a node follow (Raft thesis,
//! 3.4; pre-vote 9.6; the lease that protects a live leader 4.2.3 and 6.4).

use std::collections::BTreeMap;
use std::mem;

use super::core::{Raft, State};
use super::leader::Leader;
use super::quorum::{self, Tally};
use super::{Body, LogView};
use crate::entry::EntryKind;
use crate::error::Result;
use crate::ids::{Index, NodeId, Term};
use crate::mutant::Mutant;
use crate::sometimes::sometimes;

impl Raft {
    /// Whether an election may be started here now.
    pub(super) fn may_campaign(&self) -> bool {
        self.may_lead()
            // A leader appends at once, and an install tolerates no appends.
            && !self.is_finishing_install()
            // A disk slower than the timeout would drive the term up for nothing.
            && self.durability.hard_state_waits_for().is_none()
    }

    /// Whether this is a voter, or one whose removal may still come to nothing:
    /// its log may be the only one that can win (thesis, 4.2.2).
    fn may_lead(&self) -> bool {
        let removal_is_open = self.members.changed_at() > self.commit_index;
        let former = self.members.former().filter(|_| removal_is_open);
        let mut memberships = former.into_iter().chain([self.membership()]);
        memberships.any(|membership| quorum::is_voter(membership, self.config.id))
    }

    pub(super) fn start_pre_vote(&mut self, log: &dyn LogView) -> Result<()> {
        assert!(!self.is_leader());
        let (last_index, last_term) = self.view(log).last()?;
        sometimes!(
            RemovedCampaigns,
            !quorum::is_voter(self.membership(), self.config.id)
        );
        self.leader = None;
        self.state = State::PreCandidate(BTreeMap::from([(self.config.id, true)]));
        self.reset_timer();
        self.report_role();
        let term = self.term().next();
        for to in self.other_voters() {
            let body = Body::PreVote {
                last_index,
                last_term,
            };
            self.send_now(to, term, body);
        }
        self.count_pre_votes(log)
    }

    pub(super) fn start_election(&mut self, handover: bool, log: &dyn LogView) -> Result<()> {
        assert!(matches!(self.state, State::PreCandidate(_)) || handover);
        assert!(!self.is_leader());
        let (last_index, last_term) = self.view(log).last()?;
        self.enter_term(self.term().next());
        self.vote_for(self.config.id);
        self.leader = None;
        self.state = State::Candidate(BTreeMap::new());
        self.reset_timer();
        self.report_role();
        for to in self.other_voters() {
            let body = Body::Vote {
                last_index,
                last_term,
                handover,
            };
            self.send(to, body);
        }
        Ok(())
    }

    fn become_leader(&mut self, log: &dyn LogView) -> Result<()> {
        assert!(matches!(self.state, State::Candidate(_)));
        assert!(self.hard_state.vote == Some(self.config.id));
        assert!(self.durability.hard_state_waits_for().is_none());
        let next_index = self.view(log).last_index().next();
        let others = quorum::others(self.membership(), self.config.id);
        self.state = State::Leader(Leader::new(next_index, others));
        self.leader = Some(self.config.id);
        self.reset_timer();
        self.report_role();
        // Only an entry of its own term tells the leader what is committed
        // (thesis, 3.6.2 and 6.4). Nobody proposed it: it has no time.
        self.append_own(EntryKind::Blank, [].into(), 0, log)?;
        Ok(())
    }

    /// Enters `term` if it is newer, and follows its `leader` if known.
    pub(super) fn become_follower(&mut self, term: Term, leader: Option<NodeId>) {
        assert!(term >= self.term());
        if let State::Leader(old) = mem::replace(&mut self.state, State::Follower) {
            self.pending.failed_reads.extend(old.reads.fail());
        }
        if term > self.term() {
            self.enter_term(term);
        }
        self.leader = leader;
        self.reset_timer();
        self.report_role();
    }

    /// `from` leads this term.
    pub(super) fn follow(&mut self, from: NodeId) {
        assert!(!self.is_leader(), "two leaders in term {}", self.term());
        match self.leader {
            Some(leader) => {
                assert_eq!(leader, from, "two leaders in term {}", self.term());
                self.timer.elapsed_ticks = 0;
            }
            None => self.become_follower(self.term(), Some(from)),
        }
    }

    /// A message of a newer term: enters it where the message calls for that.
    /// Whether the message is to be looked at further.
    pub(super) fn catch_up(&mut self, from: NodeId, term: Term, body: &Body) -> bool {
        match body {
            // The term of these is one that may never come to be.
            Body::PreVote { .. } | Body::PreVoteReply { granted: true } => true,
            // A live leader is not to be disturbed. If the candidate holds the
            // newer term all the same, its answer to the leader's heartbeat
            // makes the leader step down: nobody is stuck.
            Body::Vote {
                handover: false, ..
            } if self.is_in_lease() => {
                sometimes!(VoteInLease);
                false
            }
            Body::Append { .. }
            | Body::Heartbeat { .. }
            | Body::Snapshot { .. }
            | Body::TimeoutNow => {
                self.become_follower(term, Some(from));
                true
            }
            _ => {
                self.become_follower(term, None);
                true
            }
        }
    }

    /// Whether a newer term in an answer goes by a leader unseen. Only a bug lets it.
    pub(super) fn misses_newer_term(&self, body: &Body) -> bool {
        let answers = matches!(
            body,
            Body::VoteReply { .. } | Body::AppendRejected { .. } | Body::HeartbeatReply { .. }
        );
        answers && self.is_leader() && self.config.mutants.has(Mutant::LeaderMissesNewerTerm)
    }

    /// A message of an older term: its sender must learn of the newer one,
    /// else it would wait, or lead nobody, for ever.
    pub(super) fn answer_outdated(&mut self, from: NodeId, body: &Body) {
        match body {
            Body::PreVote { .. } => self.send(from, Body::PreVoteReply { granted: false }),
            Body::Vote { .. } => self.send(from, Body::VoteReply { granted: false }),
            Body::Append { .. }
            | Body::Heartbeat { .. }
            | Body::Snapshot { .. }
            | Body::TimeoutNow => {
                self.send(from, Body::HeartbeatReply { round: 0 });
            }
            _ => {}
        }
    }

    /// Changes nothing here: a pre-vote is an opinion, not a promise. As votes,
    /// also of those who are no voters by what they know; see `change`.
    pub(super) fn on_pre_vote(
        &mut self,
        from: NodeId,
        term: Term,
        last_index: Index,
        last_term: Term,
        log: &dyn LogView,
    ) -> Result<()> {
        if self.is_in_lease() {
            return Ok(());
        }
        if term > self.term() && self.is_up_to_date(last_index, last_term, log)? {
            self.send_now(from, term, Body::PreVoteReply { granted: true });
        } else {
            self.send(from, Body::PreVoteReply { granted: false });
        }
        Ok(())
    }

    pub(super) fn on_pre_vote_reply(
        &mut self,
        from: NodeId,
        term: Term,
        granted: bool,
        log: &dyn LogView,
    ) -> Result<()> {
        let asked = self.term().next();
        if let State::PreCandidate(votes) = &mut self.state
            && (!granted || term == asked)
        {
            votes.insert(from, granted);
            self.count_pre_votes(log)?;
        }
        Ok(())
    }

    fn count_pre_votes(&mut self, log: &dyn LogView) -> Result<()> {
        let State::PreCandidate(votes) = &self.state else {
            return Ok(());
        };
        match quorum::tally(self.membership(), votes, self.config.mutants) {
            Tally::Won => self.start_election(false, log)?,
            Tally::Lost => self.become_follower(self.term(), None),
            Tally::Open => {}
        }
        Ok(())
    }

    pub(super) fn on_vote(
        &mut self,
        from: NodeId,
        last_index: Index,
        last_term: Term,
        log: &dyn LogView,
    ) -> Result<()> {
        // The leader of this term needs no more votes, and nobody else gets one.
        let free = self.leader.is_none() && (self.hard_state.vote.is_none() || self.votes_twice());
        let free = free || self.hard_state.vote == Some(from);
        let granted = free && self.is_up_to_date(last_index, last_term, log)?;
        if granted {
            sometimes!(
                VoteByStranger,
                !quorum::is_voter(self.membership(), self.config.id)
            );
            if self.hard_state.vote != Some(from) {
                self.vote_for(from);
            }
            self.reset_timer();
        }
        let body = Body::VoteReply { granted };
        if self.config.mutants.has(Mutant::VoteBeforeDurable) {
            self.send_now(from, self.term(), body);
        } else {
            self.send(from, body);
        }
        Ok(())
    }

    pub(super) fn on_vote_reply(
        &mut self,
        from: NodeId,
        granted: bool,
        log: &dyn LogView,
    ) -> Result<()> {
        if let State::Candidate(votes) = &mut self.state {
            votes.insert(from, granted);
            self.count_votes(log)?;
        }
        Ok(())
    }

    /// A candidate's vote for itself counts like any other: once it is durable.
    pub(super) fn count_own_vote(&mut self, log: &dyn LogView) -> Result<()> {
        if let State::Candidate(votes) = &mut self.state
            && self.durability.hard_state_waits_for().is_none()
        {
            votes.insert(self.config.id, true);
            self.count_votes(log)?;
        }
        Ok(())
    }

    fn count_votes(&mut self, log: &dyn LogView) -> Result<()> {
        let State::Candidate(votes) = &self.state else {
            return Ok(());
        };
        match quorum::tally(self.membership(), votes, self.config.mutants) {
            Tally::Won => self.become_leader(log)?,
            Tally::Lost => self.become_follower(self.term(), None),
            Tally::Open => {}
        }
        Ok(())
    }

    /// Whether a leader was heard from within the shortest election timeout
    /// (of a leader: whether a quorum followed it when it last looked).
    fn is_in_lease(&self) -> bool {
        self.leader.is_some() && self.timer.elapsed_ticks < self.config.election_ticks
    }

    /// The election restriction (thesis, 3.6.1).
    fn is_up_to_date(&self, last_index: Index, last_term: Term, log: &dyn LogView) -> Result<bool> {
        let (own_index, own_term) = self.view(log).last()?;
        Ok((last_term, last_index) >= (own_term, own_index)
            || self.config.mutants.has(Mutant::VoteWithoutLogCheck))
    }

    fn votes_twice(&self) -> bool {
        self.config.mutants.has(Mutant::VoteTwice) && !matches!(self.state, State::Candidate(_))
    }

    fn other_voters(&self) -> Vec<NodeId> {
        let voters = quorum::electors(self.membership(), self.config.mutants);
        voters.filter(|&id| id != self.config.id).collect()
    }
}
