//! The cleaner: removes what nobody needs any more, apart from the append path.
//!
//! It may remove, in any order and at any time, unfinished files, segments that
//! are hidden or dead, and segments all of whose records lie below the
//! snapshot's last index, once the snapshot's name is durable, less what the
//! configured trail and open readers keep. Whatever subset of the unlinks a
//! crash leaves: the next open comes to the same log.

use std::sync::Arc;

use crate::entry::Entry;
use crate::error::Result;
use crate::event::{Event, Phase};
use crate::fs::dir::FREED;
use crate::ids::Index;
use crate::job::{Job, Step, now};
use crate::mutant::Mutant;
use crate::sometimes::sometimes;
use crate::store::{Shared, State};

/// Removes covered segments and garbage.
#[derive(Debug)]
pub struct Cleaner {
    shared: Arc<Shared>,
    running: Option<Job<Result<()>>>,
    /// Empty; for what leaves the cache next.
    room: Vec<Entry>,
}

impl Cleaner {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Cleaner {
            shared,
            running: None,
            room: Vec::new(),
        }
    }

    /// Whether a step would find work.
    pub fn has_work(&self) -> bool {
        // Also after a failure: it is space that somebody may wait for.
        let frees = !self.shared.state().unlinked.is_empty();
        self.running.is_some() || frees || self.may_clean()
    }

    fn may_clean(&self) -> bool {
        let state = self.shared.state();
        !state.poisoned && (!state.garbage.is_empty() || covered(&self.shared, &state) > 0)
    }

    /// Frees what takes long: the space of snapshots that were replaced and of files
    /// that the open removed, and entries that left the cache. Every step that begins
    /// to clean does so, too; and one that finds such a file and nothing to clean,
    /// alone.
    pub fn free_unused(&mut self) {
        let mut evicted = std::mem::take(&mut self.room);
        self.shared.state().cache.take_evicted(&mut evicted);
        evicted.clear();
        self.room = evicted;
        let unlinked = std::mem::take(&mut self.shared.state().unlinked);
        for file in unlinked {
            now(file.free(self.shared.options.segment_bytes));
        }
        let replaced = std::mem::take(&mut self.shared.state().replaced);
        for snapshot in replaced {
            let bytes = snapshot.data_len();
            if let Some(file) = snapshot.into_file() {
                now(file.free(bytes));
            }
        }
    }

    /// At most one file operation.
    ///
    /// # Errors
    /// If a name could not be removed or the directory not synced: the former
    /// is tried again, the latter poisons.
    pub fn step(&mut self) -> Result<Step> {
        if self.running.is_none() {
            if !self.has_work() {
                return Ok(Step::Idle);
            }
            self.free_unused();
            if !self.may_clean() {
                return Ok(Step::Ran);
            }
            let shared = self.shared.clone();
            self.running = Some(Job::new(async move { clean(&shared).await }));
        }
        match self.running.as_mut().and_then(Job::step) {
            None => Ok(Step::Ran),
            Some(result) => {
                self.running = None;
                result.map(|()| Step::Ran)
            }
        }
    }
}

/// How many of the oldest segments nobody needs: the snapshot covers them, and
/// they hold neither the trail nor what a reader has yet to read.
fn covered(shared: &Shared, state: &State) -> usize {
    let mut end = state.snapshot_end().0;
    if shared.has(Mutant::CleanTooMuch) && end > Index(0) {
        end = end + 8;
    }
    // What stands behind must hide what these have hidden, once they are gone: its name
    // has to be durable, and so it is where a record in it is.
    end = end.min(state.durable_index);
    end = before_trail(shared, end);
    if let Some(next) = state.pins.lowest()
        && !shared.has(Mutant::CleanerIgnoresReaders)
    {
        end = end.min(next);
    }
    whole_below(state, end)
}

fn before_trail(shared: &Shared, end: Index) -> Index {
    Index(end.0.saturating_sub(shared.options.trail_entries))
}

/// How many segments have only records below `end`. The last one stays: the
/// writer may be in it.
fn whole_below(state: &State, end: Index) -> usize {
    state
        .live
        .windows(2)
        .take_while(|pair| pair[1].header.base <= end)
        .count()
}

async fn clean(shared: &Shared) -> Result<()> {
    shared.observe(Event::Begin(Phase::Clean));
    let (names, purged, large, first) = {
        let mut state = shared.state();
        let mut names = std::mem::take(&mut state.garbage);
        let n = covered(shared, &state);
        let end = state.snapshot_end().0;
        let trail = before_trail(shared, end);
        sometimes!(
            PurgeHeldByTrail,
            whole_below(&state, trail) < whole_below(&state, end)
        );
        sometimes!(PurgeHeldByReader, n < whole_below(&state, trail));
        let mut large = Vec::new();
        for segment in state.live.drain(..n) {
            names.push(segment.header.file_name());
            if shared.options.segment_bytes > FREED {
                large.push(segment);
            }
        }
        if n > 0 {
            // Cached entries below the first segment would make a gap.
            if let Some(first) = state.live.first().map(|first| first.header.base) {
                state.cache.purge(first);
            }
        }
        let first = state.first_index();
        (names, n, large, first)
    };
    for (done, name) in names.iter().enumerate() {
        if let Err(e) = shared.dir.unlink(name).await {
            let mut state = shared.state();
            sometimes!(CleanedInPart);
            state.garbage.extend_from_slice(&names[done..]);
            return Err(e);
        }
    }
    if let Err(e) = shared.dir.sync().await {
        shared.poison();
        return Err(e);
    }
    if purged > 0 {
        shared.observe(Event::Purged {
            first,
            segments: purged,
        });
    }
    // A reader may still be in one: then it is freed when that one leaves.
    for segment in large.into_iter().filter_map(Arc::into_inner) {
        segment.file.free(shared.options.segment_bytes).await;
    }
    shared.observe(Event::End(Phase::Clean));
    Ok(())
}
