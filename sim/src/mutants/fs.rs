//! A filesystem used wrongly: each bug is an operation left out, or another
//! one in its place.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use afterimage_engine::fs::{File, Fs, Lock, SyncMode};

use super::FsBug;
use crate::disk::{OpKind, Pattern};

/// Says that the file beside it is not finished ([`FsBug::Marker`]).
const MARKER: &str = "unfinished";
/// Files that wait to be used again ([`FsBug::Recycle`]).
const POOL: &str = "recycled-";

/// Passes everything on, but for what the bug changes.
#[derive(Debug)]
pub(super) struct Buggy {
    fs: Arc<dyn Fs>,
    bug: FsBug,
    /// A rename of the bug's kind was done since the directory was synced.
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
        let (FsBug::NoSync(pattern) | FsBug::Rewrites(pattern)) = self.bug else {
            return file;
        };
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Mutex::new(path.to_owned()));
        let name = names.entry(path.to_owned()).or_insert_with(new).clone();
        Box::new(BuggyFile {
            file,
            name,
            pattern,
            bug: self.bug,
        })
    }

    fn moved(&self, from: &Path, to: &Path) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = names.remove(from) {
            *name.lock().unwrap_or_else(PoisonError::into_inner) = to.to_owned();
            names.insert(to.to_owned(), name);
        }
    }

    /// What precedes a rename to `to`.
    fn before_rename(&self, to: &Path) -> io::Result<()> {
        match self.bug {
            FsBug::UnlinkFirst(name) if matches(name, to) => gone(self.fs.unlink(to)),
            FsBug::Marker(name) if matches(name, to) => {
                match self.fs.create_new(&to.with_file_name(MARKER)) {
                    Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(e),
                    _ => Ok(()),
                }
            }
            FsBug::UnlinkHidden => {
                let Some(new) = Segment::of(to) else {
                    return Ok(());
                };
                let hides = |old: &Segment| old.base > new.base && old.generation < new.generation;
                for old in self.segments_beside(to)?.iter().filter(|old| hides(old)) {
                    gone(self.fs.unlink(&old.path))?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The segments in the directory of `path`, the oldest first.
    fn segments_beside(&self, path: &Path) -> io::Result<Vec<Segment>> {
        let dir = path.parent().unwrap_or(Path::new(""));
        let names = self.fs.list(dir)?;
        let of = |name: &OsString| Segment::of(&dir.join(name));
        let mut segments: Vec<Segment> = names.iter().filter_map(of).collect();
        segments.sort_by_key(|segment| segment.generation);
        Ok(segments)
    }

    /// A file of the pool, if there is one.
    fn pooled(&self, dir: &Path) -> io::Result<Option<PathBuf>> {
        let mut names = self.fs.list(dir)?;
        names.sort_unstable();
        let mut pool = names.iter().map(|name| dir.join(name));
        Ok(pool.find(|path| starts_with(path, POOL)))
    }
}

/// That it is not there is what was wanted.
fn gone(unlinked: io::Result<()>) -> io::Result<()> {
    match unlinked {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// What a segment's name says.
struct Segment {
    path: PathBuf,
    base: u64,
    generation: u64,
}

impl Segment {
    fn of(path: &Path) -> Option<Segment> {
        let name = path.file_name()?.to_str()?;
        let (base, generation) = name
            .strip_prefix("log-")?
            .strip_suffix(".seg")?
            .split_once('-')?;
        Some(Segment {
            path: path.to_owned(),
            base: base.parse().ok()?,
            generation: u64::from_str_radix(generation, 16).ok()?,
        })
    }
}

fn starts_with(path: &Path, start: &str) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(start))
}

/// Whether `path` is a temporary file that is to become a `name`.
fn becomes(name: &str, path: &Path) -> bool {
    starts_with(path, &format!("{name}-"))
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
        let dir = path.parent().unwrap_or(Path::new(""));
        match self.bug {
            FsBug::NoTemporary(name) if becomes(name, path) => {
                return self.fs.create_new(&path.with_file_name(name));
            }
            FsBug::Recycle if becomes("segment", path) => {
                if let Some(old) = self.pooled(dir)? {
                    self.fs.rename(&old, path)?;
                    return self.fs.open(path);
                }
            }
            _ => {}
        }
        Ok(self.file(self.fs.create_new(path)?, path))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if matches!(self.bug, FsBug::NoTemporary(name) if becomes(name, from)) {
            return Ok(());
        }
        self.before_rename(to)?;
        self.fs.rename(from, to)?;
        self.moved(from, to);
        if let FsBug::NoDirSyncAfter(name) | FsBug::Marker(name) = self.bug
            && matches(name, to)
        {
            self.renamed.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
    fn unlink(&self, path: &Path) -> io::Result<()> {
        match (self.bug, Segment::of(path)) {
            (FsBug::Recycle, Some(old)) => {
                let name = format!("{POOL}{:016x}", old.generation);
                self.fs.rename(path, &path.with_file_name(name))
            }
            (FsBug::UnlinkByBase, Some(old)) => {
                let segments = self.segments_beside(path)?;
                for same in segments.iter().filter(|other| other.base == old.base) {
                    gone(self.fs.unlink(&same.path))?;
                }
                Ok(())
            }
            _ => self.fs.unlink(path),
        }
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        match self.bug {
            FsBug::Marker(name) if self.fs.open(&dir.join(MARKER)).is_ok() => {
                gone(self.fs.unlink(&dir.join(name)))?;
                self.fs.unlink(&dir.join(MARKER))?;
            }
            FsBug::TemporaryCounts(name) => {
                let unfinished = |path: &PathBuf| becomes(name, path);
                let names = self.fs.list(dir)?;
                let found = names.iter().map(|found| dir.join(found)).find(unfinished);
                if let Some(found) = found {
                    self.fs.rename(&found, &dir.join(name))?;
                }
            }
            _ => {}
        }
        self.fs.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.fs.create_dir(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let renamed = self.renamed.swap(false, Ordering::Relaxed);
        match self.bug {
            FsBug::NoDirSyncAfter(_) if renamed => Ok(()),
            FsBug::Marker(_) if renamed => {
                self.fs.sync_dir(dir)?;
                self.fs.unlink(&dir.join(MARKER))
            }
            _ => self.fs.sync_dir(dir),
        }
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        self.fs.lock(path)
    }
}

/// A file that the bug is about while its name matches.
#[derive(Debug)]
struct BuggyFile {
    file: Box<dyn File>,
    name: Name,
    pattern: &'static str,
    bug: FsBug,
}

impl BuggyFile {
    fn is_meant(&self) -> bool {
        let name = self.name.lock().unwrap_or_else(PoisonError::into_inner);
        matches(self.pattern, &name)
    }
}

impl File for BuggyFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        if matches!(self.bug, FsBug::Rewrites(_)) && self.is_meant() {
            self.file.set_len(0)?;
        }
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
        if matches!(self.bug, FsBug::NoSync(_)) && self.is_meant() {
            return Ok(());
        }
        self.file.sync(mode)
    }
}
