//! What every power cut would leave of one state of a disk, without building
//! it: an explorer asks for millions of them, and builds only the new ones.
//!
//! The hash of an image is an XOR over names, and that of a file over sectors.
//! So each thing that may stand in a place is hashed once, and a power cut is a
//! few choices among hashes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::fates::{Chooser, Fates, Pick};
use super::image::{SECTOR, SectorData, placed};
use super::inode::Inode;
use super::keep::{Keep, Unit};
use super::names::{Change, Node, parent};
use super::pending::{Chain, FilePending, Pending};
use super::profile::Profile;
use super::resolve::{FileOutcome, Outcome};
use super::state::State;
use super::{SimFs, name_hash};
use crate::rng::hash;

/// All power cuts at one moment. Made by [`SimFs::cutter`]; the disk may go on
/// meanwhile, the cutter does not see it.
///
/// ```
/// # use afterimage_sim::disk::{Fates, SimFs};
/// # use std::path::Path;
/// # let disk = SimFs::new(1);
/// # disk.boot().create_new(Path::new("f"))?.write_at(b"data", 0)?;
/// let mut cutter = disk.cutter();
/// let mut kept = vec![false; cutter.units().len()];
/// kept[0] = true;
/// let hash = cutter.hash(&kept);
///
/// let fork = disk.fork();
/// fork.power_cut_unreported(&Fates::Explicit(cutter.keep(&kept)));
/// assert_eq!(fork.image_hash(), hash);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Cutter {
    profile: Profile,
    units: Vec<Unit>,
    pending: Pending,
    /// XOR over the names that no pending operation touches, of files of which
    /// nothing is pending.
    fixed: u64,
    /// The other names, a directory before what is in it.
    names: Vec<Name>,
    /// In the order of the pending operations.
    ops: Vec<NameChange>,
    /// Of the pending files, in their order.
    files: Vec<FileHashes>,
    durable: Vec<u64>,
    outcome: Outcome,
    bound: Vec<Bound>,
    reached: Vec<bool>,
}

#[derive(Debug)]
struct Name {
    hash: u64,
    dir: Dir,
    /// In the durable names.
    bound: Bound,
}

/// The directory that a name is in.
#[derive(Debug, Clone, Copy)]
enum Dir {
    /// It is there whatever persists.
    Fixed,
    /// It is not there, whatever persists.
    Missing,
    Name(usize),
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    Nothing,
    Dir,
    /// A file of which nothing is pending: its length and hash.
    AtRest(u64, u64),
    /// Of the pending files, by place.
    File(usize),
}

/// What a name operation does to `names`, by place.
#[derive(Debug)]
struct NameChange {
    from: Option<usize>,
    to: Option<(usize, Bound)>,
}

/// The hashes of what may become of a file.
#[derive(Debug)]
struct FileHashes {
    /// By the length: the durable one, then the pending ones.
    ends: Vec<End>,
    /// What each sector with pending versions may show, chain by chain.
    shows: Vec<Shows>,
}

#[derive(Debug)]
struct End {
    len: u64,
    /// XOR over the sectors of which nothing is pending.
    rest: u64,
    /// The chain in whose sector the file ends, cut off there.
    cut: Option<(usize, Shows)>,
}

/// Hashes of one sector.
#[derive(Debug)]
struct Shows {
    durable: u64,
    /// Of each version, and of the garbage in its place.
    versions: Vec<(u64, u64)>,
}

impl Shows {
    fn get(&self, pick: Pick) -> u64 {
        match pick {
            Pick::Durable => self.durable,
            Pick::Version(place) => self.versions[place].0,
            Pick::Garbage(place) => self.versions[place].1,
        }
    }
}

impl SimFs {
    /// All power cuts at this moment, prepared.
    pub fn cutter(&self) -> Cutter {
        Cutter::of(&self.disk.state())
    }

    /// The [`SimFs::image_hash`] that a power cut with these fates would leave.
    /// For many fates of one state, keep the [`SimFs::cutter`].
    pub fn outcome_hash(&self, fates: &Fates) -> u64 {
        self.cutter().hash_of(fates)
    }
}

impl Cutter {
    /// What can be kept, in the order of the operations: see [`SimFs::pending`].
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// The [`SimFs::image_hash`] that is left if these units are kept, one
    /// `bool` for each of [`Cutter::units`]. Any subset will do: the rules of
    /// the profile make it a possible one, as they do for `Fates::Explicit`.
    pub fn hash(&mut self, kept: &[bool]) -> u64 {
        assert_eq!(kept.len(), self.units.len(), "one for each unit");
        self.resolve(&mut Chooser::places(kept, self.profile.fresh))
    }

    /// The same for any fates.
    pub fn hash_of(&mut self, fates: &Fates) -> u64 {
        let tips = || self.pending.tips();
        let mut chooser = Chooser::new(fates, self.profile.fresh, tips);
        self.resolve(&mut chooser)
    }

