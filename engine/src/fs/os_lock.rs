//! flock, and who holds it.
//!
//! The kernel's table of locks tells who holds one. Where it does not (another
//! machine, another namespace of processes), the process id in the file is a
//! hint; it is believed only of a process that is alive, since one that was
//! killed leaves its id behind.

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::fs::{FlockOperation, flock, major, minor};
use rustix::io::{Errno, retry_on_intr};

use super::{Held, Lock};

/// The lock goes with the file's last descriptor, also when the process dies.
#[derive(Debug)]
pub(super) struct OsLock {
    _file: fs::File,
}

impl Lock for OsLock {}

impl OsLock {
    /// The lock of whoever writes. The process id goes into the file.
    pub fn exclusive(file: fs::File) -> io::Result<Self> {
        take(&file, FlockOperation::NonBlockingLockExclusive)?;
        file.set_len(0)?;
        file.write_all_at(std::process::id().to_string().as_bytes(), 0)?;
        Ok(OsLock { _file: file })
    }

    /// The lock of whoever looks on: many may, while nobody writes. Leaves the
    /// file as it is.
    pub fn shared(file: fs::File) -> io::Result<Self> {
        take(&file, FlockOperation::NonBlockingLockShared)?;
        Ok(OsLock { _file: file })
    }
}

fn take(file: &fs::File, how: FlockOperation) -> io::Result<()> {
    match retry_on_intr(|| flock(file, how)) {
        Err(Errno::WOULDBLOCK) => {
            let by = holder(file).unwrap_or_else(|| "another process".to_owned());
            Err(Held { by }.into())
        }
        result => Ok(result?),
    }
}

fn holder(file: &fs::File) -> Option<String> {
    let pid = in_the_kernels_table(file).or_else(|| named_in(file))?;
    if pid == std::process::id() {
        return Some(format!("this process ({pid})"));
    }
    // A lock outlives its process in a child that inherited the descriptor.
    is_alive(pid).then(|| format!("process {pid}"))
}

#[allow(clippy::disallowed_methods, reason = "not a file of a disk")]
fn in_the_kernels_table(file: &fs::File) -> Option<u32> {
    let of = file.metadata().ok()?;
    let (dev, inode) = (of.dev(), of.ino());
    let id = format!("{:02x}:{:02x}:{inode}", major(dev), minor(dev));
    let table = fs::read("/proc/locks").ok()?;
    String::from_utf8_lossy(&table)
        .lines()
        .find_map(|line| flock_of(line, &id))
}

/// The process in a line of `/proc/locks`, if that is a held flock of the file
/// `id`. Whoever waits for a lock has an arrow in his line.
fn flock_of(line: &str, id: &str) -> Option<u32> {
    let fields: Vec<_> = line.split_whitespace().collect();
    match fields[..] {
        [_, "FLOCK", _, _, pid, of, ..] if of == id => {
            // 0 and -1: a process that has no id here.
            pid.parse().ok().filter(|&pid| pid > 0)
        }
        _ => None,
    }
}

fn named_in(file: &fs::File) -> Option<u32> {
    let mut buf = [0; 16];
    let n = file.read_at(&mut buf, 0).ok()?;
    std::str::from_utf8(&buf[..n]).ok()?.parse().ok()
}

fn is_alive(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use super::super::{Fs, OsFs, OsReadOnly};
    use super::*;

    fn refusal<T>(result: io::Result<T>) -> String {
        match result {
            Ok(_) => panic!("should have been refused"),
            Err(e) => {
                assert_eq!(e.kind(), io::ErrorKind::WouldBlock);
                e.to_string()
            }
        }
    }

    #[test]
    fn a_held_lock_names_its_holder_and_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LOCK");
        let me = format!("held by this process ({})", std::process::id());
        let held = OsFs.lock(&path).unwrap();
        assert_eq!(refusal(OsFs.lock(&path)), me);
        assert_eq!(refusal(OsReadOnly.lock(&path)), me);
        drop(held);
        let one = OsReadOnly.lock(&path).unwrap();
        let other = OsReadOnly.lock(&path).unwrap();
        drop(one);
        assert_eq!(refusal(OsFs.lock(&path)), me);
        drop(other);
        OsFs.lock(&path).unwrap();
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test's own files are real")]
    fn an_id_that_was_left_behind_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LOCK");
        // A process that was killed. No process has an id as high.
        fs::write(&path, "4294967294").unwrap();
        let held = OsReadOnly.lock(&path).unwrap();
        // The holder wrote nothing, and still it is him who is named.
        let me = format!("held by this process ({})", std::process::id());
        assert_eq!(refusal(OsFs.lock(&path)), me);
        drop(held);
        OsFs.lock(&path).unwrap();
        let written = fs::read_to_string(&path).unwrap();
        assert_eq!(written, std::process::id().to_string());
        assert!(is_alive(std::process::id()) && !is_alive(4_294_967_294));
    }

    #[test]
    fn the_kernels_table_is_read() {
        let id = "fd:01:131";
        let check = |line, pid| assert_eq!(flock_of(line, id), pid, "{line}");
        check("1: FLOCK  ADVISORY  WRITE 2468 fd:01:131 0 EOF", Some(2468));
        check("1: FLOCK  ADVISORY  READ 9 fd:01:131 0 EOF", Some(9));
        check("1: FLOCK  ADVISORY  WRITE 2468 fd:01:1310 0 EOF", None);
        check("1: POSIX  ADVISORY  WRITE 2468 fd:01:131 0 EOF", None);
        check("1: -> FLOCK  ADVISORY  WRITE 2468 fd:01:131 0 EOF", None);
        check("1: FLOCK  ADVISORY  WRITE 0 fd:01:131 0 EOF", None);
        check("1: FLOCK  ADVISORY  WRITE -1 fd:01:131 0 EOF", None);
        check("", None);
    }
}
