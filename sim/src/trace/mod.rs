//! What happened, as data: one stream of [`Record`]s feeds the text trace, the
//! digest, the `sometimes` counters and the judges. No addresses, no wall time,
//! no random numbers.

mod changes;
mod digest;
mod history;
mod names;
pub mod sometimes;
#[cfg(test)]
mod tests;
pub mod text;
mod watermarks;

pub use digest::Digest;
pub use history::History;
pub use sometimes::Sometimes;
pub use text::Style;
pub use watermarks::Watermarks;

use afterimage_engine::node::{Reply, RequestKind};
use afterimage_engine::raft::Message;
use afterimage_engine::{EntryId, Event, HardState, Index, Membership, NodeId, Term};

use crate::disk;

/// One thing that happened.
#[derive(Debug, Clone)]
pub struct Record {
    /// Simulated microseconds since the start of the run.
    pub time_us: u64,
    /// The node it happened at; `None` for clients and the run itself.
    pub node: Option<NodeId>,
    pub what: What,
}

/// A store's whole content, read back through its public interface.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Contents {
    pub hard_state: HardState,
    /// Last index and term of the snapshot, and a CRC over its data.
    pub snapshot: Option<(Index, Term, u32)>,
    pub first_index: Index,
    pub last_index: Index,
    /// Every entry from `first_index` to `last_index`, as far as readable.
    pub entries: Vec<EntryId>,
    /// Why reading the log or the snapshot stopped early.
    pub unreadable: Option<String>,
    /// That is a corruption, of which the store named the file and the offset.
    pub corrupt: bool,
}

#[derive(Debug, Clone)]
pub enum What {
    /// Who takes part at the very beginning. Comes first.
    Members(Membership),
    /// A decision of the engine or the node.
    Engine(Event),
    /// A file operation of a node's disk.
    Disk(disk::OpRecord),
    /// A node's power was cut: the fate of every pending effect.
    PowerCut(disk::CrashReport),
    /// A node's process was killed; its disk cache lives on.
    Killed,
    /// The node failed by itself (say, a poisoned store) and will be reopened.
    /// `excused`: an injected runtime fault is to blame. `corrupt`: it found
    /// its files corrupt, and named the file and the offset.
    Died {
        error: String,
        excused: bool,
        corrupt: bool,
    },
    /// A node starts to open its store; incarnations count from 1.
    Boot {
        incarnation: u64,
    },
    /// The open failed. `excused`: an injected runtime fault reached it.
    /// `corrupt`: as above.
    OpenFailed {
        error: String,
        excused: bool,
        corrupt: bool,
    },
    /// The node is up, with this content.
    Up(Contents),
    /// A node that is up was read back, with this content.
    Read(Contents),
    /// A node's store was handed a snapshot, to save or to install; nothing of
    /// it is durable yet. With a CRC over its data.
    SnapshotGiven {
        last_index: Index,
        last_term: Term,
        crc: u32,
    },
    /// A copy of the disk from before this open was opened, cut off from power
    /// (perhaps in the middle of the open) and opened again.
    Reopened {
        contents: Result<Contents, String>,
    },
    Sent(Message),
    Delivered {
        from: NodeId,
        kind: &'static str,
        /// The message's term. Not in the text, where its `send` says it.
        term: Term,
    },
    /// Lost on the way: `loss`, `corrupt` (its checksum does not fit), `queue`
    /// (more than the link carries), `partition` or `down`.
    Dropped {
        from: NodeId,
        to: NodeId,
        kind: &'static str,
        why: &'static str,
    },
    Invoke {
        client: u64,
        sequence: u64,
        kind: RequestKind,
        operation: Operation,
    },
    Reply {
        client: u64,
        sequence: u64,
        reply: Reply,
    },
    /// A step of the plan was carried out, or skipped, and why.
    Step {
        id: u32,
        note: String,
    },
    /// A fault had an effect.
    Fault {
        kind: &'static str,
    },
    /// The faults have ended; the cluster must converge from here on. With a
    /// `core`, those of it alone: for others nothing has ended.
    Healed {
        core: Option<Vec<NodeId>>,
    },
    /// A node's state at the end.
    Final {
        leader: bool,
        term: Term,
        commit: Index,
        applied: Index,
        /// Digest of the state machine's content.
        state: u64,
    },
    /// The cluster did, or did not, converge within the bound.
    Converged {
        within_us: Option<u64>,
    },
}

impl What {
    /// Somebody read the store, and found it corrupt: it is closed. `None`:
    /// it is not.
    pub fn died_of(contents: &Contents) -> Option<What> {
        let error = contents.unreadable.clone().filter(|_| contents.corrupt)?;
        Some(What::Died {
            error,
            excused: false,
            corrupt: true,
        })
    }

    /// What the node's store held at this moment, if it was read back.
    pub fn contents(&self) -> Option<&Contents> {
        match self {
            What::Up(contents) | What::Read(contents) => Some(contents),
            _ => None,
        }
    }
}

/// A client's operation on the key-value state machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// The value is unique in the run.
    Put {
        key: u32,
        value: u64,
    },
    Get {
        key: u32,
    },
}
