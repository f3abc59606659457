//! The power cut: every pending effect meets its fate.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fates::{Chooser, Closure, Fates, Pick};
use super::image::{SECTOR, Sector};
use super::inode::{Inode, Length, Version};
use super::keep::{OpId, Part, Unit};
use super::names::Node;
use super::profile::FreshBlock;
use super::report::{CrashReport, Draft, SectorFate, shown};
use super::state::{Draw, State};
use crate::rng::hash;

impl State {
    /// The report is empty if it is not `wanted`.
    pub fn power_cut(&mut self, fates: &Fates, wanted: bool) -> CrashReport {
        let mut draft = Draft::new(self.boot, wanted);
        let running = self.boot;
        let mut chooser = Chooser::new(fates, self.profile.fresh, || self.tips());
        self.cut_names(&mut chooser, &mut draft);

        let mut survivors: BTreeMap<u64, Arc<str>> = BTreeMap::new();
        for (name, node) in &self.names.disk {
            if let Node::File(inode) = node {
                let other = survivors.insert(*inode, name.clone());
                assert!(other.is_none(), "{name} and {other:?} are the same file");
            }
        }
        // Garbage comes from blocks freed before the cut, whatever is freed by
        // it: else the fate of one file would depend on that of another.
        let mut freed = self.freed.clone();
        for (id, mut inode) in std::mem::take(&mut self.inodes) {
            let Some(name) = survivors.remove(&id) else {
                lose_nameless(&inode, &mut draft);
                freed.push_all(&inode.cache);
                continue;
            };
            if !inode.at_rest(&name) {
                let file = Arc::make_mut(&mut inode);
                let cut = Cut {
                    state: self,
                    running,
                    name: &file.name.clone(),
                };
                cut.file(file, &mut chooser, &mut draft);
                let len = file.disk_len;
                file.disk.cut(len, |sector, data| freed.push(sector, data));
                file.restart(name);
            }
            self.inodes.insert(id, inode);
        }
        assert!(survivors.is_empty(), "names without a file: {survivors:?}");
        self.freed = freed;
        self.power_on();
        draft.finish()
    }

    fn cut_names(&mut self, chooser: &mut Chooser<'_>, draft: &mut Draft) {
        let units = self.name_units();
        let shown: Vec<Unit> = units.iter().map(|unit| shown(self.boot, *unit)).collect();
        let (mut kept, closure) = chooser.names(&shown);
        match closure {
            Closure::PullIn => self.names.pull_in(self.profile.names, &mut kept),
            Closure::DropOut => self.names.drop_out(self.profile.names, &mut kept),
        }
        for ((pending, unit), kept) in self.names.pending.iter().zip(&units).zip(&kept) {
            draft.name(pending.op, &pending.change, *kept);
            if *kept {
                draft.keep(*unit);
            }
        }
        self.names.resolve(&kept);
    }

    fn name_units(&self) -> Vec<Unit> {
        let pending = self.names.pending.iter();
        let part = Part::Name;
        pending
            .map(|pending| Unit {
                op: pending.op,
                part,
            })
            .collect()
    }

    /// The latest version of everything that is pending.
    fn tips(&self) -> Vec<Unit> {
        let mut units = self.name_units();
        for inode in self.inodes.values() {
            units.extend(inode.lengths.last().map(|length| Unit {
                op: length.op,
                part: Part::Size,
            }));
            let chains = chains(&inode.pending);
            units.extend(chains.values().map(|chain| chain[chain.len() - 1].unit()));
        }
        units.iter().map(|unit| shown(self.boot, *unit)).collect()
    }

    /// Everything that is pending, superseded versions and garbage included.
    pub fn pending(&self) -> Vec<Unit> {
        let mut units = self.name_units();
        for inode in self.inodes.values() {
            units.extend(length_chain(&inode.lengths).map(|(unit, _)| unit));
            for version in &inode.pending {
                units.push(version.unit());
                if version.fresh && self.profile.fresh == FreshBlock::Garbage {
                    let part = Part::Garbage(version.index);
                    units.push(Unit {
                        op: version.op,
                        part,
                    });
                }
            }
        }
        units.sort_unstable();
        units.iter().map(|unit| shown(self.boot, *unit)).collect()
    }
}

/// The cut of one file that keeps its name.
struct Cut<'a> {
    state: &'a State,
    running: u32,
    /// Its latest name.
    name: &'a str,
}

