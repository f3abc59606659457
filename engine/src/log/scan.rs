//! Walks the records of a segment. The caller does the reading.

use std::ops::Range;

use super::record::{self, HEADER, Parsed, RecordHeader, Seed};
use super::segment::{Mark, SegmentHeader, start_mark};
use crate::entry::Entry;
use crate::ids::{Index, Term};

#[derive(Debug)]
pub(crate) struct Scan {
    seed: Seed,
    /// Where the next record is expected.
    pub next: Mark,
    /// Whether it is known what the next record must follow.
    linked: bool,
    /// Never shrinks: to fill it with zeros again would cost as much as a read.
    buf: Vec<u8>,
    /// Bytes at the front of `buf` that were read.
    filled: usize,
    /// Where `buf` begins in the file.
    buf_offset: u64,
    /// The record found last, within `buf`.
    found: Range<usize>,
    /// Whether to look at the record's CRC (a planted bug does not).
    pub trusting: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Scanned {
    Record(RecordHeader),
    /// Call `space` and `filled` with this many bytes or more, if the file has them.
    Need(usize),
    /// No record of the chain here.
    End,
}

impl Scan {
    pub fn new(header: &SegmentHeader) -> Self {
        Scan::at(start_mark(header), header.nonce)
    }

    pub fn at(next: Mark, nonce: u64) -> Self {
        Scan {
            seed: Seed::new(nonce),
            next,
            linked: true,
            buf: Vec::new(),
            filled: 0,
            buf_offset: next.offset,
            found: 0..0,
            trusting: false,
        }
    }

    /// From a record on that was found at this offset before.
    pub fn at_place(index: Index, offset: u64, nonce: u64) -> Self {
        let next = Mark {
            index,
            offset,
            prev_crc: 0,
            prev_term: Term(0),
        };
        Scan {
            linked: false,
            ..Scan::at(next, nonce)
        }
    }

    /// Looks for the next record. `file_end`: the file's length as far as known.
    pub fn step(&mut self, file_end: u64) -> Scanned {
        let at = usize::try_from(self.next.offset - self.buf_offset).expect("within the buffer");
        let bytes = &self.buf[at.min(self.filled)..self.filled];
        let available = file_end.saturating_sub(self.next.offset);
        let (header, crc) =
            match record::parse_expected(bytes, available, &self.seed, self.next.index) {
                Parsed::Record { header, crc } => (header, crc),
                Parsed::Need(n) => return Scanned::Need(n),
                Parsed::Bad if self.trusting => match self.trust(bytes, available) {
                    Some(found) => found,
                    None => return Scanned::End,
                },
                Parsed::Bad => return Scanned::End,
            };
        let follows = header.prev_crc == self.next.prev_crc && header.term >= self.next.prev_term;
        if header.index != self.next.index || (self.linked && !follows) {
            return Scanned::End;
        }
        let len = header.frame_len();
        self.found = at..at + len;
        self.linked = true;
        self.next = Mark {
            index: header.index.next(),
            offset: self.next.offset + len as u64,
            prev_crc: crc,
            prev_term: header.term,
        };
        Scanned::Record(header)
    }

    /// Planted bug: the header is good, so the data is believed.
    fn trust(&self, bytes: &[u8], available: u64) -> Option<(RecordHeader, u32)> {
        let header = RecordHeader::decode_seeded(bytes.first_chunk()?, &self.seed)?;
        let frame = bytes.get(..header.frame_len())?;
        let (_, crc) = frame.split_last_chunk::<4>()?;
        (header.frame_len() as u64 <= available).then_some((header, u32::from_le_bytes(*crc)))
    }

    /// The entry of the record found last.
    pub fn entry(&self, header: &RecordHeader) -> Entry {
        record::entry(header, &self.buf[self.found.clone()])
    }

    /// The data of the record found last.
    pub fn data(&self, header: &RecordHeader) -> &[u8] {
        record::data(header, &self.buf[self.found.clone()])
    }

    /// Room for at least `n` bytes from the next record on, and their offset in
    /// the file. What is before the next record is forgotten.
    pub fn space(&mut self, n: usize) -> (u64, &mut [u8]) {
        let used = usize::try_from(self.next.offset - self.buf_offset).expect("within the buffer");
        let used = used.min(self.filled);
        self.buf.copy_within(used..self.filled, 0);
        self.filled -= used;
        self.buf_offset = self.next.offset;
        let have = self.filled;
        let n = n.max(have + HEADER);
        if self.buf.len() < n {
            self.buf.resize(n, 0);
        }
        (self.buf_offset + have as u64, &mut self.buf[have..n])
    }

    /// `got` bytes of the space were filled; fewer than all: the file ends there.
    pub fn filled(&mut self, got: usize) {
        self.filled += got;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::EntryKind;

    const NONCE: u64 = 9;

    fn scan() -> Scan {
        let next = Mark {
            index: Index(5),
            offset: 0,
            prev_crc: 77,
            prev_term: Term(3),
        };
        Scan::at(next, NONCE)
    }

    fn record(index: u64, term: u64, prev_crc: u32) -> Vec<u8> {
        let entry = Entry {
            index: Index(index),
            term: Term(term),
            kind: EntryKind::Command,
            timestamp_ms: 0,
            data: vec![1; 20].into(),
        };
        let mut bytes = Vec::new();
        let seed = Seed::new(NONCE);
        record::encode(&entry, prev_crc, Index(1), &seed, &mut bytes);
        bytes
    }

    /// Whether `scan` takes it for the next record of the chain.
    fn takes(mut scan: Scan, bytes: &[u8]) -> bool {
        let (offset, space) = scan.space(bytes.len());
        assert_eq!(offset, 0);
        space[..bytes.len()].copy_from_slice(bytes);
        scan.filled(bytes.len());
        match scan.step(bytes.len() as u64) {
            Scanned::Record(header) => header.index == scan.next.index.prev(),
            Scanned::Need(n) => panic!("{n} of {}", bytes.len()),
            Scanned::End => false,
        }
    }

    /// Each record is right by itself.
    #[test]
    fn a_record_that_does_not_follow_ends_the_chain() {
        assert!(takes(scan(), &record(5, 3, 77)));
        assert!(takes(scan(), &record(5, 4, 77)), "of a later leader");
        assert!(!takes(scan(), &record(5, 3, 78)), "behind another one");
        assert!(!takes(scan(), &record(5, 2, 77)), "the term goes back");
        assert!(!takes(scan(), &record(6, 3, 77)), "one is missing");
        assert!(!takes(scan(), &record(4, 3, 77)), "again");
    }

    #[test]
    fn nothing_is_known_before_a_place() {
        let from_place = || Scan::at_place(Index(5), 0, NONCE);
        assert!(takes(from_place(), &record(5, 1, 123)));
        assert!(!takes(from_place(), &record(6, 1, 123)));
    }
}
