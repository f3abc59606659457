//! Everything that is pending, in the shape in which a power cut asks for it.

use super::image::SECTOR;
use super::inode::{Inode, Length, Version};
use super::keep::{OpId, Part, Unit};
use super::names::NameOp;
use super::profile::{Growth, Log, Profile, Tear};
use super::report::shown;
use super::rules::{BLOCK, Class, block_of};
use super::state::State;

/// One pending effect.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// As plans name it.
    pub unit: Unit,
    /// It newly allocates a sector.
    pub fresh: bool,
    /// Its place in [`Pending::units`], and that of its garbage; 0 until
    /// [`Pending::number`] has been called.
    pub bit: u32,
    pub garbage: u32,
}

/// The pending versions of one sector: a range of [`FilePending::entries`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain {
    pub sector: u32,
    pub from: u32,
    pub to: u32,
}

impl Chain {
    pub fn range(self) -> std::ops::Range<usize> {
        self.from as usize..self.to as usize
    }
}

/// What is pending of one file.
#[derive(Debug)]
pub(super) struct FilePending {
    pub inode: u64,
    /// The lengths, oldest first, each after those from the middle of its write.
    pub lengths: Vec<Entry>,
    pub lens: Vec<u64>,
    /// The versions by sector, and of each sector the oldest first.
    pub entries: Vec<Entry>,
    /// Where each of them is in the inode's list.
    pub places: Vec<u32>,
    /// By sector.
    pub chains: Vec<Chain>,
    /// What the profile's rules ask for; nothing where it has no log.
    /// Of each length, whether it goes with the names.
    pub at_once: Vec<bool>,
    /// Of each version.
    pub traits: Vec<Traits>,
    /// The writes that made the file longer, in order.
    pub growing: Vec<OpId>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Traits {
    pub class: Class,
    /// Some of it lies past the end that the file had before.
    pub grows: bool,
}

/// What is pending of all names and files.
#[derive(Debug)]
pub(super) struct Pending {
    /// In the order of the operations.
    pub names: Vec<Entry>,
    /// For each name operation, the earlier ones that it builds on.
    pub builds_on: Vec<Vec<u32>>,
    /// The files that have pending effects, by inode.
    pub files: Vec<FilePending>,
    /// The renames (by place among the names) that wait for the data of a file
    /// (by place).
    pub flushes: Vec<(usize, usize)>,
}

impl Pending {
    pub fn of(state: &State) -> Self {
        let Namespaced { names, builds_on } = Namespaced::of(state);
        let files = state.inodes.iter();
        let files = files.filter(|(_, file)| file.has_pending());
        let files: Vec<FilePending> = files
            .map(|(inode, file)| FilePending::of(*inode, file, state))
            .collect();
        let mut flushes = Vec::new();
        if state.profile.replace_flushes {
            for (place, op) in state.names.pending.iter().enumerate() {
                let Some(inode) = op.replaces_with() else {
                    continue;
                };
                let file = files.binary_search_by_key(&inode, |file| file.inode);
                flushes.extend(file.ok().map(|file| (place, file)));
            }
        }
        Pending {
            names,
            builds_on,
            files,
            flushes,
        }
    }

    /// The latest version of every name operation, length and sector.
    pub fn tips(&self) -> Vec<Unit> {
        let mut units: Vec<Unit> = self.names.iter().map(|entry| entry.unit).collect();
        for file in &self.files {
            units.extend(file.lengths.last().map(|length| length.unit));
            units.extend(file.chains.iter().map(|chain| file.tip(*chain).unit));
        }
        units
    }

    /// Every unit that can be kept, in the order of the operations, superseded
    /// versions and garbage included.
    pub fn units(&self, profile: &Profile) -> Vec<Unit> {
        let mut units: Vec<Unit> = self.names.iter().map(|entry| entry.unit).collect();
        for file in &self.files {
            units.extend(file.lengths.iter().map(|entry| entry.unit));
            for entry in &file.entries {
                units.push(entry.unit);
                units.extend(entry.as_garbage(profile));
            }
        }
        units.sort_unstable();
        units
    }

