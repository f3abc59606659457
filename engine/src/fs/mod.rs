//! The filesystem that the engine is written against.
//!
//! [`Fs`] is synchronous, positional and object-safe. There is no append: the
//! engine owns every offset. Concurrency belongs to the host. [`OsFs`] and
//! its variants are the only implementations that touch a real disk.
//!
//! What is durable when: a [`File::sync`] that returned `Ok` makes that file's
//! data and size durable and nothing else; [`Fs::sync_dir`] makes the names of
//! that directory durable and nothing else. A rename is atomic but durable
//! only after [`Fs::sync_dir`].

use std::any::Any;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::Path;

pub(crate) mod dir;
mod ext;
mod os;
mod os_buffered;
mod os_lock;
mod read_only;
pub use ext::{FileExt, FsExt};
pub use os::OsFs;
pub use os_buffered::OsBuffered;
pub use read_only::OsReadOnly;

/// A filesystem, or a simulation of one.
pub trait Fs: Send + Sync + fmt::Debug {
    /// Opens an existing file for reading and writing. `NotFound` if there is none.
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Creates a file that must not exist yet (`AlreadyExists`). Neither the
    /// file nor its name is durable on return.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>>;
    /// Atomically gives the file `from` the name `to`, replacing what was there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a name. Open handles keep working.
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory, in no particular order.
    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>>;
    /// Creates a directory. `AlreadyExists` if there is one.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes the names in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes an exclusive advisory lock on `path`, creating the file if needed.
    /// `WouldBlock` if somebody else holds it; then the error carries a [`Held`]
    /// if it is known who. Released on drop, and with the process: a lock that
    /// nobody holds has no holder, whatever its file says.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
}

/// An open file. All calls are positional; a handle may be shared by threads.
pub trait File: Send + Sync + fmt::Debug {
    /// Reads up to `buf.len()` bytes; may be short; 0 only at or past the end.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes up to `buf.len()` bytes; may be short. Extends the file as needed.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize>;
    /// The file's length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or extends (with zeros) the file.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves space for `len` bytes from `offset`, extending the file with
    /// zeros as needed. Not durable on return.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Makes the file's data and size durable. After an error nothing is
    /// known about what is durable, and calling again proves nothing.
    fn sync(&self, mode: SyncMode) -> io::Result<()>;
    /// Writes all of `buf` and makes it durable, in one call that is quicker than
    /// a write and a sync; a failure means what a sync's means. `None`: this file
    /// has no such call, and nothing happened. The caller promises that the file
    /// has only zeros behind the range, and that nobody else writes to it.
    fn write_through(&self, _buf: &[u8], _offset: u64) -> Option<io::Result<()>> {
        None
    }
    /// Says what will be asked for soon. It may be ignored, has no effect on
    /// what is durable or read, and does not wait for the disk.
    fn advise(&self, _advice: Advice, _offset: u64, _len: u64) {}
}

/// What a [`File::advise`] foretells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// The range will be read.
    WillRead,
    /// The range was written, a sync will come, and hardly a read after it: the
    /// disk may begin now.
    WillSync,
    /// The range is durable, and [`File::write_through`] will replace it, unread.
    WillWriteThrough,
}

/// What a [`File::sync`] covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMode {
    /// Data, and the metadata needed to read it back (fdatasync).
    Data,
    /// Data and all metadata (fsync).
    All,
}

/// Who holds a lock: what the `WouldBlock` error of [`Fs::lock`] carries.
#[derive(Debug, thiserror::Error)]
#[error("held by {by}")]
pub struct Held {
    /// "process 4711", say.
    pub by: String,
}

impl From<Held> for io::Error {
    fn from(held: Held) -> Self {
        io::Error::new(io::ErrorKind::WouldBlock, held)
    }
}

/// A held lock; dropping it releases it.
pub trait Lock: Any + Send + Sync + fmt::Debug {}
