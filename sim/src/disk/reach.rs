//! What a power cut may leave, of all that it may: is this content possible,
//! and how many are there?
//!
//! Possible is decided by membership. For each durable state of the names and
//! the log, and each length, every sector starts at the lowest level that shows
//! the wanted bytes; the rules raise levels, and a sector that no longer shows
//! them climbs to the next one that does. The rules only ever raise, so what is
//! reached is the least solution, and if there is none, none exists. The cost
//! grows with the number of sectors, while that of their combinations explodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::freed::Freed;
use super::image::{SECTOR, SectorData, placed};
use super::inode::Inode;
use super::keep::OpId;
use super::names::Node;
use super::pending::{Chain, FilePending, Pending};
use super::profile::{Log, Profile, Tear};
use super::rules::{Frontier, Given, block_of};
use super::state::State;
use super::{SimFs, name_hash};

impl SimFs {
    /// Whether a power cut at this moment may leave exactly these files, by
    /// their paths; those that are `ignored` may be there or not. Directories
    /// do not count.
    pub fn can_leave(&self, files: &BTreeMap<String, Vec<u8>>, ignored: &[&str]) -> bool {
        let state = self.disk.state();
        let scene = Scene::of(&state, ignored);
        scene
            .settings()
            .any(|setting| scene.leaves(&setting, files))
    }

    /// A hash of each distinct content that a power cut at this moment may
    /// leave, apart from files that are `ignored`; `None` if they are more than
    /// `limit`. Where stale bytes may show, those of files known to be freed
    /// count.
    pub fn outcomes(&self, ignored: &[&str], limit: usize) -> Option<BTreeSet<u64>> {
        let state = self.disk.state();
        let scene = Scene::of(&state, ignored);
        let mut all = BTreeSet::new();
        for setting in scene.settings() {
            all.extend(scene.contents(&setting, limit)?);
            if all.len() > limit {
                return None;
            }
        }
        Some(all)
    }
}

/// One moment.
struct Scene<'a> {
    state: &'a State,
    profile: Profile,
    pending: Pending,
    ignored: &'a [&'a str],
}

/// What is durable of the names and the log.
struct Setting {
    names: Vec<bool>,
    frontier: Frontier,
}

impl<'a> Scene<'a> {
    fn of(state: &'a State, ignored: &'a [&'a str]) -> Self {
        Scene {
            state,
            profile: state.profile,
            pending: Pending::of(state),
            ignored,
        }
    }

    fn settings(&self) -> Box<dyn Iterator<Item = Setting> + '_> {
        match self.profile.log {
            Log::None | Log::File => Box::new(self.subsets().map(|names| Setting {
                names,
                frontier: Frontier::default(),
            })),
            Log::Whole => Box::new(self.frontiers().into_iter().map(|frontier| {
                let names = self.pending.names.iter();
                Setting {
                    names: names.map(|name| frontier.keeps(name.unit.op)).collect(),
                    frontier,
                }
            })),
        }
    }

