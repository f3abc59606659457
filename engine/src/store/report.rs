//! What an open found and decided.

use std::path::PathBuf;

use crate::entry::{HardState, SnapshotMeta};
use crate::event::Event;
use crate::host::Env;
use crate::ids::Index;

/// What recovery found and decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub first_index: Index,
    pub last_index: Index,
    pub hard_state: HardState,
    pub snapshot: Option<SnapshotMeta>,
    /// Everything at or below was proven to have been durable before the open.
    pub proven_index: Index,
    /// The log was committed up to here when the hint was written: as much can
    /// be applied at once. 0 without a hint.
    pub commit_hint: Index,
    /// The log was cut here: file and offset of the first bad record.
    pub torn_tail: Option<(PathBuf, u64)>,
    /// Whole segments behind that, oldest first: no sync had covered what they follow,
    /// and it is not there. A new segment hides them.
    pub torn_segments: Vec<String>,
    /// The cut could also be a durable record that rotted: the node should not
    /// vote before it caught up (Protocol-Aware Recovery, FAST'18). Said until
    /// something was appended.
    pub ambiguous_tail: bool,
    /// One slot of the hard state was bad; the other one was taken. Said until
    /// a newer one was written.
    pub bad_hard_state_slot: bool,
    /// Files without meaning: unfinished, dead or hidden. The unfinished ones are
    /// gone already, and so are two segments if there were more than three; the
    /// others are left to the cleaner.
    pub garbage: Vec<String>,
    /// Decisions in the order they were taken, one line each, for people.
    pub decisions: Vec<String>,
}

impl Report {
    /// Notes a decision and tells the observer, in the order of the file operations.
    pub(super) fn decide(&mut self, env: &dyn Env, what: impl Into<String>) {
        let what = what.into();
        self.decisions.push(what.clone());
        env.observe(Event::Decided { what });
    }
}
