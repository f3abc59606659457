//! tikv's `raft` as a second opinion on Afterimage's core.
//!
//! Each member of a [`Cluster`] is both: the engine's [`Raft`], and a shadow
//! that is raft-rs. The members' messages are the engine's, lost, repeated and
//! reordered as a seed has it; the shadow gets the same ones, translated, and the
//! same ticks, proposals and restarts. What the shadow says goes nowhere. After
//! every input both must have come to the same:
//!
//! * role, term, vote and leader;
//! * the log, as the terms of its entries;
//! * the commit index;
//! * the answer: whether a vote or a pre-vote is granted, whether an append is
//!   accepted, and else from where it should be tried again.
//!
//! Both write at once. How each waits for its disk is its own affair, and judged
//! by the simulator.
//!
//! # Where they may differ
//!
//! The first three change nothing at all, they are differences of what is said;
//! the shadow's message is adapted to the other three.
//!
//! * **Who asks in the term that the other is in already** gets a refusal from the
//!   engine. raft-rs grants a pre-vote in its own term to the one it voted for. A
//!   pre-vote binds nobody.
//! * **A member in the lease of its leader** is silent to pre-votes of any term in
//!   the engine; raft-rs refuses those that are not of a newer one.
//! * **An accepted append** is answered by the engine with all that is known to
//!   match by then, in raft-rs with the end of the append.
//! * **A message that begins below the commit index**: the engine uses what it
//!   brings behind that; raft-rs only answers with its commit index, and is sent
//!   the rest again. Its shadow gets the part behind the commit index.
//! * **The hint of a rejection** stops at the commit index in the engine, which is
//!   known to match. raft-rs may go below. So the hint must be equal or that.
//! * **After a restart** the engine knows of nothing committed. raft-rs keeps its
//!   commit index on the disk; its shadow is made to forget it.
//!
//! Not compared: what a leader sends and when (batches, probes, windows, snapshots
//! are each one's own), read indexes, changes of the membership (raft-rs lets
//! them count when they are applied, the engine when they are in the log), and
//! the handing over of a leadership, of which only the votes are.

mod cluster;
mod ours;
mod rng;
mod theirs;
mod translate;

pub use cluster::{Cluster, Seen, run};

/// In ticks; the member's number is added.
pub const ELECTION_TICKS: u32 = 10;
pub const HEARTBEAT_TICKS: u32 = 3;
/// Bytes of data in one append.
pub const APPEND_BYTES: usize = 16;

/// What can be compared of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub role: Role,
    pub term: u64,
    pub vote: Option<u64>,
    pub leader: Option<u64>,
    pub commit: u64,
    /// The terms of all entries, from index 1 on.
    pub log: Vec<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Follower,
    PreCandidate,
    Candidate,
    Leader,
}

/// What a member answers to the one who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    PreVote { granted: bool },
    Vote { granted: bool },
    Accepted { upto: u64 },
    Rejected { hint: u64, hint_term: u64 },
}