    /// The subsets of the name operations that may persist.
    fn subsets(&self) -> impl Iterator<Item = Vec<bool>> + '_ {
        let builds_on = &self.pending.builds_on;
        let mut next = Some(vec![false; builds_on.len()]);
        std::iter::from_fn(move || {
            let current = next.take()?;
            // The next one as a binary number whose highest digit is the first
            // operation: a digit can be set if those that it builds on are.
            let mut following = current.clone();
            next = (0..current.len()).rev().find_map(|place| {
                let based = || builds_on[place].iter().all(|on| current[*on as usize]);
                if !current[place] && based() {
                    following[place] = true;
                    return Some(following.clone());
                }
                following[place] = false;
                None
            });
            Some(current)
        })
    }

    /// How far the log may be durable.
    fn frontiers(&self) -> Vec<Frontier> {
        let mut ops: BTreeSet<OpId> = self.pending.names.iter().map(|name| name.unit.op).collect();
        let mut parts: BTreeSet<(OpId, u32)> = BTreeSet::new();
        for file in &self.pending.files {
            let lengths = file.lengths.iter().zip(&file.at_once);
            ops.extend(
                lengths
                    .filter(|(_, logged)| **logged)
                    .map(|(length, _)| length.unit.op),
            );
            if self.profile.tear == Tear::Journal {
                for chain in &file.chains {
                    for entry in file.chain(*chain) {
                        ops.insert(entry.unit.op);
                        parts.insert((entry.unit.op, block_of(chain.sector)));
                    }
                }
            }
        }
        let ends: Vec<Option<OpId>> = std::iter::once(None)
            .chain(ops.into_iter().map(Some))
            .collect();
        let mut all = Vec::new();
        for (place, until) in ends.iter().enumerate() {
            let frontier = Frontier {
                until: *until,
                before: ends.get(place + 1).copied().flatten(),
                part: None,
            };
            all.push(frontier);
            let blocks = parts.iter().filter(|(op, _)| Some(*op) == *until);
            all.extend(blocks.map(|(_, block)| Frontier {
                part: Some(*block),
                ..frontier
            }));
        }
        all
    }

    /// The files that are left, but for those that are ignored.
    fn files(&self, setting: &Setting) -> Vec<(Arc<str>, u64)> {
        let names = self.state.names.outcome(&setting.names);
        let files = names.into_iter().filter_map(|(name, node)| match node {
            Node::File(inode) if !self.ignored.contains(&&*name) => Some((name, inode)),
            _ => None,
        });
        files.collect()
    }

    fn leaves(&self, setting: &Setting, wanted: &BTreeMap<String, Vec<u8>>) -> bool {
        let files = self.files(setting);
        let ignored = |name: &&String| self.ignored.contains(&name.as_str());
        files.len() == wanted.keys().filter(|name| !ignored(name)).count()
            && files.iter().all(|(name, inode)| {
                wanted
                    .get(&**name)
                    .is_some_and(|bytes| self.file_leaves(setting, *inode, bytes))
            })
    }

    fn file_leaves(&self, setting: &Setting, inode: u64, wanted: &[u8]) -> bool {
        self.ends(setting, inode)
            .iter()
            .any(|end| end.leaves(wanted))
    }

    /// The files' contents, multiplied out.
    fn contents(&self, setting: &Setting, limit: usize) -> Option<BTreeSet<u64>> {
        let mut all = BTreeSet::from([0]);
        for (name, inode) in self.files(setting) {
            let name = xxhash_rust::xxh3::xxh3_64(name.as_bytes());
            let mut contents = BTreeSet::new();
            for end in self.ends(setting, inode) {
                let hashes = end.contents(limit)?;
                contents.extend(
                    hashes
                        .into_iter()
                        .map(|hash| name_hash(name, Some((end.len, hash)))),
                );
            }
            if all.len() * contents.len() > limit {
                return None;
            }
            all = all
                .iter()
                .flat_map(|others| contents.iter().map(move |one| others ^ one))
                .collect();
        }
        Some(all)
    }

    /// The lengths that the file may have.
    fn ends(&self, setting: &Setting, inode: u64) -> Vec<End<'_>> {
        let file = &*self.state.inodes[&inode];
        let place = self
            .pending
            .files
            .iter()
            .position(|file| file.inode == inode);
        let end = |pending, len, given| End {
            file,
            pending,
            profile: &self.profile,
            freed: &self.state.freed,
            len,
            given,
        };
        let Some(place) = place else {
            return vec![end(None, file.disk_len, None)];
        };
        let pending = &self.pending.files[place];
        let flushed = self.pending.flushed(place, &setting.names);
        let least = pending.least_length(&self.profile, setting.frontier, flushed);
        let lengths = std::iter::once(None).chain((0..pending.lengths.len()).map(Some));
        let lengths = lengths.filter(|length| *length >= least);
        let possible = lengths.filter(|length| {
            let Some(place) = *length else { return true };
            let op = pending.lengths[place].unit.op;
            match self.profile.log {
                Log::None | Log::File => true,
                Log::Whole if *length == least => true,
                Log::Whole => !pending.at_once[place] && !setting.frontier.bars(op),
            }
        });
        let ends = possible.map(|length| {
            let len = pending.len(length).unwrap_or(file.disk_len);
            let made_by = length.map(|place| pending.lengths[place].unit.op);
            let mut frontier = setting.frontier;
            if self.profile.log == Log::File {
                frontier = pending.frontier_at(length);
            }
            let given = Given {
                frontier,
                length: made_by,
                flushed,
            };
            end(Some(pending), len, Some(given))
        });
        ends.collect()
    }
}

