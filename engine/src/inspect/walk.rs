//! Goes through a segment's bytes, whatever they are.

use crate::bytes::first_nonzero;
use crate::error::Result;
use crate::fs::Advice;
use crate::fs::dir::Handle;
use crate::ids::Index;
use crate::log::record::{self, HEADER, Parsed, RecordHeader, Seed};
use crate::log::segment::{Mark, SegmentHeader, start_mark};

/// Bytes read at once: they stay in the processor's cache.
const READ: u64 = 256 << 10;
/// The disk reads so far ahead meanwhile.
const AHEAD: u64 = 2 << 20;
/// Every record begins at a multiple of this.
const ALIGN: u64 = 8;

/// A part of a segment behind its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// A record whose checksum is right.
    Record {
        offset: u64,
        header: RecordHeader,
        crc: u32,
        /// It continues the record before: in place, index, term and CRC.
        follows: bool,
    },
    /// Bytes that are no record. `header`: they begin with what looks like the
    /// header of one.
    Noise {
        offset: u64,
        len: u64,
        header: Option<RecordHeader>,
    },
    /// Zeros up to the end of the file: prepared space.
    Zeros { offset: u64, len: u64 },
}

/// Yields the pieces of a segment from front to back.
pub(super) struct Walk<'a> {
    file: &'a Handle,
    len: u64,
    seed: Seed,
    at: u64,
    /// Where the next record of the chain is expected.
    next: Mark,
    window: Vec<u8>,
    window_at: u64,
    /// The disk was told up to here.
    ahead: u64,
}

impl<'a> Walk<'a> {
    pub fn new(file: &'a Handle, header: &SegmentHeader) -> Result<Self> {
        let next = start_mark(header);
        Ok(Walk {
            file,
            len: file.len_now()?,
            seed: Seed::new(header.nonce),
            at: next.offset,
            next,
            window: Vec::new(),
            window_at: 0,
            ahead: 0,
        })
    }

    /// Behind the piece that was yielded last.
    pub fn mark(&self) -> Mark {
        self.next
    }

    /// `None` at the end of the file.
    pub fn step(&mut self) -> Result<Option<Piece>> {
        let offset = self.at;
        if offset >= self.len {
            return Ok(None);
        }
        let expected = Some(self.next.index);
        let Some((header, crc)) = self.parse(offset, expected)? else {
            return self.search(offset).map(Some);
        };
        let follows = offset == self.next.offset
            && header.index == self.next.index
            && header.prev_crc == self.next.prev_crc
            && header.term >= self.next.prev_term;
        self.at += header.frame_len() as u64;
        self.next = Mark {
            index: header.index.next(),
            offset: self.at,
            prev_crc: crc,
            prev_term: header.term,
        };
        Ok(Some(Piece::Record {
            offset,
            header,
            crc,
            follows,
        }))
    }

    /// What begins at `offset` is no record: up to where does it go?
    fn search(&mut self, offset: u64) -> Result<Piece> {
        let seed = self.seed.clone();
        let first = self.bytes(offset, HEADER.min((self.len - offset) as usize))?;
        let header = first
            .first_chunk()
            .and_then(|bytes| RecordHeader::decode_seeded(bytes, &seed));
        let (mut at, mut noise_end) = (offset, offset);
        while at < self.len {
            let rest = self.bytes(at, 1)?;
            if rest.is_empty() {
                break; // the file became shorter meanwhile
            }
            let Some(zeros) = first_nonzero(rest) else {
                at += rest.len() as u64;
                continue;
            };
            at += zeros as u64 / ALIGN * ALIGN;
            if at > offset && self.parse(at, None)?.is_some() {
                noise_end = at;
                break;
            }
            at += ALIGN;
            noise_end = at.min(self.len);
        }
        self.at = noise_end;
        if noise_end > offset {
            return Ok(Piece::Noise {
                offset,
                len: noise_end - offset,
                header,
            });
        }
        self.at = self.len;
        Ok(Piece::Zeros {
            offset,
            len: self.len - offset,
        })
    }

    fn parse(&mut self, at: u64, expected: Option<Index>) -> Result<Option<(RecordHeader, u32)>> {
        let (available, seed) = (self.len - at, self.seed.clone());
        let mut want = HEADER;
        loop {
            let bytes = self.bytes(at, want)?;
            let parsed = match expected {
                Some(index) => record::parse_expected(bytes, available, &seed, index),
                None => record::parse_seeded(bytes, available, &seed),
            };
            match parsed {
                Parsed::Record { header, crc } => return Ok(Some((header, crc))),
                Parsed::Need(n) if n > bytes.len() && n > want => want = n,
                // Also where the file became shorter meanwhile.
                Parsed::Need(_) | Parsed::Bad => return Ok(None),
            }
        }
    }

    /// The bytes from `at` on: at least `n`, if the file has them.
    fn bytes(&mut self, at: u64, n: usize) -> Result<&[u8]> {
        let have = (at.checked_sub(self.window_at))
            .and_then(|skip| self.window.get(skip as usize..))
            .map_or(0, <[u8]>::len);
        let wanted = (n as u64).min(self.len - at);
        if (have as u64) < wanted {
            let size = READ.max(wanted).min(self.len - at);
            self.window.resize(size as usize, 0);
            self.window_at = at;
            if at + size > self.ahead {
                self.file
                    .advise(Advice::WillRead, self.ahead.max(at), 2 * AHEAD);
                self.ahead = self.ahead.max(at) + AHEAD;
            }
            let got = self.file.read_now(&mut self.window, at)?;
            self.window.truncate(got);
        }
        Ok(&self.window[(at - self.window_at) as usize..])
    }
}

/// What a segment holds, as far as it counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// The chain is unbroken from the base up to here.
    pub end: Mark,
    /// Something other than zeros lies behind, within what counts.
    pub is_dirty: bool,
    /// The highest sync floor of a record that stands behind a break.
    pub floor_behind: Index,
    /// The same of any record.
    pub floor: Index,
    /// Records of the chain, and their bytes.
    pub records: u64,
    pub bytes: u64,
}

impl Extent {
    /// Reads a segment of which the records below `until` count.
    pub fn read(file: &Handle, header: &SegmentHeader, until: Option<Index>) -> Result<Self> {
        let mut walk = Walk::new(file, header)?;
        let mut extent = Extent {
            end: walk.mark(),
            is_dirty: false,
            floor_behind: Index(0),
            floor: Index(0),
            records: 0,
            bytes: 0,
        };
        while until.is_none_or(|until| extent.end.index < until) {
            let piece = walk.step()?;
            if let Some(Piece::Record { header, .. }) = piece {
                extent.floor = extent.floor.max(header.sync_floor);
            }
            match piece {
                Some(Piece::Record {
                    header,
                    follows: true,
                    ..
                }) if !extent.is_dirty => {
                    extent.end = walk.mark();
                    extent.records += 1;
                    extent.bytes += header.frame_len() as u64;
                }
                Some(Piece::Record { header, .. }) => {
                    extent.is_dirty = true;
                    extent.floor_behind = extent.floor_behind.max(header.sync_floor);
                }
                Some(Piece::Noise { .. }) => extent.is_dirty = true,
                Some(Piece::Zeros { .. }) => {}
                None => break,
            }
        }
        Ok(extent)
    }
}
