//! The second half of a power cut: every pending effect meets its fate.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fates::{Chooser, Fates, Pick};
use super::image::{Sector, SectorData};
use super::inode::{Inode, Version};
use super::keep::{OpId, Part, Unit};
use super::names::{Names, Node};
use super::pending::{Chain, FilePending, Pending};
use super::profile::FreshBlock;
use super::report::{CrashReport, Draft, SectorFate, shown};
use super::resolve::{FileOutcome, Outcome};
use super::state::{Draw, State};
use crate::rng::hash;

impl State {
    /// The report is empty if it is not `wanted`.
    pub fn power_cut(&mut self, fates: &Fates, wanted: bool) -> CrashReport {
        let pending = Pending::of(self);
        let (outcome, names) = self.resolve(&pending, fates);
        self.apply(&pending, &outcome, names, wanted)
    }

    /// Which fate each pending effect takes, and the names that are left.
    fn resolve(&self, pending: &Pending, fates: &Fates) -> (Outcome, Names) {
        let mut chooser = Chooser::new(fates, self.profile.fresh, || pending.tips());
        let mut outcome = pending.outcome();
        pending.resolve_names(&self.profile, &mut chooser, &mut outcome);
        let names = self.names.outcome(&outcome.names);
        for node in names.values() {
            let Node::File(inode) = node else { continue };
            let place = pending.files.binary_search_by_key(inode, |file| file.inode);
            if let Ok(place) = place {
                outcome.files[place].alive = true;
            }
        }
        let files = pending.files.iter();
        let durable: Vec<u64> = files
            .map(|file| self.inodes[&file.inode].disk_len)
            .collect();
        pending.resolve_files(&self.profile, &durable, &mut chooser, &mut outcome);
        (outcome, names)
    }

    /// Carries it out. The report is empty if it is not `wanted`.
    fn apply(
        &mut self,
        pending: &Pending,
        outcome: &Outcome,
        names: Names,
        wanted: bool,
    ) -> CrashReport {
        let mut draft = Draft::new(self.boot, wanted);
        for (op, kept) in self.names.pending.iter().zip(&outcome.names) {
            draft.name(op.op, &op.change, *kept);
            if *kept {
                draft.keep(op.unit());
            }
        }
        self.names.settle(names);

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
        let mut fates = pending.files.iter().zip(&outcome.files).peekable();
        for (id, mut inode) in std::mem::take(&mut self.inodes) {
            let fate = fates.next_if(|(file, _)| file.inode == id);
            let Some(name) = survivors.remove(&id) else {
                lose_nameless(&inode, &mut draft);
                freed.push_all(&inode.cache);
                continue;
            };
            if !inode.at_rest(&name) {
                let file = Arc::make_mut(&mut inode);
                if let Some((pending, outcome)) = fate {
                    let cut = Cut {
                        state: self,
                        name: &file.name.clone(),
                        pending,
                        outcome,
                    };
                    cut.file(file, &mut draft);
                }
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

    /// Everything that is pending, superseded versions and garbage included.
    pub fn pending(&self) -> Vec<Unit> {
        Pending::of(self).units(&self.profile)
    }

    /// What a new sector shows whose data is lost.
    pub fn garbage(&self, version: &Version) -> Sector {
        let OpId { boot, n } = version.op;
        let draw = hash(&[
            self.seed,
            Draw::Garbage as u64,
            u64::from(boot),
            u64::from(n),
            u64::from(version.index),
        ]);
        Some(match self.profile.fresh {
            FreshBlock::Garbage => self.freed.garbage(version.sector, draw),
            _ => {
                let stale = self.freed.stale(version.sector, draw);
                stale.unwrap_or_else(SectorData::zeros)
            }
        })
    }
}

/// The cut of one file that keeps its name.
struct Cut<'a> {
    state: &'a State,
    /// Its latest name.
    name: &'a str,
    pending: &'a FilePending,
    outcome: &'a FileOutcome,
}

impl Cut<'_> {
    fn file(&self, file: &mut Inode, draft: &mut Draft) {
        self.length(file, draft);
        if let Some(len) = self.pending.len(self.outcome.length) {
            file.disk_len = len;
        }
        let versions = std::mem::take(&mut file.pending);
        let mut fates = Vec::with_capacity(versions.len());
        for (chain, pick) in self.pending.chains.iter().zip(&self.outcome.picks) {
            let of_chain = self.pending.versions(&versions, *chain);
            let note = self.sector(file, *chain, *pick, &versions, draft);
            for (place, version) in of_chain.enumerate() {
                let kept = matches!(pick, Some(Pick::Version(latest)) if place <= *latest);
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

    /// Gives a sector its content; what it shows instead of new data.
    fn sector(
        &self,
        file: &mut Inode,
        chain: Chain,
        pick: Option<Pick>,
        versions: &[Version],
        draft: &mut Draft,
    ) -> &'static str {
        let version = |place| self.pending.version(versions, chain, place);
        let content = match pick {
            Some(Pick::Version(place)) => {
                draft.keep(version(place).unit());
                version(place).data.clone()
            }
            Some(Pick::Garbage(place)) => {
                let Version { op, index, .. } = *version(place);
                let part = Part::Garbage(index);
                draft.keep(Unit { op, part });
                self.state.garbage(version(place))
            }
            Some(Pick::Durable) | None => file.disk.get(chain.sector).cloned(),
        };
        let note = match pick {
            None => "past the end",
            Some(Pick::Garbage(_)) => "garbage",
            _ if content.as_ref().is_none_or(|data| data.is_zero()) => "zeroed",
            _ => "",
        };
        file.disk.set(chain.sector, content);
        note
    }

    fn length(&self, file: &Inode, draft: &mut Draft) {
        let chosen = self.outcome.length.map(|place| {
            let unit = self.pending.lengths[place].unit;
            (unit, self.pending.lens[place])
        });
        let mut before = file.disk_len;
        for length in &file.lengths {
            let op = length.op;
            let part = Part::Size;
            let whole = shown(self.state.boot, Unit { op, part });
            let (kept, note) = match chosen {
                Some((unit, len)) if unit.op == whole.op && unit.part != part => {
                    (false, format!("at {len}"))
                }
                Some((unit, _)) => (unit >= whole, String::new()),
                None => (false, String::new()),
            };
            draft.length(length.op, self.name, before, length.len, kept, &note);
            before = length.len;
        }
        if let Some((unit, _)) = chosen {
            draft.keep(unit);
        }
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
