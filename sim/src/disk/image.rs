//! The content of a file as shared 512-byte sectors, with its hash.

use std::sync::{Arc, LazyLock};

use xxhash_rust::xxh3::xxh3_64;

/// Bytes in a sector: the unit at which a write is torn.
pub(super) const SECTOR: usize = 512;

/// A hole, or the bytes of an allocated sector.
pub(super) type Sector = Option<Arc<SectorData>>;

#[derive(Debug)]
pub(super) struct SectorData {
    /// 0 for zeros, so that a hole and zeros hash alike.
    hash: u64,
    bytes: [u8; SECTOR],
}

static ZEROS: LazyLock<Arc<SectorData>> = LazyLock::new(|| {
    Arc::new(SectorData {
        hash: 0,
        bytes: [0; SECTOR],
    })
});

impl SectorData {
    pub fn new(bytes: [u8; SECTOR]) -> Arc<Self> {
        if bytes == [0; SECTOR] {
            return Self::zeros();
        }
        // 0 is taken.
        let hash = xxh3_64(&bytes).max(1);
        Arc::new(SectorData { hash, bytes })
    }

    /// A copy that no other sector shares, zeros included.
    pub fn alone(bytes: [u8; SECTOR]) -> Arc<Self> {
        let hash = SectorData::new(bytes).hash;
        Arc::new(SectorData { hash, bytes })
    }

    /// An allocated sector of zeros; all of them share their memory.
    pub fn zeros() -> Arc<Self> {
        ZEROS.clone()
    }

    pub fn is_zero(&self) -> bool {
        self.hash == 0
    }

    pub fn bytes(&self) -> &[u8; SECTOR] {
        &self.bytes
    }
}

/// Sectors are grouped, so that a copy of an image costs one pointer for each
/// 16 KiB, and changing the copy costs one group.
const GROUP: usize = 32;
type Group = [Sector; GROUP];

/// The sectors of a file. Copies share what they have in common.
#[derive(Debug, Clone, Default)]
pub(super) struct Image {
    groups: Vec<Option<Arc<Group>>>,
    /// XOR over the sectors, each mixed with its place.
    hash: u64,
    allocated: u64,
}

impl Image {
    pub fn get(&self, sector: u32) -> Option<&Arc<SectorData>> {
        let (group, place) = split(sector);
        self.groups.get(group)?.as_ref()?[place].as_ref()
    }

    pub fn set(&mut self, sector: u32, data: Sector) {
        let (group, place) = split(sector);
        if group >= self.groups.len() {
            if data.is_none() {
                return;
            }
            self.groups.resize(group + 1, None);
        }
        let group = match (&mut self.groups[group], &data) {
            (None, None) => return,
            (group, _) => group.get_or_insert_default(),
        };
        let old = std::mem::replace(&mut Arc::make_mut(group)[place], data);
        let new = &group[place];
        self.hash ^= placed(old.as_ref(), sector) ^ placed(new.as_ref(), sector);
        self.allocated = self.allocated + u64::from(new.is_some()) - u64::from(old.is_some());
    }

    /// The allocated sectors in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u32, &Arc<SectorData>)> {
        let groups = self.groups.iter().enumerate();
        let groups = groups.filter_map(|(number, group)| Some((number, group.as_ref()?)));
        groups.flat_map(|(number, group)| {
            let sectors = group.iter().enumerate();
            sectors.filter_map(move |(place, sector)| {
                Some(((number * GROUP + place) as u32, sector.as_ref()?))
            })
        })
    }

    /// Copies bytes from `offset` on; what is not allocated reads as zeros.
    pub fn read(&self, buf: &mut [u8], offset: u64) {
        let mut done = 0;
        for piece in pieces(offset, buf.len()) {
            let to = &mut buf[done..done + piece.len];
            match self.get(piece.sector) {
                Some(data) => to.copy_from_slice(&data.bytes[piece.from..piece.from + piece.len]),
                None => to.fill(0),
            }
            done += piece.len;
        }
    }

    /// The first `len` bytes.
    pub fn content(&self, len: u64) -> Vec<u8> {
        let mut bytes = vec![0; len as usize];
        self.read(&mut bytes, 0);
        bytes
    }

    /// Drops what lies at or past `len`; the rest of the last sector becomes
    /// zeros. `dropped` is told the sectors that go.
    pub fn cut(&mut self, len: u64, mut dropped: impl FnMut(u32, Arc<SectorData>)) {
        let last = (len / SECTOR as u64) as u32;
        let within = (len % SECTOR as u64) as usize;
        let past: Vec<u32> = self
            .iter()
            .rev()
            .map(|(sector, _)| sector)
            .take_while(|sector| *sector >= last)
            .collect();
        for sector in past {
            let Some(data) = self.get(sector).cloned() else {
                continue;
            };
            if sector > last || within == 0 {
                self.set(sector, None);
                dropped(sector, data);
            } else if data.bytes[within..].iter().any(|byte| *byte != 0) {
                self.set(sector, Some(data.cut(within)));
            }
        }
    }

    /// Of the content: holes and zeros are the same.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Sectors that take space.
    pub fn allocated(&self) -> u64 {
        self.allocated
    }
}

