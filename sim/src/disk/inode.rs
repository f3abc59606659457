//! A file without its name: what the disk has, what the cache shows, and the
//! effects in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::decay::Decay;
use super::image::{Image, Piece, SECTOR, Sector, SectorData, pieces};
use super::keep::OpId;
use super::rules::{BLOCK, block_of};

/// One pending version of one sector.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub op: OpId,
    /// Counts from the first sector that the operation touched.
    pub index: u32,
    pub sector: u32,
    /// The bytes of the sector that the operation wrote or cut.
    pub from: u16,
    pub len: u16,
    /// `None`: cut off by a shorter length.
    pub data: Sector,
    /// It was written to a hole, so a block was allocated for it.
    pub fresh: bool,
    /// It is what a shorter length left of the sector.
    pub cut: bool,
    /// A sync failed since: no later sync writes it, but it may have been
    /// written before the error.
    pub lying: bool,
}

/// One pending length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Length {
    pub op: OpId,
    /// From here on a write filled block after block, and the length went with
    /// it; equal to `len` where the length changed at once.
    pub grew_from: u64,
    pub len: u64,
    /// It was longer.
    pub cuts: bool,
}

impl Length {
    /// The lengths that the file had in the middle of the write. Recorded on
    /// ext4: a 5000-byte file, 5000 more appended, is found 8192 bytes long.
    pub fn partial(&self) -> impl Iterator<Item = u64> + use<> {
        let len = self.len;
        let first = self.grew_from / BLOCK + 1;
        (first..)
            .map(|block| block * BLOCK)
            .take_while(move |at| *at < len)
    }
}

/// A file. `pending` and `lengths` are in the order of the operations; the
/// cache is always the disk with all of them applied.
#[derive(Debug, Clone)]
pub(super) struct Inode {
    /// The latest name in the cache.
    pub name: Arc<str>,
    /// Whether the cache still has that name.
    pub linked: bool,
    /// What it held may show up elsewhere: with a log, from when it has no
    /// durable name any more.
    pub freed: bool,
    /// Open handles of the running incarnation.
    pub open: u32,
    pub disk: Image,
    pub disk_len: u64,
    pub cache: Image,
    pub cache_len: u64,
    pub pending: Vec<Version>,
    pub lengths: Vec<Length>,
    /// Blocks that were reserved and have not been written since.
    pub raw: BTreeSet<u32>,
    /// Some pending version lies.
    lying: bool,
    /// Every open handle reports each failed sync once, as on Linux.
    pub failed_syncs: u64,
    /// What became of the disk's sectors by themselves.
    pub decay: Decay,
}

impl Inode {
    pub fn new(name: Arc<str>) -> Self {
        Inode {
            name,
            linked: true,
            freed: false,
            open: 0,
            disk: Image::default(),
            disk_len: 0,
            cache: Image::default(),
            cache_len: 0,
            pending: Vec::new(),
            lengths: Vec::new(),
            raw: BTreeSet::new(),
            lying: false,
            failed_syncs: 0,
            decay: Decay::default(),
        }
    }

    /// Writes those sectors for which `lands` says so.
    pub fn write(
        &mut self,
        op: OpId,
        offset: u64,
        bytes: &[u8],
        mut lands: impl FnMut(u32) -> bool,
    ) {
        let mut done = 0;
        let mut end = 0;
        for (index, piece) in (0..).zip(pieces(offset, bytes.len())) {
            let part = &bytes[done..done + piece.len];
            done += piece.len;
            if lands(index) {
                self.write_piece(op, index, piece, part);
                end = offset + done as u64;
            }
        }
        self.grow(op, offset, end);
    }

    fn write_piece(&mut self, op: OpId, index: u32, piece: Piece, part: &[u8]) {
        let old = self.cache.get(piece.sector);
        let fresh = old.is_none();
        let mut bytes = old.map_or([0; SECTOR], |data| *data.bytes());
        bytes[piece.from..piece.from + piece.len].copy_from_slice(part);
        let data = Some(SectorData::new(bytes));
        self.cache.set(piece.sector, data.clone());
        self.pending.push(Version {
            op,
            index,
            sector: piece.sector,
            from: piece.from as u16,
            len: piece.len as u16,
            data,
            fresh,
            cut: false,
            lying: false,
        });
    }

