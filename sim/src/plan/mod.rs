//! The configuration, the workload and the faults of a run, as plain data with
//! one text form. See `text.rs` for the grammar and `generate.rs` for how a
//! seed becomes a plan.

use afterimage_engine::NodeId;

use crate::disk::{CrashPoint, FailTrigger, Keep, Pattern};
use crate::rng::Ratio;

/// A run, fully described: replaying it draws no fault from a random stream.
/// Latencies and the faults of single messages follow from `seed` by hashing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub scenario: String,
    pub seed: u64,
    pub cluster: Cluster,
    pub net: Net,
    pub disk: Disk,
    pub workload: Workload,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Members, named n1, n2, ...
    pub nodes: u32,
    pub tick_ms: u32,
    pub election_ticks: u32,
    pub heartbeat_ticks: u32,
    pub segment_bytes: u64,
    pub chunk_bytes: u64,
    pub cache_bytes: u64,
    pub append_bytes_max: u64,
    pub inflight_max: u32,
    /// Entries applied between two snapshots.
    pub snapshot_every: u64,
    /// With faults: simulated time until everything heals.
    pub duration_ms: u64,
    /// After the healing: how long the cluster may take to converge.
    pub converge_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Net {
    pub latency_us_min: u64,
    pub latency_us_max: u64,
    pub loss: Ratio,
    pub duplicate: Ratio,
    /// A message takes up to `reorder_us_max` longer.
    pub reorder: Ratio,
    pub reorder_us_max: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    pub op_us_min: u64,
    pub op_us_max: u64,
    pub sync_us_min: u64,
    pub sync_us_max: u64,
    pub short: Ratio,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    pub clients: u32,
    pub keys: u32,
    /// Bytes of padding in a put, at the most.
    pub value_bytes_max: u32,
    /// Share of gets.
    pub reads: Ratio,
    /// Time between an answer and the next request, at the most.
    pub think_ms_max: u64,
    /// A client gives up on an answer after this.
    pub timeout_ms: u64,
}

/// One step. The id is stable: deleting other steps does not change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub id: u32,
    /// When it begins.
    pub at_ms: u64,
    pub action: Action,
}

/// Whom a fault aims at. Resolved to `Node` when the step is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Node(NodeId),
    Leader,
    /// The n-th of the nodes that are not the leader, in order of their ids
    /// (modulo their number).
    Follower(u32),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// No messages between the groups (a bit mask of members is one side), in
    /// both directions or only from `side` to the others; messages in flight
    /// are cut too.
    Partition {
        side: Side,
        one_way: bool,
        for_ms: u64,
    },
    /// Power cut at a file operation: the `nth` that matches from now on, or
    /// from the next boot on (`recovery`); at once if `nth` is 0.
    Crash {
        target: Target,
        pattern: Pattern,
        nth: u64,
        point: CrashPoint,
        recovery: bool,
        down_ms: u64,
        /// As carried out; `None`: chosen by hash(seed, step id).
        keep: Option<Keep>,
    },
    /// Process killed; the disk's cache lives on. `then_cut`: the power goes
    /// this long after the restart.
    Kill { target: Target, down_ms: u64 },
    /// A file operation fails.
    Fail {
        target: Target,
        trigger: FailTrigger,
    },
    /// The disk of the target has only `bytes` more, for a while.
    Full {
        target: Target,
        bytes: u64,
        for_ms: u64,
    },
    /// Cached pages of the target that lie are dropped.
    Evict { target: Target },
    /// Disk operations of the target take `factor` times as long, for a while.
    Slow {
        target: Target,
        factor: u64,
        for_ms: u64,
    },
}

/// One side of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    Nodes(Vec<NodeId>),
    /// The leader alone.
    Leader,
    /// The leader and as many followers as keep it in a minority.
    LeaderMinority,
}
