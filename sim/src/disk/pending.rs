//! Everything that is pending, in the shape in which a power cut asks for it.

use super::inode::{Inode, Length, Version};
use super::keep::{Part, Unit};
use super::names::NameOp;
use super::profile::{FreshBlock, Profile};
use super::report::shown;
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
}

impl Pending {
    pub fn of(state: &State) -> Self {
        let Namespaced { names, builds_on } = Namespaced::of(state);
        let files = state.inodes.iter();
        let files = files.filter(|(_, file)| file.has_pending());
        Pending {
            names,
            builds_on,
            files: files
                .map(|(inode, file)| FilePending::of(*inode, file, state.boot))
                .collect(),
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
    fn of(inode: u64, file: &Inode, running: u32) -> Self {
        let (lengths, lens) = length_chain(&file.lengths)
            .map(|(unit, len)| (Entry::new(shown(running, unit), false), len))
            .unzip();
        let mut places: Vec<u32> = (0..file.pending.len() as u32).collect();
        // Stable: versions of one sector stay in the order of the operations.
        places.sort_by_key(|place| file.pending[*place as usize].sector);
        let versions = || places.iter().map(|place| &file.pending[*place as usize]);
        let entries = versions()
            .map(|version| Entry::new(shown(running, version.unit()), version.fresh))
            .collect();
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
            Part::Sector(index) if self.fresh && profile.fresh == FreshBlock::Garbage => {
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

/// The pending lengths, oldest first, each after those that it had in the
/// middle of its write.
pub(super) fn length_chain(lengths: &[Length]) -> impl Iterator<Item = (Unit, u64)> + '_ {
    lengths.iter().flat_map(|length| {
        let op = length.op;
        let partial = (0..).zip(length.partial()).map(move |(index, len)| {
            let part = Part::PartialSize(index);
            (Unit { op, part }, len)
        });
        let part = Part::Size;
        partial.chain([(Unit { op, part }, length.len)])
    })
}
