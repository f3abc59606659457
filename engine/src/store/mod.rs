//! One directory: the log, the snapshot and the hard state, kept consistent.
//!
//! A [`Store`] is a cheap handle. Writing is asynchronous: [`Store::submit`]
//! changes the view at once and hands the batch to the [`Writer`], whose steps
//! bring it to the disk; [`Store::persisted`] tells how far it came.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::entry::{Entry, HardState, SnapshotMeta};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::ids::{Index, Term};
use crate::job::{Job, Step};
use crate::mutant::Mutants;
use crate::raft::LogView;

#[derive(Debug, Clone)]
pub struct Options {
    /// A segment that passed this size is closed and the next one begun. Bytes.
    pub segment_bytes: u64,
    /// Data of the newest entries kept in memory, in bytes.
    pub cache_bytes: usize,
    /// Data of one snapshot chunk on disk, in bytes.
    pub chunk_bytes: usize,
    pub mutants: Mutants,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            segment_bytes: 64 << 20,
            cache_bytes: 4 << 20,
            chunk_bytes: 256 << 10,
            mutants: Mutants::NONE,
        }
    }
}

/// What recovery found and decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub first_index: Index,
    pub last_index: Index,
    pub hard_state: HardState,
    pub snapshot: Option<SnapshotMeta>,
    /// Everything at or below was proven to have been durable before the open.
    pub proven_index: Index,
    /// The log was cut here: file and offset of the first bad record.
    pub torn_tail: Option<(PathBuf, u64)>,
    /// The cut could also be a durable record that rotted: the node should not
    /// vote before it caught up (Protocol-Aware Recovery).
    pub ambiguous_tail: bool,
    /// One slot of the hard state was bad; the other one was taken.
    pub bad_hard_state_slot: bool,
    /// Files removed: unfinished, dead or hidden.
    pub removed: Vec<PathBuf>,
    /// Decisions in the order they were taken, one line each, for people.
    pub decisions: Vec<String>,
}

/// Things to make durable together: first the hard state, then the entries.
/// The first entry may lie at or below the last index: then the suffix from
/// there on is truncated first.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub hard_state: Option<HardState>,
    pub entries: Vec<Entry>,
}

/// The position of a batch in the order of submission; starts at 1.
pub type Ticket = u64;

/// An open store. Clones share it.
#[derive(Debug, Clone)]
pub struct Store {}

#[allow(unused_variables, clippy::todo)]
impl Store {
    /// Opens (or creates) the store in `dir`: look, decide, make durable, act.
    /// What the report says is durable when the job is done.
    pub fn open(host: Host, dir: &Path, options: Options) -> Job<Result<(Store, Report)>> {
        todo!()
    }
    /// Hands over a batch: visible to readers at once, durable once
    /// [`Store::persisted`] reaches the ticket.
    pub fn submit(&self, batch: Batch) -> Result<Ticket> {
        todo!()
    }
    /// Drops the suffix from `from` on, without entries to follow.
    pub fn truncate_suffix(&self, from: Index) -> Result<Ticket> {
        todo!()
    }
    /// The highest ticket that is durable, with all before it.
    pub fn persisted(&self) -> Ticket {
        todo!()
    }
    /// The highest durable index of the log as it is now.
    pub fn durable_index(&self) -> Index {
        todo!()
    }
    /// The hard state as last submitted.
    pub fn hard_state(&self) -> HardState {
        todo!()
    }
    /// The current snapshot's description.
    pub fn snapshot(&self) -> Option<SnapshotMeta> {
        todo!()
    }
    /// Opens the current snapshot; the reader keeps it even if a newer one replaces it.
    pub fn open_snapshot(&self) -> Result<Option<SnapshotReader>> {
        todo!()
    }
    /// Brings submitted batches to the disk. One per store.
    pub fn writer(&self) -> Writer {
        todo!()
    }
    /// Removes segments that the snapshot covers, and garbage. One per store.
    pub fn cleaner(&self) -> Cleaner {
        todo!()
    }
    /// Keeps one segment prepared. One per store.
    pub fn preparer(&self) -> Preparer {
        todo!()
    }
    /// Saves a snapshot of the state at `meta.last_index` (which must be
    /// applied and durable). `false` if a newer one was there already.
    pub fn save_snapshot(
        &self,
        meta: SnapshotMeta,
        data: Box<dyn SnapshotSource>,
    ) -> Job<Result<bool>> {
        todo!()
    }
    /// Begins to receive the leader's snapshot.
    pub fn install(&self, meta: SnapshotMeta) -> Install {
        todo!()
    }
    /// Whether a write or sync failed; only reopening helps.
    pub fn is_poisoned(&self) -> bool {
        todo!()
    }
}

