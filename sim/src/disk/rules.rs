//! The rules of a profile with a [`Log`]: which fates go together.
//!
//! All of them only ever keep more. So any choice of effects has a smallest
//! possible one around it, and whether a content can be left is decided by
//! climbing to it, sector by sector (`reach.rs`).
//!
//! A *level* says what a sector takes: 0 its durable content, n its n-th
//! pending version. What a rule speaks of is the time at which the cache was
//! written: everything that an operation up to then did.

use super::inode::Inode;
use super::keep::OpId;
use super::pending::{Chain, FilePending};
use super::profile::{FreshBlock, Growth, Profile, Tear};

/// Bytes in a block of the filesystem, and sectors.
pub(super) const BLOCK: u64 = 4096;
const SECTORS: u32 = 8;

/// Blocks that one conversion of an unwritten extent covers at most: what fits
/// into one request to the disk.
const RUN_MAX: u32 = 256;

pub(super) fn block_of(sector: u32) -> u32 {
    sector / SECTORS
}

/// What a pending version does to its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Overwrites it.
    InPlace,
    /// Writes to it before it is part of the file.
    Fresh,
    /// Frees it: an entry of the log.
    Freed,
}

/// How far the log is durable: everything in it up to `until`, and nothing
/// from `before` on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Frontier {
    pub until: Option<OpId>,
    pub before: Option<OpId>,
    /// Where the data is in the log: the write `until` ends after this block.
    pub part: Option<u32>,
}

impl Frontier {
    pub fn keeps(self, op: OpId) -> bool {
        self.until.is_some_and(|until| op <= until)
    }

    /// Where the data is in the log, too: whether it has this sector's.
    pub fn keeps_of(self, op: OpId, sector: u32) -> bool {
        let whole = self.until != Some(op) || self.part.is_none_or(|part| block_of(sector) <= part);
        self.keeps(op) && whole
    }

    pub fn bars(self, op: OpId) -> bool {
        self.before.is_some_and(|before| op >= before)
    }

    pub fn reach(&mut self, op: OpId) {
        self.until = self.until.max(Some(op));
    }
}

/// What else is known of a file's fate when its sectors are chosen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given {
    pub frontier: Frontier,
    /// Of its length.
    pub length: Option<OpId>,
    /// Of the rename that wrote its data out.
    pub flushed: Option<OpId>,
}

impl Inode {
    /// Whether the block is a part of the file on the disk that can be
    /// overwritten in place.
    pub fn is_mapped(&self, block: u32) -> bool {
        let mut sectors = block * SECTORS..(block + 1) * SECTORS;
        !self.raw.contains(&block) && sectors.any(|sector| self.disk.get(sector).is_some())
    }

    /// The same when the operation came: no earlier one had freed it.
    pub fn was_mapped(&self, block: u32, op: OpId) -> bool {
        let start = u64::from(block) * BLOCK;
        let mut earlier = self.lengths.iter().take_while(|length| length.op < op);
        self.is_mapped(block) && earlier.all(|length| !length.cuts || length.len > start)
    }
}

impl FilePending {
    /// The least possible levels from these on. They may lie past the end.
    pub fn close(&self, profile: &Profile, given: Given, levels: &mut [usize]) {
        if profile.tear == Tear::Journal {
            for (chain, level) in self.chains.iter().zip(levels) {
                let kept = |at: &usize| {
                    given
                        .frontier
                        .keeps_of(self.entries[*at].unit.op, chain.sector)
                };
                *level = chain.range().take_while(kept).count();
            }
            return;
        }
        for (chain, level) in self.chains.iter().zip(&mut *levels) {
            let (floor, ceiling) = self.bounds(profile, given, *chain);
            *level = (*level).clamp(floor, ceiling);
        }
        match profile.tear {
            Tear::Block => {
                self.convert_runs(given.frontier, levels);
                self.fill_blocks(levels);
            }
            Tear::Write => self.complete_writes(levels),
            Tear::Sector | Tear::Journal => (),
        }
    }

    /// The lowest and the highest level that the log and the length permit.
    fn bounds(&self, profile: &Profile, given: Given, chain: Chain) -> (usize, usize) {
        let Given {
            frontier,
            length,
            flushed,
        } = given;
        let covered = |op: OpId| length.is_some_and(|length| op <= length);
        let flushed = |op: OpId| flushed.is_some_and(|flushed| op <= flushed);
        let (mut floor, mut ceiling) = (0, chain.range().len());
        for (place, at) in chain.range().enumerate() {
            let op = self.entries[at].unit.op;
            let traits = self.traits[at];
            let class = traits.class;
            let barred = match class {
                Class::InPlace => false,
                Class::Fresh => frontier.bars(op),
                Class::Freed => !frontier.keeps(op),
            };
            if barred {
                ceiling = ceiling.min(place);
            }
            let grown = traits.grows && profile.growth == Growth::WithData;
            let hidden = class == Class::Fresh && profile.fresh == FreshBlock::Hidden;
            let kept = match class {
                Class::Freed => frontier.keeps(op),
                _ if flushed(op) => class == Class::Fresh || traits.grows,
                _ => covered(op) && (hidden && self.grew(op) || grown),
            };
            if kept {
                floor = place + 1;
            }
        }
        (floor.min(ceiling), ceiling)
    }

