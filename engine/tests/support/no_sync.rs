//! A disk whose syncs fail on demand.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use afterimage_engine::fs::{File, Fs, Lock, OsFs, SyncMode};

#[derive(Debug)]
pub struct NoSync(pub Arc<AtomicBool>);

#[derive(Debug)]
struct NoSyncFile(Box<dyn File>, Arc<AtomicBool>);

impl NoSync {
    fn file(&self, file: io::Result<Box<dyn File>>) -> io::Result<Box<dyn File>> {
        Ok(Box::new(NoSyncFile(file?, self.0.clone())))
    }
}

impl Fs for NoSync {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.file(OsFs.open(path))
    }
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.file(OsFs.create_new(path))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsFs.rename(from, to)
    }
    fn unlink(&self, path: &Path) -> io::Result<()> {
        OsFs.unlink(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        OsFs.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        OsFs.create_dir(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        OsFs.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        OsFs.lock(path)
    }
}

impl File for NoSyncFile {
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
    fn sync(&self, mode: SyncMode) -> io::Result<()> {
        if self.1.load(Ordering::SeqCst) {
            return Err(io::Error::other("injected"));
        }
        self.0.sync(mode)
    }
}