    /// Makes the file at least `len` long, as a write from `offset` on does.
    pub fn grow(&mut self, op: OpId, offset: u64, len: u64) {
        if len > self.cache_len {
            self.change_len(op, self.cache_len.max(offset), len);
        }
    }

    /// Makes the file at least `len` long, at once.
    pub fn extend(&mut self, op: OpId, len: u64) {
        if len > self.cache_len {
            self.change_len(op, len, len);
        }
    }

    /// An operation has one length: the last that it set.
    fn change_len(&mut self, op: OpId, grew_from: u64, len: u64) {
        let cuts = len < self.cache_len;
        self.cache_len = len;
        match self.lengths.last_mut() {
            Some(last) if last.op == op => last.len = len,
            _ => self.lengths.push(Length {
                op,
                grew_from,
                len,
                cuts,
            }),
        }
    }

    /// Cuts or extends the file. The sectors that a cut drops are pending
    /// effects of their own: any of them may persist without the length, and
    /// the length without them. `dropped` is told what is freed.
    pub fn set_len(&mut self, op: OpId, len: u64, mut dropped: impl FnMut(u32, Arc<SectorData>)) {
        if len < self.cache_len {
            let first = (len / SECTOR as u64) as u32;
            let cut: Vec<(u32, Arc<SectorData>)> = self
                .cache
                .iter()
                .rev()
                .take_while(|(sector, _)| *sector >= first)
                .map(|(sector, data)| (sector, data.clone()))
                .collect();
            for (sector, old) in cut.into_iter().rev() {
                let from = match sector {
                    sector if sector == first => (len % SECTOR as u64) as usize,
                    _ => 0,
                };
                let data = match from {
                    0 => None,
                    _ => Some(old.cut(from)),
                };
                self.cache.set(sector, data.clone());
                self.pending.push(Version {
                    op,
                    index: sector - first,
                    sector,
                    from: from as u16,
                    len: (SECTOR - from) as u16,
                    data,
                    fresh: false,
                    cut: true,
                    lying: false,
                });
                dropped(sector, old);
            }
        }
        if len != self.cache_len {
            self.change_len(op, len, len);
        }
    }

    /// Reserves the holes among these sectors. No effect is pending: a reserved
    /// sector reads zeros until its first write is durable, like an unwritten
    /// extent, and so did the hole.
    pub fn reserve(&mut self, sectors: impl Iterator<Item = u32>) {
        for sector in sectors {
            if !self.is_allocated(block_of(sector)) {
                self.raw.insert(block_of(sector));
            }
            if self.cache.get(sector).is_none() {
                self.cache.set(sector, Some(SectorData::zeros()));
                if self.disk.get(sector).is_none() {
                    self.disk.set(sector, Some(SectorData::zeros()));
                }
            }
        }
    }

    /// Makes data and length durable, but for what lies.
    pub fn sync(&mut self) {
        if self.lying {
            return self.sync_some(|_| true, true);
        }
        for version in self.pending.drain(..) {
            self.disk.set(version.sector, version.data);
            if !self.raw.is_empty() {
                self.raw.remove(&block_of(version.sector));
            }
        }
        self.sync_len();
    }

    fn sync_len(&mut self) {
        if let Some(last) = self.lengths.last() {
            self.disk_len = last.len;
            self.lengths.clear();
        }
    }

    /// Writes the latest version of the sectors that `chosen` names, and the
    /// length if `length`.
    pub fn sync_some(&mut self, mut chosen: impl FnMut(&Version) -> bool, length: bool) {
        let tips = self.tips();
        let mut written = Vec::new();
        for tip in tips.into_values() {
            let version = &self.pending[tip];
            if !version.lying && chosen(version) {
                self.disk.set(version.sector, version.data.clone());
                self.raw.remove(&block_of(version.sector));
                written.push(version.sector);
            }
        }
        // `tips` is ordered by sector, and so is `written`.
        self.pending
            .retain(|version| written.binary_search(&version.sector).is_err());
        self.lying = self.pending.iter().any(|version| version.lying);
        if length {
            self.sync_len();
        }
    }

