//! A filesystem that forgets to sync.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use afterimage_engine::fs::{File, Fs, Lock, SyncMode};

use super::FsBug;
use crate::disk::{OpKind, Pattern};

/// Passes everything on, but for the syncs that the bug drops.
#[derive(Debug)]
pub(super) struct Buggy {
    fs: Arc<dyn Fs>,
    bug: FsBug,
    /// A rename of the kind was done, and its directory sync is to be dropped.
    renamed: AtomicBool,
    /// The files by their present names: a handle's file may get another one.
    names: Mutex<BTreeMap<PathBuf, Name>>,
}

/// A file's present name, shared by its handles.
type Name = Arc<Mutex<PathBuf>>;

impl Buggy {
    pub fn new(fs: Arc<dyn Fs>, bug: FsBug) -> Self {
        Buggy {
            fs,
            bug,
            renamed: AtomicBool::new(false),
            names: Mutex::default(),
        }
    }

    /// The file as the bug leaves it.
    fn file(&self, file: Box<dyn File>, path: &Path) -> Box<dyn File> {
        let FsBug::NoSync(pattern) = self.bug else {
            return file;
        };
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Mutex::new(path.to_owned()));
        let name = names.entry(path.to_owned()).or_insert_with(new).clone();
        Box::new(Unsynced {
            file,
            name,
            pattern,
        })
    }

    fn moved(&self, from: &Path, to: &Path) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = names.remove(from) {
            *name.lock().unwrap_or_else(PoisonError::into_inner) = to.to_owned();
            names.insert(to.to_owned(), name);
        }
    }
}

fn matches(pattern: &str, path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| {
            let pattern = Pattern {
                kind: None,
                name: pattern.to_owned(),
            };
            pattern.matches(OpKind::Sync, name)
        })
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
        self.moved(from, to);
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

/// A file whose sync does nothing while its name matches.
#[derive(Debug)]
struct Unsynced {
    file: Box<dyn File>,
    name: Name,
    pattern: &'static str,
}

impl File for Unsynced {
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
        let name = self.name.lock().unwrap_or_else(PoisonError::into_inner);
        if matches(self.pattern, &name) {
            return Ok(());
        }
        drop(name);
        self.file.sync(mode)
    }
}
