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
//! | 48 | 4 | CRC of the other slot when this one was written |
//! | 508 | 4 | CRC |
//!
//! Doubtful: a recovery wrote it that found the other slot bad, and nothing was
//! written since. Such a recovery may have been cut off before it told anybody.
//!
//! A write never touches the slot that counts, so whatever a crash leaves of
//! it, the state acknowledged last is still there.
//!
//! A sector is written whole, unless the write stops short in the middle of it
//! and the power goes before the rest. What that leaves is bad, like a slot that
//! rotted; and only of the latter something acknowledged may be gone. The two
//! are told apart by the CRC at the end: of an unfinished write it is the one
//! of the slot that was there before, and the slot that counts has noted it.

use crate::bytes::{Put, SECTOR, Sector, fields, seal};
use crate::entry::HardState;
use crate::error::{Corruption, Error, Result};
use crate::format;
use crate::fs::SyncMode;
use crate::fs::dir::{Dir, Handle};
use crate::ids::{NUMBER_MAX, NodeId, Term};
use crate::mutant::{Mutant, Mutants};
use crate::sometimes::sometimes;

pub(crate) const NAME: &str = "hardstate";
const MAGIC: &[u8; 8] = b"AFTIM-HS";
/// What is written; all of the format are read.
const VERSION: u32 = 1;
/// The sequence that counts in a new file.
const FIRST: u64 = 1;

/// One slot's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    pub log_id: u64,
    pub sequence: u64,
    pub hard_state: HardState,
    pub doubtful: bool,
    /// The CRC of the other slot when this one was written.
    pub other_crc: u32,
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
            .u64(self.hard_state.vote.map_or(0, |id| id.0))
            .u32(self.other_crc);
        seal(&mut sector);
        sector
    }

    /// `Ok(None)`: not a slot. `Err`: a slot of this newer version.
    pub fn decode(sector: &Sector) -> std::result::Result<Option<Self>, u32> {
        let Some(mut get) = fields(sector, MAGIC)? else {
            return Ok(None);
        };
        let flags = get.u32();
        let log_id = get.u64();
        let sequence = get.u64();
        let term = Term(get.u64());
        let vote = NodeId(get.u64());
        let other_crc = get.u32();
        if sequence > NUMBER_MAX {
            return Ok(None);
        }
        Ok(Some(Slot {
            log_id,
            sequence,
            hard_state: HardState {
                term,
                vote: (flags & VOTE != 0).then_some(vote),
            },
            doubtful: flags & DOUBTFUL != 0,
            other_crc,
        }))
    }

    fn crc(&self) -> u32 {
        crc_of(&self.encode())
    }

    /// Whether a bad sector was the other slot when this one was written, or is
    /// what a later write left that stopped in the middle. Either way nothing
    /// newer than this one was acknowledged in it.
    ///
    /// Such a write has left the whole CRC as it was: disks write in units of
    /// eight bytes or more, and the CRC has the last four. One that stopped within
    /// the CRC would look like a bit that rotted there, one time in 256.
    pub fn is_older(&self, other: &Sector) -> bool {
        crc_of(other) == self.other_crc
    }
}

fn crc_of(sector: &Sector) -> u32 {
    let (_, crc) = sector.split_at(SECTOR - 4);
    u32::from_le_bytes([crc[0], crc[1], crc[2], crc[3]])
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
        let slot = |sequence, other_crc| Slot {
            log_id,
            sequence,
            hard_state: HardState::default(),
            doubtful: false,
            other_crc,
        };
        let older = slot(FIRST - 1, 0);
        let current = slot(FIRST, older.crc());
        let file = dir.create_new(tmp).await?;
        let mut both = older.encode().to_vec();
        both.extend(current.encode());
        file.write_all(&both, 0).await?;
        // Sync before rename: a file under this name must have two valid slots.
        file.sync(SyncMode::All).await?;
        dir.rename(tmp, NAME).await?;
        dir.sync().await?;
        Ok(HardStateFile {
            file: file.renamed(dir.join(NAME)),
            current,
        })
    }

    /// Reads both slots; also the offset of one that is bad and had come to its
    /// end once.
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
                known: format::VERSION,
            })?;
            match slot {
                Some(slot) => slots.push(slot),
                None => bad = Some((offset, *sector)),
            }
        }
        match slots.into_iter().max_by_key(|slot| slot.sequence) {
            Some(current) => {
                let finished = bad.filter(|(_, sector)| !current.is_older(sector));
                sometimes!(HardStateTorn, bad.is_some() && finished.is_none());
                let bad = finished.map(|(offset, _)| offset);
                Ok((HardStateFile { file, current }, bad))
            }
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
            other_crc: self.current.crc(),
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

    fn slot(sequence: u64, term: u64, other_crc: u32) -> Slot {
        Slot {
            log_id: 1,
            sequence,
            hard_state: HardState {
                term: Term(term),
                vote: None,
            },
            doubtful: false,
            other_crc,
        }
    }

    /// Three states in a row: the first is overwritten by the third.
    fn three() -> [Slot; 3] {
        let first = slot(4, 7, 0);
        let second = slot(5, 8, first.crc());
        let third = slot(6, 9, second.crc());
        [first, second, third]
    }

    /// Whatever a write leaves that stops in the middle is known as such.
    #[test]
    fn a_write_that_stopped_is_told_from_rot() {
        let [first, second, third] = three();
        for k in (0..SECTOR).step_by(8) {
            let mut torn = first.encode();
            torn[..k].copy_from_slice(&third.encode()[..k]);
            let decoded = Slot::decode(&torn);
            let harmless = matches!(decoded, Ok(Some(_))) || second.is_older(&torn);
            assert!(harmless, "stopped after {k}");
        }
    }

    proptest! {
        #[test]
        fn rot_is_told_from_a_write_that_stopped(
            at in 0..SECTOR, bit in 0u8..8, terms: [u64; 3],
        ) {
            let first = slot(4, terms[0], 0);
            let second = slot(5, terms[1], first.crc());
            let third = slot(6, terms[2], second.crc());
            let mut rotten = third.encode();
            rotten[at] ^= 1 << bit;
            prop_assert!(!second.is_older(&rotten));
        }

        #[test]
        fn slots_survive_the_round_trip(
            log_id: u64, sequence in 0..=NUMBER_MAX, term: u64, vote: Option<u64>,
            doubtful: bool, other_crc: u32,
        ) {
            let slot = Slot {
                log_id,
                sequence,
                hard_state: HardState { term: Term(term), vote: vote.map(NodeId) },
                doubtful,
                other_crc,
            };
            prop_assert_eq!(Slot::decode(&slot.encode()), Ok(Some(slot)));
        }

        #[test]
        fn a_flipped_bit_is_seen(at in 0..SECTOR, bit in 0u8..8) {
            let mut sector = slot(2, 0, 0).encode();
            sector[at] ^= 1 << bit;
            prop_assert_eq!(Slot::decode(&sector), Ok(None));
        }
    }
}
