//! Changes of the membership, by one server at a time (Raft thesis, chapter 4).
//!
//! Not by joint consensus: with it any set can follow any other in one go, at
//! the price of a second kind of quorum in every place that counts, and of a
//! state between two memberships that elections, reads, snapshots and restarts
//! must get right, too. One server at a time needs none of that, since a
//! majority of a set and one of the set with a member more or less share a
//! member. What it takes longer, an operator who replaces three servers can
//! wait for. The rules that make it safe:
//!
//! * A membership counts from the moment it is in a log, committed or not. Who
//!   waited for the commit would count quorums of two memberships that need not
//!   overlap, without knowing.
//! * So it is undone when it is truncated, and found again in snapshot and log
//!   after a restart; see `Members`.
//! * One change at a time: the next is refused until the former is committed
//!   ([`Refused::ChangePending`]). Two uncommitted ones are two servers apart.
//! * A leader changes nothing before it has committed an entry of its own term
//!   ([`Refused::CommitUnknown`]). Without this, two leaders' uncommitted changes
//!   may both start from the same membership: {1,2,3,4} is left for {1,2,3,4,5}
//!   by 1, for {1,2,3} by 2, and 1 again, with {1,5,4}, decides against 2 with
//!   {2,3}. (Ongaro's mail "bug in single-server membership changes" of 2015.)
//! * A new server is a learner first, and votes only once it has what is
//!   committed: until then a quorum that needs it would stand still (4.2.1).
//!   Learners change no quorum, but they go through the same door.
//! * Whoever is asked for a vote gives it by the candidate's log alone, also to
//!   a candidate that its own membership does not have, and if it is no voter
//!   itself: the log that says so may be on its way (4.1; etcd #8501). The
//!   candidate counts only voters of its own membership.
//! * A leader that removes itself leads on, without counting itself, until that
//!   is committed (4.2.2). A server whose removal is not committed may still
//!   have the only log that can win, so it still campaigns.
//! * A removed server does not learn of it and campaigns in vain: members that
//!   hear from a leader ignore it, and a pre-vote raises nobody's term (4.2.3).

use super::core::{Raft, State};
use super::progress::Progress;
use super::quorum;
use super::{Body, LogView, NotLeader};
use crate::entry::{EntryKind, Membership};
use crate::error::Result;
use crate::ids::{Index, NodeId, Term};
use crate::mutant::Mutant;
use crate::snapshot::encode_membership;

/// One step from a membership to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A new server, which starts with an empty log and an empty membership. It
    /// receives the log and does not vote.
    AddLearner(NodeId),
    /// A learner that has caught up votes from now on.
    Promote(NodeId),
    /// A voter or a learner takes no part any more. Its identity is used up if
    /// its disk is lost: what it has promised, nobody else can keep.
    Remove(NodeId),
}

/// Why a leader's service is refused. Nothing has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("this member does not lead")]
    NotLeader(NotLeader),
    #[error("the leadership is being handed to member {to}: try there, or again")]
    HandingOver { to: NodeId },
    #[error("the membership of index {index} is not committed yet: try again")]
    ChangePending { index: Index },
    #[error("the leader has not committed an entry of its own term yet: try again")]
    CommitUnknown,
    #[error("member {0} takes part already")]
    IsMember(NodeId),
    #[error("member {0} takes no part")]
    NotMember(NodeId),
    #[error("member {0} is no learner: add it as one first")]
    NotLearner(NodeId),
    #[error("member {0} is no voter")]
    NotVoter(NodeId),
    #[error("member {0} does not have yet what is committed: try again")]
    NotCaughtUp(NodeId),
    #[error("member {0} is the last voter")]
    LastVoter(NodeId),
}

impl Refused {
    /// Who may be of service instead.
    pub fn leader(&self, this: NodeId) -> Option<NodeId> {
        match *self {
            Refused::NotLeader(NotLeader { leader }) => leader,
            Refused::HandingOver { to } => Some(to),
            _ => Some(this),
        }
    }
}

impl Raft {
    /// Proposes a change of the membership, which counts here at once; on
    /// success its position. It is done when that is committed, and undone if
    /// another leader replaces it before.
    pub fn change_membership(
        &mut self,
        change: Change,
        timestamp_ms: i64,
        log: &dyn LogView,
    ) -> Result<Result<(Index, Term), Refused>> {
        if let Err(refused) = self.may_change() {
            return Ok(Err(refused));
        }
        let next = match self.changed(change) {
            Ok(next) => next,
            Err(refused) => return Ok(Err(refused)),
        };
        let data = encode_membership(&next).into();
        let index = self.append_own(EntryKind::Membership, data, timestamp_ms, log)?;
        self.follow_membership(index.next());
        Ok(Ok((index, self.term())))
    }

