//! The log as the core sees it: what the host has, and what it does not have yet.

use super::LogView;
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::ids::{Index, Term};

/// The host's log, with its suffix replaced by the `fresh` entries that the
/// next `Ready` will hand over.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    log: &'a dyn LogView,
    fresh: &'a [Entry],
}

impl<'a> View<'a> {
    pub(super) fn new(log: &'a dyn LogView, fresh: &'a [Entry]) -> Self {
        View { log, fresh }
    }

    pub(super) fn first_index(&self) -> Index {
        self.log.first_index()
    }

    pub(super) fn last_index(&self) -> Index {
        match self.fresh.last() {
            Some(entry) => entry.index,
            None => self.log.last_index(),
        }
    }

    /// Index and term of the last entry.
    pub(super) fn last(&self) -> Result<(Index, Term)> {
        let index = self.last_index();
        Ok((index, self.term(index)?))
    }

    /// As [`LogView::term`].
    pub(super) fn term(&self, index: Index) -> Result<Term> {
        match self.fresh.first() {
            Some(first) if index >= first.index => {
                match self.fresh.get((index - first.index) as usize) {
                    Some(entry) => Ok(entry.term),
                    None => Err(Error::Unavailable {
                        last: self.last_index(),
                    }),
                }
            }
            _ => self.log.term(index),
        }
    }

    /// As [`View::term`], but `None` where the log ends before `index`.
    pub(super) fn term_if_present(&self, index: Index) -> Result<Option<Term>> {
        match self.term(index) {
            Ok(term) => Ok(Some(term)),
            Err(Error::Unavailable { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// As [`View::term`], but `None` where a snapshot took the entry's place.
    pub(super) fn term_if_kept(&self, index: Index) -> Result<Option<Term>> {
        match self.term(index) {
            Ok(term) => Ok(Some(term)),
            Err(Error::Purged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// As [`LogView::entries`], but `None` where a snapshot took their place.
    pub(super) fn entries_if_kept(
        &self,
        from: Index,
        max_bytes: usize,
    ) -> Result<Option<Vec<Entry>>> {
        let Some(first) = self.fresh.first() else {
            return kept(self.log.entries(from, max_bytes));
        };
        if from < first.index {
            let entries = kept(self.log.entries(from, max_bytes))?;
            // What lies behind is about to be replaced.
            return Ok(entries.map(|mut entries| {
                entries.truncate((first.index - from) as usize);
                entries
            }));
        }
        let mut bytes = 0;
        let fitting = self.fresh[(from - first.index) as usize..]
            .iter()
            .enumerate()
            .take_while(|(position, entry)| {
                bytes += entry.data.len();
                *position == 0 || bytes <= max_bytes
            });
        Ok(Some(fitting.map(|(_, entry)| entry.clone()).collect()))
    }

    /// The last index at or below `from` whose term is not above `term`, but
    /// not below `floor`. Entries in between can't be what the other side has
    /// (Raft thesis, 3.5; both sides skip whole terms this way).
    pub(super) fn last_not_above(&self, from: Index, floor: Index, term: Term) -> Result<Index> {
        let mut index = from.max(floor);
        while index > floor {
            match self.term_if_kept(index)? {
                Some(here) if here > term => index = index.prev(),
                // Below the log only a snapshot helps: no need to look further.
                _ => break,
            }
        }
        Ok(index)
    }
}

fn kept(entries: Result<Vec<Entry>>) -> Result<Option<Vec<Entry>>> {
    match entries {
        Ok(entries) => Ok(Some(entries)),
        Err(Error::Purged { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
