//! One member as the dispatcher sees it: its disk, its process, what is due.

use std::collections::VecDeque;
use std::sync::Arc;

use afterimage_engine::node::Task;
use afterimage_engine::{NodeId, Phase};

use super::replica::{Process, Status};
use crate::disk::SimFs;
use crate::env::SimEnv;

pub(super) struct Member<S> {
    pub id: NodeId,
    pub disk: SimFs,
    pub env: Arc<SimEnv>,
    pub process: Process<S>,
    /// Counts the boots; what was due for an earlier one is void.
    pub incarnation: u64,
    pub life: Life,
    pub part: Part,
    pub status: Status,
    /// Which tasks have their next step in the queue.
    pub due: [bool; Task::ALL.len()],
    /// The step of the plan that armed a power cut which has not come yet.
    pub armed: Option<usize>,
    /// Steps that wait for a boot to arm theirs.
    pub recovery_crashes: VecDeque<usize>,
    /// The step that waits for this phase to begin.
    pub waiting: Option<(usize, Phase)>,
    /// Ends of the slow and the full phases; 0: not slow, not full.
    pub slow_factor: u64,
    pub full: bool,
    /// It stands still until then, in microseconds; and whether anything was
    /// kept waiting so far.
    pub paused_until_us: u64,
    pub pause_felt: bool,
    /// One of its ticks, in microseconds of ours.
    pub tick_us: u64,
    /// How wrong its wall clock is.
    pub clock_ahead_ms: i64,
    /// Opens that failed in a row.
    pub failed_opens: u32,
    /// The open under way may have read what its disk never had.
    pub cache_lied: bool,
    /// The disk has nothing pending: its power was cut and nobody wrote since.
    pub settled: bool,
}

/// Whether the machine is to run at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// A spare that nobody has asked for.
    Spare,
    Active,
    /// Stopped for good, or its disk is gone.
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Down,
    Booting,
    Up,
}

impl<S> Member<S> {
    pub fn is_up(&self) -> bool {
        self.life == Life::Up
    }

    pub fn leads(&self) -> bool {
        self.is_up() && self.status.leader
    }
}
