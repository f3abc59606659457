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
//! | 76 | 4 | records before the base that were not known to be durable when this was written |
//! | 80 | 8 | created at: ms since the epoch |
//! | 508 | 4 | CRC |
//!
//! A segment closes the one before it: it says where that ends and with which
//! CRC. So neither a roll nor a truncation writes anything more to the old segment.
//! It also says how far the log was durable by then: all of it, unless somebody
//! appended without asking for a sync. Only such a header has version 2.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::places::Places;
use super::record::{self, RecordHeader, Seed};
use super::scan::{Scan, Scanned};
use crate::bytes::{Put, SECTOR, Sector, fields, seal};
use crate::entry::{Entry, EntryRef};
use crate::error::{Corruption, Error, Result};
use crate::fs::dir::Handle;
use crate::ids::{Index, NUMBER_MAX, Term};
use crate::mutant::{Mutant, Mutants};

const MAGIC: &[u8; 8] = b"AFTIMSEG";
/// Of a segment that begins behind durable records.
const VERSION: u32 = 1;
/// Of one that begins behind records of which that is not known: builds that knew only
/// the first version would take them for durable.
const VERSION_UNPROVEN: u32 = 2;
/// Where the first record stands.
pub(crate) const RECORDS: u64 = SECTOR as u64;
/// Bytes read at once by who wants as much.
const READ: usize = 64 << 10;
/// A page: less would cost as much.
const READ_MIN: usize = 4 << 10;
/// What lies between two places is mostly not longer.
const SMALL: usize = 2 << 10;
const READ_MAX: usize = 1 << 20;

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
    /// The highest index known to be durable when this was written: the one before
    /// the base, unless somebody appended without a sync.
    pub floor: Index,
    pub created_at_ms: i64,
}

impl SegmentHeader {
    pub fn encode(&self) -> Sector {
        let unproven = u32::try_from(self.base.prev() - self.floor)
            .expect("the writer syncs before so many records are not");
        let version = match unproven {
            0 => VERSION,
            _ => VERSION_UNPROVEN,
        };
        let mut sector = [0; SECTOR];
        Put::new(&mut sector)
            .bytes(MAGIC)
            .u32(version)
            .u32(if self.prev.doubtful { DOUBTFUL } else { 0 })
            .u64(self.log_id)
            .u64(self.base.0)
            .u64(self.generation)
            .u64(self.nonce)
            .u64(self.prev.term.0)
            .u64(self.prev.generation)
            .u64(self.prev.end)
            .u32(self.prev.crc)
            .u32(unproven)
            .i64(self.created_at_ms);
        seal(&mut sector);
        sector
    }

    /// `Ok(None)`: not a header. `Err`: one of this newer version.
    pub fn decode(sector: &Sector) -> std::result::Result<Option<Self>, u32> {
        let Some(mut get) = fields(sector, MAGIC)? else {
            return Ok(None);
        };
        let flags = get.u32();
        let log_id = get.u64();
        let base = Index(get.u64());
        let generation = get.u64();
        let nonce = get.u64();
        let term = Term(get.u64());
        let prev_generation = get.u64();
        let end = get.u64();
        let crc = get.u32();
        let unproven = u64::from(get.u32());
        let created_at_ms = get.i64();
        let sane = 1..=NUMBER_MAX;
        if !sane.contains(&base.0) || !sane.contains(&generation) || end > NUMBER_MAX {
            return Ok(None);
        }
        let Some(floor) = base.prev().0.checked_sub(unproven).map(Index) else {
            return Ok(None);
        };
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
            floor,
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
    places: Mutex<Places>,
    /// Whether readers look at the records' CRCs (a planted bug does not).
    trusting: bool,
}

/// A reader's position in a segment, with what it has read ahead.
#[derive(Debug)]
pub(crate) struct Cursor {
    scan: Scan,
    /// Not known until a read is short.
    file_end: u64,
    /// Bytes read at once.
    read: usize,
    /// The records below this one are in the places.
    known: Index,
}

impl Cursor {
    /// The index of the next record.
    pub fn next(&self) -> Index {
        self.scan.next.index
    }

    /// The entry of the record found last.
    pub fn entry(&self, header: &RecordHeader) -> Entry {
        self.scan.entry(header)
    }

    /// The data of the record found last.
    pub fn data(&self, header: &RecordHeader) -> &[u8] {
        self.scan.data(header)
    }
}

impl Segment {
    pub fn new(header: SegmentHeader, file: Handle, mutants: Mutants) -> Self {
        Segment::of(header, file, Places::new(start_mark(&header)), mutants)
    }

