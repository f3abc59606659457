//! A reader of the log, in order, beside whatever else happens to it.
//!
//! What it has not read yet is not purged: the cleaner leaves the segments from
//! the reader's place on, as long as the reader lives. It does not hold up a
//! truncation or an install that discards the log, for those change what the
//! log *is*: they are the next [`LogReader::read`]'s answer.

use std::sync::Arc;

use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::ids::{Index, Term};
use crate::raft::LogView;
use crate::sometimes::sometimes;
use crate::store::{Shared, Store};

/// Reads entries one after the other, and keeps those ahead from being purged.
/// It holds no file open and no lock; to drop it gives its segments up.
///
/// A reader that is never read and never dropped keeps the log from shrinking.
#[derive(Debug)]
pub struct LogReader {
    shared: Arc<Shared>,
    /// Its pin among the store's.
    pin: u64,
    next: Index,
    /// The entry read last.
    before: Option<(Index, Term)>,
    /// The store's count of replacements when `before` was known to be there.
    replacements: u64,
}

impl LogReader {
    /// See [`Store::reader`].
    pub(crate) fn new(shared: Arc<Shared>, from: Index) -> Result<Self> {
        let mut state = shared.state();
        let (first, last) = (state.first_index(), state.last_index);
        if from < first {
            return Err(Error::Purged { first });
        }
        if from > last.next() {
            return Err(Error::Unavailable { last });
        }
        let (pin, replacements) = (state.pins.add(from), state.replacements);
        drop(state);
        Ok(LogReader {
            shared,
            pin,
            next: from,
            before: None,
            replacements,
        })
    }

    /// The index of the entry that is read next.
    pub fn next_index(&self) -> Index {
        self.next
    }

    /// The next entries: at least one, and more until their data passes
    /// `max_bytes`. None at the end of the log; there may be some later. They
    /// are in the log, but not necessarily durable: see [`Store::durable_index`].
    ///
    /// All that one reader returns is one history: each entry follows the one
    /// before it.
    ///
    /// # Errors
    /// [`Error::Replaced`] if the entry read last is in the log no more, since a
    /// suffix was truncated. [`Error::Purged`] if a leader's snapshot took the
    /// place of the whole log. Both stay: make a new reader. [`Error::Io`] and
    /// [`Error::Corrupt`] as [`LogView::entries`].
    pub fn read(&mut self, max_bytes: usize) -> Result<Vec<Entry>> {
        let read = self.read_on(max_bytes);
        if let Err(Error::Replaced { .. } | Error::Purged { .. }) = read {
            sometimes!(ReaderReplaced, matches!(read, Err(Error::Replaced { .. })));
            sometimes!(ReaderPurged, matches!(read, Err(Error::Purged { .. })));
            // Nothing is left to be kept for it.
            self.shared.state().pins.remove(self.pin);
        }
        read
    }

    fn read_on(&mut self, max_bytes: usize) -> Result<Vec<Entry>> {
        let store = Store::of(&self.shared);
        loop {
            let (replacements, last) = {
                let state = self.shared.state();
                (state.replacements, state.last_index)
            };
            if replacements != self.replacements {
                self.check_before(&store)?;
            }
            let entries = match self.next > last {
                true => Ok(Vec::new()),
                false => store.entries(self.next, max_bytes),
            };
            let mut state = self.shared.state();
            if state.replacements != replacements {
                // Part of it may be of the log before, and part of the one after.
                continue;
            }
            let entries = entries?;
            self.replacements = replacements;
            if let Some(entry) = entries.last() {
                self.before = Some((entry.index, entry.term));
                self.next = entry.index.next();
                // It stays, too: after a truncation it is what the next one
                // must follow.
                state.pins.advance(self.pin, entry.index);
            }
            return Ok(entries);
        }
    }

    /// Two logs that agree on an entry's index and term agree on all before it,
    /// so what follows that entry follows all that was read.
    fn check_before(&self, store: &Store) -> Result<()> {
        let Some((index, term)) = self.before else {
            return Ok(());
        };
        match store.term(index) {
            Ok(now) if now == term => Ok(()),
            Ok(_) | Err(Error::Unavailable { .. }) => Err(Error::Replaced { index }),
            Err(e) => Err(e),
        }
    }
}

impl Drop for LogReader {
    fn drop(&mut self) {
        self.shared.state().pins.remove(self.pin);
    }
}
