//! How an open store is, in numbers.

use super::State;
use crate::ids::Index;

/// A store at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub first_index: Index,
    pub last_index: Index,
    pub durable_index: Index,
    /// The snapshot's last index; 0 without one.
    pub snapshot_index: Index,
    /// Segments that count.
    pub segments: usize,
    /// Files that the cleaner has yet to remove, besides what the snapshot covers.
    pub garbage: usize,
    /// Batches that the writer has yet to begin with.
    pub queued: usize,
    /// Written entries that are not durable, in bytes on the disk.
    pub unsynced_bytes: u64,
    /// Data of the newest entries in memory, in bytes.
    pub cached_bytes: usize,
    /// Readers of the log that keep something from being purged.
    pub readers: usize,
    /// The next segment is ready.
    pub is_prepared: bool,
    /// The writer waits for space.
    pub is_stalled: bool,
    pub is_poisoned: bool,
}

impl Status {
    pub(super) fn of(state: &State) -> Self {
        Status {
            first_index: state.first_index(),
            last_index: state.last_index,
            durable_index: state.durable_index,
            snapshot_index: state.snapshot_end().0,
            segments: state.live.len(),
            garbage: state.garbage.len(),
            queued: state.queue.len(),
            unsynced_bytes: state.unsynced.bytes(),
            cached_bytes: state.cache.bytes(),
            readers: state.pins.len(),
            is_prepared: state.prepared.is_some(),
            is_stalled: state.stalled.is_some(),
            is_poisoned: state.poisoned,
        }
    }
}
