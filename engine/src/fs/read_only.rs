//! The real disk for those who only look.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::os_buffered::OsFile;
use super::os_lock::OsLock;
use super::{File, Fs, Lock, OsFs};

/// [`OsFs`] without a way to change anything: files are opened for reading
/// alone, so that what the process may not write can be looked at too, and
/// everything that would change a name fails with `PermissionDenied`.
///
/// [`Fs::lock`] takes a shared lock on a file that must be there: many may look
/// at once, while nobody writes.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsReadOnly;

impl Fs for OsReadOnly {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = OpenOptions::new().read(true).open(path)?;
        Ok(Box::new(OsFile(file)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        OsFs.list(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        let file = OpenOptions::new().read(true).open(path)?;
        Ok(Box::new(OsLock::shared(file)?))
    }

    fn create_new(&self, _: &Path) -> io::Result<Box<dyn File>> {
        Err(ErrorKind::PermissionDenied.into())
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(ErrorKind::PermissionDenied.into())
    }
    fn unlink(&self, _: &Path) -> io::Result<()> {
        Err(ErrorKind::PermissionDenied.into())
    }
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Err(ErrorKind::PermissionDenied.into())
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Err(ErrorKind::PermissionDenied.into())
    }
}
