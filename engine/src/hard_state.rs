//! The hard state's file: two sectors, written in turn.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | magic `AFTIM-HS` |
//! | 8 | 4 | format version |
//! | 12 | 4 | flags: 1 if there is a vote, 2 if doubtful |
//! | 16 | 8 | log id: the same in every file of the directory |
//! | 24 | 8 | sequence: the slot with the higher one counts |
//! | 32 | 8 | term |
//! | 40 | 8 | vote |
//! | 508 | 4 | CRC |
//!
//! Doubtful: a recovery wrote it that found the other slot bad, and nothing was
//! written since. Such a recovery may have been cut off before it told anybody.
//!
//! A write never touches the slot that counts, so whatever a crash leaves of
//! it, the state acknowledged last is still there.

use crate::bytes::{Get, Put, SECTOR, Sector, is_sealed, seal};
use crate::entry::HardState;
use crate::error::{Corruption, Error, Result};
use crate::fs::SyncMode;
use crate::fs::dir::{Dir, Handle};
use crate::ids::{NodeId, Term};
use crate::mutant::{Mutant, Mutants};

pub(crate) const NAME: &str = "hardstate";
const MAGIC: &[u8; 8] = b"AFTIM-HS";
pub(crate) const VERSION: u32 = 1;
/// The sequence that counts in a new file.
const FIRST: u64 = 1;

/// One slot's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    pub log_id: u64,
    pub sequence: u64,
    pub hard_state: HardState,
    pub doubtful: bool,
}

const VOTE: u32 = 1;
const DOUBTFUL: u32 = 2;

impl Slot {
    pub fn encode(&self) -> Sector {
        let vote = self.hard_state.vote.map_or(0, |_| VOTE);
        let doubtful = if self.doubtful { DOUBTFUL } else { 0 };
        let mut sector = [0; SECTOR];
        Put::new(&mut sector)
            .bytes(MAGIC)
            .u32(VERSION)
            .u32(vote | doubtful)
            .u64(self.log_id)
            .u64(self.sequence)
            .u64(self.hard_state.term.0)
            .u64(self.hard_state.vote.map_or(0, |id| id.0));
        seal(&mut sector);
        sector
    }

    /// `Ok(None)`: not a slot. `Err`: a slot of this newer version.
    pub fn decode(sector: &Sector) -> std::result::Result<Option<Self>, u32> {
        if !is_sealed(sector) || !sector.starts_with(MAGIC) {
            return Ok(None);
        }
        let mut get = Get::new(&sector[8..]);
        let version = get.u32();
        if version > VERSION {
            return Err(version);
        }
        let flags = get.u32();
        let log_id = get.u64();
        let sequence = get.u64();
        let term = Term(get.u64());
        let vote = NodeId(get.u64());
        Ok(Some(Slot {
            log_id,
            sequence,
            hard_state: HardState {
                term,
                vote: (flags & VOTE != 0).then_some(vote),
            },
            doubtful: flags & DOUBTFUL != 0,
        }))
    }
}

/// The open file.
#[derive(Debug, Clone)]
pub(crate) struct HardStateFile {
    file: Handle,
    /// The slot that counts.
    pub current: Slot,
}

impl HardStateFile {
    /// Creates the file, durable with its name; the name of the directory
    /// itself is the caller's.
    pub async fn create(dir: &Dir, log_id: u64, tmp: &str) -> Result<Self> {
        let slot = |sequence| Slot {
            log_id,
            sequence,
            hard_state: HardState::default(),
            doubtful: false,
        };
        let file = dir.create_new(tmp).await?;
        let mut both = slot(FIRST - 1).encode().to_vec();
        both.extend(slot(FIRST).encode());
        file.write_all(&both, 0).await?;
        // Sync before rename: a file under this name must have two valid slots.
        file.sync(SyncMode::All).await?;
        dir.rename(tmp, NAME).await?;
        dir.sync().await?;
        Ok(HardStateFile {
            file: file.renamed(dir.join(NAME)),
            current: slot(FIRST),
        })
    }

    /// Reads both slots; also the offset of the one that was bad.
    pub async fn open(dir: &Dir, mutants: Mutants) -> Result<(Self, Option<u64>)> {
        let file = dir.open(NAME).await?;
        let mut bytes = [0; 2 * SECTOR];
        let n = file.read(&mut bytes, 0).await?;
        bytes[n..].fill(0);
        let mut slots = Vec::new();
        let mut bad = None;
        for (sector, offset) in bytes.as_chunks_mut().0.iter_mut().zip([0, SECTOR as u64]) {
            if mutants.has(Mutant::TrustCorruptSlot) {
                seal(sector);
            }
            let slot = Slot::decode(sector).map_err(|found| Error::Version {
                path: file.path().to_owned(),
                found,
                known: VERSION,
            })?;
            match slot {
                Some(slot) => slots.push(slot),
                None => bad = Some(offset),
            }
        }
        match slots.into_iter().max_by_key(|slot| slot.sequence) {
            Some(current) => Ok((HardStateFile { file, current }, bad)),
            None => Err(Error::Corrupt {
                path: file.path().to_owned(),
                offset: 0,
                what: Corruption::HardState,
            }),
        }
    }

    /// Whether nothing was written since the file was created: no open of this
    /// store came to its end yet.
    pub fn is_new(&self) -> bool {
        self.current.sequence == FIRST
    }

    /// Writes the other slot. Durable on return; after an error either state counts.
    pub async fn write(&mut self, hard_state: HardState) -> Result<()> {
        self.write_slot(hard_state, false).await
    }

    /// Writes it again; `doubtful`: it may not have been the newest.
    pub async fn recover(&mut self, doubtful: bool) -> Result<()> {
        self.write_slot(self.current.hard_state, doubtful).await
    }

    async fn write_slot(&mut self, hard_state: HardState, doubtful: bool) -> Result<()> {
        let next = Slot {
            sequence: self.current.sequence + 1,
            hard_state,
            doubtful,
            ..self.current
        };
        let offset = (next.sequence % 2) * SECTOR as u64;
        self.file.write_all(&next.encode(), offset).await?;
        self.file.sync(SyncMode::Data).await?;
        self.current = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn slots_survive_the_round_trip(log_id: u64, sequence: u64, term: u64, vote: Option<u64>, doubtful: bool) {
            let slot = Slot {
                log_id,
                sequence,
                hard_state: HardState { term: Term(term), vote: vote.map(NodeId) },
                doubtful,
            };
            prop_assert_eq!(Slot::decode(&slot.encode()), Ok(Some(slot)));
        }

        #[test]
        fn a_flipped_bit_is_seen(at in 0..SECTOR, bit in 0u8..8) {
            let slot = Slot { log_id: 1, sequence: 2, hard_state: HardState::default(), doubtful: false };
            let mut sector = slot.encode();
            sector[at] ^= 1 << bit;
            prop_assert_eq!(Slot::decode(&sector), Ok(None));
        }
    }
}