    /// Whether the operation made the file longer by writing.
    fn grew(&self, op: OpId) -> bool {
        self.growing.binary_search(&op).is_ok()
    }

    /// A run of new blocks becomes part of the file at one time.
    fn convert_runs(&self, frontier: Frontier, levels: &mut [usize]) {
        let mut from = 0;
        while from < self.chains.len() {
            let (mut to, first) = (from, block_of(self.chains[from].sector));
            let mut last = first;
            while let Some(chain) = self.chains.get(to) {
                let block = block_of(chain.sector);
                if block > last + 1 || block >= first + RUN_MAX {
                    break;
                }
                (last, to) = (block, to + 1);
            }
            self.convert_run(from..to, frontier, levels);
            from = to;
        }
    }

    fn convert_run(&self, run: std::ops::Range<usize>, frontier: Frontier, levels: &mut [usize]) {
        let mut time = None;
        for place in run.clone() {
            let chain = self.chains[place];
            let first = self.allocated(block_of(chain.sector), frontier);
            let mut taken = chain.range().take(levels[place]);
            // What was written before the block was freed does not count.
            let is_new = |at: usize| {
                self.traits[at].class == Class::Fresh && Some(self.entries[at].unit.op) >= first
            };
            if first.is_some() && taken.any(is_new) {
                time = time.max(first);
            }
        }
        let Some(time) = time else { return };
        for place in run {
            let chain = self.chains[place];
            for (level, at) in (1..).zip(chain.range()) {
                if self.traits[at].class == Class::Fresh && self.entries[at].unit.op <= time {
                    levels[place] = levels[place].max(level);
                }
            }
        }
    }

    /// The first operation that wrote to the new block.
    fn allocated(&self, block: u32, frontier: Frontier) -> Option<OpId> {
        let from = self
            .chains
            .partition_point(|chain| block_of(chain.sector) < block);
        let chains = self.chains[from..].iter();
        let chains = chains.take_while(|chain| block_of(chain.sector) == block);
        let first = |chain: &Chain| {
            let freed = chain.range().rfind(|at| {
                self.traits[*at].class == Class::Freed && frontier.keeps(self.entries[*at].unit.op)
            });
            let from = freed.map_or(chain.range().start, |at| at + 1);
            let mut new =
                (from..chain.range().end).filter(|at| self.traits[*at].class == Class::Fresh);
            new.next().map(|at| self.entries[at].unit.op)
        };
        chains.filter_map(first).min()
    }

    /// A block is written from its start: what a sector takes, those before it
    /// in the block have taken, too.
    fn fill_blocks(&self, levels: &mut [usize]) {
        let mut block = None;
        let mut time = None;
        for (place, chain) in self.chains.iter().enumerate().rev() {
            if block.replace(block_of(chain.sector)) != Some(block_of(chain.sector)) {
                time = None;
            }
            levels[place] = levels[place].max(self.level_at(*chain, time));
            time = time.max(self.op_at(*chain, levels[place]));
        }
    }

    /// The operation whose version a level is.
    fn op_at(&self, chain: Chain, level: usize) -> Option<OpId> {
        let place = level.checked_sub(1)?;
        Some(self.chain(chain)[place].unit.op)
    }

    /// What the sector takes if it is written at that time. Blocks that are
    /// freed are not written.
    fn level_at(&self, chain: Chain, time: Option<OpId>) -> usize {
        let in_time = |at: &usize| {
            let entry = &self.entries[*at];
            self.traits[*at].class != Class::Freed && Some(entry.unit.op) <= time
        };
        let last = chain.range().rfind(in_time);
        last.map_or(0, |at| at - chain.range().start + 1)
    }

    /// A write of which one sector is there is there with all of them.
    fn complete_writes(&self, levels: &mut [usize]) {
        let taken = self.chains.iter().zip(&*levels);
        let mut ops: Vec<OpId> = taken
            .filter_map(|(chain, level)| self.op_at(*chain, *level))
            .collect();
        ops.sort_unstable();
        for (chain, level) in self.chains.iter().zip(levels) {
            let kept = |at: &usize| ops.binary_search(&self.entries[*at].unit.op).is_ok();
            if let Some(at) = chain.range().rfind(kept) {
                *level = (*level).max(at - chain.range().start + 1);
            }
        }
    }
}
