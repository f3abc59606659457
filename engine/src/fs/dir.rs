//! One directory's file operations as steps of a job, with errors that name
//! the operation and the file. Each call ends the step it was made in.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Advice, File, Fs, Held, Lock, SyncMode};
use crate::error::{Error, Op, Result};
use crate::job::turn;

/// Freed at once, in bytes. A smaller piece makes a sync wait for less; but with half of
/// it a purge takes longer than twice what the filesystem needs for it.
pub(crate) const FREED: u64 = 512 << 10;

/// A directory of a filesystem.
#[derive(Debug, Clone)]
pub(crate) struct Dir {
    fs: Arc<dyn Fs>,
    path: Arc<Path>,
}

/// An open file, and its name for error messages.
#[derive(Clone)]
pub(crate) struct Handle {
    file: Arc<dyn File>,
    path: Arc<Path>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)
    }
}

fn error(op: Op, path: impl Into<PathBuf>, source: io::Error) -> Error {
    Error::Io {
        op,
        path: path.into(),
        source: Arc::new(source),
    }
}

impl Dir {
    pub fn new(fs: Arc<dyn Fs>, path: &Path) -> Self {
        Dir {
            fs,
            path: path.into(),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Creates the directory itself; `false` if it was there.
    pub async fn create(&self) -> Result<bool> {
        let result = self.fs.create_dir(&self.path);
        turn().await;
        match result {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(e) => Err(error(Op::CreateDir, &*self.path, e)),
        }
    }

    /// Makes the directory's own name durable in its parent.
    pub async fn sync_parent(&self) -> Result<()> {
        let parent = match self.path.parent() {
            Some(p) if !p.as_os_str().is_empty() => p,
            Some(_) => Path::new("."),
            None => return Ok(()), // the root has no name
        };
        let result = self.fs.sync_dir(parent);
        turn().await;
        result.map_err(|e| error(Op::SyncDir, parent, e))
    }

    pub async fn lock(&self, name: &str) -> Result<Box<dyn Lock>> {
        let path = self.join(name);
        let result = self.fs.lock(&path);
        turn().await;
        match result {
            Ok(lock) => Ok(lock),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(Error::Locked {
                holder: match e.get_ref().and_then(|held| held.downcast_ref::<Held>()) {
                    Some(held) => held.by.clone(),
                    None => "another process".to_owned(),
                },
                path,
            }),
            Err(e) => Err(error(Op::Lock, path, e)),
        }
    }

    /// The names in the directory, sorted. Names that are not UTF-8 are not ours.
    pub async fn list(&self) -> Result<Vec<String>> {
        let result = self.fs.list(&self.path);
        turn().await;
        let mut names: Vec<String> = result
            .map_err(|e| error(Op::List, &*self.path, e))?
            .into_iter()
            .filter_map(|name| name.into_string().ok())
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    pub async fn open(&self, name: &str) -> Result<Handle> {
        let path = self.join(name);
        let result = self.fs.open(&path);
        turn().await;
        match result {
            Ok(file) => Ok(Handle::new(file, path)),
            Err(e) => Err(error(Op::Open, path, e)),
        }
    }

    pub async fn create_new(&self, name: &str) -> Result<Handle> {
        let path = self.join(name);
        let result = self.fs.create_new(&path);
        turn().await;
        match result {
            Ok(file) => Ok(Handle::new(file, path)),
            Err(e) => Err(error(Op::Create, path, e)),
        }
    }

    pub async fn rename(&self, from: &str, to: &str) -> Result<()> {
        let to = self.join(to);
        let result = self.fs.rename(&self.join(from), &to);
        turn().await;
        result.map_err(|e| error(Op::Rename, to, e))
    }

    /// Removes a name; that it is gone already is fine.
    pub async fn unlink(&self, name: &str) -> Result<()> {
        let path = self.join(name);
        let result = self.fs.unlink(&path);
        turn().await;
        match result {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(error(Op::Unlink, path, e)),
            _ => Ok(()),
        }
    }

    /// Makes the names in the directory durable.
    pub async fn sync(&self) -> Result<()> {
        let result = self.fs.sync_dir(&self.path);
        turn().await;
        result.map_err(|e| error(Op::SyncDir, &*self.path, e))
    }
}

impl Handle {
    fn new(file: Box<dyn File>, path: PathBuf) -> Self {
        Handle {
            file: file.into(),
            path: path.into(),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same file under the name that it has by now.
    pub fn renamed(self, path: PathBuf) -> Self {
        Handle {
            path: path.into(),
            ..self
        }
    }

    pub async fn len(&self) -> Result<u64> {
        let result = self.file.len();
        turn().await;
        result.map_err(|e| error(Op::Len, &*self.path, e))
    }

    /// Writes all of `buf`; each of several short writes is a step of its own.
    pub async fn write_all(&self, mut buf: &[u8], mut offset: u64) -> Result<()> {
        while !buf.is_empty() {
            let result = self.file.write_at(buf, offset);
            turn().await;
            match result {
                Ok(0) => {
                    return Err(error(
                        Op::Write,
                        &*self.path,
                        io::ErrorKind::WriteZero.into(),
                    ));
                }
                Ok(n) => {
                    buf = &buf[n..];
                    offset += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(error(Op::Write, &*self.path, e)),
            }
        }
        Ok(())
    }

    /// Writes all of `buf` and makes it durable: see [`File::write_through`]. If
    /// the file cannot, nothing happened, not even the end of a step.
    pub async fn write_through(&self, buf: &[u8], offset: u64) -> Option<Result<()>> {
        let result = self.file.write_through(buf, offset)?;
        turn().await;
        Some(result.map_err(|e| error(Op::Sync, &*self.path, e)))
    }

    /// Fills as much of `buf` as the file has from `offset` on.
    pub async fn read(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            let result = self.file.read_at(&mut buf[done..], offset + done as u64);
            turn().await;
            match result {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(error(Op::Read, &*self.path, e)),
            }
        }
        Ok(done)
    }

    /// As [`Handle::read`], all in the caller's step: for readers, which change nothing.
    pub fn read_now(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.file.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(error(Op::Read, &*self.path, e)),
            }
        }
        Ok(done)
    }

    /// Reserves space: see [`File::allocate`].
    pub async fn allocate(&self, offset: u64, len: u64) -> Result<()> {
        let result = self.file.allocate(offset, len);
        turn().await;
        result.map_err(|e| error(Op::Allocate, &*self.path, e))
    }

    pub fn advise(&self, advice: Advice, offset: u64, len: u64) {
        self.file.advise(advice, offset, len);
    }

    /// As [`Handle::len`], in the caller's step.
    pub fn len_now(&self) -> Result<u64> {
        self.file.len().map_err(|e| error(Op::Len, &*self.path, e))
    }

    pub async fn sync(&self, mode: SyncMode) -> Result<()> {
        let result = self.file.sync(mode);
        turn().await;
        result.map_err(|e| error(Op::Sync, &*self.path, e))
    }

    /// Gives back the space of a file that has no name any more, durably, and
    /// that nobody else has open: in pieces, for a filesystem frees a file in
    /// one go when it is closed, and every sync waits for that meanwhile.
    /// `bytes`: about its length.
    pub async fn free(self, bytes: u64) {
        if bytes <= FREED {
            return;
        }
        // A courtesy: whatever fails here is left to the close.
        let Ok(mut len) = self.file.len() else {
            return;
        };
        while len > FREED {
            len -= FREED;
            let result = self.file.set_len(len);
            turn().await;
            if result.is_err() {
                return;
            }
        }
    }
}

/// Lets the disk begin with a long write while the rest is still to come, so
/// that the sync at the end waits for little.
#[derive(Debug)]
pub(crate) struct WriteAhead {
    /// The disk was told up to here.
    begun: u64,
    /// How much it is told of at once, in bytes.
    every: u64,
}

impl WriteAhead {
    const PAGE: u64 = 4 << 10;

    pub fn new(start: u64, every: u64) -> Self {
        WriteAhead {
            begun: start / Self::PAGE * Self::PAGE,
            every,
        }
    }

    /// All up to `end` was written, and more will be.
    pub fn written(&mut self, file: &Handle, end: u64) {
        // Not the last page: more goes into it.
        let whole = end / Self::PAGE * Self::PAGE;
        if whole >= self.begun + self.every {
            file.advise(Advice::WillSync, self.begun, whole - self.begun);
            self.begun = whole;
        }
    }
}
