//! One directory: the log, the snapshot and the hard state, kept consistent.
//!
//! A [`Store`] is a cheap handle. Writing is asynchronous: [`Store::submit`]
//! changes the view at once and hands the batch to the [`Writer`], whose steps
//! bring it to the disk; [`Store::persisted`] tells how far it came.

mod cache;
mod chain;
mod open;
mod read;
mod report;
mod state;
mod status;
mod survey;
mod tail;

use std::path::Path;
use std::sync::Arc;

pub use crate::commit_hint::Hinter;
pub use crate::log::cleaner::Cleaner;
pub use crate::log::preparer::Preparer;
pub use crate::log::reader::LogReader;
pub use crate::log::writer::Writer;
pub use crate::snapshot::{Install, Installed, SnapshotReader, SnapshotSource};
pub(crate) use chain::hide;
pub(crate) use open::{LOCK, continues};
pub use read::LogScan;
pub use report::Report;
pub(crate) use state::{Active, Shared, State};
pub use status::Status;
pub(crate) use survey::survey;
pub(crate) use tail::is_link_to;

use crate::entry::{Entry, HardState, SnapshotMeta};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::host::Host;
use crate::ids::{Index, Term};
use crate::job::Job;
use crate::mutant::{Mutant, Mutants};
use crate::raft::LogView;

/// An entry's data is at most this long, in bytes: what a record's length field
/// holds, less its overhead.
pub const ENTRY_BYTES_MAX: usize = (1 << 30) - 64;

#[derive(Debug, Clone)]
pub struct Options {
    /// A segment that passed this size is closed and the next one begun. Bytes.
    pub segment_bytes: u64,
    /// Data of the newest entries kept in memory, in bytes. There are at most 1,024 of
    /// them, or one for each 64 of these bytes; 2 MiB more may wait to be freed.
    pub cache_bytes: usize,
    /// Data of one snapshot chunk on disk, in bytes.
    pub chunk_bytes: usize,
    /// So many entries up to the snapshot's end stay in the log when it is
    /// purged (rounded up to whole segments): a follower that lags by less is
    /// sent entries and not the snapshot. None after an install that discards
    /// the log.
    pub trail_entries: u64,
    /// The commit index is noted on disk, without a sync, each time that it has
    /// risen by so many entries, so that a restarted replica can apply what it
    /// has before it hears from others ([`Report::commit_hint`]). 0, the default:
    /// never.
    pub commit_hint_every: u64,
    /// Open although one slot of the hard state is bad, with what the other one
    /// says; the report tells. Off by default: the two slots are no copies, and
    /// the bad one may have held the newest vote. A member that forgets a vote
    /// may vote twice in a term, and nothing that it hears from others later
    /// proves that it did not.
    pub accept_bad_slot: bool,
    /// What [`Store::submit_unsynced`] may leave unsynced, in bytes on the disk: with
    /// more, the writer syncs all of it. The next open writes as much again, also after
    /// a sync if nothing was appended behind it: so long it takes, and so much space.
    pub unsynced_bytes: u64,
    pub mutants: Mutants,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            segment_bytes: 32 << 20,
            cache_bytes: 4 << 20,
            chunk_bytes: 256 << 10,
            trail_entries: 0,
            commit_hint_every: 0,
            accept_bad_slot: false,
            unsynced_bytes: 256 << 20,
            mutants: Mutants::NONE,
        }
    }
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

/// An open store. Clones share it; the directory's lock is released with the
/// last of them (and of the jobs made from them).
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

impl Store {
    /// Opens (or creates) the store in `dir`: look, decide, make durable, act.
    /// What the report says is durable when the job is done.
    ///
    /// Fails without having changed anything on [`Error::Corrupt`],
    /// [`Error::Version`] and [`Error::Locked`].
    /// [`Error::Io`] may be gone the next time: after a failed sync the page cache shows
    /// what the disk never got, and if it lets go of that between two reads of an open,
    /// this open fails and the next one finds a torn tail.
    pub fn open(host: Host, dir: &Path, options: Options) -> Job<Result<(Store, Report)>> {
        let dir = dir.to_owned();
        Job::new(async move {
            let (shared, report) = open::open(host, &dir, options).await?;
            Ok((
                Store {
                    shared: Arc::new(shared),
                },
                report,
            ))
        })
    }

    pub(crate) fn of(shared: &Arc<Shared>) -> Self {
        Store {
            shared: shared.clone(),
        }
    }

