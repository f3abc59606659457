//! The real disk, with something put around each of its files.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::Path;

use afterimage_engine::fs::{File, Fs, Lock, OsFs};

/// Calls itself with each file that is opened or created, and its path.
pub struct Over<F>(pub F);

impl<F> fmt::Debug for Over<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Over")
    }
}

impl<F> Fs for Over<F>
where
    F: Fn(Box<dyn File>, &Path) -> Box<dyn File> + Send + Sync,
{
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(self.0(OsFs.open(path)?, path))
    }
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(self.0(OsFs.create_new(path)?, path))
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
