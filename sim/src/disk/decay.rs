//! Latent faults: what becomes of data that was durable, and nobody is told.
//!
//! Bits rot and sectors turn unreadable at a moment of the plan's choosing
//! ([`SimFs::damage`](super::SimFs::damage)). A write that is lost or goes to a
//! wrong place does so in its sync ([`FaultKind::Lost`]). Either way the cache
//! knows nothing: reads show the harm once the pages are evicted, or the power
//! was off. Only an unreadable sector fails at once, unless a write of it is
//! still pending.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::Arc;

use super::error::DiskError;
use super::image::{Piece, SECTOR, Sector, SectorData, pieces};
use super::inode::Inode;
use super::names::Node;
use super::state::{Attempt, Draw, State};
use super::{FaultKind, OpKind, Pattern};
use crate::rng::hash;

const BITS: u64 = SECTOR as u64 * 8;

/// Harm to one durable sector. What is left open is drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub kind: DamageKind,
    /// Which files; `*` matches any run of characters, see [`Pattern::name`].
    pub file: String,
    /// Counted from the start of the file. `None`: one that does not only hold
    /// zeros.
    pub sector: Option<u32>,
    /// The bit of the sector that flips, from 0 to 4095. `None`: one of a byte
    /// that is not 0.
    pub bit: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DamageKind {
    /// A bit is another one from now on.
    Rot,
    /// Every read of the sector fails until it was overwritten.
    Unreadable,
}

impl DamageKind {
    pub const ALL: [DamageKind; 2] = [DamageKind::Rot, DamageKind::Unreadable];

    /// As it is counted where it had an effect.
    pub fn receipt(self) -> &'static str {
        match self {
            DamageKind::Rot => "bit-rot",
            DamageKind::Unreadable => "unreadable-sector",
        }
    }
}

/// Where it struck, for people.
impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage {
            kind,
            file,
            sector,
            bit,
        } = self;
        match kind {
            DamageKind::Rot => write!(f, "rot in {file}")?,
            DamageKind::Unreadable => write!(f, "unreadable: {file}")?,
        }
        for (what, place) in [("sector", sector), ("bit", bit)] {
            if let Some(place) = place {
                write!(f, ", {what} {place}")?;
            }
        }
        Ok(())
    }
}

/// What happened to the durable sectors of one file.
#[derive(Debug, Clone, Default)]
pub(super) struct Decay {
    /// Sectors of which the cache still shows what they should hold.
    hidden: BTreeSet<u32>,
    /// The unreadable ones, each with the very copy that is: a sector is
    /// readable again as soon as another one took its place.
    unreadable: BTreeMap<u32, Sector>,
}

impl Decay {
    /// Whether the cache shows other bytes than the disk has.
    pub fn is_hidden(&self) -> bool {
        !self.hidden.is_empty()
    }

    /// The cache is what the disk has.
    pub fn shown(&mut self) {
        self.hidden.clear();
    }
}

impl Inode {
    /// The disk's sector becomes this one; the cache does not notice.
    fn decay_to(&mut self, sector: u32, data: Sector) {
        self.disk.set(sector, data);
        self.decay.hidden.insert(sector);
    }

    /// Drops the clean pages under which the disk has decayed.
    pub fn show_decay(&mut self) {
        for sector in std::mem::take(&mut self.decay.hidden) {
            // What is dirty will be written over the harm.
            if !self.is_pending(sector) {
                self.cache.set(sector, self.disk.get(sector).cloned());
            }
        }
    }

    fn is_pending(&self, sector: u32) -> bool {
        let mut pending = self.pending.iter();
        pending.any(|version| version.sector == sector)
    }

    fn is_unreadable(&self, sector: u32) -> bool {
        let same = |bad: &Sector| match (bad, self.disk.get(sector)) {
            (Some(bad), Some(now)) => Arc::ptr_eq(bad, now),
            _ => false,
        };
        self.decay.unreadable.get(&sector).is_some_and(same) && !self.is_pending(sector)
    }

    /// The offset of the first unreadable sector among these bytes is an error.
    pub fn readable(&self, offset: u64, len: usize) -> Result<(), u64> {
        if self.decay.unreadable.is_empty() {
            return Ok(());
        }
        let rest = self.cache_len.saturating_sub(offset);
        let len = len.min(usize::try_from(rest).unwrap_or(usize::MAX));
        self.check_pieces(pieces(offset, len))
    }

    /// The same, for a write: the sectors of which it changes only a part are
    /// read first.
    pub fn mergeable(&self, offset: u64, len: usize) -> Result<(), u64> {
        if self.decay.unreadable.is_empty() {
            return Ok(());
        }
        self.check_pieces(pieces(offset, len).filter(|piece| piece.len < SECTOR))
    }

