//! Where the records of one segment stand, as far as anybody has been there.

use std::ops::Range;

use super::segment::Mark;
use crate::ids::Index;

/// A place is kept for about so many bytes. A read by index takes in what lies
/// between two places at once: half of the small pages that a disk moves. Eight
/// bytes a place: at most 0.4 % of the log.
const SPARSE: u64 = 2 << 10;
/// Every record begins at a multiple of this.
const ALIGN: u64 = 8;

/// Known places in order, the first at the base, and the last known end.
#[derive(Debug)]
pub(crate) struct Places {
    base: Index,
    known: Vec<Place>,
    end: Mark,
}

/// Where some record begins.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Its index, less the base.
    ahead: u32,
    /// Its offset, divided by [`ALIGN`].
    at: u32,
}

impl Place {
    /// `None`: too far from the base or from the front of the file.
    fn of(mark: Mark, base: Index) -> Option<Self> {
        Some(Place {
            ahead: u32::try_from(mark.index - base).ok()?,
            at: u32::try_from(mark.offset / ALIGN).ok()?,
        })
    }

    fn offset(self) -> u64 {
        u64::from(self.at) * ALIGN
    }
}

impl Places {
    pub fn new(start: Mark) -> Self {
        Places {
            base: start.index,
            known: Place::of(start, start.index).into_iter().collect(),
            end: start,
        }
    }

    /// Behind all records known.
    pub fn end(&self) -> Mark {
        self.end
    }

    /// All records before `mark` are there.
    pub fn push(&mut self, mark: Mark) {
        if mark.index <= self.end.index {
            return; // a reader was here before
        }
        self.end = mark;
        let last = self.known.last().map_or(0, |place| place.offset());
        if mark.offset - last >= SPARSE {
            // Without it the last place goes a longer way.
            self.known.extend(Place::of(mark, self.base));
        }
    }

    /// A record at or before `index` (which is before the end), and its bytes up
    /// to the next known place: the record `index` is among them.
    pub fn around(&self, index: Index) -> (Index, Range<u64>) {
        assert!(self.base <= index && index < self.end.index);
        let ahead = index - self.base;
        let after = self
            .known
            .partition_point(|place| u64::from(place.ahead) <= ahead);
        let from = self.known[after - 1];
        let to = self.known.get(after).map(|place| place.offset());
        (
            self.base + u64::from(from.ahead),
            from.offset()..to.unwrap_or(self.end.offset),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(index: u64, offset: u64) -> Mark {
        Mark {
            index: Index(index),
            offset,
            ..Mark::default()
        }
    }

    #[test]
    fn every_record_lies_around_its_place() {
        let mut places = Places::new(mark(7, 512));
        // Records of 48, 88, .. bytes, some of them longer than the distance.
        let ends: Vec<_> = (1..200u64)
            .scan(512, |end, n| {
                *end += 8 + n * 40;
                Some((7 + n, *end))
            })
            .collect();
        for &(index, end) in &ends {
            places.push(mark(index, end));
            places.push(mark(index - 1, 1)); // old news
        }
        let mut begin = 512;
        for &(index, end) in &ends {
            let (from, bytes) = places.around(Index(index - 1));
            assert!(from <= Index(index - 1));
            assert!(bytes.start <= begin && end <= bytes.end);
            assert!(bytes.end - bytes.start < SPARSE + (end - begin).max(SPARSE));
            begin = end;
        }
        assert_eq!(places.end(), mark(206, begin));
        assert!(places.known.len() as u64 <= 1 + begin / SPARSE);
    }

    #[test]
    fn what_is_too_far_away_for_a_place_is_found_from_the_last_one() {
        let mut places = Places::new(mark(1, 512));
        places.push(mark(2, 4096));
        let far = u64::from(u32::MAX) * ALIGN + 4096;
        places.push(mark(3, far));
        assert_eq!(places.around(Index(2)), (Index(2), 4096..far));
    }
}
