//! A filesystem that forgets to sync.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use afterimage_engine::fs::{File, Fs, Lock, SyncMode};

use super::FsBug;
use crate::disk::glob;

/// Passes everything on, but for the syncs that the bug drops.
#[derive(Debug)]
pub(super) struct Buggy {
    fs: Arc<dyn Fs>,
    bug: FsBug,
    /// A rename of the kind was done, and its directory sync is to be dropped.
    renamed: AtomicBool,
}

impl Buggy {
    pub fn new(fs: Arc<dyn Fs>, bug: FsBug) -> Self {
        Buggy {
            fs,
            bug,
            renamed: AtomicBool::new(false),
        }
    }

    /// The file as the bug leaves it. A file keeps the name that it was opened
    /// or created under, as a handle does.
    fn file(&self, file: Box<dyn File>, path: &Path) -> Box<dyn File> {
        match self.bug {
            FsBug::NoSync(pattern) if matches(pattern, path) => Box::new(Unsynced(file)),
            _ => file,
        }
    }
}

fn matches(pattern: &str, path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| glob(pattern, name))
}

impl Fs for Buggy {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(self.file(self.fs.open(path)?, path))
    }
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(self.file(self.fs.create_new(path)?, path))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fs.rename(from, to)?;
        if matches!(self.bug, FsBug::NoDirSyncAfter(pattern) if matches(pattern, to)) {
            self.renamed.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.fs.unlink(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.fs.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.fs.create_dir(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.renamed.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        self.fs.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.fs.lock(path)
    }
}

/// A file whose sync does nothing.
#[derive(Debug)]
struct Unsynced(Box<dyn File>);

impl File for Unsynced {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(buf, offset)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.0.allocate(offset, len)
    }
    fn sync(&self, _: SyncMode) -> io::Result<()> {
        Ok(())
    }
}
