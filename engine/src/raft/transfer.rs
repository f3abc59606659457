//! Snapshots on their way: a leader sends pieces, a follower takes them.

use super::core::{Raft, State};
use super::{Body, LogView, SnapshotPiece};
use crate::entry::SnapshotMeta;
use crate::error::Result;
use crate::ids::{Index, NodeId, Term};
use crate::mutant::Mutant;
use crate::sometimes::sometimes;

/// A snapshot on its way to us.
#[derive(Debug)]
pub(super) struct Receiving {
    /// Whose pieces they are. Another leader's snapshot of the same index may
    /// be cut into other bytes.
    from: NodeId,
    term: Term,
    meta: SnapshotMeta,
    /// The offset of the next piece, in bytes.
    wanted: u64,
    at_host: AtHost,
}

/// What the host has in its hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AtHost {
    Nothing,
    Piece,
    /// The last piece: the log may be replaced at any moment.
    Done,
}

impl Raft {
    /// The member wants a piece; it may have restarted, or we did.
    pub(super) fn on_snapshot_wanted(&mut self, from: NodeId, last_index: Index, offset: u64) {
        if let State::Leader(leader) = &mut self.state
            && let Some(progress) = leader.progress.get_mut(&from)
        {
            progress.active = true;
            progress.piece_wanted(last_index, offset);
        }
    }

    pub(super) fn on_snapshot(
        &mut self,
        from: NodeId,
        meta: SnapshotMeta,
        (offset, data, done): (u64, Vec<u8>, bool),
        log: &dyn LogView,
    ) -> Result<()> {
        self.follow(from);
        // One piece at a time. The leader sends again what was ignored.
        if matches!(&self.receiving, Some(now) if now.at_host != AtHost::Nothing) {
            return Ok(());
        }
        if self.has_all_of(&meta, log)? {
            self.receiving = None;
            self.acknowledge(from);
            return Ok(());
        }
        let term = self.term();
        let kept = self.receiving.take().filter(|now| {
            // Another leader, or a newer snapshot: all over again.
            now.from == from && now.term == term && now.meta.last_index >= meta.last_index
        });
        let last_index = meta.last_index;
        let now = self.receiving.insert(kept.unwrap_or(Receiving {
            from,
            term,
            meta,
            wanted: 0,
            at_host: AtHost::Nothing,
        }));
        if (now.meta.last_index, now.wanted) != (last_index, offset) {
            // A late piece, or the leader believes that we have more.
            sometimes!(PieceOutOfOrder);
            let (last_index, offset) = (now.meta.last_index, now.wanted);
            if !self.config.mutants.has(Mutant::TransferNotResumed) {
                self.send(from, Body::SnapshotWanted { last_index, offset });
            }
            return Ok(());
        }
        now.at_host = if done { AtHost::Done } else { AtHost::Piece };
        assert!(self.pending.snapshot_piece.is_none());
        self.pending.snapshot_piece = Some(SnapshotPiece {
            from,
            meta: now.meta.clone(),
            offset,
            data,
            done,
        });
        Ok(())
    }

    /// The install took this snapshot's pieces up to `offset` (bytes); ask for more.
    pub fn snapshot_stored(&mut self, leader: NodeId, last_index: Index, offset: u64) {
        let term = self.term();
        let Some(now) = &mut self.receiving else {
            return;
        };
        if now.from != leader || now.meta.last_index != last_index {
            return;
        }
        now.at_host = AtHost::Nothing;
        now.wanted = offset;
        if now.term == term && self.leader == Some(leader) {
            self.send(leader, Body::SnapshotWanted { last_index, offset });
        }
    }

    /// The snapshot of the leader is durable and the log goes on behind it
    /// (`kept_suffix`) or starts empty at `last_index + 1`.
    pub fn snapshot_installed(
        &mut self,
        meta: &SnapshotMeta,
        kept_suffix: bool,
        log: &dyn LogView,
    ) -> Result<()> {
        let done = self.receiving.take();
        assert!(
            matches!(&done, Some(now) if now.at_host == AtHost::Done && now.meta == *meta),
            "nobody handed over the last piece of this snapshot"
        );
        assert!(!self.is_leader() && self.fresh.is_empty());
        let last = meta.last_index;
        if kept_suffix {
            assert!(log.last_index() >= last && log.term(last)? == meta.last_term);
        } else {
            assert!(log.last_index() == last && log.first_index() == last.next());
            assert!(
                self.verified_index <= last,
                "verified entries were discarded"
            );
            assert!(
                self.commit_index <= last,
                "committed entries were discarded"
            );
        }
        self.durability.snapshot_installed(last, kept_suffix);
        let membership = if self.config.mutants.has(Mutant::InstallKeepsMembers) {
            self.membership().clone()
        } else {
            meta.membership.clone()
        };
        self.members
            .snapshot_installed(last, membership, kept_suffix);
        self.report_membership();
        self.commit_to(last, log)?;
        if let Some(leader) = self.leader {
            self.acknowledge(leader);
        }
        Ok(())
    }

    /// The install failed or was given up; the leader will be asked again.
    pub fn snapshot_failed(&mut self) {
        // With its next try: a disk that refuses should not be hurried.
        self.receiving = None;
    }

    /// Whether the host may replace the log at any moment.
    pub(super) fn is_finishing_install(&self) -> bool {
        matches!(&self.receiving, Some(now) if now.at_host == AtHost::Done)
    }

    /// Whether the snapshot would tell us nothing new.
    fn has_all_of(&mut self, meta: &SnapshotMeta, log: &dyn LogView) -> Result<bool> {
        if meta.last_index <= self.commit_index {
            return Ok(true);
        }
        if self.config.mutants.has(Mutant::InstallDropsLongerLog) {
            return Ok(false);
        }
        if self.view(log).term_if_present(meta.last_index)? != Some(meta.last_term) {
            return Ok(false);
        }
        // Log matching: up to there our log is the leader's, and a snapshot
        // stands only for what is committed.
        self.verified_index = self.verified_index.max(meta.last_index);
        self.commit_to(meta.last_index, log)?;
        Ok(true)
    }
}