impl SectorData {
    /// The same with zeros from byte `within` on.
    pub fn cut(&self, within: usize) -> Arc<Self> {
        let mut bytes = self.bytes;
        bytes[within..].fill(0);
        SectorData::new(bytes)
    }
}

fn split(sector: u32) -> (usize, usize) {
    (sector as usize / GROUP, sector as usize % GROUP)
}

/// The sector's part in the hash of its image.
pub(super) fn placed(sector: Option<&Arc<SectorData>>, place: u32) -> u64 {
    match sector {
        Some(data) if data.hash != 0 => mix(data.hash, u64::from(place)),
        _ => 0,
    }
}

/// Splitmix64's finalizer over two words: the same bytes at another place must
/// not cancel out in an XOR.
pub(super) fn mix(a: u64, b: u64) -> u64 {
    let mut x = a ^ (b + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The part of a range of bytes that lies in one sector.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub sector: u32,
    /// Within the sector.
    pub from: usize,
    pub len: usize,
}

/// The pieces of `len` bytes from `offset` on.
pub(super) fn pieces(offset: u64, len: usize) -> impl Iterator<Item = Piece> {
    let end = offset + len as u64;
    let mut at = offset;
    std::iter::from_fn(move || {
        if at == end {
            return None;
        }
        let from = (at % SECTOR as u64) as usize;
        let len = (SECTOR - from).min((end - at) as usize);
        let sector = (at / SECTOR as u64) as u32;
        at += len as u64;
        Some(Piece { sector, from, len })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sector(byte: u8) -> Sector {
        Some(SectorData::new([byte; SECTOR]))
    }

    #[test]
    fn the_hash_is_of_the_content_not_of_its_history() {
        let mut one = Image::default();
        one.set(3, sector(1));
        one.set(40, sector(2));
        let mut other = Image::default();
        other.set(40, sector(9));
        other.set(40, sector(2));
        other.set(100, sector(5));
        other.set(100, None);
        other.set(3, sector(1));
        other.set(4, sector(0));
        assert_eq!(one.hash(), other.hash());
        assert_eq!((one.allocated(), other.allocated()), (2, 3));
        other.set(4, sector(1));
        assert_ne!(one.hash(), other.hash());
    }

    #[test]
    fn the_same_sectors_in_other_places_hash_differently() {
        let mut one = Image::default();
        one.set(0, sector(1));
        one.set(1, sector(2));
        let mut other = Image::default();
        other.set(0, sector(2));
        other.set(1, sector(1));
        assert_ne!(one.hash(), other.hash());
    }

    #[test]
    fn a_copy_does_not_see_later_changes() {
        let mut image = Image::default();
        image.set(0, sector(1));
        let copy = image.clone();
        image.set(0, sector(2));
        assert_eq!(copy.content(2), [1, 1]);
        assert_eq!(image.content(2), [2, 2]);
    }

    #[test]
    fn a_cut_zeroes_the_rest_of_its_sector() {
        let mut image = Image::default();
        (0..3).for_each(|n| image.set(n, sector(7)));
        let mut dropped = Vec::new();
        image.cut(600, |sector, _| dropped.push(sector));
        assert_eq!(dropped, [2]);
        let mut expected = vec![7; 600];
        expected.resize(2000, 0);
        assert_eq!(image.content(2000), expected);
    }
}
