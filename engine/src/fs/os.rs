//! The real disk, on Linux.
use super::{File, Fs, Lock};
use std::{ffi::OsString, io, path::Path};
#[derive(Debug)]
pub struct OsFs;
#[allow(unused_variables, clippy::todo)]
impl Fs for OsFs {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        todo!()
    }
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        todo!()
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        todo!()
    }
    fn unlink(&self, path: &Path) -> io::Result<()> {
        todo!()
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        todo!()
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        todo!()
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        todo!()
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        todo!()
    }
}