    /// Hands over a batch: visible to readers at once, durable once
    /// [`Store::persisted`] reaches the ticket.
    ///
    /// # Errors
    /// [`Error::Poisoned`] after a failed write or sync. [`Error::Misuse`] if the
    /// entries leave a gap, go back in term, or would replace what the snapshot
    /// covers. [`Error::Io`] or [`Error::Corrupt`] if the term before entries
    /// that replace others can't be read.
    pub fn submit(&self, batch: Batch) -> Result<Ticket> {
        self.hand_in(batch, true)
    }

    /// As [`Store::submit`], for entries that nobody waits for: the writer writes
    /// them, but leaves the sync to the next batch that was submitted otherwise (an
    /// empty one will do), to entries that replace others, or to
    /// [`Options::unsynced_bytes`]. [`Store::persisted`] reaches the ticket then.
    /// [`Store::written`] does before, when they are in the file.
    ///
    /// A power cut leaves the log up to some entry between the last one that is
    /// durable and the last one that was written.
    ///
    /// # Errors
    /// As for [`Store::submit`].
    pub fn submit_unsynced(&self, entries: Vec<Entry>) -> Result<Ticket> {
        let batch = Batch {
            hard_state: None,
            entries,
        };
        self.hand_in(batch, false)
    }

    fn hand_in(&self, batch: Batch, synced: bool) -> Result<Ticket> {
        let mut term_before = None;
        if let Some(first) = batch.entries.first() {
            term_before = match self.term(first.index.prev()) {
                Ok(term) => Some(term),
                Err(Error::Unavailable { .. } | Error::Purged { .. }) => None,
                Err(e) => return Err(e),
            };
        }
        let mut state = self.shared.state();
        state.check_open()?;
        let mut truncate_from = None;
        if let Some(first) = batch.entries.first() {
            self.check_entries(&state, &batch.entries)?;
            if term_before.is_some_and(|before| first.term < before) {
                return Err(Error::Misuse(
                    "the term of an entry is below that of the one before",
                ));
            }
            if first.index <= state.last_index {
                truncate_from = Some(first.index);
            }
        }
        let ids: Vec<_> = match self.shared.host.env.wants_entries() {
            true => batch.entries.iter().map(Entry::id).collect(),
            false => Vec::new(),
        };
        if let Some(from) = truncate_from {
            state.replacements += 1;
            state.cache.cut(from);
            state.settled_index = state.settled_index.min(from.prev());
            if !self.shared.has(Mutant::DurableNotLowered) {
                state.durable_index = state.durable_index.min(from.prev());
            }
        }
        if !synced {
            // The writer would be kept from its work by it.
            let settled = state.settled_index;
            state.cache.trim(settled);
        }
        if let Some(last) = batch.entries.last() {
            state.last_index = last.index;
            state.last_term = last.term;
            state.cache.extend(&batch.entries);
        }
        if let Some(hard_state) = batch.hard_state {
            state.hard_state = hard_state;
        }
        let ticket = state.enqueue(batch.hard_state, truncate_from, batch.entries, synced);
        drop(state);
        if let Some(hard_state) = batch.hard_state {
            self.shared
                .observe(Event::HardStateSubmitted { hard_state });
        }
        if !ids.is_empty() {
            self.shared.observe(Event::Appended { entries: ids });
        }
        Ok(ticket)
    }

    /// Drops the suffix from `from` on, without entries to follow. Nothing of it
    /// comes back once [`Store::persisted`] reaches the ticket.
    ///
    /// # Errors
    /// [`Error::Poisoned`], or [`Error::Misuse`] if the snapshot covers `from`.
    pub fn truncate_suffix(&self, from: Index) -> Result<Ticket> {
        // Before the term is looked up: below the snapshot there may be none.
        if from <= self.shared.state().snapshot_end().0 && from > Index(0) {
            return Err(Error::Misuse("the snapshot covers what would be truncated"));
        }
        let last_term = match from {
            Index(0) => return Err(Error::Misuse("there is no entry 0")),
            from => match self.term(from.prev()) {
                Ok(term) => term,
                Err(Error::Unavailable { .. }) => Term(0), // nothing to drop
                Err(e) => return Err(e),
            },
        };
        let mut state = self.shared.state();
        state.check_open()?;
        if from <= state.snapshot_end().0 {
            return Err(Error::Misuse("the snapshot covers what would be truncated"));
        }
        let truncates = from <= state.last_index;
        if truncates {
            state.replacements += 1;
            state.cache.cut(from);
            state.settled_index = state.settled_index.min(from.prev());
            state.durable_index = state.durable_index.min(from.prev());
            state.last_index = from.prev();
            state.last_term = last_term;
        }
        let back = (self.shared.has(Mutant::TermGoesBack) && truncates).then_some(HardState {
            term: last_term,
            vote: None,
        });
        let ticket = state.enqueue(back, truncates.then_some(from), Vec::new(), true);
        drop(state);
        if truncates {
            self.shared.observe(Event::TruncateRequested { from });
        }
        Ok(ticket)
    }

