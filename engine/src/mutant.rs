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
    /// The follower commits past the last entry of the message. It meets an entry
    /// that the leader does not have only where probes carry no entries.
    CommitPastAppend,
    /// The record's CRC is not looked at in recovery (raft-engine #319).
    AcceptTornRecord,
    /// Appends go on at the beginning of the recovered segment (etcd #4930).
    ResumeAtStart,
    /// Appends go on behind the torn tail, not in its place (Keeper #75197).
    AppendBehindTear,
    /// A torn tail is taken for corruption (etcd #15068).
    TornTailRefused,
    /// A segment gets its name before there is a header in it (LogCabin #221).
    NamedBeforeWritten,
    /// A failed write moves the end of the log all the same (raft-engine #200).
    HoleAfterFailedWrite,
    /// All segments have the same nonce (Pebble #580).
    SameNonce,
    /// Segments that a newer one hides count until they are gone (Keeper #112101).
    NothingHidden,
    /// A truncation does not lower the durable index, and what is durable needs
    /// no sync (d-engine #351).
    DurableNotLowered,
    /// A truncation is acknowledged before its segment's name is durable (Redpanda).
    TruncationNotDurable,
    /// A cut segment is closed where it ended before the cut (raft-wal #31).
    LinkToOldEnd,
    /// A gap that the snapshot covers is refused (RATIS-1763).
    GapRefused,
    /// A gap that no snapshot covers is accepted (Kafka #12653).
    GapAccepted,
    /// Recovery's copy gets its name with the first record in it (raft-engine #288).
    CopyInPieces,
    /// An empty log begins at 1 in spite of the snapshot (dqlite-raft ed7dbd2).
    StartsAtOne,
    /// Snapshots are ordered by their indexes as text (hashicorp/raft #395).
    NewestByName,
    /// A truncation sets the term back to the log's (NATS #5975).
    TermGoesBack,
    /// A completed sync also completes what was queued behind it (openraft #1960).
    CompletesQueued,
    /// An entry that was purged is taken for a conflict (openraft #511).
    PurgedConflicts,
    /// A follower does not say where a transfer must go on (LogCabin #174).
    TransferNotResumed,
    /// Nor when a record is read later.
    ReadUnchecked,
    /// A slot of the hard state is believed whatever its CRC.
    TrustCorruptSlot,
    /// A bad record that was proven durable is cut like a torn tail.
    CutDurableRecord,
    /// A torn tail that could have been durable is cut without a word.
    SilentTornTail,
    /// A change of the membership while the former is not committed.
    ChangeBeforeFormer,
    /// A change by a leader that has committed nothing in its term (Raft, 2015).
    ChangeBeforeOwnCommit,
    /// A change that was truncated counts on.
    ChangeNotUndone,
    /// A snapshot has the newest membership, not the one as of its last entry.
    SnapshotOfNewestMembers,
    /// A leader that is removed leads on.
    RemovedLeaderStays,
    /// A leader goes on proposing while it hands its leadership over.
    ProposesInHandover,
    /// A leader does not step down for a newer term in an answer.
    LeaderMissesNewerTerm,
    /// The commit hint runs ahead of what is durable in the own log.
    HintAhead,
    /// A leader counts its own entries before they are durable.
    LeaderCountsEarly,
    /// A leader goes on with a snapshot behind which its log was purged.
    SendsPurgedSnapshot,
    /// A snapshot that the log contains takes the place of the whole log.
    InstallDropsLongerLog,
    /// Learners vote, and what they have counts towards a quorum of the voters.
    LearnersCount,
    /// A change of the membership counts once it is committed, not before.
    ChangeOnCommit,
    /// A snapshot has the membership that its member was configured with.
    SnapshotOfFirstMembers,
    /// Who installs a snapshot goes on with the membership that it had.
    InstallKeepsMembers,
    /// The cleaner removes what an open reader has yet to read.
    CleanerIgnoresReaders,
    /// An open removes garbage before the names of what made it that are durable.
    LimitBeforeDurable,
    /// A sync behind unsynced appends forgets all segments but the last.
    SyncsLastSegment,
    /// A sync behind unsynced appends forgets the segments' names.
    SyncsNoNames,
    /// A segment begun without a sync claims that all before it is durable.
    FloorTooHigh,
    /// Recovery checks the last segment alone, whatever is durable before it.
    ChecksLastSegment,
    /// What was written waits with the batch that waits for space.
    StallHoldsWritten,
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
