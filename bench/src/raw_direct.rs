//! The bare loop past the page cache: O_DIRECT and O_DSYNC over zeros.

use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::OFlags;

use crate::log::{Log, Payload, Result};
use crate::raw::{CAPACITY, zeros};

/// Address, offset and length of a direct write are multiples of this.
const BLOCK: usize = 4096;
const BUFFER: usize = 256 << 10;

/// One write an append, which is durable when it returns. Its block that is not
/// full is written again by the next, as a log would have to. No CRC.
pub struct RawDirect {
    file: File,
    state: Mutex<Direct>,
}

struct Direct {
    buffer: Vec<u8>,
    /// Where the buffer is aligned.
    front: usize,
    /// Where the first block of the buffer stands in the file, and how much of
    /// it is used.
    block: u64,
    used: usize,
}

impl RawDirect {
    pub fn new(dir: &Path) -> Result<Self> {
        let path = dir.join("raw");
        drop(zeros(&path, CAPACITY)?);
        let flags = OFlags::DIRECT | OFlags::DSYNC;
        let file = File::options()
            .write(true)
            .custom_flags(flags.bits() as i32)
            .open(path)?;
        let buffer = vec![0; BUFFER + BLOCK];
        let state = Direct {
            front: buffer.as_ptr().align_offset(BLOCK),
            buffer,
            block: 0,
            used: 0,
        };
        Ok(RawDirect {
            file,
            state: Mutex::new(state),
        })
    }
}

impl Log for RawDirect {
    fn append_durable(&self, _writer: usize, entries: &[Payload]) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Direct {
            buffer,
            front,
            block,
            used,
        } = &mut *state;
        let buffer = &mut buffer[*front..*front + BUFFER];
        let mut end = *used;
        for entry in entries {
            buffer[end..end + entry.len()].copy_from_slice(entry);
            end += entry.len();
        }
        let whole = end.next_multiple_of(BLOCK);
        buffer[end..whole].fill(0);
        if *block + whole as u64 > CAPACITY {
            *block = 0;
        }
        self.file.write_all_at(&buffer[..whole], *block)?;
        let full = end / BLOCK * BLOCK;
        buffer.copy_within(full..end, 0);
        *block += full as u64;
        *used = end - full;
        Ok(())
    }
}
