//! The configuration, the workload and the faults of a run, as plain data with
//! one text form. See `text.rs` for the grammar and `generate.rs` for how a
//! seed becomes a plan.

pub mod generate;
pub mod seed_file;
pub mod text;

mod actions;
mod deed;
mod edit;
mod fields;
mod kinds;
mod sections;
mod words;

#[cfg(test)]
mod tests;

pub use deed::{Deed, MessageKind};
pub use generate::{UnknownScenario, generate};
pub use seed_file::SeedFile;
pub use text::{PlanError, Problem};

use afterimage_engine::{Index, NodeId, Phase, Term};

use crate::disk::{CrashPoint, CrashTrigger, Damage, FailTrigger, Keep, Pattern, Profile};
use crate::rng::Ratio;

/// The scenario whose steps drive one store directly: all of them are
/// [`Action::Store`], and no other scenario has such steps.
pub const STORE: &str = "store";

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
    /// Carried out in the order of their times; those of one time, in this order.
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Members at the beginning, named n1, n2, ...
    pub nodes: u32,
    /// So many more are ready to join, the next names on. They start when they
    /// are added for the first time.
    pub spares: u32,
    pub tick_ms: u32,
    pub election_ticks: u32,
    pub heartbeat_ticks: u32,
    pub segment_bytes: u64,
    pub chunk_bytes: u64,
    pub cache_bytes: u64,
    /// Entries that a purge leaves behind the snapshot's end.
    pub trail_entries: u64,
    /// Entries between two commit hints; 0: none.
    pub commit_hint_every: u64,
    /// Data that one store may leave unsynced, in bytes. Replicas sync all they write.
    pub unsynced_bytes: u64,
    pub append_bytes_max: u64,
    pub inflight_max: u32,
    /// Entries applied between two snapshots.
    pub snapshot_every: u64,
    /// With faults: simulated time until everything heals.
    pub duration_ms: u64,
    /// After the healing: how long the cluster may take to converge.
    pub converge_ms: u64,
    pub heal: Heal,
    /// The clocks of members, and with them all their timeouts, go faster or
    /// slower than time by up to this share.
    pub drift: Ratio,
}

/// Who is healed when the faults end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Heal {
    #[default]
    All,
    /// No more voters than a quorum needs, and the links among them. The rest
    /// stays as it is: down, cut off, paused, full, or with a crash to come.
    Core,
    /// Nobody, and nothing is asked any more: for faults that may leave too
    /// little to go on with.
    Nobody,
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
    /// A message arrives with a checksum that does not fit, and is dropped.
    pub corrupt: Ratio,
    /// Each link and direction is slower than `latency_us` by a factor of its
    /// own, up to this.
    pub uneven: u64,
    /// What a link carries, in bytes a millisecond; 0: whatever comes.
    pub bandwidth: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    pub op_us_min: u64,
    pub op_us_max: u64,
    pub sync_us_min: u64,
    pub sync_us_max: u64,
    pub short: Ratio,
    /// A file operation takes up to `stall_us_max` longer.
    pub stall: Ratio,
    pub stall_us_max: u64,
    /// What its filesystem may do at a power cut.
    pub profile: Profile,
    /// Files can be written through, past the cache.
    pub direct: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    pub clients: u32,
    /// So many more clients only read, and stay with a member as long as it answers.
    pub readers: u32,
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
    /// When it begins; at 0, before the first boot. Always 0 in a plan for one
    /// store, whose steps just follow one another.
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
        /// The links come back after so long, and go again; 0: they stay cut.
        flap_ms: u64,
    },
    /// Power cut at a file operation: the `nth` that matches from now on; at
    /// once if `nth` is 0. With `during` it waits until the target is in that
    /// phase and counts within it: in a recovery from the boot on (a reopen
    /// after it died by itself counts); in others from the phase's second
    /// operation on, and anew the next time if it ended before. Crashes that
    /// wait for a recovery queue up at a node, and each boot takes the oldest:
    /// two of them also cut the power in the recovery from the first. Of the
    /// others a node has one waiting: a newer one takes its place.
    Crash {
        target: Target,
        pattern: Pattern,
        nth: u64,
        point: CrashPoint,
        during: Option<Phase>,
        down_ms: u64,
        /// As carried out; `None`: chosen by hash(seed, step id).
        keep: Option<Keep>,
    },
    /// Process killed; the disk's cache lives on.
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
    /// A durable sector of the target goes bad. What the plan leaves open is
    /// chosen by hash(seed, step id), and written back.
    Damage { target: Target, damage: Damage },
    /// Disk operations of the target take `factor` times as long, for a while.
    Slow {
        target: Target,
        factor: u64,
        for_ms: u64,
    },
    /// Messages of one kind from `from` (to `to`, or to anybody) are lost. What
    /// is in flight arrives.
    Lose {
        from: Side,
        to: Option<Side>,
        kind: MessageKind,
        for_ms: u64,
    },
    /// Ends the partition, or the loss, that a step began.
    Mend { step: u32 },
    /// The steps behind it wait until the target has done this, `nth` times
    /// from now on, but no longer than `within_ms`. Their times count as if
    /// that had taken none.
    Await {
        target: Target,
        until: Deed,
        nth: u64,
        within_ms: u64,
    },
    /// The faults end now, not after `duration_ms`.
    Heal,
    /// The target stands still, and does then what it did not do.
    Pause { target: Target, for_ms: u64 },
    /// The wall clock of the target jumps, for good; its timers do not mind.
    Jump {
        target: Target,
        by_ms: u64,
        back: bool,
    },
    /// An operator asks whoever leads, again and again until it is done, or for so
    /// long. Other asks may go on at the same time.
    Ask {
        ask: Ask,
        target: Target,
        /// Once it is removed, it is stopped for good.
        stop: bool,
        for_ms: u64,
    },
    /// The target's disk is gone, and the target with it: whoever takes its place
    /// is a new member. Not done where too few sound voters would be left.
    LoseDisk { target: Target },
    /// An action of a plan for one store.
    Store(StoreOp),
}

