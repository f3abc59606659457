//! The commit hint: a file of one sector that says how far the log was known to
//! be committed, so that a restarted replica can apply that much at once.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | magic `AFTIM-CI` |
//! | 8 | 4 | format version |
//! | 12 | 4 | 0 |
//! | 16 | 8 | log id: the same in every file of the directory |
//! | 24 | 8 | commit index |
//! | 508 | 4 | CRC |
//!
//! It is only written if [`Options::commit_hint_every`](crate::store::Options)
//! asks for it: in place, lazily, and never synced. It says what was committed
//! *and* durable in this log when it was written. Both stay true, so whatever a
//! crash leaves of it, an old one or none, is as right as the newest; a torn one
//! has a bad CRC and is none. Recovery never needs it.
//!
//! What it proves, it proves: a log that ends before it has lost durable entries,
//! however cleanly it ends, and is refused.

use std::sync::Arc;

use crate::bytes::{Put, SECTOR, Sector, fields, seal};
use crate::error::{Error, Result};
use crate::format;
use crate::fs::dir::{Dir, Handle};
use crate::ids::{Index, NUMBER_MAX};
use crate::job::{Job, Step};
use crate::mutant::Mutant;
use crate::store::{Shared, State};

pub(crate) const NAME: &str = "commit";
const MAGIC: &[u8; 8] = b"AFTIM-CI";
/// What is written; all of the format are read.
const VERSION: u32 = 1;
/// Where the commit index stands.
pub(crate) const INDEX_AT: u64 = 24;

/// What the sector says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitHint {
    pub log_id: u64,
    pub index: Index,
}

impl CommitHint {
    pub fn encode(&self) -> Sector {
        let mut sector = [0; SECTOR];
        Put::new(&mut sector)
            .bytes(MAGIC)
            .u32(VERSION)
            .u32(0)
            .u64(self.log_id)
            .u64(self.index.0);
        seal(&mut sector);
        sector
    }

    /// `Ok(None)`: not a hint. `Err`: one of this newer version.
    pub fn decode(sector: &Sector) -> std::result::Result<Option<Self>, u32> {
        let Some(mut get) = fields(sector, MAGIC)? else {
            return Ok(None);
        };
        let _ = get.u32();
        let hint = CommitHint {
            log_id: get.u64(),
            index: Index(get.u64()),
        };
        Ok((hint.index.0 <= NUMBER_MAX).then_some(hint))
    }
}

/// What was found in a directory.
pub(crate) struct Found {
    pub file: Handle,
    /// `None`: torn, or another log's. It is written over.
    pub hint: Option<Index>,
}

/// Reads the file, which is there.
pub(crate) async fn read(dir: &Dir, log_id: u64) -> Result<Found> {
    let file = dir.open(NAME).await?;
    let mut sector = [0; SECTOR];
    file.read(&mut sector, 0).await?;
    let hint = CommitHint::decode(&sector).map_err(|found| Error::Version {
        path: file.path().to_owned(),
        found,
        known: format::VERSION,
    })?;
    let hint = hint.filter(|hint| hint.log_id == log_id);
    Ok(Found {
        file,
        hint: hint.map(|hint| hint.index),
    })
}

/// Writes the hint behind what [`crate::store::Store::hint_commit`] was told.
#[derive(Debug)]
pub struct Hinter {
    shared: Arc<Shared>,
    running: Option<Job<Result<()>>>,
}

impl Hinter {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Hinter {
            shared,
            running: None,
        }
    }

    /// Whether a step would find work.
    pub fn has_work(&self) -> bool {
        self.running.is_some() || {
            let state = self.shared.state();
            !state.poisoned && due(&self.shared, &state).is_some()
        }
    }

    /// At most one file operation. `Stalled`: no space; call again later.
    ///
    /// # Errors
    /// The file could not be created or written. Nothing rests on it, so nothing
    /// is poisoned.
    pub fn step(&mut self) -> Result<Step> {
        if self.running.is_none() {
            if !self.has_work() {
                return Ok(Step::Idle);
            }
            let shared = self.shared.clone();
            self.running = Some(Job::new(async move { write(&shared).await }));
        }
        match self.running.as_mut().and_then(Job::step) {
            None => Ok(Step::Ran),
            Some(result) => {
                self.running = None;
                match result {
                    Err(e) if e.is_no_space() => Ok(Step::Stalled),
                    other => other.map(|()| Step::Ran),
                }
            }
        }
    }
}

/// The hint to write now, if there is one. What is committed elsewhere but not
/// durable here is not in it: a crash may take it out of this log.
fn due(shared: &Shared, state: &State) -> Option<Index> {
    let every = shared.options.commit_hint_every;
    let index = match shared.has(Mutant::HintAhead) {
        true => state.commit,
        false => state.commit.min(state.durable_index),
    };
    let next = state.hinted.0.saturating_add(every);
    (every > 0 && index.0 >= next).then_some(index)
}

async fn write(shared: &Shared) -> Result<()> {
    let (index, file) = {
        let state = shared.state();
        let Some(index) = due(shared, &state) else {
            return Ok(()); // a truncation took the uncommitted end meanwhile
        };
        (index, state.hint_file.clone())
    };
    let file = match file {
        Some(file) => file,
        None => shared.dir.create_new(NAME).await?,
    };
    // At once, so that it is not created again should the write fail.
    shared.state().hint_file = Some(file.clone());
    let hint = CommitHint {
        log_id: shared.log_id,
        index,
    };
    file.write_all(&hint.encode(), 0).await?;
    shared.state().hinted = index;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(log_id: u64, index in 0..=NUMBER_MAX, bit in 0..SECTOR * 8) {
            let hint = CommitHint { log_id, index: Index(index) };
            let mut sector = hint.encode();
            prop_assert_eq!(CommitHint::decode(&sector), Ok(Some(hint)));
            sector[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(CommitHint::decode(&sector), Ok(None));
        }

        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), SECTOR)) {
            bytes[..8].copy_from_slice(MAGIC);
            let mut sector: Sector = bytes.try_into().unwrap();
            seal(&mut sector);
            let _ = CommitHint::decode(&sector);
        }
    }

    #[test]
    fn a_newer_version_is_told_from_a_bad_one() {
        let mut sector = CommitHint {
            log_id: 1,
            index: Index(2),
        }
        .encode();
        sector[8] = 9;
        seal(&mut sector);
        assert_eq!(CommitHint::decode(&sector), Err(9));
    }
}
