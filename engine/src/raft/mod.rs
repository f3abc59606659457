//! Raft without I/O: messages and ticks in, decisions out.
//!
//! The core has no clock (the host calls [`Raft::tick`]), no randomness (the
//! host passes entropy in) and no disk: it reads older entries through
//! [`LogView`] and says in each [`Ready`] what must be written. Persistence is
//! asynchronous: the host goes on stepping while a batch is on its way to the
//! disk and reports each with [`Raft::persisted`], in order.

mod change;
mod core;
mod durability;
mod election;
mod follower;
mod handover;
mod leader;
mod members;
pub mod message;
mod progress;
mod quorum;
mod reads;
mod transfer;
mod view;

pub use self::change::{Change, Refused};
pub use self::core::{Config, NotLeader, Raft};
pub use message::{Body, Message};

use crate::entry::{Entry, HardState, SnapshotMeta};
use crate::error::Result;
use crate::ids::{Index, NodeId, Term};

/// The log as the core may read it: everything that earlier [`Ready`]s handed
/// over, durable or not.
pub trait LogView {
    /// The first index that can still be read; `last_index + 1` in an empty log.
    fn first_index(&self) -> Index;
    /// The last index; the snapshot's `last_index` in an empty log.
    fn last_index(&self) -> Index;
    /// The term of the entry at `index`, also for the snapshot's own last
    /// index and for index 0 (term 0). `Error::Purged` below that,
    /// `Error::Unavailable` above the end.
    fn term(&self, index: Index) -> Result<Term>;
    /// The entries from `from` on, as many as fit in `max_bytes` of data, but
    /// at least one. `Error::Purged` or `Error::Unavailable` as for `term`.
    fn entries(&self, from: Index, max_bytes: usize) -> Result<Vec<Entry>>;
}

/// What the host must do now. Take it after every call of the core and handle
/// it before the next call.
#[derive(Debug, Default)]
pub struct Ready {
    /// Number of this batch, for [`Raft::persisted`]; increases by one for each
    /// `Ready` that has something to persist. `None` if there is nothing.
    pub seq: Option<u64>,
    /// To be made durable before the entries of the same batch.
    pub hard_state: Option<HardState>,
    /// To be appended. The first one's index may lie at or below the log's last
    /// index: then what was there from that index on is truncated first.
    pub entries: Vec<Entry>,
    /// To be sent at once.
    pub messages: Vec<Message>,
    /// To be sent when this batch (and so all before it) is durable: before or
    /// right after [`Raft::persisted`]. Always empty without a `seq`; a promise
    /// that rests on earlier batches still on their way is held back inside
    /// the core, and comes in `messages` once they are durable.
    pub after_persist: Vec<Message>,
    /// Snapshot pieces that the host must read and send: fill `data` and `done`.
    pub snapshot_reads: Vec<SnapshotRead>,
    /// A leader's snapshot piece that arrived; hand it to the install.
    pub snapshot_piece: Option<SnapshotPiece>,
    /// The commit index, if it rose.
    pub commit: Option<Index>,
    /// Reads that may be served once `index` is applied.
    pub reads: Vec<ReadState>,
    /// Reads that must be refused: leadership was lost before they were confirmed.
    pub failed_reads: Vec<u64>,
}

/// Read the snapshot at `offset` (bytes) and send the piece to `to`, in `term`.
/// If the snapshot that ends at `last_index` is no longer the current one and
/// not held open for this peer, use the current one from offset 0. So too with
/// `last_index` 0, which no snapshot has: the core does not know yet which one
/// is current.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRead {
    pub to: NodeId,
    pub term: Term,
    pub last_index: Index,
    pub offset: u64,
}

/// A piece of a snapshot from the leader. The one at offset 0 begins the install
/// anew, whatever was received before. The core hands out one piece at a time:
/// answer each with one of [`Raft::snapshot_stored`], or after the last one
/// [`Raft::snapshot_installed`], or [`Raft::snapshot_failed`]. From `done` until
/// that answer the core submits no entries, but maybe a hard state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPiece {
    pub from: NodeId,
    pub meta: SnapshotMeta,
    pub offset: u64,
    pub data: Vec<u8>,
    pub done: bool,
}

/// A read that was asked for with `context` and is linearizable from `index` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadState {
    pub context: u64,
    pub index: Index,
}
