//! File operations: their kinds, their record, and the faults they can meet.

use std::fmt;
use std::io;
use std::str::FromStr;

/// What kind of file operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OpKind {
    Open,
    Create,
    Read,
    Write,
    Len,
    SetLen,
    Allocate,
    Sync,
    Rename,
    Unlink,
    List,
    CreateDir,
    SyncDir,
    Lock,
}

impl OpKind {
    pub const ALL: [OpKind; 14] = [
        OpKind::Open,
        OpKind::Create,
        OpKind::Read,
        OpKind::Write,
        OpKind::Len,
        OpKind::SetLen,
        OpKind::Allocate,
        OpKind::Sync,
        OpKind::Rename,
        OpKind::Unlink,
        OpKind::List,
        OpKind::CreateDir,
        OpKind::SyncDir,
        OpKind::Lock,
    ];

    /// Whether it changes the disk's state or makes it durable; crash points
    /// and operation numbers count these only. A lock that has to create its
    /// file is a `Create` first and a `Lock` then.
    pub fn mutates(self) -> bool {
        !matches!(
            self,
            OpKind::Open | OpKind::Read | OpKind::Len | OpKind::List | OpKind::Lock
        )
    }

    /// As it is written in traces and patterns.
    pub fn as_str(self) -> &'static str {
        match self {
            OpKind::Open => "open",
            OpKind::Create => "create",
            OpKind::Read => "read",
            OpKind::Write => "write",
            OpKind::Len => "len",
            OpKind::SetLen => "set_len",
            OpKind::Allocate => "allocate",
            OpKind::Sync => "sync",
            OpKind::Rename => "rename",
            OpKind::Unlink => "unlink",
            OpKind::List => "list",
            OpKind::CreateDir => "create_dir",
            OpKind::SyncDir => "sync_dir",
            OpKind::Lock => "lock",
        }
    }
}

impl fmt::Display for OpKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for OpKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        OpKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("not a file operation: {text:?}"))
    }
}

/// One file operation that was carried out (or failed).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpRecord {
    /// Number among this incarnation's mutating operations, from 1; for others
    /// the number of the latest mutating one.
    pub n: u64,
    pub kind: OpKind,
    /// Relative to the disk's root; the root itself is `.`. For an operation
    /// on an open file, the name that the file has now.
    pub path: String,
    /// The new name of a rename.
    pub to: Option<String>,
    pub offset: u64,
    /// Bytes read, written or reserved; of a set_len, the new length.
    pub len: u64,
    pub outcome: OpOutcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpOutcome {
    Ok,
    /// An ordinary answer such as NotFound or AlreadyExists.
    Refused(io::ErrorKind),
    /// An injected fault.
    Injected(FaultKind),
    /// The power went before, in the middle of or right after it.
    Crash(CrashPoint),
    /// The handle belongs to an incarnation that is gone.
    Fenced,
}

/// Injected runtime faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// An I/O error. A write may leave some of its sectors, or zeros; a sync
    /// marks its pages clean although they are not on the disk.
    Eio,
    /// No space left. A sync loses its pages as with `Eio`.
    Enospc,
    /// A read or write of fewer bytes than asked for, but at least one.
    Short,
    /// An I/O error after which the filesystem is read-only until the power was
    /// off: nothing that is pending reaches the disk any more, reads go on.
    Erofs,
    /// An I/O error of an operation that was done all the same. Of a read,
    /// which does nothing, the same as `Eio`.
    EioDone,
    /// A sync says `Ok` but one of its sectors never reaches the disk. No error
    /// anywhere: a latent fault, like the next one.
    Lost,
    /// A sync says `Ok` but one of its sectors went to the place of another
    /// one, of this file or of another.
    Misdirected,
}

impl FaultKind {
    pub const ALL: [FaultKind; 7] = [
        FaultKind::Eio,
        FaultKind::Enospc,
        FaultKind::Short,
        FaultKind::Erofs,
        FaultKind::EioDone,
        FaultKind::Lost,
        FaultKind::Misdirected,
    ];

    /// Whether it strikes syncs only, and without an error.
    pub fn is_latent(self) -> bool {
        matches!(self, FaultKind::Lost | FaultKind::Misdirected)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            FaultKind::Eio => "eio",
            FaultKind::Enospc => "enospc",
            FaultKind::Short => "short",
            FaultKind::Erofs => "erofs",
            FaultKind::EioDone => "eio-done",
            FaultKind::Lost => "lost",
            FaultKind::Misdirected => "misdirected",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for FaultKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        FaultKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("not a disk fault: {text:?}"))
    }
}

/// Where in the operation the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CrashPoint {
    Before,
    /// In the middle: some sectors of a write landed in the cache, some of the
    /// effects that a sync covers became durable. An operation of one atomic
    /// action is done or not done.
    Mid,
    /// Done, but the caller never learns of it.
    After,
}

impl CrashPoint {
    pub const ALL: [CrashPoint; 3] = [CrashPoint::Before, CrashPoint::Mid, CrashPoint::After];

    pub fn as_str(self) -> &'static str {
        match self {
            CrashPoint::Before => "before",
            CrashPoint::Mid => "mid",
            CrashPoint::After => "after",
        }
    }
}

impl fmt::Display for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for CrashPoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        CrashPoint::ALL
            .into_iter()
            .find(|point| point.as_str() == text)
            .ok_or_else(|| format!("not a crash point: {text:?}"))
    }
}