    /// Gives each entry its place in `units`.
    pub fn number(&mut self, units: &[Unit], profile: &Profile) {
        let place = |unit: &Unit| match units.binary_search(unit) {
            Ok(place) => place as u32,
            Err(_) => panic!("{unit:?} is pending and not among the units"),
        };
        let files = self.files.iter_mut();
        let of_files = files.flat_map(|file| file.lengths.iter_mut().chain(&mut file.entries));
        for entry in self.names.iter_mut().chain(of_files) {
            entry.bit = place(&entry.unit);
            entry.garbage = entry.as_garbage(profile).map_or(0, |unit| place(&unit));
        }
    }
}

/// The names' part, while it is put together.
struct Namespaced {
    names: Vec<Entry>,
    builds_on: Vec<Vec<u32>>,
}

impl Namespaced {
    fn of(state: &State) -> Self {
        let pending = &state.names.pending;
        let order = state.profile.names;
        let builds_on = (0..pending.len()).map(|later| {
            let earlier =
                (0..later).filter(|earlier| state.names.builds_on(order, later, *earlier));
            earlier.map(|earlier| earlier as u32).collect()
        });
        Namespaced {
            builds_on: builds_on.collect(),
            names: pending
                .iter()
                .map(|pending| Entry::new(shown(state.boot, pending.unit()), false))
                .collect(),
        }
    }
}

impl FilePending {
    pub fn of(inode: u64, file: &Inode, state: &State) -> Self {
        let log = state.profile.log;
        let mut growing = Vec::new();
        let (mut lengths, mut lens, mut at_once) = (Vec::new(), Vec::new(), Vec::new());
        for length in &file.lengths {
            let op = shown(state.boot, length.unit()).op;
            if length.grew_from < length.len {
                growing.push(op);
            }
            for (part, len, logged) in length.stages(file, &state.profile) {
                lengths.push(Entry::new(Unit { op, part }, false));
                lens.push(len);
                at_once.push(logged);
            }
        }
        let mut places: Vec<u32> = (0..file.pending.len() as u32).collect();
        // Stable: versions of one sector stay in the order of the operations.
        places.sort_by_key(|place| file.pending[*place as usize].sector);
        let versions = || places.iter().map(|place| &file.pending[*place as usize]);
        let traits: Vec<Traits> = match log {
            Log::None => Vec::new(),
            _ => versions()
                .map(|version| version.traits(file, log))
                .collect(),
        };
        let fresh = |at: usize, version: &Version| match traits.get(at) {
            Some(traits) => {
                let reserved = file.raw.contains(&block_of(version.sector));
                traits.class == Class::Fresh && !version.cut && !reserved
            }
            None => version.fresh,
        };
        let entries = versions().enumerate().map(|(at, version)| {
            let unit = shown(state.boot, version.unit());
            Entry::new(unit, fresh(at, version))
        });
        let entries = entries.collect();
        let mut chains: Vec<Chain> = Vec::new();
        for (at, version) in (0..).zip(versions()) {
            match chains.last_mut() {
                Some(last) if last.sector == version.sector => last.to = at + 1,
                _ => chains.push(Chain {
                    sector: version.sector,
                    from: at,
                    to: at + 1,
                }),
            }
        }
        FilePending {
            inode,
            lengths,
            lens,
            entries,
            places,
            chains,
            at_once,
            traits,
            growing,
        }
    }

    pub fn chain(&self, chain: Chain) -> &[Entry] {
        &self.entries[chain.range()]
    }

    fn tip(&self, chain: Chain) -> &Entry {
        &self.entries[chain.to as usize - 1]
    }

    /// The chain's `place`-th of the inode's versions.
    pub fn version<'a>(&self, versions: &'a [Version], chain: Chain, place: usize) -> &'a Version {
        &versions[self.places[chain.from as usize + place] as usize]
    }

    /// All of the chain's.
    pub fn versions<'a>(
        &self,
        versions: &'a [Version],
        chain: Chain,
    ) -> impl Iterator<Item = &'a Version> {
        let places = self.places[chain.range()].iter();
        places.map(|place| &versions[*place as usize])
    }

    /// The length that is chosen, if one is.
    pub fn len(&self, length: Option<usize>) -> Option<u64> {
        length.map(|place| self.lens[place])
    }
}

impl Entry {
    fn new(unit: Unit, fresh: bool) -> Self {
        Entry {
            unit,
            fresh,
            bit: 0,
            garbage: 0,
        }
    }

    /// The unit that keeps the block of this version without its data.
    pub fn as_garbage(&self, profile: &Profile) -> Option<Unit> {
        let Unit { op, part } = self.unit;
        match part {
            Part::Sector(index) if self.fresh && profile.fresh.shows_others() => {
                let part = Part::Garbage(index);
                Some(Unit { op, part })
            }
            _ => None,
        }
    }
}

impl NameOp {
    pub fn unit(&self) -> Unit {
        Unit {
            op: self.op,
            part: Part::Name,
        }
    }
}

impl Version {
    pub fn unit(&self) -> Unit {
        Unit {
            op: self.op,
            part: Part::Sector(self.index),
        }
    }
}

impl Version {
    fn traits(&self, file: &Inode, log: Log) -> Traits {
        let block = block_of(self.sector);
        let length = file.lengths.iter().find(|length| length.op == self.op);
        let freed = length.is_some_and(|length| u64::from(block) * BLOCK >= length.len);
        let class = match (self.cut, log) {
            // btrfs writes the block anew that the file ends in.
            (true, Log::File) => Class::Freed,
            (true, _) if freed => Class::Freed,
            _ if !file.was_mapped(block, self.op) => Class::Fresh,
            _ => Class::InPlace,
        };
        let at = u64::from(self.sector) * SECTOR as u64;
        let end = at + u64::from(self.from) + u64::from(self.len);
        Traits {
            class,
            grows: !self.cut && length.is_some_and(|length| end > length.grew_from),
        }
    }
}

impl Length {
    pub fn unit(&self) -> Unit {
        Unit {
            op: self.op,
            part: Part::Size,
        }
    }

    /// The lengths that may persist, the shortest first if it grew, and whether
    /// each goes with the names.
    pub fn stages(&self, file: &Inode, profile: &Profile) -> Vec<(Part, u64, bool)> {
        let was_set = self.grew_from == self.len;
        let last = |logged| (Part::Size, self.len, logged);
        let partial = (0..).zip(self.partial());
        let all = |logged| {
            let partial = partial.map(|(index, len)| (Part::PartialSize(index), len, logged));
            partial.chain([last(logged)]).collect()
        };
        match profile.growth {
            Growth::Free => all(false),
            Growth::Journal => all(true),
            _ if was_set => vec![last(true)],
            growth => {
                let block = (self.grew_from / BLOCK) as u32;
                let inside =
                    !self.grew_from.is_multiple_of(BLOCK) && file.was_mapped(block, self.op);
                let end = (u64::from(block) + 1) * BLOCK;
                let in_block = growth == Growth::InBlock && inside;
                // The block that the file ended in is written by itself.
                let split = inside && profile.tear == Tear::Block && end < self.len;
                let first = split.then_some((Part::PartialSize(0), end, in_block));
                let last = last(in_block && self.len <= end);
                first.into_iter().chain([last]).collect()
            }
        }
    }
}
