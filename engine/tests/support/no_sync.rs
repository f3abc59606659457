//! A disk whose syncs fail on demand.

#[path = "over.rs"]
mod over;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use afterimage_engine::fs::{File, Fs, SyncMode};
use over::Over;

#[derive(Debug)]
struct NoSyncFile(Box<dyn File>, Arc<AtomicBool>);

/// As long as `fails` says so.
pub fn no_sync(fails: Arc<AtomicBool>) -> impl Fs {
    Over(move |file, _: &Path| Box::new(NoSyncFile(file, fails.clone())) as Box<dyn File>)
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
