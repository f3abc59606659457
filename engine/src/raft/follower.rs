//! What a follower does with its leader's log (Raft thesis, 3.5).

use super::core::{Raft, State};
use super::{Body, LogView};
use crate::entry::Entry;
use crate::error::Result;
use crate::ids::{Index, NodeId, Term};
use crate::mutant::Mutant;
use crate::sometimes::sometimes;

impl Raft {
    pub(super) fn on_append(
        &mut self,
        from: NodeId,
        (prev_index, prev_term): (Index, Term),
        leader_commit: Index,
        entries: Vec<Entry>,
        log: &dyn LogView,
    ) -> Result<()> {
        self.follow(from);
        // Nothing may be submitted now; a heartbeat makes the leader try again.
        if self.is_finishing_install() {
            sometimes!(AppendDuringInstall);
            return Ok(());
        }
        if !self.matches(prev_index, prev_term, log)? {
            return self.reject(from, prev_index, prev_term, log);
        }
        let last_new = prev_index + entries.len() as u64;
        let fresh = self.skip_known(&entries, log)?;
        self.append(fresh, log)?;
        self.verified_index = self.verified_index.max(last_new);
        let known = if self.config.mutants.has(Mutant::CommitPastAppend) {
            self.view(log).last_index()
        } else {
            // Behind the message may lie entries that the leader doesn't have.
            last_new
        };
        self.commit_to(leader_commit.min(known), log)?;
        if last_new <= self.acknowledgeable_index() {
            self.acknowledge(from);
        }
        // Else once it is durable: see `acknowledge_progress`.
        Ok(())
    }

    pub(super) fn on_heartbeat(
        &mut self,
        from: NodeId,
        commit: Index,
        round: u64,
        log: &dyn LogView,
    ) -> Result<()> {
        self.follow(from);
        // The leader names only what we acknowledged to it, so it is durable.
        self.commit_to(commit.min(self.durable_index()), log)?;
        self.send(from, Body::HeartbeatReply { round });
        Ok(())
    }

    /// Whether our log equals the leader's up to `prev_index`.
    fn matches(&self, prev_index: Index, prev_term: Term, log: &dyn LogView) -> Result<bool> {
        // Every leader has what is committed; so a `prev` that was purged here
        // is no conflict (openraft #511).
        if prev_index <= self.commit_index {
            return Ok(true);
        }
        Ok(self.view(log).term_if_present(prev_index)? == Some(prev_term))
    }

    /// The part of `entries` that isn't in our log yet. Its first one may
    /// contradict an entry that is there.
    fn skip_known<'a>(&self, entries: &'a [Entry], log: &dyn LogView) -> Result<&'a [Entry]> {
        let view = self.view(log);
        for (known, entry) in entries.iter().enumerate() {
            // A snapshot stands for it.
            let covered = entry.index < view.first_index() && entry.index <= self.commit_index;
            if covered && !self.config.mutants.has(Mutant::PurgedConflicts) {
                continue;
            }
            if covered || view.term_if_present(entry.index)? != Some(entry.term) {
                assert!(
                    entry.index > self.commit_index && entry.index > self.verified_index,
                    "entry {} of term {} contradicts what is committed or verified",
                    entry.index,
                    entry.term
                );
                return Ok(&entries[known..]);
            }
        }
        Ok(&[])
    }

    fn reject(
        &mut self,
        leader: NodeId,
        prev_index: Index,
        prev_term: Term,
        log: &dyn LogView,
    ) -> Result<()> {
        let view = self.view(log);
        let from = prev_index.min(view.last_index());
        // Our entries of terms above `prev_term` can't be in the leader's log
        // at or before `prev_index`.
        let hint_index = view.last_not_above(from, self.commit_index, prev_term)?;
        let hint_term = view.term(hint_index)?;
        self.send(
            leader,
            Body::AppendRejected {
                prev_index,
                hint_index,
                hint_term,
            },
        );
        Ok(())
    }

    /// What is known to equal the leader's log: what it showed us in this
    /// term, and what is committed.
    fn matched_index(&self) -> Index {
        self.verified_index.max(self.commit_index)
    }

    /// What the leader may rely on: it equals its log, and it is durable.
    pub(super) fn acknowledgeable_index(&self) -> Index {
        if self.config.mutants.has(Mutant::FollowerAcksEarly) {
            return self.matched_index();
        }
        self.matched_index().min(self.durable_index())
    }

    pub(super) fn acknowledge(&mut self, leader: NodeId) {
        let match_index = self.acknowledgeable_index();
        self.acked_index = self.acked_index.max(match_index);
        self.send(leader, Body::AppendAccepted { match_index });
    }

    /// Tells the leader if more has become durable.
    pub(super) fn acknowledge_progress(&mut self) {
        if let (State::Follower, Some(leader)) = (&self.state, self.leader)
            && self.acknowledgeable_index() > self.acked_index
        {
            self.acknowledge(leader);
        }
    }
}
