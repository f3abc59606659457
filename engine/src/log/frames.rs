//! Records on their way into a segment's file: encoded, and written piece by piece.

use super::record::{self, Seed};
use super::segment::Mark;
use crate::entry::Entry;
use crate::error::Result;
use crate::fs::dir::{Handle, WriteAhead};
use crate::ids::Index;
use crate::sometimes::sometimes;
use crate::store::Shared;

/// Frames are written as soon as there are so many bytes of them: they are
/// still in the processor's cache then.
pub(super) const PIECE: usize = 256 << 10;
/// The disk begins with so many bytes while the rest of the group is encoded.
pub(super) const WRITE_BACK: u64 = 1 << 20;

/// The frames of a group on their way into a file.
pub(super) struct Frames<'a> {
    pub seed: Seed,
    pub floor: Index,
    /// Behind the frames that are encoded.
    pub end: Mark,
    /// The end of each.
    pub marks: Vec<Mark>,
    /// What is in front of `end` and not written yet.
    pub buf: &'a mut Vec<u8>,
    pub ahead: Option<WriteAhead>,
}

impl Frames<'_> {
    /// Encodes all, and writes what is more than a piece.
    pub async fn encode(&mut self, file: &Handle, entries: &[Entry]) -> Result<()> {
        for entry in entries {
            assert_eq!(entry.index, self.end.index, "a batch continues the log");
            if self.buf.len() >= PIECE {
                self.flush(file).await?;
                if let Some(ahead) = &mut self.ahead {
                    ahead.written(file, self.end.offset);
                }
            }
            let from = self.buf.len();
            let prev_crc = self.end.prev_crc;
            let crc = record::encode(entry, prev_crc, self.floor, &self.seed, self.buf);
            self.end = Mark {
                index: entry.index.next(),
                offset: self.end.offset + (self.buf.len() - from) as u64,
                prev_crc: crc,
                prev_term: entry.term,
            };
            self.marks.push(self.end);
        }
        Ok(())
    }

    pub async fn flush(&mut self, file: &Handle) -> Result<()> {
        let offset = self.end.offset - self.buf.len() as u64;
        file.write_all(self.buf, offset).await?;
        self.buf.clear();
        Ok(())
    }

    /// All of the group at once, if all is still here and the file knows how.
    pub async fn write_through(
        &mut self,
        shared: &Shared,
        file: &Handle,
        start: Mark,
    ) -> Result<bool> {
        if start.offset + self.buf.len() as u64 != self.end.offset {
            return Ok(false);
        }
        match file.write_through(self.buf, start.offset).await {
            None => Ok(false),
            Some(Ok(())) => {
                sometimes!(WrittenThrough);
                Ok(true)
            }
            Some(Err(e)) => {
                shared.poison();
                Err(e)
            }
        }
    }
}
