//! What members say to each other.

use crate::entry::{Entry, SnapshotMeta};
use crate::ids::{Index, NodeId, Term};

/// One message. `term` is the sender's term, but in `PreVote` and a granted
/// `PreVoteReply`, where it is the term that the candidate would start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub from: NodeId,
    pub to: NodeId,
    pub term: Term,
    pub body: Body,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    PreVote {
        last_index: Index,
        last_term: Term,
    },
    PreVoteReply {
        granted: bool,
    },
    /// `handover`: the leader asked for this election, so its lease protects
    /// nobody from it.
    Vote {
        last_index: Index,
        last_term: Term,
        handover: bool,
    },
    VoteReply {
        granted: bool,
    },
    Append {
        prev_index: Index,
        prev_term: Term,
        commit: Index,
        entries: Vec<Entry>,
    },
    /// Everything up to `match_index` equals the leader's log and is durable.
    AppendAccepted {
        match_index: Index,
    },
    /// `prev_index` (as in the request) did not match. The follower's log ends
    /// at or before `hint_index`, or has `hint_term` there: the leader skips
    /// the whole conflicting term at once (Raft thesis, 3.5).
    AppendRejected {
        prev_index: Index,
        hint_index: Index,
        hint_term: Term,
    },
    /// `round` confirms the leadership for the reads of that round.
    Heartbeat {
        commit: Index,
        round: u64,
    },
    HeartbeatReply {
        round: u64,
    },
    /// A piece of the snapshot's data at `offset`; `done` with the last one.
    Snapshot {
        meta: SnapshotMeta,
        offset: u64,
        data: Vec<u8>,
        done: bool,
    },
    /// The receiver wants the piece at `offset` next, of the snapshot that
    /// ends at `last_index`.
    SnapshotWanted {
        last_index: Index,
        offset: u64,
    },
    /// The leader hands its leadership over: campaign at once.
    TimeoutNow,
}

impl Body {
    /// The message's name in traces.
    pub fn name(&self) -> &'static str {
        match self {
            Body::PreVote { .. } => "pre-vote",
            Body::PreVoteReply { .. } => "pre-vote-reply",
            Body::Vote { handover: true, .. } => "handover-vote",
            Body::Vote { .. } => "vote",
            Body::VoteReply { .. } => "vote-reply",
            Body::Append { .. } => "append",
            Body::AppendAccepted { .. } => "append-accepted",
            Body::AppendRejected { .. } => "append-rejected",
            Body::Heartbeat { .. } => "heartbeat",
            Body::HeartbeatReply { .. } => "heartbeat-reply",
            Body::Snapshot { .. } => "snapshot",
            Body::SnapshotWanted { .. } => "snapshot-wanted",
            Body::TimeoutNow => "timeout-now",
        }
    }
}
