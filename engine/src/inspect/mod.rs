//! Looks into a directory without opening it as a store, and mends it on request.
//!
//! A store that opens has changed its directory: it wrote the unproven tail
//! again, and removed unfinished files. Whoever wants to know what is on the
//! disk, above all when the store refuses to open, must not change anything.
//!
//! - [`Inspector::dump`] hands out everything that is there, whatever state it
//!   is in, piece by piece.
//! - [`Inspector::verify`] reads all of it, says whether the store would open
//!   (by the code that opens it), and names each problem with file, offset and
//!   remedy.
//! - [`Inspector::propose`] says what would mend it and what would be lost;
//!   [`Inspector::back_up`] and [`Inspector::carry_out`] do it.
//!
//! Memory: one piece of a file, or one record or snapshot chunk where that is
//! larger, and a few hundred bytes for each segment. While an inspector lives
//! it holds the directory's lock, if there is a lock file.

mod chain;
mod dump;
mod look;
mod problem;
mod repair;
mod runs;
mod verify;
mod walk;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

pub use dump::Item;
pub use look::{Found, SegmentFile, SegmentState};
pub use problem::{Effect, Problem, What};
pub use repair::{Action, Loss, Repair};
pub use verify::Verified;
pub use walk::Piece;

use crate::error::{Error, Op, Result};
use crate::event::Event;
use crate::fs::dir::Dir;
use crate::fs::{Fs, Lock};
use crate::hard_state;
use crate::host::{Env, Host};
use crate::job::now;
use crate::log::segment;
use crate::snapshot;
use crate::store::LOCK;

/// A directory that is looked at. Its lock is held meanwhile.
pub struct Inspector {
    host: Host,
    dir: Dir,
    /// Sorted.
    names: Vec<String>,
    _lock: Option<Box<dyn Lock>>,
}

impl Inspector {
    /// Looks at a directory and changes nothing in it. Pass
    /// [`OsReadOnly`](crate::fs::OsReadOnly) for a real one.
    ///
    /// # Errors
    /// [`Error::Locked`] while a store is open in it, for its files change all
    /// the time; [`Error::NotALog`]; [`Error::Io`] if it cannot be listed.
    pub fn open(fs: Arc<dyn Fs>, dir: &Path) -> Result<Self> {
        let dir = Dir::new(fs.clone(), dir);
        let names = now(dir.list())?;
        // Without the file nobody holds it: a copy, or a backup.
        let lock = match names.iter().any(|name| name == LOCK) {
            true => Some(now(dir.lock(LOCK))?),
            false => None,
        };
        Self::of(fs, dir, lock)
    }

    /// The same for whoever means to carry out a repair: nobody else can open
    /// the directory until the inspector is dropped.
    ///
    /// # Errors
    /// As [`Inspector::open`].
    pub fn open_to_repair(fs: Arc<dyn Fs>, dir: &Path) -> Result<Self> {
        let dir = Dir::new(fs.clone(), dir);
        // Before a lock file is put into a directory that is none of ours.
        check_is_ours(&dir, &now(dir.list())?)?;
        let lock = now(dir.lock(LOCK))?;
        Self::of(fs, dir, Some(lock))
    }

    fn of(fs: Arc<dyn Fs>, dir: Dir, lock: Option<Box<dyn Lock>>) -> Result<Self> {
        // Again: before the lock was ours, names could come and go.
        let names = now(dir.list())?;
        check_is_ours(&dir, &names)?;
        Ok(Inspector {
            host: Host {
                fs,
                env: Arc::new(Nobody),
            },
            dir,
            names,
            _lock: lock,
        })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|n| n == name)
    }

    fn segment_names(&self) -> impl Iterator<Item = &String> {
        let names = self.names.iter();
        names.filter(|name| segment::parse_name(name).is_some())
    }

    /// Whether a store was ever there. Else an open creates one.
    fn is_new(&self) -> bool {
        !self.has(hard_state::NAME)
            && !self.has(snapshot::NAME)
            && self.segment_names().next().is_none()
    }
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Inspector").field(&self.dir.path()).finish()
    }
}

/// Also what the first open of a store leaves when it is cut short counts: its
/// lock file, or an unfinished hard state.
fn check_is_ours(dir: &Dir, names: &[String]) -> Result<()> {
    let ours = |name: &String| {
        [LOCK, hard_state::NAME, snapshot::NAME].contains(&name.as_str())
            || segment::parse_name(name).is_some()
            || is_unfinished(name)
    };
    match names.iter().any(ours) {
        true => Ok(()),
        false => Err(Error::NotALog {
            path: dir.path().to_owned(),
        }),
    }
}

/// A temporary file of ours.
fn is_unfinished(name: &str) -> bool {
    [hard_state::NAME, snapshot::NAME, "segment"]
        .iter()
        .any(|kind| name.starts_with(kind))
        && name.ends_with(".tmp")
}

/// Whether the operation met the file's content, or what is around it.
fn is_read_error(error: &Error) -> bool {
    matches!(error, Error::Io { op, .. } if matches!(op, Op::Open | Op::Read | Op::Len))
}

/// Looking on needs no clock and no entropy, and nobody listens.
struct Nobody;

impl Env for Nobody {
    fn now_ms(&self) -> i64 {
        0
    }
    fn random(&self) -> u64 {
        unreachable!("nothing is created")
    }
    fn observe(&self, _: Event) {}
}
