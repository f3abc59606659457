//! The least that is a log: segments of length, CRC, data; every place in memory.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::log::{Log, Payload, Result};

const SEGMENT: u64 = 64 << 20;
/// Written at once.
const BUFFER: usize = 256 << 10;
/// Read at once in a scan.
const READ: usize = 1 << 20;
const HEAD: usize = 8;

pub struct RawSegments {
    dir: PathBuf,
    state: Mutex<Segments>,
}

/// Between two calls for the disk to begin.
const WRITE_BACK: u64 = 1 << 20;

#[derive(Default)]
struct Segments {
    files: Vec<Option<File>>,
    /// Segment and offset of each entry.
    places: Vec<(u32, u32)>,
    buffer: Vec<u8>,
    /// Bytes of the last segment, with the buffer.
    len: u64,
    /// Each segment is synced before the next one is begun, with its write-back
    /// begun meanwhile.
    synced: bool,
    /// The disk was told up to here.
    begun: u64,
}

impl RawSegments {
    pub fn new(dir: &Path) -> Self {
        RawSegments {
            dir: dir.to_owned(),
            state: Mutex::default(),
        }
    }

    pub fn synced(dir: &Path) -> Self {
        let raw = RawSegments::new(dir);
        raw.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .synced = true;
        raw
    }

    fn path(&self, segment: usize) -> PathBuf {
        self.dir.join(format!("{segment:06}"))
    }
}

impl Segments {
    fn flush(&mut self) -> Result<()> {
        if let Some(Some(file)) = self.files.last() {
            file.write_all_at(&self.buffer, self.len - self.buffer.len() as u64)?;
            let whole = self.len / 4096 * 4096;
            if self.synced && whole >= self.begun + WRITE_BACK {
                write_back(file, self.begun, whole - self.begun)?;
                self.begun = whole;
            }
        }
        self.buffer.clear();
        Ok(())
    }

    fn place(&self, number: u64) -> Result<(&File, u64)> {
        let &(segment, offset) = self
            .places
            .get(number as usize - 1)
            .ok_or("the entry is not there")?;
        let file = self.files[segment as usize].as_ref().ok_or("purged")?;
        Ok((file, u64::from(offset)))
    }
}

/// The disk begins with a range; nobody waits for it.
pub fn write_back(file: &File, offset: u64, len: u64) -> Result<()> {
    // SAFETY: no memory is involved.
    let result = unsafe {
        let (offset, len) = (offset as i64, len as i64);
        libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE)
    };
    match result {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error().into()),
    }
}

/// The data of the frame in front, and the frame's length.
fn checked(bytes: &[u8]) -> Result<Option<(&[u8], usize)>> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Ok(None);
    };
    let [l0, l1, l2, l3, crc @ ..] = *head;
    let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let Some(data) = rest.get(..len) else {
        return Ok(None);
    };
    if crc32fast::hash(data) != u32::from_le_bytes(crc) {
        return Err("a bad CRC".into());
    }
    Ok(Some((data, HEAD + len)))
}

impl Log for RawSegments {
    fn append_durable(&self, _writer: usize, entries: &[Payload]) -> Result<()> {
        self.append(entries)?;
        self.sync()
    }

    fn append(&self, entries: &[Payload]) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            let frame = (HEAD + entry.len()) as u64;
            if state.files.is_empty() || state.len + frame > SEGMENT {
                state.flush()?;
                if state.synced {
                    if let Some(Some(file)) = state.files.last() {
                        file.sync_data()?;
                    }
                    File::open(&self.dir)?.sync_all()?;
                    state.begun = 0;
                }
                let path = self.path(state.files.len());
                let file = File::options()
                    .read(true)
                    .write(true)
                    .create_new(true)
                    .open(path)?;
                state.files.push(Some(file));
                state.len = 0;
            }
            let place = (state.files.len() as u32 - 1, state.len as u32);
            state.places.push(place);
            let (len, crc) = (entry.len() as u32, crc32fast::hash(entry));
            state.buffer.extend_from_slice(&len.to_le_bytes());
            state.buffer.extend_from_slice(&crc.to_le_bytes());
            state.buffer.extend_from_slice(entry);
            state.len += frame;
            if state.buffer.len() >= BUFFER {
                state.flush()?;
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.flush()?;
        for file in state.files.iter().flatten() {
            file.sync_data()?;
        }
        File::open(&self.dir)?.sync_all()?;
        Ok(())
    }

    fn read(&self, number: u64, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, offset) = state.place(number)?;
        let mut bytes = [0; HEAD + 2048];
        let got = file.read_at(&mut bytes, offset)?;
        let (data, _) = checked(&bytes[..got])?.ok_or("cut short")?;
        visit(data);
        Ok(())
    }

    fn scan(&self, last: u64, visit: &mut dyn FnMut(&[u8])) -> Result<()> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = vec![0; READ];
        let mut next = 1;
        while next <= last {
            let (file, offset) = state.place(next)?;
            let got = file.read_at(&mut bytes, offset)?;
            let mut rest = &bytes[..got];
            if checked(rest)?.is_none() {
                return Err("the log ends early".into());
            }
            while next <= last
                && let Some((data, len)) = checked(rest)?
            {
                visit(data);
                rest = &rest[len..];
                next += 1;
            }
        }
        Ok(())
    }
}
