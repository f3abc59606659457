//! A segment file: one header sector, then records up to the end or to zeros.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | magic `AFTIMSEG` |
//! | 8 | 4 | format version |
//! | 12 | 4 | flags: 1 if there may have been records behind the link |
//! | 16 | 8 | log id: the same in every file of the directory |
//! | 24 | 8 | base: index of the first record |
//! | 32 | 8 | generation: one above every generation before it |
//! | 40 | 8 | nonce: seeds the records' CRCs |
//! | 48 | 8 | term of the record before the base |
//! | 56 | 8 | generation of the segment that holds that record; 0: none |
//! | 64 | 8 | where that record ends in its file |
//! | 72 | 4 | CRC of that record |
//! | 76 | 4 | 0 |
//! | 80 | 8 | created at: ms since the epoch |
//! | 508 | 4 | CRC |
//!
//! A segment closes the one before it: it is written only after everything
//! before its base is durable, and says where that ends and with which CRC. So
//! neither a roll nor a truncation writes anything more to the old segment.

use std::sync::{Arc, Mutex, PoisonError};

use super::record::{self, HEADER, Parsed, RecordHeader};
use crate::bytes::{Get, Put, SECTOR, Sector, is_sealed, seal};
use crate::entry::Entry;
use crate::error::{Corruption, Error, Result};
use crate::fs::dir::Handle;
use crate::ids::{Index, NUMBER_MAX, Term};
use crate::mutant::{Mutant, Mutants};

const MAGIC: &[u8; 8] = b"AFTIMSEG";
pub(crate) const VERSION: u32 = 1;
/// Where the first record stands.
pub(crate) const RECORDS: u64 = SECTOR as u64;
/// Bytes between two entries of the sparse index: what a read by index scans
/// on average is half of it.
const SPARSE: u64 = 16 << 10;
/// Bytes read at once.
const READ: usize = 64 << 10;

/// The record before a segment's first one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Link {
    pub term: Term,
    /// Generation of the segment that holds it; 0 if none does: the log begins
    /// here, or a snapshot stands in for what came before.
    pub generation: u64,
    /// Where it ends in its file.
    pub end: u64,
    pub crc: u32,
    /// Behind it there was something that a recovery took for a torn tail, and
    /// that could have been durable once. Written down, because a recovery that
    /// is cut off has told nobody, and the next one does not look there.
    pub doubtful: bool,
}

const DOUBTFUL: u32 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    pub log_id: u64,
    pub base: Index,
    pub generation: u64,
    pub nonce: u64,
    pub prev: Link,
    pub created_at_ms: i64,
}

impl SegmentHeader {
    pub fn encode(&self) -> Sector {
        let mut sector = [0; SECTOR];
        Put::new(&mut sector)
            .bytes(MAGIC)
            .u32(VERSION)
            .u32(if self.prev.doubtful { DOUBTFUL } else { 0 })
            .u64(self.log_id)
            .u64(self.base.0)
            .u64(self.generation)
            .u64(self.nonce)
            .u64(self.prev.term.0)
            .u64(self.prev.generation)
            .u64(self.prev.end)
            .u32(self.prev.crc)
            .u32(0)
            .i64(self.created_at_ms);
        seal(&mut sector);
        sector
    }

    /// `Ok(None)`: not a header. `Err`: one of this newer version.
    pub fn decode(sector: &Sector) -> std::result::Result<Option<Self>, u32> {
        if !is_sealed(sector) || !sector.starts_with(MAGIC) {
            return Ok(None);
        }
        let mut get = Get::new(&sector[8..]);
        let version = get.u32();
        if version > VERSION {
            return Err(version);
        }
        let flags = get.u32();
        let log_id = get.u64();
        let base = Index(get.u64());
        let generation = get.u64();
        let nonce = get.u64();
        let term = Term(get.u64());
        let prev_generation = get.u64();
        let end = get.u64();
        let crc = get.u32();
        let _ = get.u32();
        let created_at_ms = get.i64();
        let sane = 1..=NUMBER_MAX;
        if !sane.contains(&base.0) || !sane.contains(&generation) || end > NUMBER_MAX {
            return Ok(None);
        }
        Ok(Some(SegmentHeader {
            log_id,
            base,
            generation,
            nonce,
            prev: Link {
                term,
                generation: prev_generation,
                end,
                crc,
                doubtful: flags & DOUBTFUL != 0,
            },
            created_at_ms,
        }))
    }

