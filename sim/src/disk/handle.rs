//! The handles of one incarnation: the engine's view of the disk.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use afterimage_engine::fs::{File, Fs, Lock, SyncMode};

use super::OpKind;
use super::state::{Attempt, Call, On, State};

/// The state, shared by all handles. A panic elsewhere does not make it
/// unusable: the run that panicked still wants its report.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<State>>);

impl Shared {
    pub fn new(state: State) -> Self {
        Shared(Arc::new(Mutex::new(state)))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The disk as one incarnation of a process sees it.
pub(super) struct Incarnation {
    disk: Shared,
    epoch: u64,
}

impl Incarnation {
    pub fn new(disk: Shared, epoch: u64) -> Self {
        Incarnation { disk, epoch }
    }

    fn operate<T>(
        &self,
        kind: OpKind,
        path: &str,
        to: Option<&str>,
        body: impl FnOnce(&mut State, &mut Attempt) -> io::Result<T>,
    ) -> io::Result<T> {
        let call = Call {
            kind,
            on: On::Path(path),
            to,
            offset: 0,
            len: 0,
        };
        self.disk.state().operate(self.epoch, call, body)
    }

    fn file(&self, path: &str, (inode, seen): (u64, u64)) -> Box<dyn File> {
        Box::new(SimFile {
            disk: self.disk.clone(),
            epoch: self.epoch,
            inode,
            opened_as: path.into(),
            seen: Mutex::new(seen),
        })
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimFs(epoch {})", self.epoch)
    }
}

impl Fs for Incarnation {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let path = relative(path)?;
        let file = self.operate(OpKind::Open, &path, None, |disk, _| disk.open(&path))?;
        Ok(self.file(&path, file))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let path = relative(path)?;
        let file = self.operate(OpKind::Create, &path, None, |disk, at| {
            disk.create_new(at, &path)
        })?;
        Ok(self.file(&path, file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (relative(from)?, relative(to)?);
        self.operate(OpKind::Rename, &from, Some(&to), |disk, at| {
            disk.rename(at, &from, &to)
        })
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let path = relative(path)?;
        self.operate(OpKind::Unlink, &path, None, |disk, at| {
            disk.unlink(at, &path)
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        let dir = relative(dir)?;
        self.operate(OpKind::List, &dir, None, |disk, at| disk.list(at, &dir))
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = relative(dir)?;
        self.operate(OpKind::CreateDir, &dir, None, |disk, at| {
            disk.create_dir(at, &dir)
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let dir = relative(dir)?;
        self.operate(OpKind::SyncDir, &dir, None, |disk, at| {
            disk.sync_dir(at, &dir)
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let path = relative(path)?;
        let missing = !self.disk.state().names.cache.contains_key(&*path);
        if missing {
            let created = self.operate(OpKind::Create, &path, None, |disk, at| {
                disk.create(at, &path)
            });
            match created {
                // Another thread was faster.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => (),
                created => drop(created?),
            }
        }
        let inode = self.operate(OpKind::Lock, &path, None, |disk, _| disk.lock(&path))?;
        Ok(Box::new(SimLock {
            disk: self.disk.clone(),
            epoch: self.epoch,
            inode,
        }))
    }
}

struct SimFile {
    disk: Shared,
    epoch: u64,
    inode: u64,
    opened_as: Arc<str>,
    /// Failed syncs of the file that this handle has reported.
    seen: Mutex<u64>,
}

impl SimFile {
    fn operate<T>(
        &self,
        kind: OpKind,
        offset: u64,
        len: u64,
        body: impl FnOnce(&mut State, &mut Attempt) -> io::Result<T>,
    ) -> io::Result<T> {
        let call = Call {
            kind,
            on: On::File {
                inode: self.inode,
                opened_as: &self.opened_as,
            },
            to: None,
            offset,
            len,
        };
        self.disk.state().operate(self.epoch, call, body)
    }
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimFile({}, epoch {})", self.opened_as, self.epoch)
    }
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.operate(OpKind::Read, offset, buf.len() as u64, |disk, at| {
            disk.read(at, self.inode, buf, offset)
        })
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.operate(OpKind::Write, offset, buf.len() as u64, |disk, at| {
            disk.write(at, self.inode, buf, offset)
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.operate(OpKind::Len, 0, 0, |disk, _| Ok(disk.len(self.inode)))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.operate(OpKind::SetLen, 0, len, |disk, at| {
            disk.set_len(at, self.inode, len)
        })
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.operate(OpKind::Allocate, offset, len, |disk, at| {
            disk.allocate(at, self.inode, offset, len)
        })
    }

    /// Both modes persist data and length. What else a filesystem's log writes
    /// on the occasion may depend on the mode.
    fn sync(&self, mode: SyncMode) -> io::Result<()> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.operate(OpKind::Sync, 0, 0, |disk, at| {
            disk.sync(at, self.inode, mode, &mut seen)
        })
    }

    fn write_through(&self, buf: &[u8], offset: u64) -> Option<io::Result<()>> {
        // A write that has no size to change: others are not for `O_DIRECT`.
        let direct = {
            let disk = self.disk.state();
            disk.direct && offset + buf.len() as u64 <= disk.len(self.inode)
        };
        direct.then(|| self.write_and_sync(buf, offset))
    }
}

impl SimFile {
    fn write_and_sync(&self, mut buf: &[u8], mut offset: u64) -> io::Result<()> {
        while !buf.is_empty() {
            let done = self.write_at(buf, offset)?;
            buf = &buf[done..];
            offset += done as u64;
        }
        self.sync(SyncMode::Data)
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut disk = self.disk.state();
        if disk.is_live(self.epoch) {
            disk.closed(self.inode);
        }
    }
}

struct SimLock {
    disk: Shared,
    epoch: u64,
    inode: u64,
}

impl fmt::Debug for SimLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimLock(epoch {})", self.epoch)
    }
}

impl Lock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut disk = self.disk.state();
        if disk.is_live(self.epoch) {
            disk.unlock(self.inode);
        }
    }
}

/// The path from the root of the disk, which is empty. `InvalidInput` for what
/// a simulated disk has no use for: `..`, and names that are not UTF-8.
fn relative(path: &Path) -> io::Result<Cow<'_, str>> {
    let text = path.to_str().ok_or(ErrorKind::InvalidInput)?;
    let rest = text.strip_prefix('/').unwrap_or(text);
    // Nearly all paths are like this, and each operation has one.
    if rest.split('/').all(|name| !matches!(name, "" | "." | "..")) {
        return Ok(Cow::Borrowed(rest));
    }
    let mut names = Vec::new();
    for name in text.split('/') {
        match name {
            "" | "." => {}
            ".." => return Err(ErrorKind::InvalidInput.into()),
            name => names.push(name),
        }
    }
    Ok(Cow::Owned(names.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_begins_at_the_root_however_it_is_written() {
        for path in ["/a/b", "a/b", "a//b", "./a/./b", "/a/b/", "//a/b/."] {
            assert_eq!(relative(Path::new(path)).unwrap(), "a/b", "{path}");
        }
        for path in ["", "/", ".", "./", "//"] {
            assert_eq!(relative(Path::new(path)).unwrap(), "", "{path}");
        }
        for path in ["..", "a/../b", "/.."] {
            let error = relative(Path::new(path)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path}");
        }
    }
}
