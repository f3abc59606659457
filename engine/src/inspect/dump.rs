//! Everything that is in a directory, piece by piece.

use super::look::SnapshotFile;
use super::walk::{Piece, Walk};
use super::{Found, Inspector, SegmentFile};
use crate::entry::Membership;
use crate::error::{Error, Result};
use crate::format::{Slot, SnapshotHeader};
use crate::hard_state;
use crate::job::now;
use crate::log::segment;
use crate::snapshot;
use crate::store::LOCK;

/// One thing that was found. They come in this order: the hard state's slots,
/// the snapshot and its chunks, each segment and its pieces, the other files.
#[derive(Debug)]
pub enum Item<'a> {
    /// A slot of the hard state, 0 or 1. `counts`: it is the newer one.
    Slot {
        number: usize,
        slot: &'a Found<Slot>,
        counts: bool,
    },
    /// `membership`: `None` if its bytes are bad.
    Snapshot {
        len: u64,
        header: &'a SnapshotHeader,
        membership: Option<&'a Membership>,
    },
    /// A snapshot whose header cannot be read.
    BadSnapshot(Found<()>),
    /// A chunk of the snapshot. `is_good`: its CRC is right.
    Chunk {
        number: u64,
        offset: u64,
        len: usize,
        is_good: bool,
    },
    Segment {
        len: u64,
        segment: &'a SegmentFile,
    },
    /// Of the segment that came last.
    Piece(&'a Piece),
    /// The rest of the file that came last cannot be read.
    Unreadable(Error),
    /// A file that is none of the above.
    Other {
        name: &'a str,
    },
}

impl Inspector {
    /// Hands out everything that is there, until `visit` fails.
    ///
    /// # Errors
    /// What `visit` failed with. Of the directory's own files none is an error:
    /// what cannot be read is an item, too.
    pub fn dump<E: From<Error>>(
        &self,
        mut visit: impl FnMut(Item<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.dump_slots(&mut visit)?;
        let min_generation = self.dump_snapshot(&mut visit)?;
        for segment in &self.segments(min_generation)? {
            self.dump_segment(segment, &mut visit)?;
        }
        for name in &self.names {
            let named = [LOCK, hard_state::NAME, snapshot::NAME].contains(&name.as_str());
            if !named && segment::parse_name(name).is_none() {
                visit(Item::Other { name })?;
            }
        }
        Ok(())
    }

    fn dump_slots<E: From<Error>>(
        &self,
        visit: &mut impl FnMut(Item<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(slots) = self.slots()? else {
            return Ok(());
        };
        let sequence = |slot: &Found<Slot>| slot.good().map(|slot| slot.sequence);
        let newest = slots.iter().filter_map(sequence).max();
        for (number, slot) in slots.iter().enumerate() {
            visit(Item::Slot {
                number,
                slot,
                counts: sequence(slot).is_some() && sequence(slot) == newest,
            })?;
        }
        Ok(())
    }

    /// Returns the generation below which segments are dead.
    fn dump_snapshot<E: From<Error>>(
        &self,
        visit: &mut impl FnMut(Item<'_>) -> Result<(), E>,
    ) -> Result<u64, E> {
        let snapshot = match self.snapshot()? {
            None => return Ok(0),
            Some(Found::Good(snapshot)) => snapshot,
            Some(bad) => return visit(Item::BadSnapshot(bad.map(|_| ()))).map(|()| 0),
        };
        visit(Item::Snapshot {
            len: snapshot.len,
            header: &snapshot.header,
            membership: snapshot.membership.as_ref(),
        })?;
        for chunk in snapshot.read_chunks() {
            match chunk {
                Ok(chunk) => visit(Item::Chunk {
                    number: chunk.number,
                    offset: chunk.offset,
                    len: chunk.len,
                    is_good: chunk.crc.is_some(),
                })?,
                Err(e) => {
                    visit(Item::Unreadable(e))?;
                    break;
                }
            }
        }
        Ok(snapshot.header.min_generation)
    }

    fn dump_segment<E: From<Error>>(
        &self,
        segment: &SegmentFile,
        visit: &mut impl FnMut(Item<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let file = now(self.dir.open(&segment.name));
        let len = file.as_ref().map_or(Ok(0), |file| file.len_now());
        visit(Item::Segment {
            len: len.unwrap_or(0),
            segment,
        })?;
        let (Ok(file), Found::Good(header)) = (file, &segment.header) else {
            return Ok(()); // the header says why
        };
        let mut walk = match Walk::new(&file, header) {
            Ok(walk) => walk,
            Err(e) => return visit(Item::Unreadable(e)),
        };
        loop {
            match walk.step() {
                Ok(Some(piece)) => visit(Item::Piece(&piece))?,
                Ok(None) => return Ok(()),
                Err(e) => return visit(Item::Unreadable(e)),
            }
        }
    }
}

/// A chunk of the snapshot.
pub(super) struct Chunk {
    pub number: u64,
    pub offset: u64,
    /// Bytes of data.
    pub len: usize,
    /// `None`: it is wrong.
    pub crc: Option<u32>,
}

impl SnapshotFile {
    /// Each chunk of which the file has at least the beginning.
    pub fn read_chunks(&self) -> impl Iterator<Item = Result<Chunk>> + '_ {
        let chunks = self.header.chunks();
        let fits = move |number: &u64| {
            let begins = chunks.offset(*number);
            begins.is_some_and(|offset| offset < self.len)
        };
        (0..self.chunks()).take_while(fits).map(move |number| {
            let begin = number * chunks.chunk_bytes;
            let len = chunks.chunk_bytes.min(self.header.data_len - begin) as usize;
            let offset = chunks.offset(number).unwrap_or(u64::MAX);
            // Not more than there is: the header may be wrong.
            let mut bytes = vec![0; len.min((self.len - offset) as usize) + 4];
            let got = self.file.read_now(&mut bytes, offset)?;
            let crc = bytes.split_off(bytes.len() - 4);
            let whole = bytes.len() == len && got == len + 4;
            let right = chunks.crc(number, &bytes);
            Ok(Chunk {
                number,
                offset,
                len,
                crc: (whole && right.to_le_bytes() == crc[..]).then_some(right),
            })
        })
    }
}