/// What an operator asks of a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    AddLearner,
    /// A learner becomes a voter, once it has caught up.
    Promote,
    /// Not done where too few sound voters would be left.
    Remove,
    /// The leadership goes to the target.
    Transfer,
}

/// What is done to, or with, one store that nobody else uses. Like every step
/// it is total: what does not apply (an append behind a gap, a kill of what is
/// down) is skipped. The store is opened first, unless the plan begins with a
/// `restart`, before which there may be faults for it to meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreOp {
    /// Submits one batch, and waits for it. A first index at or below the last
    /// one replaces the suffix. `unsynced`: it is only to be written.
    Append {
        entries: Vec<StoreEntry>,
        unsynced: bool,
    },
    /// Makes durable what was appended without a sync.
    Sync,
    /// Drops the suffix from `from` on.
    Truncate {
        from: Index,
    },
    HardState {
        term: Term,
        vote: Option<NodeId>,
    },
    /// Reads the log from `from` on to its end. In the `background`: a piece for
    /// each step of later work; what is still to be read is not purged meanwhile.
    Read {
        from: Index,
        background: bool,
    },
    /// Saves a snapshot of `bytes` bytes of state at `upto`. In the
    /// `background`: begins to, and takes a step for each step of later work.
    Save {
        upto: Index,
        bytes: u64,
        background: bool,
    },
    /// Installs a leader's snapshot of `bytes` bytes. Nothing is appended
    /// while one goes on in the background.
    Install {
        last: Index,
        term: Term,
        bytes: u64,
        background: bool,
    },
    /// The log up to here is committed: what a replica may apply. It is never
    /// replaced from here on.
    Commit {
        upto: Index,
    },
    /// Runs the cleaner until it is idle; in the background, until the store
    /// is closed.
    Clean {
        background: bool,
    },
    /// Runs the preparer, likewise.
    Prepare {
        background: bool,
    },
    /// Runs what goes on in the background until it is done.
    Wait,
    /// Cuts the power within the next step, at its `nth` matching operation; a
    /// step that has fewer ends unharmed and the trigger is gone.
    Crash {
        trigger: CrashTrigger,
        /// As carried out; `None`: chosen by hash(seed, step id).
        keep: Option<Keep>,
    },
    /// Cuts the power now.
    Cut {
        keep: Option<Keep>,
    },
    /// Kills the process; the disk's cache lives on.
    Kill,
    /// Kills the process within the next step, after its `nth` matching
    /// operation; a step that has fewer ends unharmed.
    KillAt {
        pattern: Pattern,
        nth: u64,
    },
    /// Opens the store, after a cut or a kill. One that runs is closed first,
    /// which is no more than a kill.
    Restart,
    /// A file operation fails, from here on whenever it comes.
    Fail(FailTrigger),
    /// The disk has only `bytes` more.
    Full {
        bytes: u64,
    },
    /// The disk has space again.
    Space,
    /// No armed failure is left, and the disk has space: what comes is met by
    /// crashes alone.
    Heal,
    /// Drops cached pages that lie.
    Evict,
    /// A durable sector goes bad. What the plan leaves open is chosen by
    /// hash(seed, step id), and written back.
    Damage(Damage),
    /// Reads everything back and asks the judges.
    Check,
}

/// An entry to append: `term/index:bytes` in text. Its data follows from the
/// three numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreEntry {
    pub term: Term,
    pub index: Index,
    /// Length of its data.
    pub bytes: u64,
}

/// One side of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    Nodes(Vec<NodeId>),
    /// The leader alone.
    Leader,
    /// The leader and as many followers as keep it in a minority.
    LeaderMinority,
    /// No sides: each member hears its two neighbours alone.
    Ring,
    /// Two halves, and this member, whom all hear.
    Bridge(NodeId),
}