    pub fn file_name(&self) -> String {
        format!("log-{:020}-{:016x}.seg", self.base.0, self.generation)
    }
}

/// Base and generation in a segment's name; a name is a hint, the header counts.
pub(crate) fn parse_name(name: &str) -> Option<(Index, u64)> {
    let (base, generation) = name
        .strip_prefix("log-")?
        .strip_suffix(".seg")?
        .split_once('-')?;
    if base.len() != 20 || generation.len() != 16 {
        return None;
    }
    Some((
        Index(base.parse().ok()?),
        u64::from_str_radix(generation, 16).ok()?,
    ))
}

/// A place between two records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Index of the record that begins here.
    pub index: Index,
    pub offset: u64,
    /// CRC of the record before.
    pub prev_crc: u32,
    /// Term of the record before.
    pub prev_term: Term,
}

/// A live segment, readable while it is being written: readers ask only for
/// records that the writer has finished.
#[derive(Debug)]
pub(crate) struct Segment {
    pub header: SegmentHeader,
    pub file: Handle,
    /// Known places in order of index, the first at the base, at most one per
    /// `SPARSE` bytes, and the last known end.
    marks: Mutex<Marks>,
    /// Whether readers look at the records' CRCs (a planted bug does not).
    trusting: bool,
}

#[derive(Debug)]
struct Marks {
    sparse: Vec<Mark>,
    end: Mark,
}

impl Marks {
    fn push(&mut self, mark: Mark) {
        if mark.index <= self.end.index {
            return; // a reader was here before
        }
        self.end = mark;
        if self
            .sparse
            .last()
            .is_none_or(|last| mark.offset - last.offset >= SPARSE)
        {
            self.sparse.push(mark);
        }
    }
}

impl Segment {
    pub fn new(header: SegmentHeader, file: Handle, mutants: Mutants) -> Self {
        let start = start_mark(&header);
        Segment {
            header,
            file,
            marks: Mutex::new(Marks {
                sparse: vec![start],
                end: start,
            }),
            trusting: mutants.has(Mutant::ReadUnchecked),
        }
    }

    /// The writer (or recovery, or a reader) knows that records end here.
    pub fn learn(&self, found: &[Mark]) {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        for &mark in found {
            marks.push(mark);
        }
    }

    /// The last place known at or before the record with this index.
    fn seek(&self, index: Index) -> Mark {
        let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.end.index <= index {
            return marks.end;
        }
        let after = marks.sparse.partition_point(|mark| mark.index <= index);
        marks.sparse[after - 1]
    }

    /// The records `from..=to` (which are there, durable or at least written),
    /// until their data passes `max_bytes`, but at least one. Checks every
    /// record and the chain on the way.
    pub fn read(&self, from: Index, to: Index, max_bytes: usize) -> Result<Vec<Entry>> {
        assert!(self.header.base <= from && from <= to);
        let mut scan = Scan::at(self.seek(from), self.header.nonce);
        scan.trusting = self.trusting;
        let mut entries = Vec::new();
        let mut bytes = 0;
        self.walk(&mut scan, to, |scan, header| {
            if header.index < from {
                return true;
            }
            bytes += header.data_len;
            let fits = bytes <= max_bytes || entries.is_empty();
            if fits {
                entries.push(scan.entry(header));
            }
            fits
        })?;
        Ok(entries)
    }

    /// Visits the records up to `to`, as long as `visit` wants more.
    fn walk(
        &self,
        scan: &mut Scan,
        to: Index,
        mut visit: impl FnMut(&Scan, &RecordHeader) -> bool,
    ) -> Result<()> {
        let mut file_end = u64::MAX; // not known until a read is short
        while scan.next.index <= to {
            match scan.step(file_end) {
                Scanned::Record(header) => {
                    self.learn(&[scan.next]);
                    if !visit(scan, &header) {
                        break;
                    }
                }
                Scanned::Need(n) if n > READ && file_end == u64::MAX => {
                    // Before anything is allocated for a length that may be rot.
                    file_end = self.file.len_now()?;
                }
                Scanned::Need(n) => {
                    let (offset, buf) = scan.space(n.max(READ));
                    let asked = buf.len();
                    let got = self.file.read_now(buf, offset)?;
                    scan.filled(asked, got);
                    if got < asked {
                        file_end = offset + got as u64;
                    }
                }
                Scanned::End => return Err(self.corrupt(scan.next.offset)),
            }
        }
        Ok(())
    }

