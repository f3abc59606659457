//! The real disk, on Linux, with small durable writes past the page cache.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::os_buffered::{OsFile, create_new, open};
use super::{Advice, File, Fs, Lock, OsBuffered, SyncMode};

/// Address, offset and length of a direct write are multiples of this: no disk
/// that is in use asks for more.
const BLOCK: usize = 4 << 10;

/// The operating system's filesystem. Paths mean what they mean to the process.
///
/// An append into prepared space ([`File::write_through`]) is one direct and synchronous
/// write (`O_DIRECT`, `O_DSYNC`) instead of a write and a sync, which is quicker
/// (`docs/performance.md` has figures); everything else goes through the page cache, as
/// does this where the filesystem has no such writes. What was written so is not in
/// the page cache: who reads it soon, and not from the store's own cache, reads it from
/// the disk. [`OsBuffered`] does not.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsFs;

impl Fs for OsFs {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(DirectFile::new(open(path)?)))
    }
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(DirectFile::new(create_new(path)?)))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsBuffered.rename(from, to)
    }
    fn unlink(&self, path: &Path) -> io::Result<()> {
        OsBuffered.unlink(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        OsBuffered.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        OsBuffered.create_dir(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OsBuffered.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        OsBuffered.lock(path)
    }
}

#[derive(Debug)]
struct DirectFile {
    file: OsFile,
    direct: Mutex<Direct>,
}

/// How to write directly. Taken out while somebody does.
#[derive(Debug)]
enum Direct {
    Untried,
    Ready(Box<Writer>),
    /// Not possible, or somebody is at it.
    No,
}

/// A second handle of the file, and the block that the next write begins in.
#[derive(Debug)]
struct Writer {
    file: fs::File,
    /// The file's length: to extend it is not for direct writes.
    len: u64,
    buf: Vec<u8>,
    /// Where `buf` is aligned.
    front: usize,
    /// The bytes in front of `end`, back to its block's begin, are in the buffer.
    end: u64,
}

impl DirectFile {
    fn new(file: fs::File) -> Self {
        DirectFile {
            file: OsFile(file),
            direct: Mutex::new(Direct::Untried),
        }
    }

    fn direct(&self) -> MutexGuard<'_, Direct> {
        self.direct.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    /// The name may have changed since the file was opened: by its descriptor.
    fn open(file: &fs::File) -> io::Result<Self> {
        let flags = (OFlags::DIRECT | OFlags::DSYNC).bits();
        let direct = OpenOptions::new()
            .write(true)
            .custom_flags(flags.cast_signed())
            .open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        Ok(Writer {
            file: direct,
            len: file.metadata()?.len(),
            buf: Vec::new(),
            front: 0,
            end: 0,
        })
    }

    /// `None`: this write is not for here, and nothing happened.
    fn write(&mut self, cached: &fs::File, buf: &[u8], offset: u64) -> Option<io::Result<()>> {
        let before = (offset % BLOCK as u64) as usize;
        let used = before + buf.len();
        let whole = used.next_multiple_of(BLOCK);
        let block = offset - before as u64;
        if block + whole as u64 > self.len {
            return None;
        }
        if self.buf.len() < whole + BLOCK {
            self.buf = vec![0; whole + BLOCK];
            self.front = self.buf.as_ptr().align_offset(BLOCK);
            self.end = 0;
        }
        let bytes = &mut self.buf[self.front..][..whole];
        if self.end != offset
            && let Err(e) = cached.read_exact_at(&mut bytes[..before], block)
        {
            return Some(Err(e));
        }
        bytes[before..used].copy_from_slice(buf);
        // The caller's promise: there are zeros behind.
        bytes[used..].fill(0);
        self.end = 0;
        let mut done = 0;
        while done < whole {
            match self.file.write_at(&bytes[done..], block + done as u64) {
                Ok(0) => return Some(Err(ErrorKind::WriteZero.into())),
                Ok(n) => done += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if done == 0 && Errno::from_io_error(&e) == Some(Errno::INVAL) => {
                    self.len = 0; // not on this filesystem
                    return None;
                }
                Err(e) => return Some(Err(e)),
            }
        }
        bytes.copy_within(used / BLOCK * BLOCK..used, 0);
        self.end = offset + buf.len() as u64;
        Some(Ok(()))
    }
}

impl File for DirectFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(buf, offset)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.allocate(offset, len)
    }
    fn sync(&self, mode: SyncMode) -> io::Result<()> {
        self.file.sync(mode)
    }
    fn advise(&self, advice: Advice, offset: u64, len: u64) {
        match advice {
            // Else each direct write drops the pages that it replaces, one by one.
            Advice::WillWriteThrough => {
                (self.file).fadvise(rustix::fs::Advice::DontNeed, offset, len);
            }
            other => self.file.advise(other, offset, len),
        }
    }

    fn write_through(&self, buf: &[u8], offset: u64) -> Option<io::Result<()>> {
        let cached = &self.file.0;
        let taken = std::mem::replace(&mut *self.direct(), Direct::No);
        let mut writer = match taken {
            Direct::Ready(writer) => writer,
            Direct::Untried => Box::new(Writer::open(cached).ok()?),
            Direct::No => return None,
        };
        let result = writer.write(cached, buf, offset);
        *self.direct() = Direct::Ready(writer);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::{FileExt as _, FsExt};

    /// On the disk of the build, for a tmpfs may know no direct writes.
    fn check(test: impl FnOnce(&Path, Box<dyn File>)) {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let path = dir.path().join("a");
        let file = OsFs.create_new(&path).unwrap();
        test(&path, file);
    }

    #[test]
    fn writes_of_any_length_and_place_are_there_and_nothing_else_is() {
        check(|path, file| {
            let mut expected = vec![0; 40 * BLOCK];
            file.write_all_at(&expected, 0).unwrap();
            let mut at = 512;
            for n in 1..60u8 {
                let len = usize::from(n) * 61 % 9000 + 1;
                let bytes = vec![n; len];
                expected[at..at + len].copy_from_slice(&bytes);
                match n % 7 {
                    // Some go another way, and the next one must see them.
                    0 => file.write_all_at(&bytes, at as u64).unwrap(),
                    _ => match file.write_through(&bytes, at as u64) {
                        Some(result) => result.unwrap(),
                        None => file.write_all_at(&bytes, at as u64).unwrap(),
                    },
                }
                assert_eq!(OsBuffered.read(path).unwrap(), expected, "after {n}");
                at += len + usize::from(n % 3);
            }
        });
    }

    #[test]
    fn a_file_is_never_extended() {
        check(|path, file| {
            file.write_all_at(&[0; BLOCK + 1], 0).unwrap();
            assert!(file.write_through(&[1; 8], BLOCK as u64 - 7).is_none());
            assert!(file.write_through(&[1; 8], 1 << 20).is_none());
            assert_eq!(OsBuffered.read(path).unwrap(), [0; BLOCK + 1]);
        });
    }
}
