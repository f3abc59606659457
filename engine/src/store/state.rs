//! What the parts of an open store share. The lock is never held across a file
//! operation of a job: a reader waits for nobody's I/O.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::cache::Cache;
use super::{Options, Ticket};
use crate::entry::{Entry, HardState};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::fs::Lock;
use crate::fs::dir::{Dir, Handle};
use crate::hard_state::HardStateFile;
use crate::host::Host;
use crate::ids::{Index, Term};
use crate::log::pins::Pins;
use crate::log::segment::{Mark, Prepared, SharedSegment};
use crate::log::unsynced::Unsynced;
use crate::mutant::Mutant;
use crate::snapshot::SnapshotReader;

#[derive(Debug)]
pub(crate) struct Shared {
    pub host: Host,
    pub dir: Dir,
    pub options: Options,
    pub log_id: u64,
    pub state: Mutex<State>,
    /// Held until the last handle is gone.
    pub _lock: Box<dyn Lock>,
}

impl Shared {
    /// The state. A panic elsewhere cannot have left it half changed: no user
    /// code runs under the lock.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this bug is planted here.
    pub fn has(&self, mutant: Mutant) -> bool {
        self.options.mutants.has(mutant)
    }

    pub fn observe(&self, event: Event) {
        self.host.env.observe(event);
    }

    /// A name that no earlier file can have had.
    pub fn tmp_name(&self, kind: &str) -> String {
        format!("{kind}-{:016x}.tmp", self.host.env.random())
    }

    /// From here on nothing is acknowledged; only reopening helps.
    pub fn poison(&self) {
        if !std::mem::replace(&mut self.state().poisoned, true) {
            self.observe(Event::Poisoned);
        }
    }
}

/// One submitted batch, on its way to the disk.
#[derive(Debug)]
pub(crate) struct Command {
    pub ticket: Ticket,
    pub hard_state: Option<HardState>,
    /// Everything from here on is replaced.
    pub truncate_from: Option<Index>,
    pub entries: Vec<Entry>,
    /// Somebody wants it to be durable.
    pub synced: bool,
}

/// The segment that the writer appends to.
#[derive(Debug, Clone)]
pub(crate) struct Active {
    pub segment: SharedSegment,
    /// Where the next record goes.
    pub end: Mark,
}

#[derive(Debug)]
pub(crate) struct State {
    // --- the view: what was submitted
    pub hard_state: HardState,
    pub last_index: Index,
    pub last_term: Term,
    pub cache: Cache,
    pub queue: VecDeque<Command>,
    pub next_ticket: Ticket,
    /// How often a part of the log was replaced, or all of it discarded.
    pub replacements: u64,
    /// What open readers have yet to read is not purged.
    pub pins: Pins,

    // --- what the disk has
    pub persisted: Ticket,
    /// As `persisted`, but the sync may be missing.
    pub written: Ticket,
    pub durable_index: Index,
    /// The last index in the segments.
    pub written_index: Index,
    /// The same, less what a batch in the queue replaces.
    pub settled_index: Index,
    /// What lies between `durable_index` and `written_index`.
    pub unsynced: Unsynced,
    /// In order of base and of generation. Each is visible up to the next one's base.
    pub live: Vec<SharedSegment>,
    /// `None`: the next append begins a new segment.
    pub active: Option<Active>,
    /// The last group was written through.
    pub writes_through: bool,
    pub hard_state_file: HardStateFile,
    pub snapshot: Option<SnapshotReader>,
    /// As far as the log was said to be committed; for the hint alone.
    pub commit: Index,
    /// The hint in the file, or 0.
    pub hinted: Index,
    /// Opened or created before.
    pub hint_file: Option<Handle>,
    /// Snapshots that were replaced, durably. Their files are still open: who
    /// closes one frees its space, which takes long and is left to the cleaner.
    pub replaced: Vec<SnapshotReader>,
    /// Files that an open removed: the same.
    pub unlinked: Vec<Handle>,
    /// The highest generation given so far.
    pub generation: u64,
    pub prepared: Option<Prepared>,
    /// Names that may be removed at any time, in any order.
    pub garbage: Vec<String>,
    /// A save or an install is between its decision and its directory sync.
    pub publishing: bool,
    /// The writer has a group in its hands.
    pub writing: bool,
    /// Why that group waits: there was no space for it.
    pub stalled: Option<Error>,
    pub poisoned: bool,
}

impl State {
    /// The first index that can be read.
    pub fn first_index(&self) -> Index {
        self.live
            .first()
            .map_or(self.last_index.next(), |s| s.header.base)
            .min(self.cache.first_index().unwrap_or(self.last_index.next()))
    }

    /// Index and term that the snapshot stands for; (0, 0) without one.
    pub fn snapshot_end(&self) -> (Index, Term) {
        self.snapshot.as_ref().map_or_else(Default::default, |s| {
            (s.meta().last_index, s.meta().last_term)
        })
    }

    /// This is the current snapshot from now on.
    pub fn succeed(&mut self, snapshot: SnapshotReader) {
        self.replaced.extend(self.snapshot.replace(snapshot));
    }

    /// Hands something to the writer.
    pub fn enqueue(
        &mut self,
        hard_state: Option<HardState>,
        truncate_from: Option<Index>,
        entries: Vec<Entry>,
        synced: bool,
    ) -> Ticket {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.queue.push_back(Command {
            ticket,
            hard_state,
            truncate_from,
            entries,
            synced,
        });
        ticket
    }

    pub fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    pub fn check_open(&self) -> Result<()> {
        if self.poisoned {
            Err(Error::Poisoned)
        } else {
            Ok(())
        }
    }

    /// The segment that holds `index`, and the last index visible in it.
    pub fn segment_of(&self, index: Index) -> Option<(SharedSegment, Index)> {
        let after = self.live.partition_point(|s| s.header.base <= index);
        let segment = self.live.get(after.checked_sub(1)?)?;
        let end = self
            .live
            .get(after)
            .map_or(self.written_index, |next| next.header.base.prev());
        (index <= end).then(|| (segment.clone(), end))
    }
}
