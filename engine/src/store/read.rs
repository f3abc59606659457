//! Reading the log. The lock of the state is held to look up who has an entry,
//! never while a file is read: a purge may unlink the file meanwhile, but the
//! open handle keeps its content.

use std::fmt;
use std::sync::Arc;

use super::{Shared, State, Store};
use crate::entry::{Entry, EntryRef};
use crate::error::{Error, Result};
use crate::ids::{Index, Term};
use crate::log::segment::{Cursor, SharedSegment};
use crate::raft::LogView;

/// Bytes that a [`LogScan`] asks a file for at once.
const READ: usize = 256 << 10;
/// Entries that a [`LogScan`] takes from the cache at once.
const CACHED: usize = 256;

/// Who has an entry.
enum Place {
    /// The cache, at this position.
    Cached(usize),
    /// A segment, which has all up to this index.
    Segment(SharedSegment, Index),
}

impl State {
    /// [`Error::Purged`] or [`Error::Unavailable`] if the log has none at `index`.
    fn place(&self, index: Index) -> Result<Place> {
        let first = self.first_index();
        if index < first {
            return Err(Error::Purged { first });
        }
        if index > self.last_index {
            return Err(Error::Unavailable {
                last: self.last_index,
            });
        }
        if let Some(at) = self.cache.position(index) {
            return Ok(Place::Cached(at));
        }
        let cached = self.cache.first_index().unwrap_or(Index(u64::MAX));
        // Everything below the cached entries is in a segment.
        let Some((segment, end)) = self.segment_of(index) else {
            unreachable!("{index} is neither cached nor in a segment");
        };
        let end = end.min(cached.prev()).min(self.last_index);
        Ok(Place::Segment(segment, end))
    }
}

impl Store {
    /// Shows one entry where it lies: the quickest way to it.
    ///
    /// # Errors
    /// As for [`LogView::entries`].
    pub fn visit<T>(&self, index: Index, visit: impl FnOnce(EntryRef<'_>) -> T) -> Result<T> {
        let place = {
            let state = self.shared.state();
            match state.place(index)? {
                Place::Cached(at) => Err(state.cache.from(at).next().cloned()),
                Place::Segment(segment, _) => Ok(segment),
            }
        };
        match place {
            Ok(segment) => segment.visit(index, visit),
            Err(Some(entry)) => Ok(visit((&entry).into())),
            Err(None) => unreachable!("{index} is up to the log's end, and so is the cache"),
        }
    }

    /// A copy of one entry.
    ///
    /// # Errors
    /// As for [`LogView::entries`].
    pub fn entry(&self, index: Index) -> Result<Entry> {
        self.visit(index, |entry| entry.to_entry())
    }

    /// Reads from `from` on, entry by entry, to the end of the log.
    pub fn scan(&self, from: Index) -> LogScan {
        LogScan {
            shared: self.shared.clone(),
            next: from,
            source: Source::Nothing,
        }
    }

    /// The entries from `from` to before `end`, but only the first few if they
    /// have more than `max_bytes`; `None` if they would have to be read from a
    /// file. Empty where the log has none: for callers that must not block.
    pub fn cached_entries(&self, from: Index, end: Index, max_bytes: usize) -> Option<Vec<Entry>> {
        let state = self.shared.state();
        if from >= end || from > state.last_index {
            return Some(Vec::new());
        }
        let at = state.cache.position(from)?;
        let mut bytes = 0;
        let fitting = state.cache.from(at).enumerate();
        let fitting = fitting.take_while(|(n, entry)| {
            bytes += entry.data.len();
            entry.index < end && (*n == 0 || bytes <= max_bytes)
        });
        Some(fitting.map(|(_, entry)| entry.clone()).collect())
    }
}

impl LogView for Store {
    fn first_index(&self) -> Index {
        self.shared.state().first_index()
    }

    fn last_index(&self) -> Index {
        self.shared.state().last_index
    }

