//! The core's state machine.

use super::{LogView, Message, Ready};
use crate::entry::{EntryKind, HardState, Membership, SnapshotMeta};
use crate::error::Result;
use crate::event::Event;
use crate::ids::{Index, NodeId, Term};
use crate::mutant::Mutants;

/// How the core behaves. Times are in ticks.
#[derive(Debug, Clone)]
pub struct Config {
    pub id: NodeId,
    /// The members at the very beginning; a snapshot's membership and the log
    /// override it.
    pub membership: Membership,
    /// An election starts after `election_ticks .. 2 * election_ticks` without a leader.
    pub election_ticks: u32,
    pub heartbeat_ticks: u32,
    /// Data of one `Append` at the most, in bytes (but at least one entry).
    pub append_bytes_max: usize,
    /// `Append`s on their way to one follower at the most.
    pub inflight_max: usize,
    pub mutants: Mutants,
}

/// This node can't do that; `leader` may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotLeader {
    pub leader: Option<NodeId>,
}

/// One member's Raft.
#[derive(Debug)]
pub struct Raft {}

#[allow(unused_variables, clippy::todo)]
impl Raft {
    /// A member that restarts from what its store recovered (all of it
    /// durable). The commit index starts at the snapshot's last index (or 0).
    pub fn new(
        config: Config,
        hard_state: HardState,
        snapshot: Option<&SnapshotMeta>,
        log: &dyn LogView,
        entropy: u64,
    ) -> Result<Self> {
        todo!()
    }
    /// Time passes by one tick. `entropy` draws the next election timeout.
    pub fn tick(&mut self, log: &dyn LogView, entropy: u64) -> Result<()> {
        todo!()
    }
    /// A message arrived. Messages of strangers and for others are ignored.
    pub fn step(&mut self, message: Message, log: &dyn LogView, entropy: u64) -> Result<()> {
        todo!()
    }
    /// Proposes an entry; on success its future position.
    pub fn propose(
        &mut self,
        kind: EntryKind,
        data: std::sync::Arc<[u8]>,
        timestamp_ms: i64,
        log: &dyn LogView,
    ) -> Result<Result<(Index, Term), NotLeader>> {
        todo!()
    }
    /// Asks for a linearizable read; the answer comes in [`Ready::reads`].
    pub fn read_index(&mut self, context: u64, log: &dyn LogView) -> Result<Result<(), NotLeader>> {
        todo!()
    }
    /// The batch `seq` and all before it are durable.
    pub fn persisted(&mut self, seq: u64, log: &dyn LogView) -> Result<()> {
        todo!()
    }
    /// The install took this snapshot's pieces up to `offset` (bytes); ask for more.
    pub fn snapshot_stored(&mut self, leader: NodeId, last_index: Index, offset: u64) {
        todo!()
    }
    /// The snapshot of the leader is durable and the log goes on behind it
    /// (`kept_suffix`) or starts empty at `last_index + 1`.
    pub fn snapshot_installed(
        &mut self,
        meta: &SnapshotMeta,
        kept_suffix: bool,
        log: &dyn LogView,
    ) -> Result<()> {
        todo!()
    }
    /// The install failed or was given up; the leader will be asked again.
    pub fn snapshot_failed(&mut self) {
        todo!()
    }
    /// What to do now.
    pub fn ready(&mut self, log: &dyn LogView) -> Result<Ready> {
        todo!()
    }
    /// Decisions since the last call, for the observer.
    pub fn take_events(&mut self) -> Vec<Event> {
        todo!()
    }
    pub fn is_leader(&self) -> bool {
        todo!()
    }
    pub fn leader(&self) -> Option<NodeId> {
        todo!()
    }
    pub fn term(&self) -> Term {
        todo!()
    }
    pub fn commit_index(&self) -> Index {
        todo!()
    }
    /// The highest index of the core's current log that is known durable here.
    /// Entries may be applied up to `min(commit_index, durable_index)`.
    pub fn durable_index(&self) -> Index {
        todo!()
    }
    pub fn membership(&self) -> &Membership {
        todo!()
    }
}