    /// Makes durable what an operation up to `until` did, as far as a rename
    /// onto another file waits for it.
    pub fn sync_until(&mut self, until: OpId) {
        let (pending, later) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|version| version.op <= until);
        self.pending = pending;
        let (lengths, longer) = std::mem::take(&mut self.lengths)
            .into_iter()
            .partition(|length| length.op <= until);
        self.lengths = lengths;
        self.sync();
        self.pending.extend(later);
        self.lengths.extend(longer);
        self.lying = self.pending.iter().any(|version| version.lying);
    }

    /// Makes a length durable that stands in the log of the filesystem: the
    /// `place`-th of the pending ones, or `len` of it. Blocks that it or an
    /// earlier one freed are free.
    pub fn log_len(&mut self, place: usize, len: u64) {
        let Length { op, .. } = self.lengths[place];
        let freed: BTreeSet<u32> = self.lengths[..=place]
            .iter()
            .filter(|length| length.cuts)
            .flat_map(|length| {
                let cuts = self
                    .pending
                    .iter()
                    .filter(|version| version.op == length.op);
                let first = length.len.div_ceil(BLOCK) as u32;
                cuts.map(|version| block_of(version.sector))
                    .filter(move |block| *block >= first)
            })
            .collect();
        self.disk_len = len;
        match len == self.lengths[place].len {
            true => drop(self.lengths.drain(..=place)),
            false => {
                self.lengths.drain(..place);
                self.lengths[0].grew_from = len;
            }
        }
        // The latest cut of a freed block, and what came before it.
        let is_freed = |version: &Version| freed.contains(&block_of(version.sector));
        let mut last: BTreeMap<u32, OpId> = BTreeMap::new();
        for version in &self.pending {
            if is_freed(version) && version.cut && version.op <= op {
                last.insert(version.sector, version.op);
            }
        }
        for sector in last.keys() {
            self.disk.set(*sector, None);
        }
        self.pending.retain(|version| {
            last.get(&version.sector)
                .is_none_or(|cut| version.op > *cut)
        });
    }

    /// The sync that fails: the pages become clean although they are not on the
    /// disk. The length stays pending; a later sync persists it, and what
    /// should be there reads as zeros.
    pub fn fail_sync(&mut self) {
        for version in &mut self.pending {
            version.lying = true;
        }
        self.lying = !self.pending.is_empty();
        self.failed_syncs += 1;
    }

    /// Drops the pages that lie from the cache: reads show the disk again. Whether
    /// there were any.
    pub fn evict(&mut self) -> bool {
        let decayed = self.decay.is_hidden();
        self.show_decay();
        if !self.lying {
            return decayed;
        }
        let mut evicted = Vec::new();
        for (sector, tip) in self.tips() {
            if self.pending[tip].lying {
                self.cache.set(sector, self.disk.get(sector).cloned());
                evicted.push(sector);
            }
        }
        self.pending
            .retain(|version| evicted.binary_search(&version.sector).is_err());
        // What is left of them lies under a newer write.
        self.lying = self.pending.iter().any(|version| version.lying);
        self.cache.cut(self.cache_len, |_, _| ());
        true
    }

    /// The latest pending version of each sector, by its place in `pending`.
    pub fn tips(&self) -> BTreeMap<u32, usize> {
        let versions = self.pending.iter().enumerate();
        versions
            .map(|(place, version)| (version.sector, place))
            .collect()
    }

    fn is_allocated(&self, block: u32) -> bool {
        let sectors = BLOCK as u32 / SECTOR as u32;
        let mut sectors = block * sectors..(block + 1) * sectors;
        sectors.any(|sector| self.cache.get(sector).is_some())
    }

    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty() || !self.lengths.is_empty()
    }

    /// Reads what the cache shows; the number of bytes read.
    pub fn read(&self, buf: &mut [u8], offset: u64) -> usize {
        let rest = self.cache_len.saturating_sub(offset);
        let len = usize::try_from(rest).unwrap_or(usize::MAX).min(buf.len());
        self.cache.read(&mut buf[..len], offset);
        len
    }
}

/// Across a power cut.
impl Inode {
    /// Whether a power cut would leave the file of this name as it is.
    pub fn at_rest(&self, name: &str) -> bool {
        let clean = !self.has_pending() && self.failed_syncs == 0 && !self.decay.is_hidden();
        clean && self.open == 0 && self.linked && *self.name == *name
    }

    /// All that is left is the disk.
    pub fn restart(&mut self, name: Arc<str>) {
        self.name = name;
        self.linked = true;
        self.open = 0;
        self.cache = self.disk.clone();
        self.cache_len = self.disk_len;
        self.pending.clear();
        self.lengths.clear();
        self.lying = false;
        self.failed_syncs = 0;
        self.decay.shown();
    }
}
