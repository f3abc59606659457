//! The real disk, on Linux, with every write through the page cache.

#[cfg(not(target_os = "linux"))]
compile_error!(
    "afterimage relies on Linux's rules for fsync, fallocate and flock. \
     Build for a Linux target: in a container or a virtual machine on other systems."
);

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::FallocateFlags;
use rustix::io::{Errno, retry_on_intr};

use super::os_lock::OsLock;
use super::{Advice, File, Fs, Lock, SyncMode};

/// As [`OsFs`](super::OsFs), but nothing goes past the page cache: an append is a write
/// and a sync there. Better where followers often read more than
/// [`cache_bytes`](crate::store::Options) behind the end, right after it was written.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsBuffered;

impl Fs for OsBuffered {
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(OsFile(open(path)?)))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(OsFile(create_new(path)?)))
    }

    #[allow(clippy::disallowed_methods, reason = "this is the Fs")]
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    #[allow(clippy::disallowed_methods, reason = "this is the Fs")]
    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(dir)?
            .map(|entry| Ok(entry?.file_name()))
            .collect()
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir(dir)
    }

    #[allow(clippy::disallowed_methods, reason = "this is the Fs")]
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        // Not truncated: until the lock is ours, the content is the holder's.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        Ok(Box::new(OsLock::exclusive(file)?))
    }
}

pub(super) fn open(path: &Path) -> io::Result<fs::File> {
    OpenOptions::new().read(true).write(true).open(path)
}

pub(super) fn create_new(path: &Path) -> io::Result<fs::File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
}

#[derive(Debug)]
pub(super) struct OsFile(pub(super) fs::File);

impl File for OsFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        uninterrupted(|| self.0.read_at(buf, offset))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        uninterrupted(|| self.0.write_at(buf, offset))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(()); // EINVAL to fallocate
        }
        match retry_on_intr(|| rustix::fs::fallocate(&self.0, FallocateFlags::empty(), offset, len))
        {
            Err(Errno::OPNOTSUPP) => self.write_zeros_up_to(offset.saturating_add(len)),
            result => Ok(result?),
        }
    }

    fn sync(&self, mode: SyncMode) -> io::Result<()> {
        match mode {
            SyncMode::Data => self.0.sync_data(),
            SyncMode::All => self.0.sync_all(),
        }
    }

    fn advise(&self, advice: Advice, offset: u64, len: u64) {
        let advice = match advice {
            Advice::WillRead => rustix::fs::Advice::WillNeed,
            // Dirty pages are not dropped: their write-back is begun, as
            // sync_file_range(SYNC_FILE_RANGE_WRITE) would.
            Advice::WillSync => rustix::fs::Advice::DontNeed,
            // Written through the page cache, it is better in there.
            Advice::WillWriteThrough => return,
        };
        self.fadvise(advice, offset, len);
    }
}

impl OsFile {
    pub(super) fn fadvise(&self, advice: rustix::fs::Advice, offset: u64, len: u64) {
        // Advice that cannot be taken is none: a sync tells of the disk's errors.
        let _ = rustix::fs::fadvise(&self.0, offset, NonZeroU64::new(len), advice);
    }

    /// Reserves space where the filesystem has no fallocate (NFS before 4.2).
    /// Only behind the end: zeros over what is there could race with a write.
    fn write_zeros_up_to(&self, end: u64) -> io::Result<()> {
        let zeros = [0; 64 << 10];
        let mut at = self.len()?;
        while at < end {
            let most = usize::try_from(end - at).map_or(zeros.len(), |n| n.min(zeros.len()));
            match self.write_at(&zeros[..most], at)? {
                0 => return Err(ErrorKind::WriteZero.into()),
                n => at += n as u64,
            }
        }
        Ok(())
    }
}