    /// The subset as a plan has it.
    pub fn keep(&self, kept: &[bool]) -> Keep {
        assert_eq!(kept.len(), self.units.len(), "one for each unit");
        let chosen = self.units.iter().zip(kept).filter(|(_, kept)| **kept);
        chosen.map(|(unit, _)| *unit).collect()
    }

    fn resolve(&mut self, chooser: &mut Chooser<'_>) -> u64 {
        let profile = &self.profile;
        self.pending
            .resolve_names(profile, chooser, &mut self.outcome);
        self.bind();
        self.pending
            .resolve_files(&self.profile, &self.durable, chooser, &mut self.outcome);
        let names = self.names.iter().zip(&self.bound).zip(&self.reached);
        let names = names.filter(|(_, reached)| **reached);
        let all = names.fold(self.fixed, |all, ((name, bound), _)| {
            all ^ self.named(name.hash, *bound)
        });
        // The disk and the cache, which are the same after a power cut.
        hash(&[all, all])
    }

    /// What each name is bound to, whether its directories are there, and so
    /// which files are.
    fn bind(&mut self) {
        self.bound.clear();
        self.bound.extend(self.names.iter().map(|name| name.bound));
        for (op, kept) in self.ops.iter().zip(&self.outcome.names) {
            if !*kept {
                continue;
            }
            if let Some(from) = op.from {
                self.bound[from] = Bound::Nothing;
            }
            if let Some((to, bound)) = op.to {
                self.bound[to] = bound;
            }
        }
        for file in &mut self.outcome.files {
            file.alive = false;
        }
        self.reached.clear();
        for (name, bound) in self.names.iter().zip(&self.bound) {
            let reached = match name.dir {
                Dir::Fixed => true,
                Dir::Missing => false,
                Dir::Name(dir) => self.reached[dir] && matches!(self.bound[dir], Bound::Dir),
            };
            self.reached.push(reached);
            if let (true, Bound::File(file)) = (reached, bound) {
                self.outcome.files[*file].alive = true;
            }
        }
    }

    fn named(&self, name: u64, bound: Bound) -> u64 {
        match bound {
            Bound::Nothing => 0,
            Bound::Dir => name_hash(name, None),
            Bound::AtRest(len, content) => name_hash(name, Some((len, content))),
            Bound::File(file) => {
                let content =
                    self.files[file].content(&self.pending.files[file], &self.outcome.files[file]);
                name_hash(name, Some(content))
            }
        }
    }
}

impl FileHashes {
    /// The length and the hash of the content.
    fn content(&self, pending: &FilePending, outcome: &FileOutcome) -> (u64, u64) {
        let end = &self.ends[outcome.length.map_or(0, |place| place + 1)];
        let mut content = end.rest;
        for (place, pick) in outcome.picks.iter().enumerate() {
            // Sorted by sector: the others are past the end, too.
            let Some(pick) = *pick else { break };
            content ^= match &end.cut {
                Some((chain, shows)) if *chain == place => shows.get(pick),
                _ => self.shows[place].get(pick),
            };
        }
        debug_assert!(outcome.picks.len() == pending.chains.len());
        (end.len, content)
    }
}

/// Preparing.
impl Cutter {
    pub(super) fn of(state: &State) -> Self {
        if state.read_only {
            // There is nothing to choose: all of it is lost.
            let mut lost = state.fork();
            lost.power_cut(&Fates::Lose, false);
            return Cutter::of(&lost);
        }
        let mut pending = Pending::of(state);
        let units = pending.units(&state.profile);
        pending.number(&units, &state.profile);
        let mut table = Table::of(state, &pending);
        table.fill();
        let ops = state.names.pending.iter();
        let ops = ops.map(|op| table.change(&op.change)).collect();
        let Table { fixed, names, .. } = table;
        let files = || {
            let files = pending.files.iter();
            files.map(|file| (file, &*state.inodes[&file.inode]))
        };
        Cutter {
            profile: state.profile,
            files: files()
                .map(|(pending, file)| FileHashes::of(state, pending, file))
                .collect(),
            durable: files().map(|(_, file)| file.disk_len).collect(),
            outcome: pending.outcome(),
            units,
            fixed,
            names,
            ops,
            bound: Vec::new(),
            reached: Vec::new(),
            pending,
        }
    }
}

/// The names, while they are sorted out.
struct Table<'a> {
    state: &'a State,
    pending: &'a Pending,
    /// Directories that are there whatever persists.
    fixed_dirs: BTreeSet<&'a str>,
    fixed: u64,
    names: Vec<Name>,
    places: BTreeMap<&'a str, usize>,
}

impl<'a> Table<'a> {
    fn of(state: &'a State, pending: &'a Pending) -> Self {
        Table {
            state,
            pending,
            fixed_dirs: BTreeSet::new(),
            fixed: 0,
            names: Vec::new(),
            places: BTreeMap::new(),
        }
    }

