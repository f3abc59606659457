//! Every decision of the engine and the node, as data.
//!
//! One stream feeds the trace, the `sometimes` counters, the digest and the
//! judges of the simulator, and whatever a production host makes of it.

use crate::entry::{EntryId, HardState, Membership, SnapshotMeta};
use crate::ids::{Index, NodeId, Term};
use crate::store::Report;

/// Which protocol is under way. A phase begins before its first file operation
/// and ends after its last; a crash in between lands inside of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Recovery,
    Append,
    Roll,
    Truncate,
    HardState,
    Prepare,
    SnapshotSave,
    SnapshotInstall,
    Clean,
}

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Phase::Recovery => "recovery",
            Phase::Append => "append",
            Phase::Roll => "roll",
            Phase::Truncate => "truncate",
            Phase::HardState => "hard-state",
            Phase::Prepare => "prepare",
            Phase::SnapshotSave => "snapshot-save",
            Phase::SnapshotInstall => "snapshot-install",
            Phase::Clean => "clean",
        }
    }
}

/// A node's part in its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Follower,
    PreCandidate,
    Candidate,
    Leader,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    // --- the store
    Begin(Phase),
    End(Phase),
    /// Entries were handed to the store. Not durable.
    Appended {
        entries: Vec<EntryId>,
    },
    /// The suffix from `from` on was dropped from the store's view. Not durable.
    TruncateRequested {
        from: Index,
    },
    /// Everything up to and including `index` is durable. May be lower than
    /// before only right after a `Truncated` or an installed snapshot.
    Durable {
        index: Index,
    },
    /// The truncation from `from` on is durable: what was there never comes back.
    Truncated {
        from: Index,
    },
    /// A hard state was handed to the store. Not durable.
    HardStateSubmitted {
        hard_state: HardState,
    },
    HardStateDurable {
        hard_state: HardState,
    },
    /// A segment has its name; durably, unless the append that began it is not.
    SegmentCreated {
        base: Index,
        generation: u64,
    },
    /// The snapshot is durable under its final name.
    SnapshotSaved {
        meta: SnapshotMeta,
    },
    /// A leader's snapshot is durable. `kept_suffix`: the log behind it stays;
    /// otherwise the whole log was discarded and goes on at `last_index + 1`.
    SnapshotInstalled {
        meta: SnapshotMeta,
        kept_suffix: bool,
    },
    /// The log now starts at `first`; `segments` files were removed for good.
    Purged {
        first: Index,
        segments: usize,
    },
    /// Recovery decided something, said in one line for people.
    Decided {
        what: String,
    },
    /// What recovery came to.
    Recovered(Box<Report>),
    /// No space; the batch is kept and tried again in a new segment.
    Stalled,
    /// A write or a sync failed; nothing is acknowledged until a reopen.
    Poisoned,
    // --- the node
    RoleChanged {
        term: Term,
        role: Role,
        leader: Option<NodeId>,
    },
    /// This node's vote in `term`, in memory; durable with `HardStateDurable`.
    Voted {
        term: Term,
        candidate: NodeId,
    },
    /// Another membership counts here than before, from `index` on: it was
    /// appended or came with a snapshot, or what came after it was truncated. Or it is
    /// what a start found in the log or the snapshot: also where that is what was
    /// configured, for there may have been others between.
    MembershipChanged {
        index: Index,
        membership: Membership,
    },
    Committed {
        index: Index,
        term: Term,
    },
    /// The state machine took this entry.
    Applied {
        entry: EntryId,
    },
    /// The state machine was replaced by the snapshot's state.
    Restored {
        last_index: Index,
        last_term: Term,
    },
}
