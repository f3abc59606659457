//! Planted bugs, to prove that the harness bites.
//!
//! A mutant that a wrapper around `Fs` can plant lives in the simulator. Those
//! here change a decision of the engine itself. Without the feature `mutants`
//! [`Mutants::has`] is a constant `false`.

/// One planted bug. See the simulator's catalogue for what each stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// A later sync after a failed one is believed (CockroachDB #37102).
    RetryFailedSync,
    /// The last batch before a roll is not synced (raft-engine #123).
    RollSkipsSync,
    /// The snapshot is renamed before its file is synced (hashicorp/raft #229).
    SnapshotRenamedBeforeSync,
    /// Appends go on in the old segment after a cut (etcd #6267, raft-wal).
    AppendAfterCut,
    /// Recovery goes on in the recovered segment without copying the tail.
    RecoverWithoutCopy,
    /// The cleaner starts before the snapshot's name is durable (NATS #7043).
    CleanBeforeSnapshotDurable,
    /// The cleaner also removes the segment that holds the snapshot's end + 1.
    CleanTooMuch,
    /// A discarding install does not raise `min_generation` (dqlite-raft #373).
    InstallKeepsOldLog,
    /// An older snapshot may replace a newer one (hashicorp/raft #85).
    OlderSnapshotReplaces,
    /// A vote is answered before it is durable.
    VoteBeforeDurable,
    /// A vote is forgotten: not written at all.
    VoteNotPersisted,
    /// A second vote in the same term (NATS #7698).
    VoteTwice,
    /// A vote is granted without looking at the candidate's log.
    VoteWithoutLogCheck,
    /// A follower acknowledges entries that are not durable.
    FollowerAcksEarly,
    /// The leader commits an entry of an older term by counting (Raft, figure 8).
    CommitOldTerm,
    /// A read is served without asking a quorum.
    ReadWithoutQuorum,
    /// The follower commits past the last entry of the message.
    CommitPastAppend,
    /// The record's CRC is not looked at in recovery (raft-engine #319).
    AcceptTornRecord,
}

/// The planted bug of this store or node, if any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mutants(#[cfg(feature = "mutants")] Option<Mutant>);

impl Mutants {
    /// No planted bug.
    pub const NONE: Mutants = Mutants(
        #[cfg(feature = "mutants")]
        None,
    );

    /// Plants `mutant`.
    #[cfg(feature = "mutants")]
    pub fn plant(mutant: Mutant) -> Self {
        Mutants(Some(mutant))
    }

    /// Whether this bug is planted here.
    #[inline]
    pub fn has(self, mutant: Mutant) -> bool {
        #[cfg(feature = "mutants")]
        return self.0 == Some(mutant);
        #[cfg(not(feature = "mutants"))]
        {
            let _ = mutant;
            false
        }
    }
}