    fn fill(&mut self) {
        let pending = self.state.names.pending.iter();
        let touched: BTreeSet<&Arc<str>> = pending.flat_map(|op| op.change.names()).collect();
        let durable = &self.state.names.disk;
        let all: BTreeSet<&Arc<str>> = durable.keys().chain(touched.iter().copied()).collect();
        for name in all {
            let bound = self.bound(durable.get(name));
            self.add(name, touched.contains(name), bound);
        }
    }

    fn add(&mut self, name: &'a str, touched: bool, bound: Bound) {
        let dir = match parent(name) {
            "" => Dir::Fixed,
            dir if self.fixed_dirs.contains(dir) => Dir::Fixed,
            dir => self
                .places
                .get(dir)
                .map_or(Dir::Missing, |at| Dir::Name(*at)),
        };
        let hash = xxh3_64(name.as_bytes());
        match (touched, dir, bound) {
            (false, Dir::Missing, _) => (),
            (false, Dir::Fixed, Bound::Dir) => {
                self.fixed_dirs.insert(name);
                self.fixed ^= name_hash(hash, None);
            }
            (false, Dir::Fixed, Bound::AtRest(len, content)) => {
                self.fixed ^= name_hash(hash, Some((len, content)));
            }
            _ => {
                self.places.insert(name, self.names.len());
                self.names.push(Name { hash, dir, bound });
            }
        }
    }

    fn bound(&self, node: Option<&Node>) -> Bound {
        match node {
            None => Bound::Nothing,
            Some(Node::Dir) => Bound::Dir,
            Some(Node::File(inode)) => {
                let files = &self.pending.files;
                match files.binary_search_by_key(inode, |file| file.inode) {
                    Ok(place) => Bound::File(place),
                    Err(_) => {
                        let file = &self.state.inodes[inode];
                        let rest = durable(file, file.disk_len, |_| true);
                        Bound::AtRest(file.disk_len, rest)
                    }
                }
            }
        }
    }

    fn change(&self, change: &Change) -> NameChange {
        let place = |name: &Arc<str>| self.places[&**name];
        match change {
            Change::Link { name, node } => NameChange {
                from: None,
                to: Some((place(name), self.bound(Some(node)))),
            },
            Change::Unlink { name } => NameChange {
                from: Some(place(name)),
                to: None,
            },
            Change::Rename { from, to, inode } => NameChange {
                from: Some(place(from)),
                to: Some((place(to), self.bound(Some(&Node::File(*inode))))),
            },
        }
    }
}

impl FileHashes {
    fn of(state: &State, pending: &FilePending, file: &Inode) -> Self {
        let show = |chain: Chain, end: Option<usize>| shows(state, pending, file, chain, end);
        let lens = std::iter::once(&file.disk_len).chain(&pending.lens);
        let is_free = |sector| {
            let chains = &pending.chains;
            chains
                .binary_search_by_key(&sector, |chain| chain.sector)
                .is_err()
        };
        let ends = lens.map(|len| {
            let (last, within) = end(*len);
            let mut chains = pending.chains.iter().enumerate();
            let cut = chains.find(|(_, chain)| within > 0 && chain.sector == last);
            End {
                len: *len,
                rest: durable(file, *len, is_free),
                cut: cut.map(|(place, chain)| (place, show(*chain, Some(within)))),
            }
        });
        FileHashes {
            ends: ends.collect(),
            shows: pending
                .chains
                .iter()
                .map(|chain| show(*chain, None))
                .collect(),
        }
    }
}

/// The sector in which a file of this length ends, and its bytes there.
fn end(len: u64) -> (u32, usize) {
    ((len / SECTOR as u64) as u32, (len % SECTOR as u64) as usize)
}

/// XOR over the durable sectors before `len`, as far as they are `counted`.
fn durable(file: &Inode, len: u64, counted: impl Fn(u32) -> bool) -> u64 {
    let (last, within) = end(len);
    let sectors = file.disk.iter().filter(|(sector, _)| counted(*sector));
    sectors.fold(0, |all, (sector, data)| {
        all ^ match sector {
            sector if sector < last => placed(Some(data), sector),
            sector if sector == last && within > 0 => placed(Some(&data.cut(within)), sector),
            _ => 0,
        }
    })
}

/// `end`: bytes of the sector before the end of the file, if it ends there.
fn shows(
    state: &State,
    pending: &FilePending,
    file: &Inode,
    chain: Chain,
    end: Option<usize>,
) -> Shows {
    let hash = |data: Option<&Arc<SectorData>>| match (data, end) {
        (Some(data), Some(within)) => placed(Some(&data.cut(within)), chain.sector),
        (data, _) => placed(data, chain.sector),
    };
    let versions = pending.versions(&file.pending, chain);
    let hashes = versions.zip(pending.chain(chain)).map(|(version, entry)| {
        let garbage = match entry.as_garbage(&state.profile) {
            Some(_) => hash(state.garbage(version).as_ref()),
            None => 0,
        };
        (hash(version.data.as_ref()), garbage)
    });
    Shows {
        durable: hash(file.disk.get(chain.sector)),
        versions: hashes.collect(),
    }
}