    /// One of whose records it is known where they are.
    pub fn of(header: SegmentHeader, file: Handle, places: Places, mutants: Mutants) -> Self {
        Segment {
            header,
            file,
            places: Mutex::new(places),
            trusting: mutants.has(Mutant::ReadUnchecked) || mutants.has(Mutant::AcceptTornRecord),
        }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer (or recovery, or a reader) knows that records end here.
    pub fn learn(&self, found: &[Mark]) {
        let mut places = self.places();
        for &mark in found {
            places.push(mark);
        }
    }

    /// Walks from the record `from` on, or from one before it whose place is
    /// known. Reads about `read` bytes at once.
    pub fn cursor(&self, from: Index, read: usize) -> Cursor {
        let (mut scan, known) = {
            let places = self.places();
            let end = places.end();
            let scan = if from >= end.index {
                Scan::at(end, self.header.nonce)
            } else {
                match places.around(from) {
                    (first, _) if first == self.header.base => Scan::new(&self.header),
                    (first, bytes) => Scan::at_place(first, bytes.start, self.header.nonce),
                }
            };
            (scan, end.index)
        };
        scan.trusting = self.trusting;
        Cursor {
            scan,
            file_end: u64::MAX,
            read: read.clamp(READ_MIN, READ_MAX),
            known,
        }
    }

    /// The next record, which is there. Checks it, and the chain.
    pub fn advance(&self, cursor: &mut Cursor) -> Result<RecordHeader> {
        loop {
            let scan = &mut cursor.scan;
            match scan.step(cursor.file_end) {
                Scanned::Record(header) => {
                    if header.index >= cursor.known {
                        self.learn(&[scan.next]);
                    }
                    return Ok(header);
                }
                Scanned::Need(n) if n > cursor.read && cursor.file_end == u64::MAX => {
                    // Before anything is allocated for a length that may be rot.
                    cursor.file_end = self.file.len_now()?;
                }
                Scanned::Need(n) => {
                    let (offset, buf) = scan.space(n.max(cursor.read));
                    let asked = buf.len();
                    let got = self.file.read_now(buf, offset)?;
                    scan.filled(got);
                    if got < asked {
                        cursor.file_end = offset + got as u64;
                    }
                }
                Scanned::End => return Err(self.corrupt(scan.next.offset)),
            }
        }
    }

    /// The records `from..=to` (which are there, durable or at least written),
    /// until their data passes `max_bytes`, but at least one. Checks every
    /// record and the chain on the way.
    pub fn read(&self, from: Index, to: Index, max_bytes: usize) -> Result<Vec<Entry>> {
        assert!(self.header.base <= from && from <= to);
        let read = max_bytes.min(READ).min(self.extent(from, to));
        let mut cursor = self.cursor(from, read);
        let mut entries = Vec::new();
        let mut bytes = 0;
        while cursor.next() <= to {
            let header = self.advance(&mut cursor)?;
            if header.index < from {
                continue;
            }
            bytes += header.data_len;
            if bytes > max_bytes && !entries.is_empty() {
                break;
            }
            entries.push(cursor.entry(&header));
        }
        Ok(entries)
    }

    /// How many bytes hold these records, at the most, as far as their places are known.
    fn extent(&self, from: Index, to: Index) -> usize {
        let places = self.places();
        if to >= places.end().index {
            return usize::MAX;
        }
        let (_, first) = places.around(from);
        let (_, last) = places.around(to);
        usize::try_from(last.end - first.start).unwrap_or(usize::MAX)
    }

    /// Shows the record `index`, which is there. Where its place is known, that
    /// is one read of little more than the record, and nothing else is checked.
    pub fn visit<T>(&self, index: Index, visit: impl FnOnce(EntryRef<'_>) -> T) -> Result<T> {
        let around = {
            let places = self.places();
            (index < places.end().index).then(|| places.around(index))
        };
        let Some((first, bytes)) =
            around.filter(|(_, bytes)| bytes.end - bytes.start <= READ as u64)
        else {
            let mut cursor = self.cursor(index, 0);
            loop {
                let header = self.advance(&mut cursor)?;
                if header.index == index {
                    return Ok(visit(EntryRef::new(&header, cursor.data(&header))));
                }
            }
        };
        let len = (bytes.end - bytes.start) as usize;
        let mut small = [0; SMALL];
        let mut large = Vec::new();
        let buf = match small.get_mut(..len) {
            Some(buf) => buf,
            None => {
                large.resize(len, 0);
                &mut large
            }
        };
        let got = self.file.read_now(buf, bytes.start)?;
        match self.pick(&buf[..got], first, index) {
            Ok((header, frame)) => Ok(visit(EntryRef::new(&header, record::data(&header, frame)))),
            Err(offset) => Err(self.corrupt(bytes.start + offset)),
        }
    }

    /// The record `index` in bytes that begin with the record `first`; the offset
    /// of what is bad.
    fn pick<'a>(
        &self,
        bytes: &'a [u8],
        first: Index,
        index: Index,
    ) -> std::result::Result<(RecordHeader, &'a [u8]), u64> {
        let seed = Seed::new(self.header.nonce);
        let mut at = 0;
        let mut expected = first;
        loop {
            let rest = &bytes[at..];
            let header = (rest.first_chunk())
                .and_then(|header| RecordHeader::decode_seeded(header, &seed))
                .filter(|header| header.index == expected)
                .ok_or(at as u64)?;
            let frame = rest.get(..header.frame_len()).ok_or(at as u64)?;
            if expected == index {
                let is_good = self.trusting || record::verify(frame, &seed).is_some();
                return is_good.then_some((header, frame)).ok_or(at as u64);
            }
            at += frame.len();
            expected = expected.next();
        }
    }

    /// The place at which the record `index` begins, or would: all before it are there.
    pub fn locate(&self, index: Index) -> Result<Mark> {
        if index == self.header.base {
            return Ok(start_mark(&self.header));
        }
        let mut cursor = self.cursor(index.prev(), 0);
        while cursor.next() < index {
            self.advance(&mut cursor)?;
        }
        Ok(cursor.scan.next)
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

/// The file of a segment that is not yet one: zeros, durable, without a header.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub name: String,
    pub file: Handle,
}

pub(crate) type SharedSegment = Arc<Segment>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_as_we_write_them_are_names() {
        let name = "log-00000000000000000007-00000000000000fe.seg";
        assert_eq!(parse_name(name), Some((Index(7), 0xfe)));
        for other in [
            "log-7-fe.seg",
            "log-00000000000000000007-fe.seg",
            "log-7-00000000000000fe.seg",
            "log-00000000000000000007-00000000000000fe.seg.bak",
            "log-000000000000000000x7-00000000000000fe.seg",
            "log-00000000000000000007.seg",
            "snapshot",
        ] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}
