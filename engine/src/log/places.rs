//! Where the records of one segment stand, as far as anybody has been there.

use std::ops::Range;

use super::segment::Mark;
use crate::ids::Index;

/// A place is kept for so many bytes at the least: at most 0.4 % of the log. A
/// read by index takes in what lies between two places, at once.
const APART: u64 = 1 << 10;
/// Room for short records at the front.
const SLACK: u64 = 64 << 10;
/// Every record begins at a multiple of this.
const ALIGN: u64 = 8;

/// The place of every record, or of every second, fourth, ... if they are short.
#[derive(Debug)]
pub(crate) struct Places {
    base: Index,
    /// Offsets divided by [`ALIGN`]. The first is the base's.
    known: Vec<u32>,
    /// Records from one known place to the next.
    every: u64,
    end: Mark,
}

impl Places {
    pub fn new(start: Mark) -> Self {
        Places {
            base: start.index,
            known: vec![u32::try_from(start.offset / ALIGN).expect("behind the header")],
            every: 1,
            end: start,
        }
    }

    /// Behind all records known.
    pub fn end(&self) -> Mark {
        self.end
    }

    /// A record ends here, and all before it are there.
    pub fn push(&mut self, mark: Mark) {
        if mark.index != self.end.index.next() {
            return; // a reader was here before
        }
        self.end = mark;
        let number = mark.index - self.base;
        if number != self.known.len() as u64 * self.every {
            return;
        }
        // Too far from the front: the last place leads there, in more steps.
        self.known.extend(u32::try_from(mark.offset / ALIGN));
        if self.known.len() as u64 * APART > mark.offset + SLACK {
            let mut is_even = false;
            self.known.retain(|_| {
                is_even = !is_even;
                is_even
            });
            self.every *= 2;
        }
    }

    /// A record at or before `index` (which is before the end), and the bytes
    /// from there to the next known place: the record `index` is among them.
    pub fn around(&self, index: Index) -> (Index, Range<u64>) {
        assert!(self.base <= index && index < self.end.index);
        let offset = |place: &u32| u64::from(*place) * ALIGN;
        let last = self.known.len() as u64 - 1;
        let place = ((index - self.base) / self.every).min(last);
        let from = offset(&self.known[place as usize]);
        let to = self.known.get(place as usize + 1).map(offset);
        (
            self.base + place * self.every,
            from..to.unwrap_or(self.end.offset),
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

    /// Records of these lengths, one after the other: each is found.
    fn check(lengths: impl Iterator<Item = u64>) -> Places {
        let mut places = Places::new(mark(7, 512));
        let mut ends = vec![512];
        for length in lengths {
            ends.push(ends.last().unwrap() + length);
            let next = 6 + ends.len() as u64;
            places.push(mark(next, *ends.last().unwrap()));
            places.push(mark(next - 1, 1)); // old news
            places.push(mark(next + 2, 1)); // a gap
        }
        for (index, record) in (7..).zip(ends.windows(2)) {
            let (from, bytes) = places.around(Index(index));
            assert!(from <= Index(index) && Index(index) < from + places.every);
            assert_eq!(bytes.start, ends[(from.0 - 7) as usize]);
            assert!(record[1] <= bytes.end);
        }
        assert!(places.known.len() as u64 * APART <= ends.last().unwrap() + SLACK + APART);
        places
    }

    #[test]
    fn every_record_lies_around_its_place() {
        assert_eq!(check(std::iter::repeat_n(1072, 1000)).every, 1);
        assert_eq!(check(std::iter::repeat_n(304, 10_000)).every, 4);
        check(std::iter::repeat_n(48, 50_000));
        check((1..2000).map(|n| n * 40));
        check((1..2000).map(|n| (2000 - n) * 40));
    }

    #[test]
    fn what_is_too_far_away_for_a_place_is_found_from_the_last_one() {
        let mut places = Places::new(mark(1, 512));
        places.push(mark(2, 4096));
        let far = u64::from(u32::MAX) * ALIGN + 4096;
        places.push(mark(3, far));
        places.push(mark(4, far + 4096));
        assert_eq!(places.around(Index(2)), (Index(2), 4096..far + 4096));
        assert_eq!(places.around(Index(3)), (Index(2), 4096..far + 4096));
    }
}