impl FilePending {
    /// Where only the file itself is in order: everything up to its length, and
    /// nothing from the next one on that was set.
    fn frontier_at(&self, length: Option<usize>) -> Frontier {
        let next = length.map_or(0, |place| place + 1);
        let mut later = (next..self.lengths.len()).filter(|place| self.at_once[*place]);
        Frontier {
            until: length.map(|place| self.lengths[place].unit.op),
            before: later.next().map(|place| self.lengths[place].unit.op),
            part: None,
        }
    }
}

/// A file with one of its lengths.
struct End<'a> {
    file: &'a Inode,
    /// With what is known of its fate.
    pending: Option<&'a FilePending>,
    given: Option<Given>,
    profile: &'a Profile,
    freed: &'a Freed,
    len: u64,
}

impl End<'_> {
    fn leaves(&self, wanted: &[u8]) -> bool {
        if wanted.len() as u64 != self.len {
            return false;
        }
        let sectors = wanted.chunks(SECTOR).map(|part| {
            let mut bytes = [0; SECTOR];
            bytes[..part.len()].copy_from_slice(part);
            SectorData::new(bytes)
        });
        let sectors: Vec<Arc<SectorData>> = sectors.collect();
        let chains = self.pending.map_or(&[][..], |pending| &pending.chains);
        let rest = (0..).zip(&sectors).all(|(sector, wanted)| {
            let chain = chains.binary_search_by_key(&sector, |chain| chain.sector);
            chain.is_ok() || self.shows(self.file.disk.get(sector), sector, wanted)
        });
        rest && self.climbs(chains, &sectors)
    }

    /// Whether there are levels at which each sector shows what is wanted.
    fn climbs(&self, chains: &[Chain], wanted: &[Arc<SectorData>]) -> bool {
        let mut levels = vec![0; chains.len()];
        loop {
            let Some(mut raised) = self.close(&levels) else {
                return false;
            };
            let closed = raised.clone();
            for (chain, level) in chains.iter().zip(&mut raised) {
                let Some(wanted) = wanted.get(chain.sector as usize) else {
                    continue;
                };
                while !self.shows_at(*chain, *level, wanted) {
                    *level += 1;
                    if *level > chain.range().len() {
                        return false;
                    }
                }
            }
            if raised == closed {
                return true;
            }
            levels = raised;
        }
    }

    /// The least possible levels from these on, if there are any.
    fn close(&self, levels: &[usize]) -> Option<Vec<usize>> {
        let (Some(pending), Some(given)) = (self.pending, self.given) else {
            return Some(levels.to_vec());
        };
        if self.profile.log == Log::None {
            return Some(levels.to_vec());
        }
        let mut closed = levels.to_vec();
        pending.close(self.profile, given, &mut closed);
        let raised = closed
            .iter()
            .zip(levels)
            .all(|(closed, level)| closed >= level);
        let possible = || {
            let levels = pending.chains.iter().zip(&closed);
            self.profile.log != Log::File
                || levels
                    .into_iter()
                    .all(|(chain, level)| self.in_order(*chain, *level))
        };
        (raised && possible()).then_some(closed)
    }

    /// Where the file is in order by itself, whether the length permits the
    /// version: a write that grew the file brings its length.
    fn in_order(&self, chain: Chain, level: usize) -> bool {
        let (Some(pending), Some(given)) = (self.pending, self.given) else {
            return true;
        };
        let Some(place) = level.checked_sub(1) else {
            return true;
        };
        let op = pending.chain(chain)[place].unit.op;
        let longer = pending.growing.contains(&op) && given.length < Some(op);
        !longer && !given.frontier.bars(op)
    }

    fn shows_at(&self, chain: Chain, level: usize, wanted: &Arc<SectorData>) -> bool {
        let data = self.data(chain, level);
        self.shows(data, chain.sector, wanted)
            || self.can_be_garbage(chain, level)
                && self
                    .freed
                    .iter()
                    .any(|data| self.shows(Some(data), chain.sector, wanted))
    }

    fn data(&self, chain: Chain, level: usize) -> Option<&Arc<SectorData>> {
        match (self.pending, level.checked_sub(1)) {
            (Some(pending), Some(place)) => {
                let version = pending.version(&self.file.pending, chain, place);
                version.data.as_ref()
            }
            _ => self.file.disk.get(chain.sector),
        }
    }

    /// Whether a block was allocated later than what the sector takes.
    fn can_be_garbage(&self, chain: Chain, level: usize) -> bool {
        let later = |pending: &FilePending| {
            let entries = pending.chain(chain)[level..].iter();
            entries.into_iter().any(|entry| entry.fresh)
        };
        self.profile.fresh.shows_others() && self.pending.is_some_and(later)
    }

    fn shows(&self, data: Option<&Arc<SectorData>>, sector: u32, wanted: &Arc<SectorData>) -> bool {
        self.hash(data, sector) == placed(Some(wanted), sector)
    }

    /// Of the sector as far as it is within the file.
    fn hash(&self, data: Option<&Arc<SectorData>>, sector: u32) -> u64 {
        let at = u64::from(sector) * SECTOR as u64;
        match data {
            _ if at >= self.len => 0,
            Some(data) if at + SECTOR as u64 > self.len => {
                placed(Some(&data.cut((self.len - at) as usize)), sector)
            }
            data => placed(data, sector),
        }
    }

    /// The hashes of all contents; `None` if they are more than `limit`.
    fn contents(&self, limit: usize) -> Option<BTreeSet<u64>> {
        let chains = self.pending.map_or(&[][..], |pending| &pending.chains);
        let durable = self.file.disk.iter().filter(|(sector, _)| {
            chains
                .binary_search_by_key(sector, |chain| chain.sector)
                .is_err()
        });
        let rest = durable.fold(0, |all, (sector, data)| all ^ self.hash(Some(data), sector));
        let mut all = BTreeSet::new();
        for levels in self.levels(chains, limit)? {
            all.extend(self.multiplied(chains, &levels, rest, limit)?);
            if all.len() > limit {
                return None;
            }
        }
        Some(all)
    }

    /// The contents with sectors at these levels: several, where garbage may
    /// stand instead; and without a log, where each takes any level.
    fn multiplied(
        &self,
        chains: &[Chain],
        levels: &[usize],
        rest: u64,
        limit: usize,
    ) -> Option<BTreeSet<u64>> {
        let mut all = BTreeSet::from([rest]);
        for (chain, level) in chains.iter().zip(levels) {
            let any = self.profile.log == Log::None;
            let levels = match any {
                true => 0..=chain.range().len(),
                false => *level..=*level,
            };
            let mut shown = BTreeSet::new();
            for level in levels {
                shown.insert(self.hash(self.data(*chain, level), chain.sector));
                if self.can_be_garbage(*chain, level) {
                    let freed = self.freed.iter();
                    shown.extend(freed.map(|data| self.hash(Some(data), chain.sector)));
                }
            }
            if all.len() * shown.len() > limit {
                return None;
            }
            all = all
                .iter()
                .flat_map(|others| shown.iter().map(move |one| others ^ one))
                .collect();
        }
        Some(all)
    }

    /// All levels that are possible together: from the least on, each raised
    /// in turn. `None` if they are more than `limit`.
    fn levels(&self, chains: &[Chain], limit: usize) -> Option<BTreeSet<Vec<usize>>> {
        let Some(least) = self.close(&vec![0; chains.len()]) else {
            return Some(BTreeSet::new());
        };
        let mut all = BTreeSet::from([least.clone()]);
        if self.profile.log == Log::None {
            return Some(all);
        }
        let mut found = vec![least];
        while let Some(levels) = found.pop() {
            for place in 0..chains.len() {
                let past_end = u64::from(chains[place].sector) * SECTOR as u64 >= self.len;
                if past_end || levels[place] == chains[place].range().len() {
                    continue;
                }
                let mut raised = levels.clone();
                raised[place] += 1;
                let Some(closed) = self.close(&raised) else {
                    continue;
                };
                if all.insert(closed.clone()) {
                    found.push(closed);
                }
                if all.len() > limit {
                    return None;
                }
            }
        }
        Some(all)
    }
}