    fn check_pieces(&self, mut pieces: impl Iterator<Item = Piece>) -> Result<(), u64> {
        match pieces.find(|piece| self.is_unreadable(piece.sector)) {
            Some(bad) => Err(u64::from(bad.sector) * SECTOR as u64),
            None => Ok(()),
        }
    }
}

impl Attempt {
    pub fn unreadable(&mut self, offset: u64) -> io::Error {
        self.injected = Some(FaultKind::Eio);
        DiskError::Unreadable(offset).into()
    }
}

/// A bit of one of the bytes that are not 0, if there are any: most of a sector
/// may be padding that nobody reads.
fn drawn_bit(bytes: &[u8; SECTOR], draw: u64) -> u64 {
    let all = (0..).zip(bytes);
    let used: Vec<u64> = all
        .filter_map(|(at, byte)| (*byte != 0).then_some(at))
        .collect();
    let byte = match used.len() {
        0 => hash(&[draw, 1]) % SECTOR as u64,
        n => used[(hash(&[draw, 1]) % n as u64) as usize],
    };
    byte * 8 + hash(&[draw, 2]) % 8
}

impl State {
    pub fn damage(&mut self, damage: &Damage, draw: u64) -> Option<Damage> {
        let places = self.places(damage);
        let pick = places.len().checked_sub(1)?;
        let (name, inode, sector) = places[(hash(&[draw, 0]) % (pick as u64 + 1)) as usize].clone();
        let mut bytes = *self.peek(inode).disk.get(sector)?.bytes();
        let bit = match damage.kind {
            DamageKind::Rot => {
                let drawn = || drawn_bit(&bytes, draw);
                let bit = damage.bit.map_or_else(drawn, u64::from) % BITS;
                bytes[bit as usize / 8] ^= 1 << (bit % 8);
                Some(bit as u32)
            }
            DamageKind::Unreadable => None,
        };
        // A copy of its own, so that it can be told from what replaces it.
        let data = Some(SectorData::alone(bytes));
        let cached = self.boot > 0;
        let file = self.file(inode);
        file.decay_to(sector, data.clone());
        if damage.kind == DamageKind::Unreadable {
            file.decay.unreadable.insert(sector, data);
        }
        if !cached {
            // Since the power came back nobody has read anything.
            file.show_decay();
        }
        Some(Damage {
            kind: damage.kind,
            file: name,
            sector: Some(sector),
            bit,
        })
    }

    /// Every sector that the damage may hit: path, inode, sector.
    fn places(&self, damage: &Damage) -> Vec<(String, u64, u32)> {
        let pattern = Pattern {
            kind: None,
            name: damage.file.clone(),
        };
        let mut places = Vec::new();
        for (name, node) in &self.names.cache {
            let Node::File(inode) = node else { continue };
            if !pattern.matches(OpKind::Read, name) {
                continue;
            }
            let file = self.peek(*inode);
            let within = |sector: u32| u64::from(sector) * (SECTOR as u64) < file.disk_len;
            let wanted = |sector: u32, data: &SectorData| match damage.sector {
                Some(wanted) => sector == wanted,
                None => !data.is_zero(),
            };
            let sectors = file.disk.iter();
            let hit = sectors.filter(|(sector, data)| within(*sector) && wanted(*sector, data));
            places.extend(hit.map(|(sector, _)| (name.to_string(), *inode, sector)));
        }
        places
    }

    /// One of the sectors that this sync would write is taken for written. It
    /// is nowhere, or (misdirected) in the place of another one.
    pub fn lose_sector(&mut self, at: &mut Attempt, inode: u64) {
        let tips: Vec<usize> = self.peek(inode).tips().into_values().collect();
        let Some(last) = tips.len().checked_sub(1) else {
            return; // It had nothing to write.
        };
        let pick = self.draw(Draw::LostSector, at, 0) % (last as u64 + 1);
        let lost = self.peek(inode).pending[tips[pick as usize]].clone();
        if at.fault == Some(FaultKind::Misdirected) {
            let Some((other, place)) = self.wrong_place(at, inode, lost.sector) else {
                return;
            };
            self.file(other).decay_to(place, lost.data);
        }
        let file = self.file(inode);
        file.pending.retain(|version| version.sector != lost.sector);
        file.decay.hidden.insert(lost.sector);
        at.injected = at.fault;
    }

    /// A durable sector other than this one.
    fn wrong_place(&self, at: &Attempt, inode: u64, sector: u32) -> Option<(u64, u32)> {
        let anything = Damage {
            kind: DamageKind::Rot,
            file: "*".to_owned(),
            sector: None,
            bit: None,
        };
        let mut places = self.places(&anything);
        places.retain(|(_, other, place)| (*other, *place) != (inode, sector));
        let last = places.len().checked_sub(1)?;
        let pick = self.draw(Draw::WrongPlace, at, 0) % (last as u64 + 1);
        let (_, other, place) = places[pick as usize];
        Some((other, place))
    }
}
