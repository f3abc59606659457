//! A disk for those who must not change it.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;

use afterimage_engine::fs::{File, Fs, Lock, SyncMode};

/// Panics at whatever would change the disk.
#[derive(Debug)]
pub struct Lookout(pub Arc<dyn Fs>);

#[derive(Debug)]
struct Seen(Box<dyn File>);

impl Fs for Lookout {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(Seen(self.0.open(path)?)))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        self.0.list(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.0.open(path).expect("it would have to be created");
        self.0.lock(path)
    }
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        panic!("create {path:?}")
    }
    fn rename(&self, from: &Path, _: &Path) -> io::Result<()> {
        panic!("rename {from:?}")
    }
    fn unlink(&self, path: &Path) -> io::Result<()> {
        panic!("unlink {path:?}")
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        panic!("create {dir:?}")
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        panic!("sync {dir:?}")
    }
}

impl File for Seen {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        panic!("write {self:?}")
    }
    fn set_len(&self, _: u64) -> io::Result<()> {
        panic!("set_len {self:?}")
    }
    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        panic!("allocate {self:?}")
    }
    fn sync(&self, _: SyncMode) -> io::Result<()> {
        panic!("sync {self:?}")
    }
}
