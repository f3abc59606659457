//! What can go wrong. Each message names the file, the offset and the remedy.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::ids::Index;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the engine. Cheap to clone, since a failed sync fails every
/// caller that waited for it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    #[error("{op} {}: {source}", path.display())]
    Io {
        op: Op,
        path: PathBuf,
        source: Arc<io::Error>,
    },
    #[error("{} is corrupt at offset {offset}: {what}; nothing was changed: restore it from a replica or a backup", path.display())]
    Corrupt {
        path: PathBuf,
        offset: u64,
        what: Corruption,
    },
    #[error("entries before {first} are gone: a snapshot covers them")]
    Purged { first: Index },
    #[error("there is no entry after {last}")]
    Unavailable { last: Index },
    /// A reader has returned this entry, and a truncation replaced it since.
    #[error(
        "entry {index} was read and has been replaced since; read again from the commit index on"
    )]
    Replaced { index: Index },
    /// A write or a sync failed: only reopening tells what is durable.
    #[error("a write or a sync failed earlier; close the store and open it again")]
    Poisoned,
    #[error("{} is held by {holder}; stop that process, or open another directory", path.display())]
    Locked { path: PathBuf, holder: String },
    #[error("{} has format version {found}, this build knows up to {known}: use a newer build", path.display())]
    Version {
        path: PathBuf,
        found: u32,
        known: u32,
    },
    #[error("{} is not a log directory: there is no hard state, no snapshot, no segment in it", path.display())]
    NotALog { path: PathBuf },
    /// The caller broke the interface's rules (say, a gap between batches).
    #[error("wrong use of the store: {0}")]
    Misuse(&'static str),
}

impl Error {
    /// Something is there under the name of what was to be created.
    pub(crate) fn exists(path: &std::path::Path) -> Self {
        Error::Io {
            op: Op::Create,
            path: path.to_owned(),
            source: Arc::new(io::ErrorKind::AlreadyExists.into()),
        }
    }

    /// Whether the disk was full; the store goes on once space is back.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull)
    }
}

/// The file operation that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
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

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Op::Open => "open",
            Op::Create => "create",
            Op::Read => "read",
            Op::Write => "write",
            Op::Len => "len",
            Op::SetLen => "set_len",
            Op::Allocate => "allocate",
            Op::Sync => "sync",
            Op::Rename => "rename",
            Op::Unlink => "unlink",
            Op::List => "list",
            Op::CreateDir => "create_dir",
            Op::SyncDir => "sync_dir",
            Op::Lock => "lock",
        })
    }
}

/// What about the bytes is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Corruption {
    #[error("this file belongs to another log")]
    Foreign,
    #[error("bad segment header")]
    SegmentHeader,
    #[error("a record that was proven durable is bad")]
    DurableRecord,
    #[error("the records that the next segment continues are not here")]
    BrokenChain,
    #[error("entries {from}..={to} are missing")]
    Gap { from: Index, to: Index },
    /// The commit hint says so.
    #[error("entries {from}..={to} were committed and durable, and the log ends before them")]
    Committed { from: Index, to: Index },
    #[error("bad snapshot header")]
    SnapshotHeader,
    #[error("bad snapshot data")]
    SnapshotData,
    /// The checksums are right, but the state makes no sense: another state
    /// machine, or another version of it, has written it.
    #[error("the snapshot's data is not this state machine's: {0}")]
    State(String),
    #[error("both slots of the hard state are bad")]
    HardState,
    #[error("a slot of the hard state is bad, and may have held the vote")]
    HardStateSlot,
    #[error("the hard state is missing although there is a log or a snapshot")]
    NoHardState,
}
