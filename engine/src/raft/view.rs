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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::EntryKind;

    /// Entries 3..=6 of term 1, behind a snapshot that ends at 2.
    struct Log;

    fn entry(index: u64, term: u64) -> Entry {
        Entry {
            index: Index(index),
            term: Term(term),
            kind: EntryKind::Command,
            timestamp_ms: 0,
            data: [0; 10].into(),
        }
    }

    impl LogView for Log {
        fn first_index(&self) -> Index {
            Index(3)
        }
        fn last_index(&self) -> Index {
            Index(6)
        }
        fn term(&self, index: Index) -> Result<Term> {
            match index.0 {
                0 => Ok(Term(0)),
                1 => Err(Error::Purged { first: Index(3) }),
                2..=6 => Ok(Term(1)),
                _ => Err(Error::Unavailable { last: Index(6) }),
            }
        }
        fn entries(&self, from: Index, max_bytes: usize) -> Result<Vec<Entry>> {
            self.term(from)?;
            if from < Index(3) {
                return Err(Error::Purged { first: Index(3) });
            }
            let count = (max_bytes / 10).max(1);
            Ok((from.0..=6)
                .take(count)
                .map(|index| entry(index, 1))
                .collect())
        }
    }

    /// What `entries_if_kept` reads, as (index, term), with this much of `fresh`.
    fn check(fresh: &[Entry], from: u64, max_bytes: usize, expected: Option<&[(u64, u64)]>) {
        let view = View::new(&Log, fresh);
        let entries = view.entries_if_kept(Index(from), max_bytes).unwrap();
        let ids = |entries: Vec<Entry>| -> Vec<(u64, u64)> {
            entries
                .iter()
                .map(|entry| (entry.index.0, entry.term.0))
                .collect()
        };
        assert_eq!(entries.map(ids).as_deref(), expected);
        for &(index, term) in expected.unwrap_or_default() {
            assert_eq!(view.term(Index(index)).unwrap(), Term(term));
        }
    }

    #[test]
    fn fresh_entries_hide_the_suffix_that_they_replace() {
        let fresh = [entry(5, 2), entry(6, 2), entry(7, 2)];
        check(&[], 4, 100, Some(&[(4, 1), (5, 1), (6, 1)]));
        check(&[], 2, 100, None);
        check(&fresh, 2, 100, None);
        check(&fresh, 3, 100, Some(&[(3, 1), (4, 1)]));
        check(&fresh, 3, 10, Some(&[(3, 1)]));
        check(&fresh, 5, 100, Some(&[(5, 2), (6, 2), (7, 2)]));
        check(&fresh, 5, 20, Some(&[(5, 2), (6, 2)]));
        check(&fresh, 6, 0, Some(&[(6, 2)]));
        check(&fresh[..1], 3, 100, Some(&[(3, 1), (4, 1)]));
        // The replaced log was longer.
        let view = View::new(&Log, &fresh[..1]);
        assert_eq!(view.last().unwrap(), (Index(5), Term(2)));
        assert_eq!(view.term_if_present(Index(6)).unwrap(), None);
        assert_eq!(view.term_if_kept(Index(1)).unwrap(), None);
    }

    #[test]
    fn whole_terms_are_skipped_down_to_the_floor() {
        let fresh = [entry(5, 2), entry(6, 4), entry(7, 4)];
        let view = View::new(&Log, &fresh);
        let find = |from, floor, term| {
            let found = view.last_not_above(Index(from), Index(floor), Term(term));
            found.unwrap().0
        };
        assert_eq!(find(7, 0, 4), 7);
        assert_eq!(find(7, 0, 3), 5);
        assert_eq!(find(7, 0, 1), 4);
        assert_eq!(find(7, 6, 1), 6);
        // Where the log begins, only a snapshot helps.
        assert_eq!(find(4, 0, 0), 1);
    }
}