impl Cut<'_> {
    fn file(&self, file: &mut Inode, chooser: &mut Chooser<'_>, draft: &mut Draft) {
        file.disk_len = self.length(file, chooser, draft);
        let mut fates = Vec::new();
        let pending = std::mem::take(&mut file.pending);
        for (sector, chain) in chains(&pending) {
            let pick = match u64::from(sector) * (SECTOR as u64) < file.disk_len {
                true => self.pick(&chain, chooser, draft),
                // It is not part of the file: nothing to choose.
                false => None,
            };
            let content = match pick {
                Some(Pick::Version(place)) => chain[place].data.clone(),
                Some(Pick::Garbage(place)) => self.garbage(chain[place]),
                Some(Pick::Durable) | None => file.disk.get(sector).cloned(),
            };
            let note = match pick {
                None => "past the end",
                Some(Pick::Garbage(_)) => "garbage",
                _ if content.as_ref().is_none_or(|data| data.is_zero()) => "zeroed",
                _ => "",
            };
            file.disk.set(sector, content);
            for (place, version) in chain.into_iter().enumerate() {
                let kept = matches!(pick, Some(Pick::Version(latest)) if place <= latest);
                let note = if kept { "" } else { note };
                fates.push(SectorFate {
                    version,
                    kept,
                    note,
                });
            }
        }
        if fates.iter().any(|fate| fate.kept) && fates.iter().any(|fate| !fate.kept) {
            draft.torn(self.name);
        }
        draft.sectors(self.name, fates);
    }

    fn length(&self, file: &Inode, chooser: &mut Chooser<'_>, draft: &mut Draft) -> u64 {
        let chain: Vec<(Unit, u64)> = length_chain(&file.lengths).collect();
        let units: Vec<(Unit, bool)> = chain
            .iter()
            .map(|(unit, _)| (shown(self.running, *unit), false))
            .collect();
        let chosen = chooser.length(&units).map(|place| chain[place]);
        let mut before = file.disk_len;
        for length in &file.lengths {
            let part = Part::Size;
            let whole = Unit {
                op: length.op,
                part,
            };
            let (kept, note) = match chosen {
                Some((unit, len)) if unit.op == length.op && unit.part != part => {
                    (false, format!("at {len}"))
                }
                Some((unit, _)) => (unit >= whole, String::new()),
                None => (false, String::new()),
            };
            draft.length(length.op, self.name, before, length.len, kept, &note);
            before = length.len;
        }
        let Some((unit, len)) = chosen else {
            return file.disk_len;
        };
        draft.keep(unit);
        len
    }

    fn pick(
        &self,
        chain: &[&Version],
        chooser: &mut Chooser<'_>,
        draft: &mut Draft,
    ) -> Option<Pick> {
        let units: Vec<_> = chain
            .iter()
            .map(|version| (shown(self.running, version.unit()), version.fresh))
            .collect();
        let pick = chooser.sector(&units);
        match pick {
            Pick::Durable => (),
            Pick::Version(place) => draft.keep(chain[place].unit()),
            Pick::Garbage(place) => {
                let part = Part::Garbage(chain[place].index);
                let op = chain[place].op;
                draft.keep(Unit { op, part });
            }
        }
        Some(pick)
    }

    fn garbage(&self, version: &Version) -> Sector {
        let OpId { boot, n } = version.op;
        let draw = hash(&[
            self.state.seed,
            Draw::Garbage as u64,
            u64::from(boot),
            u64::from(n),
            u64::from(version.index),
        ]);
        Some(self.state.freed.garbage(version.sector, draw))
    }
}

fn lose_nameless(file: &Inode, draft: &mut Draft) {
    let mut before = file.disk_len;
    for length in &file.lengths {
        draft.length(length.op, &file.name, before, length.len, false, NAMELESS);
        before = length.len;
    }
    let fates = file.pending.iter().map(|version| SectorFate {
        version,
        kept: false,
        note: NAMELESS,
    });
    draft.sectors(&file.name, fates.collect());
}
const NAMELESS: &str = "nameless";

/// The pending lengths, oldest first, each after those that it had in the
/// middle of its write.
fn length_chain(lengths: &[Length]) -> impl Iterator<Item = (Unit, u64)> + '_ {
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

/// The pending versions of each sector, oldest first.
fn chains(pending: &[Version]) -> BTreeMap<u32, Vec<&Version>> {
    let mut chains: BTreeMap<u32, Vec<&Version>> = BTreeMap::new();
    for version in pending {
        chains.entry(version.sector).or_default().push(version);
    }
    chains
}

impl Version {
    fn unit(&self) -> Unit {
        Unit {
            op: self.op,
            part: Part::Sector(self.index),
        }
    }
}
