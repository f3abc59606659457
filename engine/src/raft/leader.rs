//! What a leader does: propose, replicate, commit, confirm reads, and give up
//! once it has lost its quorum (Raft thesis, 3.5, 3.6, 6.2, 6.4).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::change::Refused;
use super::core::{NotLeader, Raft, State};
use super::handover::Handover;
use super::progress::Progress;
use super::quorum;
use super::reads::Reads;
use super::view::View;
use super::{Body, LogView, Message, SnapshotRead};
use crate::entry::{Entry, EntryKind};
use crate::error::{Error, Result};
use crate::ids::{Index, NodeId, Term};
use crate::mutant::Mutant;
use crate::sometimes::sometimes;

/// What only a leader knows. It dies with the leadership.
#[derive(Debug)]
pub(super) struct Leader {
    /// All members but itself.
    pub(super) progress: BTreeMap<NodeId, Progress>,
    pub(super) reads: Reads,
    /// Its first entry. Once that is committed, it knows the commit index.
    pub(super) first_own_index: Index,
    /// To whom it hands its leadership.
    pub(super) handover: Option<Handover>,
    heartbeat_elapsed_ticks: u32,
    heartbeat_is_due: bool,
}

impl Leader {
    pub(super) fn new(next_index: Index, others: impl Iterator<Item = NodeId>) -> Self {
        Leader {
            progress: others.map(|id| (id, Progress::new(next_index))).collect(),
            reads: Reads::default(),
            first_own_index: next_index,
            handover: None,
            heartbeat_elapsed_ticks: 0,
            heartbeat_is_due: true,
        }
    }
}

impl Raft {
    /// Proposes an entry; on success its future position.
    ///
    /// [`Error::Misuse`] for a change of the membership: it has a way of its own.
    pub fn propose(
        &mut self,
        kind: EntryKind,
        data: Arc<[u8]>,
        timestamp_ms: i64,
        log: &dyn LogView,
    ) -> Result<Result<(Index, Term), Refused>> {
        if kind == EntryKind::Membership {
            return Err(Error::Misuse("use change_membership"));
        }
        if let Err(refused) = self.proposing_leader() {
            return Ok(Err(refused));
        }
        let index = self.append_own(kind, data, timestamp_ms, log)?;
        Ok(Ok((index, self.term())))
    }

    /// Asks for a linearizable read; the answer comes in [`Ready::reads`], or
    /// in [`Ready::failed_reads`].
    ///
    /// [`Ready::reads`]: super::Ready::reads
    /// [`Ready::failed_reads`]: super::Ready::failed_reads
    pub fn read_index(&mut self, context: u64, log: &dyn LogView) -> Result<Result<(), NotLeader>> {
        assert!(self.commit_index <= self.view(log).last_index());
        let State::Leader(leader) = &mut self.state else {
            return Ok(Err(NotLeader {
                leader: self.leader,
            }));
        };
        if self.commit_index < leader.first_own_index {
            sometimes!(EarlyRead);
            leader.reads.ask_early(context);
        } else {
            leader.reads.ask(context, self.commit_index);
        }
        Ok(Ok(()))
    }

    /// Appends an entry of this term to the leader's own log.
    pub(super) fn append_own(
        &mut self,
        kind: EntryKind,
        data: Arc<[u8]>,
        timestamp_ms: i64,
        log: &dyn LogView,
    ) -> Result<Index> {
        assert!(self.is_leader(), "only the term's leader proposes");
        let index = self.view(log).last_index().next();
        let entry = Entry {
            index,
            term: self.term(),
            kind,
            timestamp_ms,
            data,
        };
        self.append(&[entry], log)?;
        Ok(index)
    }

