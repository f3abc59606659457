//! What open readers keep from being purged.

use std::collections::BTreeMap;

use crate::ids::Index;

/// The lowest index that each open reader needs.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    by_reader: BTreeMap<u64, Index>,
    /// The name of the next reader.
    next: u64,
}

impl Pins {
    /// A new reader, which begins at `from`; its name.
    pub fn add(&mut self, from: Index) -> u64 {
        let name = self.next;
        self.next += 1;
        self.by_reader.insert(name, from);
        name
    }

    /// It needs nothing below `place` any more.
    pub fn advance(&mut self, reader: u64, place: Index) {
        if let Some(old) = self.by_reader.get_mut(&reader) {
            *old = place;
        }
    }

    pub fn remove(&mut self, reader: u64) {
        self.by_reader.remove(&reader);
    }

    /// The log begins at `first` now, whoever wanted more of it.
    pub fn release_below(&mut self, first: Index) {
        self.by_reader.retain(|_, place| *place >= first);
    }

    /// The lowest index that somebody needs.
    pub fn lowest(&self) -> Option<Index> {
        self.by_reader.values().copied().min()
    }

    pub fn len(&self) -> usize {
        self.by_reader.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_reader_counts() {
        let mut pins = Pins::default();
        assert_eq!(pins.lowest(), None);
        let (slow, fast) = (pins.add(Index(3)), pins.add(Index(3)));
        pins.advance(fast, Index(9));
        assert_eq!(pins.lowest(), Some(Index(3)));
        pins.remove(slow);
        assert_eq!(pins.lowest(), Some(Index(9)));
        // Of a reader that is gone nothing is left to move.
        pins.advance(slow, Index(1));
        assert_eq!(pins.lowest(), Some(Index(9)));
        pins.release_below(Index(9));
        assert_eq!(pins.lowest(), Some(Index(9)));
        pins.release_below(Index(10));
        assert_eq!(pins.lowest(), None);
    }
}