#[allow(unused_variables, clippy::todo)]
impl LogView for Store {
    fn first_index(&self) -> Index {
        todo!()
    }
    fn last_index(&self) -> Index {
        todo!()
    }
    fn term(&self, index: Index) -> Result<Term> {
        todo!()
    }
    fn entries(&self, from: Index, max_bytes: usize) -> Result<Vec<Entry>> {
        todo!()
    }
}

/// A frozen state of a state machine, read once from front to back.
pub trait SnapshotSource: Send {
    /// Appends up to about `max` bytes to `out`; `false` once everything was given.
    fn read(&mut self, out: &mut Vec<u8>, max: usize) -> bool;
}

#[derive(Debug)]
pub struct Writer {}
#[allow(clippy::todo)]
impl Writer {
    /// At most one file operation. `Stalled`: the disk is full, call again later.
    /// An error poisons the store.
    pub fn step(&mut self) -> Result<Step> {
        todo!()
    }
    /// Whether a step would find work.
    pub fn has_work(&self) -> bool {
        todo!()
    }
}

#[derive(Debug)]
pub struct Cleaner {}
#[allow(clippy::todo)]
impl Cleaner {
    pub fn step(&mut self) -> Result<Step> {
        todo!()
    }
    pub fn has_work(&self) -> bool {
        todo!()
    }
}

#[derive(Debug)]
pub struct Preparer {}
#[allow(clippy::todo)]
impl Preparer {
    pub fn step(&mut self) -> Result<Step> {
        todo!()
    }
    pub fn has_work(&self) -> bool {
        todo!()
    }
}

/// The receiving side of a snapshot from the leader.
#[derive(Debug)]
pub struct Install {}
#[allow(unused_variables, clippy::todo)]
impl Install {
    pub fn meta(&self) -> &SnapshotMeta {
        todo!()
    }
    /// Takes a piece at `offset`. `false` if that is not the next one wanted.
    /// After the last piece (`done`) the steps verify it, decide what becomes
    /// of the log, and make it the current snapshot. From the moment `done` was
    /// pushed until the outcome, nothing may be submitted to the store.
    pub fn push(&mut self, offset: u64, data: Vec<u8>, done: bool) -> bool {
        todo!()
    }
    /// The next offset wanted: all before it was pushed.
    pub fn wanted(&self) -> u64 {
        todo!()
    }
    pub fn has_work(&self) -> bool {
        todo!()
    }
    /// At most one file operation.
    pub fn step(&mut self) -> Result<Step> {
        todo!()
    }
    /// Once installed and durable.
    pub fn outcome(&self) -> Option<Installed> {
        todo!()
    }
}

/// How an install ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Installed {
    /// False: a newer snapshot was there already, nothing was changed.
    pub taken: bool,
    /// The log behind the snapshot stays.
    pub kept_suffix: bool,
}

/// An open snapshot.
#[derive(Debug, Clone)]
pub struct SnapshotReader {}
#[allow(unused_variables, clippy::todo)]
impl SnapshotReader {
    pub fn meta(&self) -> &SnapshotMeta {
        todo!()
    }
    /// Length of the data, in bytes.
    pub fn data_len(&self) -> u64 {
        todo!()
    }
    /// Data from `offset` (any), up to the end of the chunk it lies in; empty at
    /// the end. Each chunk's CRC is checked.
    pub fn read(&self, offset: u64) -> Result<Vec<u8>> {
        todo!()
    }
}

#[allow(dead_code)]
type Unused = (Arc<()>, Error);