    pub(super) fn tick_leader(&mut self) {
        let State::Leader(leader) = &mut self.state else {
            return;
        };
        leader.heartbeat_elapsed_ticks += 1;
        if leader.heartbeat_elapsed_ticks >= self.config.heartbeat_ticks {
            leader.heartbeat_elapsed_ticks = 0;
            leader.heartbeat_is_due = true;
        }
        for progress in leader.progress.values_mut() {
            progress.tick();
        }
        self.tick_handover();
        if self.timer.elapsed_ticks >= self.config.election_ticks {
            self.timer.elapsed_ticks = 0;
            self.check_quorum();
        }
    }

    /// Steps down if no quorum was heard from for an election timeout: clients
    /// must not wait for a leader that can't commit (thesis, 6.2).
    fn check_quorum(&mut self) {
        let State::Leader(leader) = &mut self.state else {
            return;
        };
        let heard = quorum::holds(self.members.current(), self.config.mutants, |id| {
            leader.progress.get(&id).is_none_or(|other| other.active)
        });
        for progress in leader.progress.values_mut() {
            progress.active = false;
        }
        if !heard {
            sometimes!(QuorumLost);
            self.become_follower(self.term(), None);
        }
    }

    /// Everything that is due: a round of heartbeats, entries, snapshot pieces.
    pub(super) fn send_as_leader(&mut self, log: &dyn LogView) -> Result<()> {
        let (from, term) = (self.config.id, self.term());
        let State::Leader(leader) = &mut self.state else {
            return Ok(());
        };
        assert!(self.durability.hard_state_waits_for().is_none());
        let view = View::new(log, &self.fresh);
        let last_index = view.last_index();
        let mut heartbeat = std::mem::take(&mut leader.heartbeat_is_due);
        // A read does not wait for the next heartbeat.
        heartbeat |= leader.reads.start_round(heartbeat);
        for (&to, progress) in &mut leader.progress {
            let mut send = |body| {
                self.pending.messages.push(Message {
                    from,
                    to,
                    term,
                    body,
                });
            };
            if heartbeat {
                send(Body::Heartbeat {
                    // Not above what is known to match: a heartbeat checks nothing.
                    commit: self.commit_index.min(progress.match_index()),
                    round: leader.reads.round(),
                });
            }
            while progress.append_is_due(last_index, self.config.inflight_max) {
                let bytes_max = self.config.append_bytes_max;
                let empty =
                    self.config.mutants.has(Mutant::CommitPastAppend) && progress.is_probe();
                let with_entries = progress.has_room(self.config.inflight_max) && !empty;
                match next_append(progress, with_entries, bytes_max, &view)? {
                    Some((prev_index, prev_term, entries)) => {
                        progress.append_sent(&entries);
                        send(Body::Append {
                            prev_index,
                            prev_term,
                            commit: self.commit_index,
                            entries,
                        });
                    }
                    None => progress.start_transfer(),
                }
            }
            if let Some((last_index, offset)) = progress.take_piece() {
                self.pending.snapshot_reads.push(SnapshotRead {
                    to,
                    term,
                    last_index,
                    offset,
                });
            }
        }
        self.hand_over(log);
        self.confirm_reads();
        Ok(())
    }

    pub(super) fn on_append_accepted(
        &mut self,
        from: NodeId,
        match_index: Index,
        log: &dyn LogView,
    ) -> Result<()> {
        let view = View::new(log, &self.fresh);
        let State::Leader(leader) = &mut self.state else {
            return Ok(());
        };
        let Some(progress) = leader.progress.get_mut(&from) else {
            return Ok(());
        };
        assert!(
            match_index <= view.last_index(),
            "{from} has entries of this term that its leader has not"
        );
        progress.active = true;
        progress.accepted(match_index);
        // A transfer ends as soon as the log reaches back far enough, whatever
        // brought the member there.
        if progress.is_transfer() && view.term_if_kept(progress.match_index())?.is_some() {
            progress.replicate();
        } else if progress.transfer_is_superfluous()
            && !self.config.mutants.has(Mutant::SendsPurgedSnapshot)
        {
            // The log was purged past that snapshot while it was sent.
            sometimes!(TransferBegunAgain);
            progress.start_transfer();
        }
        self.advance_commit(log)
    }

