//! Items at consecutive indexes.

use std::collections::VecDeque;

use afterimage_engine::Index;

/// A run of items, one for each index from [`Span::first`] to [`Span::last`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Span<T> {
    first: Index,
    items: VecDeque<T>,
}

impl<T> Default for Span<T> {
    fn default() -> Self {
        Span::starting_at(Index(1))
    }
}

impl<T> Span<T> {
    /// An empty one whose first item will have this index, which must not be 0.
    pub fn starting_at(first: Index) -> Self {
        assert!(first >= Index(1), "index 0 is the position before the log");
        Span {
            first,
            items: VecDeque::new(),
        }
    }

    pub fn first(&self) -> Index {
        self.first
    }

    /// The last index; the one before [`Span::first`] if there is nothing.
    pub fn last(&self) -> Index {
        (self.first + self.items.len() as u64).prev()
    }

    pub fn get(&self, index: Index) -> Option<&T> {
        let offset = index.0.checked_sub(self.first.0)?;
        self.items.get(usize::try_from(offset).ok()?)
    }

    /// Puts an item behind the last one.
    pub fn push(&mut self, item: T) {
        self.items.push_back(item);
    }

    /// Takes away everything from `from` on. The next item gets that index,
    /// also where `from` lies below the first.
    pub fn cut_from(&mut self, from: Index) -> Vec<T> {
        if from > self.last() {
            return Vec::new();
        }
        let keep = from.0.saturating_sub(self.first.0) as usize;
        self.first = self.first.min(from.max(Index(1)));
        self.items.split_off(keep).into()
    }

    /// Forgets everything below `first`, but nothing beyond the last item.
    pub fn forget_below(&mut self, first: Index) {
        while self.first < first && self.items.pop_front().is_some() {
            self.first = self.first.next();
        }
    }

    /// The items from `from` on, with their indexes.
    pub fn iter_from(&self, from: Index) -> impl Iterator<Item = (Index, &T)> {
        let skip = from.0.saturating_sub(self.first.0);
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        self.items
            .iter()
            .enumerate()
            .skip(skip)
            .map(|(offset, item)| (self.first + offset as u64, item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cut: u64, forget: u64, expected: &[u64]) {
        let mut span = Span::starting_at(Index(3));
        for i in 3..=7 {
            span.push(i);
        }
        span.cut_from(Index(cut));
        span.forget_below(Index(forget));
        let left: Vec<u64> = span.iter_from(Index(1)).map(|(_, &item)| item).collect();
        assert_eq!(left, expected);
        for (index, &item) in span.iter_from(Index(1)) {
            assert_eq!(index.0, item);
            assert_eq!(span.get(index), Some(&item));
        }
        assert_eq!(span.last().0 + 1 - span.first().0, expected.len() as u64);
    }

    #[test]
    fn indexes_stay_with_their_items() {
        check(9, 1, &[3, 4, 5, 6, 7]);
        check(6, 1, &[3, 4, 5]);
        check(6, 5, &[5]);
        check(6, 9, &[]);
        check(3, 1, &[]);
        check(2, 1, &[]);
    }
}