    fn term(&self, index: Index) -> Result<Term> {
        if index == Index(0) {
            return Ok(Term(0));
        }
        {
            let state = self.shared.state();
            if index == state.last_index {
                return Ok(state.last_term);
            }
            let (snapshot_index, snapshot_term) = state.snapshot_end();
            if index == snapshot_index {
                return Ok(snapshot_term);
            }
        }
        self.visit(index, |entry| entry.term)
    }

    fn entries(&self, from: Index, max_bytes: usize) -> Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        let mut next = from;
        loop {
            let (segment, end) = {
                let state = self.shared.state();
                match state.place(next) {
                    Err(Error::Unavailable { .. }) if !entries.is_empty() => return Ok(entries),
                    Err(e) => return Err(e),
                    Ok(Place::Cached(at)) => {
                        for entry in state.cache.from(at) {
                            bytes += entry.data.len();
                            if bytes > max_bytes && !entries.is_empty() {
                                break;
                            }
                            entries.push(entry.clone());
                        }
                        return Ok(entries);
                    }
                    Ok(Place::Segment(segment, end)) => (segment, end),
                }
            };
            let part = segment.read(next, end, max_bytes.saturating_sub(bytes))?;
            bytes += part.iter().map(|e| e.data.len()).sum::<usize>();
            if bytes > max_bytes && !entries.is_empty() {
                return Ok(entries); // the first of this part was one too many
            }
            next = next + part.len() as u64;
            entries.extend(part);
            if bytes >= max_bytes {
                return Ok(entries);
            }
        }
    }
}

/// Reads the log from front to back and copies nothing: at most 256 KiB, or one
/// entry if that is larger, are in memory. Every record and the chain are
/// checked. A segment that it is in stays readable although it is purged.
///
/// It sees what is in the log when it comes there: also what is not durable yet.
/// After a truncation what it gave before may no longer be in the log.
pub struct LogScan {
    shared: Arc<Shared>,
    next: Index,
    source: Source,
}

enum Source {
    Nothing,
    Segment {
        segment: SharedSegment,
        /// Boxed: it is large, and the other sources are not.
        cursor: Box<Cursor>,
        end: Index,
    },
    Cached {
        entries: Vec<Entry>,
        /// Those that were given.
        given: usize,
    },
}

impl LogScan {
    /// The next entry; `None` at the end of the log, as it is now: more may come.
    ///
    /// # Errors
    /// [`Error::Purged`] if what comes next was, [`Error::Corrupt`], [`Error::Io`].
    pub fn read_next(&mut self) -> Result<Option<EntryRef<'_>>> {
        if self.is_exhausted() && !self.refill()? {
            return Ok(None);
        }
        match &mut self.source {
            Source::Nothing => Ok(None),
            Source::Cached { entries, given } => {
                let entry = &entries[*given];
                *given += 1;
                self.next = entry.index.next();
                Ok(Some(entry.into()))
            }
            Source::Segment {
                segment, cursor, ..
            } => {
                // At first it may stand on one before.
                let header = loop {
                    let header = segment.advance(cursor)?;
                    if header.index >= self.next {
                        break header;
                    }
                };
                self.next = header.index.next();
                Ok(Some(EntryRef::new(&header, cursor.data(&header))))
            }
        }
    }

    fn is_exhausted(&self) -> bool {
        match &self.source {
            Source::Nothing => true,
            Source::Segment { end, .. } => self.next > *end,
            Source::Cached { entries, given } => *given == entries.len(),
        }
    }

    fn refill(&mut self) -> Result<bool> {
        // Not under the lock: it may be the last to hold a file that is purged.
        self.source = Source::Nothing;
        let state = self.shared.state();
        self.source = match state.place(self.next) {
            Err(Error::Unavailable { .. }) => return Ok(false),
            Err(e) => return Err(e),
            Ok(Place::Cached(at)) => Source::Cached {
                entries: state.cache.from(at).take(CACHED).cloned().collect(),
                given: 0,
            },
            Ok(Place::Segment(segment, end)) => Source::Segment {
                // What was read ahead of an earlier end may be out of date.
                cursor: Box::new(segment.cursor(self.next, READ)),
                segment,
                end,
            },
        };
        Ok(true)
    }
}

impl fmt::Debug for LogScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogScan")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}
