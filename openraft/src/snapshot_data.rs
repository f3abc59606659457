//! The `SnapshotData` of OpenRaft: a snapshot that is read, or one that arrives.

use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use afterimage_engine::store::{Install, SnapshotReader};
use openraft::type_config::TypeConfigExt;

use crate::config::Config;
use crate::error::{invalid_input, to_io};

/// A snapshot's data, in a file and not in memory.
///
/// To send one, call [`SnapshotData::read`] from offset 0 until it is empty. To
/// receive one, take [`crate::SnapshotStore::receive`], push the pieces in their
/// order, and hand it to `Raft::install_full_snapshot`.
pub struct SnapshotData(pub(crate) Data);

pub(crate) enum Data {
    /// Nothing was applied yet.
    Initial,
    /// A file that stays readable, even if a newer snapshot replaces it. The
    /// data proper begins at this offset.
    Stored(SnapshotReader, u64),
    /// A file that is not the current one yet; boxed, since it is large. In a
    /// mutex only so that references to this may cross threads.
    Arriving(Box<Mutex<Install>>),
}

impl SnapshotData {
    /// The piece at `offset`, of at most one chunk; empty at the end.
    pub async fn read<C: Config>(&self, offset: u64) -> io::Result<Vec<u8>> {
        let Data::Stored(reader, start) = &self.0 else {
            return self.read_now(offset);
        };
        let stored = SnapshotData(Data::Stored(reader.clone(), *start));
        C::spawn_blocking(move || stored.read_now(offset)).await?
    }

    /// As [`SnapshotData::read`], on the caller's thread.
    pub(crate) fn read_now(&self, offset: u64) -> io::Result<Vec<u8>> {
        match &self.0 {
            Data::Initial => Ok(Vec::new()),
            Data::Stored(reader, start) => {
                let piece = reader.read(start.saturating_add(offset));
                piece.map_err(to_io)
            }
            Data::Arriving(_) => Err(invalid_input("the snapshot is not there yet".into())),
        }
    }

    pub(crate) fn initial() -> Self {
        SnapshotData(Data::Initial)
    }

    /// Takes the next piece. After an error only a new `receive` helps.
    pub async fn push<C: Config>(&mut self, piece: Vec<u8>) -> io::Result<()> {
        let Data::Arriving(install) = std::mem::replace(&mut self.0, Data::Initial) else {
            return Err(invalid_input("this snapshot is not being received".into()));
        };
        let pushed = C::spawn_blocking(move || {
            push(&mut lock(&install), piece)?;
            Ok(install)
        });
        self.0 = Data::Arriving(pushed.await?.map_err(to_io)?);
        Ok(())
    }
}

pub(crate) fn lock(install: &Mutex<Install>) -> MutexGuard<'_, Install> {
    install.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Brings a piece into the file.
pub(crate) fn push(install: &mut Install, piece: Vec<u8>) -> afterimage_engine::Result<()> {
    let taken = install.push(install.wanted(), piece, false);
    assert!(
        taken,
        "the offset is the one wanted, and it was not the last"
    );
    while install.has_work() {
        install.step()?;
    }
    Ok(())
}

impl fmt::Debug for SnapshotData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Data::Initial => "SnapshotData(initial)",
            Data::Stored(..) => "SnapshotData(stored)",
            Data::Arriving(_) => "SnapshotData(arriving)",
        })
    }
}
