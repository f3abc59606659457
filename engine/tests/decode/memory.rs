//! A filesystem in memory that does nothing but hold files: no crash, no fault.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use afterimage_engine::fs::{File, Fs, Lock, SyncMode};

type Content = Arc<Mutex<Vec<u8>>>;

#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<BTreeMap<PathBuf, Content>>>);

#[derive(Debug)]
struct MemoryFile(Content);

#[derive(Debug)]
struct NoLock;
impl Lock for NoLock {}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        held(&self.0).insert(name.into(), Arc::new(Mutex::new(bytes)));
    }

    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let files = held(&self.0);
        let files = files.iter();
        files
            .map(|(name, bytes)| (name.to_string_lossy().into_owned(), held(bytes).clone()))
            .collect()
    }

    fn file(&self, path: &Path) -> io::Result<Content> {
        let file = held(&self.0).get(path).cloned();
        file.ok_or(ErrorKind::NotFound.into())
    }
}

impl Fs for Memory {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(MemoryFile(self.file(path)?)))
    }
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = Content::default();
        match held(&self.0).insert(path.to_owned(), file.clone()) {
            Some(_) => Err(ErrorKind::AlreadyExists.into()),
            None => Ok(Box::new(MemoryFile(file))),
        }
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = held(&self.0);
        let file = files.remove(from).ok_or(ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }
    fn unlink(&self, path: &Path) -> io::Result<()> {
        let gone = held(&self.0).remove(path);
        gone.map(drop).ok_or(ErrorKind::NotFound.into())
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        let files = held(&self.0);
        let names = files.keys().filter(|path| path.parent() == Some(dir));
        Ok(names
            .filter_map(|path| path.file_name())
            .map(Into::into)
            .collect())
    }
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        held(&self.0).entry(path.to_owned()).or_default();
        Ok(Box::new(NoLock))
    }
}

impl File for MemoryFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = held(&self.0);
        let rest = usize::try_from(offset).ok().and_then(|at| bytes.get(at..));
        let rest = rest.unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let mut bytes = held(&self.0);
        let at = usize::try_from(offset).map_err(|_| ErrorKind::FileTooLarge)?;
        let end = at + buf.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[at..end].copy_from_slice(buf);
        Ok(buf.len())
    }
    fn len(&self) -> io::Result<u64> {
        Ok(held(&self.0).len() as u64)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        held(&self.0).resize(len as usize, 0);
        Ok(())
    }
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let end = (offset + len) as usize;
        let mut bytes = held(&self.0);
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        Ok(())
    }
    fn sync(&self, _: SyncMode) -> io::Result<()> {
        Ok(())
    }
}