    fn check_entries(&self, state: &State, entries: &[Entry]) -> Result<()> {
        let first = &entries[0];
        if first.index > state.last_index.next() {
            return Err(Error::Misuse("the entries leave a gap behind the log"));
        }
        if first.index <= state.snapshot_end().0 {
            return Err(Error::Misuse("the snapshot covers what would be replaced"));
        }
        for pair in entries.windows(2) {
            if pair[1].index != pair[0].index.next() {
                return Err(Error::Misuse("the indexes of a batch have a gap"));
            }
            if pair[1].term < pair[0].term {
                return Err(Error::Misuse("the terms of a batch decrease"));
            }
        }
        if entries.iter().any(|e| e.data.len() > ENTRY_BYTES_MAX) {
            return Err(Error::Misuse("an entry is larger than ENTRY_BYTES_MAX"));
        }
        Ok(())
    }

    /// The highest ticket that is durable, with all before it.
    pub fn persisted(&self) -> Ticket {
        self.shared.state().persisted
    }

    /// The highest ticket that is written, with all before it, though perhaps not
    /// synced: see [`Store::submit_unsynced`].
    pub fn written(&self) -> Ticket {
        self.shared.state().written
    }

    /// Another one than before: a segment was begun.
    pub(crate) fn generation(&self) -> u64 {
        self.shared.state().generation
    }

    /// The highest durable index of the log as it is now.
    pub fn durable_index(&self) -> Index {
        self.shared.state().durable_index
    }

    /// The hard state as last submitted.
    pub fn hard_state(&self) -> HardState {
        self.shared.state().hard_state
    }

    /// The current snapshot's description.
    pub fn snapshot(&self) -> Option<SnapshotMeta> {
        self.shared
            .state()
            .snapshot
            .as_ref()
            .map(|s| s.meta().clone())
    }

    /// The log is committed up to `index`: every entry there is the cluster's for
    /// ever. Noted for the next open by the [`Hinter`], as far as it is durable
    /// here by then, if [`Options::commit_hint_every`] says so.
    pub fn hint_commit(&self, index: Index) {
        let mut state = self.shared.state();
        state.commit = state.commit.max(index);
    }

    /// Reads the log from `from` on, in order. What the reader has not read yet
    /// is not purged while it lives; see [`LogReader`].
    ///
    /// # Errors
    /// [`Error::Purged`] if the log begins behind `from`, [`Error::Unavailable`]
    /// if it ends before the entry before `from`.
    pub fn reader(&self, from: Index) -> Result<LogReader> {
        LogReader::new(self.shared.clone(), from)
    }

    /// The current snapshot. The reader has the file open: when a newer snapshot
    /// replaces it, the name is gone, but its bytes stay readable (and keep their
    /// space on the disk) until the last clone of the reader is dropped.
    pub fn open_snapshot(&self) -> Result<Option<SnapshotReader>> {
        Ok(self.shared.state().snapshot.clone())
    }

    /// Brings submitted batches to the disk. One per store.
    pub fn writer(&self) -> Writer {
        Writer::new(self.shared.clone())
    }

    /// Removes segments that the snapshot covers, and garbage. One per store.
    pub fn cleaner(&self) -> Cleaner {
        Cleaner::new(self.shared.clone())
    }

    /// Writes the commit hint. One per store.
    pub fn hinter(&self) -> Hinter {
        Hinter::new(self.shared.clone())
    }

    /// Keeps one segment prepared. One per store.
    pub fn preparer(&self) -> Preparer {
        Preparer::new(self.shared.clone())
    }

    /// Saves a snapshot of the state at `meta.last_index` (which must be
    /// applied and durable). Durable when the job is done. `false` if one as new
    /// was there already.
    ///
    /// # Errors
    /// On a full disk nothing has changed; try again later. On others, too, the
    /// old snapshot is whole. A failed rename or directory sync poisons, whatever
    /// its reason, and so does dropping the job between the two.
    pub fn save_snapshot(
        &self,
        meta: SnapshotMeta,
        data: Box<dyn SnapshotSource>,
    ) -> Job<Result<bool>> {
        crate::snapshot::save(self.shared.clone(), meta, data)
    }

    /// Begins to receive the leader's snapshot.
    pub fn install(&self, meta: SnapshotMeta) -> Install {
        Install::new(self.shared.clone(), meta)
    }

    /// How the store is now.
    pub fn status(&self) -> Status {
        Status::of(&self.shared.state())
    }

    /// Whether a write or sync failed; only reopening helps.
    pub fn is_poisoned(&self) -> bool {
        self.shared.state().poisoned
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        self.shared.dir.path()
    }
}