    fn may_change(&self) -> Result<(), Refused> {
        let leader = self.proposing_leader()?;
        let mutants = self.config.mutants;
        if self.commit_index < leader.first_own_index && !mutants.has(Mutant::ChangeBeforeOwnCommit)
        {
            return Err(Refused::CommitUnknown);
        }
        let index = self.members.changed_at();
        if index > self.commit_index && !mutants.has(Mutant::ChangeBeforeFormer) {
            return Err(Refused::ChangePending { index });
        }
        Ok(())
    }

    /// The membership after `change`.
    fn changed(&self, change: Change) -> Result<Membership, Refused> {
        let mut next = self.membership().clone();
        match change {
            Change::AddLearner(id) => {
                if quorum::is_member(&next, id) {
                    return Err(Refused::IsMember(id));
                }
                insert(&mut next.learners, id);
            }
            Change::Promote(id) => {
                if !next.learners.contains(&id) {
                    return Err(Refused::NotLearner(id));
                }
                if !self.has_caught_up(id) {
                    return Err(Refused::NotCaughtUp(id));
                }
                next.learners.retain(|&other| other != id);
                insert(&mut next.voters, id);
            }
            Change::Remove(id) => {
                if !quorum::is_member(&next, id) {
                    return Err(Refused::NotMember(id));
                }
                if next.voters == [id] {
                    return Err(Refused::LastVoter(id));
                }
                next.learners.retain(|&other| other != id);
                next.voters.retain(|&other| other != id);
            }
        }
        Ok(next)
    }

    /// Whether the member has all that is committed, durable.
    fn has_caught_up(&self, id: NodeId) -> bool {
        matches!(&self.state, State::Leader(leader)
            if leader.progress.get(&id).is_some_and(|other| other.match_index() >= self.commit_index))
    }

    /// The leader's own membership has changed: it sends to whom that names.
    pub(super) fn follow_membership(&mut self, next_index: Index) {
        let others: Vec<NodeId> = quorum::others(self.members.current(), self.config.id).collect();
        let State::Leader(leader) = &mut self.state else {
            unreachable!("it has just proposed");
        };
        leader.progress.retain(|id, _| others.contains(id));
        for id in others {
            let progress = leader.progress.entry(id);
            progress.or_insert_with(|| Progress::new(next_index));
        }
    }

    /// A leader that has removed itself is done once that is committed. The
    /// voter that has the most takes over, so that nobody waits for a timeout.
    pub(super) fn step_down_if_removed(&mut self) {
        let State::Leader(leader) = &self.state else {
            return;
        };
        let removed = !quorum::is_voter(self.membership(), self.config.id)
            && self.members.changed_at() <= self.commit_index;
        if !removed || self.config.mutants.has(Mutant::RemovedLeaderStays) {
            return;
        }
        let voters = leader.progress.iter();
        let voters = voters.filter(|(id, _)| quorum::is_voter(self.membership(), **id));
        let successor = voters.max_by_key(|(_, other)| other.match_index());
        if let Some((&to, _)) = successor {
            self.send(to, Body::TimeoutNow);
        }
        self.become_follower(self.term(), None);
    }

    /// Whether the membership that counts here is not known to be committed.
    pub fn change_is_pending(&self) -> bool {
        self.members.changed_at() > self.commit_index
    }

    /// The membership that counts with the log up to `index`, which must not
    /// lie before the last snapshot: the one that a snapshot of it stands for.
    pub fn membership_at(&self, index: Index) -> &Membership {
        if self.config.mutants.has(Mutant::SnapshotOfNewestMembers) {
            return self.membership();
        }
        if self.config.mutants.has(Mutant::SnapshotOfFirstMembers) {
            return &self.config.membership;
        }
        self.members.at(index)
    }

    /// A snapshot that ends at `last_index` was saved: nobody will ask for a
    /// membership before it.
    pub fn snapshot_saved(&mut self, last_index: Index) {
        self.members.forget_before(last_index);
    }
}

fn insert(ids: &mut Vec<NodeId>, id: NodeId) {
    ids.push(id);
    ids.sort_unstable();
}