/// A signal is not a fault of the disk, and nothing was transferred yet.
fn uninterrupted(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `test` on an empty directory.
    fn check(test: impl FnOnce(&Path)) {
        let dir = tempfile::tempdir().unwrap();
        test(dir.path());
    }

    fn kind<T>(result: io::Result<T>) -> ErrorKind {
        match result {
            Ok(_) => panic!("should have failed"),
            Err(error) => error.kind(),
        }
    }

    fn content(file: &dyn File) -> Vec<u8> {
        let mut buf = vec![0xff; file.len().unwrap() as usize + 10];
        let mut at = 0;
        loop {
            match file.read_at(&mut buf[at..], at as u64).unwrap() {
                0 => break,
                n => at += n,
            }
        }
        buf.truncate(at);
        buf
    }

    #[test]
    fn writes_are_positional_and_extend_the_file() {
        check(|dir| {
            let file = OsBuffered.create_new(&dir.join("a")).unwrap();
            assert!(file.is_empty().unwrap());
            assert_eq!(file.write_at(b"world", 6).unwrap(), 5);
            assert_eq!(file.write_at(b"hello", 0).unwrap(), 5);
            assert_eq!(content(&*file), b"hello\0world");
            assert_eq!(file.read_at(&mut [0; 4], 11).unwrap(), 0);
            file.set_len(3).unwrap();
            file.set_len(5).unwrap();
            for mode in [SyncMode::Data, SyncMode::All] {
                file.sync(mode).unwrap();
            }
            assert_eq!(
                content(&*OsBuffered.open(&dir.join("a")).unwrap()),
                b"hel\0\0"
            );
        });
    }

    #[test]
    fn allocated_space_reads_as_zeros_and_keeps_what_is_there() {
        check(|dir| {
            let file = OsBuffered.create_new(&dir.join("a")).unwrap();
            file.write_at(b"abc", 0).unwrap();
            file.allocate(0, 5).unwrap();
            assert_eq!(content(&*file), b"abc\0\0");
            file.allocate(0, 0).unwrap();
            file.allocate(1, 2).unwrap();
            assert_eq!(content(&*file), b"abc\0\0");
        });
    }

    #[test]
    fn the_substitute_for_fallocate_extends_too() {
        check(|dir| {
            let path = dir.join("a");
            OsBuffered
                .create_new(&path)
                .unwrap()
                .write_at(b"abc", 0)
                .unwrap();
            let options = OpenOptions::new().read(true).write(true).open(&path);
            let file = OsFile(options.unwrap());
            file.write_zeros_up_to(2).unwrap();
            assert_eq!(content(&file), b"abc");
            file.write_zeros_up_to(100_000).unwrap();
            let mut expected = b"abc".to_vec();
            expected.resize(100_000, 0);
            assert_eq!(content(&file), expected);
        });
    }

    #[test]
    fn names_follow_the_traits_rules() {
        check(|dir| {
            let path = |name| dir.join(name);
            assert_eq!(kind(OsBuffered.open(&path("a"))), ErrorKind::NotFound);
            let a = OsBuffered.create_new(&path("a")).unwrap();
            a.write_at(b"a", 0).unwrap();
            assert_eq!(
                kind(OsBuffered.create_new(&path("a"))),
                ErrorKind::AlreadyExists
            );
            OsBuffered.create_new(&path("b")).unwrap();
            OsBuffered.rename(&path("a"), &path("b")).unwrap();
            assert_eq!(OsBuffered.list(dir).unwrap(), ["b"]);
            assert_eq!(content(&*OsBuffered.open(&path("b")).unwrap()), b"a");
            OsBuffered.unlink(&path("b")).unwrap();
            assert_eq!(content(&*a), b"a", "an open handle outlives its name");
            assert_eq!(kind(OsBuffered.unlink(&path("b"))), ErrorKind::NotFound);
            OsBuffered.create_dir(&path("d")).unwrap();
            assert_eq!(
                kind(OsBuffered.create_dir(&path("d"))),
                ErrorKind::AlreadyExists
            );
            OsBuffered.sync_dir(dir).unwrap();
            assert_eq!(kind(OsBuffered.sync_dir(&path("e"))), ErrorKind::NotFound);
            assert_eq!(kind(OsBuffered.list(&path("e"))), ErrorKind::NotFound);
        });
    }
}