    /// The place at which the record `index` begins, or would: all before it are there.
    pub fn locate(&self, index: Index) -> Result<Mark> {
        let mut scan = Scan::at(self.seek(index), self.header.nonce);
        self.walk(&mut scan, index.prev(), |_, _| true)?;
        Ok(scan.next)
    }

    pub fn corrupt(&self, offset: u64) -> Error {
        Error::Corrupt {
            path: self.file.path().to_owned(),
            offset,
            what: Corruption::DurableRecord,
        }
    }
}

pub(crate) fn start_mark(header: &SegmentHeader) -> Mark {
    Mark {
        index: header.base,
        offset: RECORDS,
        prev_crc: header.prev.crc,
        prev_term: header.prev.term,
    }
}

/// Walks the records of a segment from a mark on. The caller does the reading.
#[derive(Debug)]
pub(crate) struct Scan {
    nonce: u64,
    /// Where the next record is expected.
    pub next: Mark,
    buf: Vec<u8>,
    /// Where `buf` begins in the file.
    buf_offset: u64,
    /// The record found last, within `buf`.
    found: std::ops::Range<usize>,
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
            nonce,
            next,
            buf: Vec::new(),
            buf_offset: next.offset,
            found: 0..0,
            trusting: false,
        }
    }

    /// Looks for the next record. `file_end`: the file's length as far as known.
    pub fn step(&mut self, file_end: u64) -> Scanned {
        let at = usize::try_from(self.next.offset - self.buf_offset).expect("within the buffer");
        let bytes = &self.buf[at.min(self.buf.len())..];
        let available = file_end.saturating_sub(self.next.offset);
        let (header, crc) = match record::parse(bytes, available, self.nonce) {
            Parsed::Record { header, crc } => (header, crc),
            Parsed::Need(n) => return Scanned::Need(n),
            Parsed::Bad if self.trusting => match self.trust(bytes, available) {
                Some(found) => found,
                None => return Scanned::End,
            },
            Parsed::Bad => return Scanned::End,
        };
        if header.index != self.next.index
            || header.prev_crc != self.next.prev_crc
            || header.term < self.next.prev_term
        {
            return Scanned::End;
        }
        let len = header.frame_len();
        self.found = at..at + len;
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
        let header = RecordHeader::decode(bytes.first_chunk()?, self.nonce)?;
        let frame = bytes.get(..header.frame_len())?;
        let (_, crc) = frame.split_last_chunk::<4>()?;
        (header.frame_len() as u64 <= available).then_some((header, u32::from_le_bytes(*crc)))
    }

    /// The entry of the record found last.
    pub fn entry(&self, header: &RecordHeader) -> Entry {
        record::entry(header, &self.buf[self.found.clone()])
    }

    /// Room for at least `n` bytes from the next record on, and their offset in
    /// the file. What is before the next record is forgotten.
    pub fn space(&mut self, n: usize) -> (u64, &mut [u8]) {
        let used = usize::try_from(self.next.offset - self.buf_offset).expect("within the buffer");
        self.buf.drain(..used.min(self.buf.len()));
        self.buf_offset = self.next.offset;
        let have = self.buf.len();
        self.buf.resize(n.max(have + HEADER), 0);
        (self.buf_offset + have as u64, &mut self.buf[have..])
    }

    /// `got` bytes of the space were filled; fewer than all: the file ends there.
    pub fn filled(&mut self, space: usize, got: usize) {
        let len = self.buf.len() - (space - got);
        self.buf.truncate(len);
    }
}

/// The file of a segment that is not yet one: zeros, durable, without a header.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub name: String,
    pub file: Handle,
}

pub(crate) type SharedSegment = Arc<Segment>;