    pub(super) fn on_append_rejected(
        &mut self,
        from: NodeId,
        prev_index: Index,
        (hint_index, hint_term): (Index, Term),
        log: &dyn LogView,
    ) -> Result<()> {
        let view = View::new(log, &self.fresh);
        let State::Leader(leader) = &mut self.state else {
            return Ok(());
        };
        let Some(progress) = leader.progress.get_mut(&from) else {
            return Ok(());
        };
        progress.active = true;
        if progress.is_news(prev_index) {
            let hint_index = hint_index.min(view.last_index());
            let guess = view.last_not_above(hint_index, progress.match_index(), hint_term)?;
            progress.rejected(prev_index, guess);
        }
        Ok(())
    }

    pub(super) fn on_heartbeat_reply(&mut self, from: NodeId, round: u64) {
        let State::Leader(leader) = &mut self.state else {
            return;
        };
        let Some(progress) = leader.progress.get_mut(&from) else {
            return;
        };
        progress.active = true;
        progress.heartbeat_answered(round, self.config.election_ticks);
        self.confirm_reads();
    }

    /// Hands out the reads whose round a quorum has answered: until the last
    /// of those answers was sent, nobody else had been elected by them.
    fn confirm_reads(&mut self) {
        let State::Leader(leader) = &mut self.state else {
            return;
        };
        if !leader.reads.awaits_answers() {
            return;
        }
        let current = leader.reads.round();
        let mut round = quorum::reached(self.members.current(), self.config.mutants, |id| {
            leader
                .progress
                .get(&id)
                .map_or(current, |other| other.round)
        });
        if self.config.mutants.has(Mutant::ReadWithoutQuorum) {
            round = current;
        }
        leader.reads.take_confirmed(round, &mut self.pending.reads);
    }

    /// Commits what a quorum has made durable; the leader's own disk counts
    /// like any other.
    pub(super) fn advance_commit(&mut self, log: &dyn LogView) -> Result<()> {
        let State::Leader(leader) = &self.state else {
            return Ok(());
        };
        let own = if self.config.mutants.has(Mutant::LeaderCountsEarly) {
            self.view(log).last_index()
        } else {
            self.durability.durable_index()
        };
        let index = Index(quorum::reached(
            self.members.current(),
            self.config.mutants,
            |id| {
                let other = leader.progress.get(&id);
                other.map_or(own, |other| other.match_index()).0
            },
        ));
        if index <= self.commit_index {
            return Ok(());
        }
        // An entry of an older term may still be replaced, even with a quorum
        // that has it (thesis, 3.6.2 and figure 3.7; figure 8 of the paper).
        if self.view(log).term(index)? != self.term()
            && !self.config.mutants.has(Mutant::CommitOldTerm)
        {
            sometimes!(OldTermWaits);
            return Ok(());
        }
        self.commit_to(index, log)?;
        if let State::Leader(leader) = &mut self.state
            && index >= leader.first_own_index
        {
            leader.reads.commit_is_known(index);
        }
        self.step_down_if_removed();
        Ok(())
    }
}

/// What to append next: the position before it, and the entries. `None` if a
/// snapshot has taken their place.
fn next_append(
    progress: &Progress,
    with_entries: bool,
    bytes_max: usize,
    view: &View<'_>,
) -> Result<Option<(Index, Term, Vec<Entry>)>> {
    let next = progress.next_index();
    let Some(prev_term) = view.term_if_kept(next.prev())? else {
        return Ok(None);
    };
    let entries = if with_entries && next <= view.last_index() {
        view.entries_if_kept(next, bytes_max)?
    } else {
        Some(Vec::new())
    };
    Ok(entries.map(|entries| (next.prev(), prev_term, entries)))
}
