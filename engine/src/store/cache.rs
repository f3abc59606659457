//! The newest entries, in memory.

use std::collections::VecDeque;

use crate::entry::Entry;
use crate::ids::Index;

/// An entry without data takes room, too: not more entries than the limit has times
/// so many bytes,
const BYTES_AN_ENTRY: usize = 64;
/// or this number, if that is more.
const ENTRIES: usize = 1 << 10;
/// What may wait for [`Cache::take_evicted`], in bytes of data,
const EVICTED_BYTES: usize = 2 << 20;
/// and in entries.
const EVICTED: usize = 4 << 10;

/// The newest entries, up to the log's last one; at least all that no file has yet.
#[derive(Debug)]
pub(crate) struct Cache {
    entries: VecDeque<Entry>,
    /// Of their data.
    bytes: usize,
    /// What `bytes` should be at the most.
    limit: usize,
    /// What left the cache and is still to be freed. With small entries that takes as
    /// long as their CRCs do, and nobody has to wait for it.
    evicted: Vec<Entry>,
    evicted_bytes: usize,
}

impl Cache {
    /// Of entries with up to `limit` bytes of data.
    pub fn new(limit: usize) -> Self {
        Cache {
            entries: VecDeque::new(),
            bytes: 0,
            limit,
            evicted: Vec::new(),
            evicted_bytes: 0,
        }
    }

    /// Of the data of all in it.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn first_index(&self) -> Option<Index> {
        self.entries.front().map(|first| first.index)
    }

    /// Where the entry of an index is, which may be behind all; `None` below the first.
    pub fn position(&self, index: Index) -> Option<usize> {
        let at = index.0.checked_sub(self.first_index()?.0)?;
        usize::try_from(at).ok()
    }

    /// Those from a position on.
    pub fn from(&self, at: usize) -> impl Iterator<Item = &Entry> {
        self.entries.iter().skip(at)
    }

    /// These come behind all that is in it.
    pub fn extend(&mut self, entries: &[Entry]) {
        self.bytes += entries.iter().map(|e| e.data.len()).sum::<usize>();
        self.entries.extend(entries.iter().cloned());
    }

    /// Drops what is too much, oldest first, as far as the segments have it: up to
    /// `settled`.
    pub fn trim(&mut self, settled: Index) {
        let (count, bytes) = self.surplus(settled);
        self.bytes -= bytes;
        self.entries.drain(..count);
    }

    /// As [`Cache::trim`], but leaves it to who calls [`Cache::take_evicted`], if that
    /// is not too much.
    pub fn evict(&mut self, settled: Index) {
        let (count, bytes) = self.surplus(settled);
        self.bytes -= bytes;
        let out = self.entries.drain(..count);
        if self.evicted_bytes + bytes <= EVICTED_BYTES && self.evicted.len() + count <= EVICTED {
            self.evicted_bytes += bytes;
            self.evicted.extend(out);
        }
    }

    /// To be dropped where nobody waits for that. What comes next is put into `room`,
    /// which is empty: new memory would cost who evicts more than it saves.
    pub fn take_evicted(&mut self, room: &mut Vec<Entry>) {
        self.evicted_bytes = 0;
        std::mem::swap(&mut self.evicted, room);
    }

    /// Drops all from `from` on.
    pub fn cut(&mut self, from: Index) {
        while let Some(entry) = self.entries.pop_back_if(|e| e.index >= from) {
            self.bytes -= entry.data.len();
        }
    }

    /// Drops all before `first`.
    pub fn purge(&mut self, first: Index) {
        while let Some(entry) = self.entries.pop_front_if(|e| e.index < first) {
            self.bytes -= entry.data.len();
        }
    }

    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    /// How many of the oldest are too much, up to `settled`, and the bytes of their
    /// data.
    fn surplus(&self, settled: Index) -> (usize, usize) {
        let most = (self.limit / BYTES_AN_ENTRY).max(ENTRIES);
        let (mut count, mut bytes) = (0, 0);
        for entry in &self.entries {
            let fits = self.bytes - bytes <= self.limit && self.entries.len() - count <= most;
            if fits || entry.index > settled {
                break;
            }
            count += 1;
            bytes += entry.data.len();
        }
        (count, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::EntryKind;
    use crate::ids::Term;

    /// Entries with these indexes, each with so much data.
    fn entries(indexes: std::ops::RangeInclusive<u64>, bytes: usize) -> Vec<Entry> {
        let entry = |index| Entry {
            index: Index(index),
            term: Term(1),
            kind: EntryKind::Command,
            timestamp_ms: 0,
            data: vec![0; bytes].into(),
        };
        indexes.map(entry).collect()
    }

    fn indexes(cache: &Cache) -> Vec<u64> {
        cache.entries.iter().map(|entry| entry.index.0).collect()
    }

    #[test]
    fn the_oldest_go_as_far_as_the_segments_have_them() {
        let mut cache = Cache::new(25);
        cache.extend(&entries(1..=5, 10));
        cache.trim(Index(2));
        assert_eq!((indexes(&cache), cache.bytes()), (vec![3, 4, 5], 30));
        cache.trim(Index(5));
        assert_eq!((indexes(&cache), cache.bytes()), (vec![4, 5], 20));
    }

    #[test]
    fn what_is_evicted_waits_to_be_taken_up_to_a_limit() {
        let mut cache = Cache::new(0);
        cache.extend(&entries(1..=4, 1 << 20));
        for settled in 1..=4 {
            cache.evict(Index(settled));
        }
        assert_eq!(cache.bytes(), 0);
        let mut taken = Vec::new();
        cache.take_evicted(&mut taken);
        assert_eq!(taken, entries(1..=2, 1 << 20), "the others are freed");
        cache.extend(&entries(5..=5, 1));
        cache.evict(Index(5));
        taken.clear();
        cache.take_evicted(&mut taken);
        assert_eq!(taken, entries(5..=5, 1));
        cache.take_evicted(&mut Vec::new());
        assert!(cache.evicted.is_empty());
    }

    #[test]
    fn entries_without_data_are_limited_by_their_number() {
        let mut cache = Cache::new(64 << 10);
        for n in 0..40 {
            cache.extend(&entries(n * 1000 + 1..=(n + 1) * 1000, 0));
            cache.evict(Index(40_000));
        }
        assert_eq!(cache.entries.len(), 1024);
        assert_eq!(cache.first_index(), Some(Index(40_000 - 1023)));
        assert!((EVICTED - 1000..=EVICTED).contains(&cache.evicted.len()));
    }

    #[test]
    fn either_end_is_cut_off() {
        let mut cache = Cache::new(100);
        cache.extend(&entries(3..=9, 1));
        cache.cut(Index(8));
        cache.purge(Index(5));
        assert_eq!((indexes(&cache), cache.bytes()), (vec![5, 6, 7], 3));
        let at = [4, 6, 8].map(|index| cache.position(Index(index)));
        assert_eq!(at, [None, Some(1), Some(3)]);
        assert_eq!(cache.from(1).count(), 2);
        assert_eq!(cache.from(3).count(), 0);
    }
}
