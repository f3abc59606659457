//! The first half of a power cut: which fate each pending effect takes. The
//! second half, `crash.rs`, carries it out; `cutter.rs` only looks at what
//! would come of it.
//!
//! What is chosen is a wish, for any subset may be written in a plan. The rules
//! of the profile (`rules.rs`) make it a possible one, by keeping more.

use super::fates::{Chooser, Closure, Pick};
use super::image::SECTOR;
use super::keep::{OpId, Part};
use super::pending::{Chain, Entry, FilePending, Pending};
use super::profile::{Log, Profile, Tear};
use super::rules::{BLOCK, Class, Frontier, Given, block_of};

/// The fates, after the profile's rules were applied. In the order of the
/// [`Pending`] that they are for.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The name operations that persist.
    pub names: Vec<bool>,
    /// Of the filesystem's log, if it has one.
    pub frontier: Frontier,
    pub files: Vec<FileOutcome>,
}

#[derive(Debug, Default, Clone)]
pub(super) struct FileOutcome {
    /// The file keeps a name.
    pub alive: bool,
    /// The pending length that it gets; `None`: the durable one.
    pub length: Option<usize>,
    /// For each chain what its sector gets; `None`: it lies past the end.
    pub picks: Vec<Option<Pick>>,
    levels: Vec<usize>,
}

impl Pending {
    /// Nothing is chosen yet.
    pub fn outcome(&self) -> Outcome {
        Outcome {
            names: Vec::with_capacity(self.names.len()),
            frontier: Frontier::default(),
            files: vec![FileOutcome::default(); self.files.len()],
        }
    }

    /// Which name operations persist: what is wanted, made possible.
    pub fn resolve_names(
        &self,
        profile: &Profile,
        chooser: &mut Chooser<'_>,
        outcome: &mut Outcome,
    ) {
        let kept = &mut outcome.names;
        kept.clear();
        let closure = chooser.names(&self.names, kept);
        match closure {
            Closure::PullIn => self.pull_in(kept),
            Closure::DropOut => self.drop_out(kept),
        }
        if profile.log == Log::Whole {
            self.resolve_log(profile, closure, chooser, outcome);
        }
    }

    /// Keeps what the kept operations build on.
    fn pull_in(&self, kept: &mut [bool]) {
        for later in (1..kept.len()).rev() {
            if kept[later] {
                for earlier in &self.builds_on[later] {
                    kept[*earlier as usize] = true;
                }
            }
        }
    }

    /// Loses what builds on the lost operations.
    fn drop_out(&self, kept: &mut [bool]) {
        for later in 1..kept.len() {
            let mut earlier = self.builds_on[later].iter();
            kept[later] &= earlier.all(|earlier| kept[*earlier as usize]);
        }
    }

    /// How far the log is durable. What is wanted of the files counts too, so
    /// all of them are asked, before it is known which keep a name.
    fn resolve_log(
        &self,
        profile: &Profile,
        closure: Closure,
        chooser: &mut Chooser<'_>,
        outcome: &mut Outcome,
    ) {
        let Outcome {
            names,
            frontier,
            files,
        } = outcome;
        *frontier = Frontier::default();
        for (entry, kept) in self.names.iter().zip(&*names) {
            match kept {
                true => frontier.reach(entry.unit.op),
                false if closure == Closure::DropOut => {
                    frontier.before.get_or_insert(entry.unit.op);
                }
                false => (),
            }
        }
        for (file, outcome) in self.files.iter().zip(&mut *files) {
            file.want(profile, frontier, chooser, outcome);
        }
        if profile.tear == Tear::Journal {
            let files = self.files.iter().zip(files);
            let last = frontier.until;
            frontier.part = last.and_then(|last| {
                files
                    .filter_map(|(file, wanted)| file.part(last, wanted))
                    .max()
            });
        }
        for (entry, kept) in self.names.iter().zip(names) {
            *kept = frontier.keeps(entry.unit.op);
        }
    }

    /// What the files get that are `alive` in the outcome.
    pub fn resolve_files(
        &self,
        profile: &Profile,
        durable: &[u64],
        chooser: &mut Chooser<'_>,
        outcome: &mut Outcome,
    ) {
        let Outcome {
            names,
            frontier,
            files,
        } = outcome;
        for (place, (file, outcome)) in self.files.iter().zip(files).enumerate() {
            if !outcome.alive {
                continue;
            }
            let durable = durable[place];
            if profile.log == Log::None {
                file.choose(durable, chooser, outcome);
                continue;
            }
            if profile.log == Log::File {
                *frontier = Frontier::default();
                file.want(profile, frontier, chooser, outcome);
            }
            let flushed = self.flushed(place, names);
            file.settle(profile, *frontier, flushed, durable, outcome);
        }
    }

    /// The latest rename that persists and has written this file's data out.
    pub fn flushed(&self, file: usize, names: &[bool]) -> Option<OpId> {
        let flushes = self.flushes.iter();
        let flushes = flushes.filter(|(name, flushed)| *flushed == file && names[*name]);
        flushes.map(|(name, _)| self.names[*name].unit.op).max()
    }
}

impl FilePending {
    /// Without a log: each by itself.
    fn choose(&self, durable: u64, chooser: &mut Chooser<'_>, outcome: &mut FileOutcome) {
        outcome.length = chooser.length(&self.lengths);
        let len = self.len(outcome.length).unwrap_or(durable);
        outcome.picks.clear();
        for chain in &self.chains {
            // Past the end it is not part of the file: nothing to choose.
            let within = u64::from(chain.sector) * (SECTOR as u64) < len;
            outcome
                .picks
                .push(within.then(|| chooser.sector(self.chain(*chain))));
        }
    }

    /// Notes what is wanted of the file, as far as the frontier lets it, and
    /// what that needs of the log.
    fn want(
        &self,
        profile: &Profile,
        frontier: &mut Frontier,
        chooser: &mut Chooser<'_>,
        outcome: &mut FileOutcome,
    ) {
        let op = |entry: &Entry| entry.unit.op;
        let mut length = chooser.length(&self.lengths);
        while let Some(place) = length.filter(|place| frontier.bars(op(&self.lengths[*place]))) {
            length = place.checked_sub(1);
        }
        outcome.length = length;
        if let Some(place) = length {
            frontier.reach(op(&self.lengths[place]));
        }
        outcome.picks.clear();
        for chain in &self.chains {
            let mut pick = chooser.sector(self.chain(*chain));
            if let Pick::Version(wanted) = pick {
                pick = self.unbarred(profile, *frontier, *chain, wanted);
            }
            outcome.picks.push(Some(pick));
            let Pick::Version(place) = pick else { continue };
            let at = chain.range().start + place;
            let op = op(&self.entries[at]);
            if self.is_logged(profile, at) && !frontier.bars(op) {
                frontier.reach(op);
            }
        }
    }

    /// What is left of the wish for a version when the log ends before it, or
    /// before one that it builds on. That is the wish then, and the log must
    /// reach it: else the same fates, written down, would ask for more.
    fn unbarred(&self, profile: &Profile, frontier: Frontier, chain: Chain, wanted: usize) -> Pick {
        let start = chain.range().start;
        let is_barred = |place: &usize| {
            let at = start + place;
            self.is_logged(profile, at) && frontier.bars(self.entries[at].unit.op)
        };
        match (0..=wanted).find(is_barred) {
            None => Pick::Version(wanted),
            Some(barred) => barred.checked_sub(1).map_or(Pick::Durable, Pick::Version),
        }
    }

    /// Whether that version persists by way of the log.
    fn is_logged(&self, profile: &Profile, at: usize) -> bool {
        match (profile.tear, self.traits[at].class) {
            (Tear::Journal, _) | (_, Class::Fresh | Class::Freed) => true,
            (_, Class::InPlace) => profile.log == Log::File,
        }
    }

    /// Where the data is in the log, and the log ends with `last`: the latest
    /// block that is wanted of that write; `None` if all of it is.
    fn part(&self, last: OpId, wanted: &FileOutcome) -> Option<u32> {
        let mut end = None;
        let mut part = None;
        for (chain, pick) in self.chains.iter().zip(&wanted.picks) {
            let Some(place) = self
                .chain(*chain)
                .iter()
                .position(|entry| entry.unit.op == last)
            else {
                continue;
            };
            if self.traits[chain.range().start + place].class == Class::Freed {
                return None;
            }
            let block = block_of(chain.sector);
            end = end.max(Some(block));
            if matches!(pick, Some(Pick::Version(taken)) if *taken == place) {
                part = part.max(Some(block));
            }
        }
        if let Some(length) = wanted
            .length
            .filter(|place| self.lengths[*place].unit.op == last)
        {
            part = match self.lengths[length].unit.part {
                Part::PartialSize(_) => part.max(Some((self.lens[length] / BLOCK) as u32 - 1)),
                _ => None,
            };
        }
        part.filter(|part| Some(*part) < end)
    }

    /// Makes what is wanted possible.
    fn settle(
        &self,
        profile: &Profile,
        mut frontier: Frontier,
        flushed: Option<OpId>,
        durable: u64,
        outcome: &mut FileOutcome,
    ) {
        let mut length = outcome.length;
        if profile.log == Log::File {
            // A write and the length that it made are one.
            let grown = outcome
                .picks
                .iter()
                .zip(&self.chains)
                .filter_map(|(pick, chain)| {
                    let Some(Pick::Version(place)) = pick else {
                        return None;
                    };
                    let op = self.chain(*chain)[*place].unit.op;
                    self.lengths.iter().position(|length| length.unit.op == op)
                });
            length = length.max(grown.max());
        }
        length = length.max(self.least_length(profile, frontier, flushed));
        let made_by = length.map(|place| self.lengths[place].unit.op);
        if profile.log == Log::File {
            frontier.until = frontier.until.max(made_by);
        }
        let given = Given {
            frontier,
            length: made_by,
            flushed,
        };
        let FileOutcome { picks, levels, .. } = outcome;
        levels.clear();
        levels.extend(picks.iter().map(|pick| match pick {
            Some(Pick::Version(place)) => place + 1,
            _ => 0,
        }));
        self.close(profile, given, levels);
        let len = self.len(length).unwrap_or(durable);
        for ((chain, level), pick) in self.chains.iter().zip(levels).zip(picks) {
            let within = u64::from(chain.sector) * (SECTOR as u64) < len;
            *pick = match (*pick, level.checked_sub(1)) {
                _ if !within => None,
                (Some(Pick::Garbage(place)), _) if *level <= place => Some(Pick::Garbage(place)),
                (_, Some(place)) => Some(Pick::Version(place)),
                (_, None) => Some(Pick::Durable),
            };
        }
        outcome.length = length;
    }

    /// The length that the log has, or that a rename has written out.
    pub fn least_length(
        &self,
        profile: &Profile,
        frontier: Frontier,
        flushed: Option<OpId>,
    ) -> Option<usize> {
        (0..self.lengths.len()).rfind(|place| {
            let Entry { unit, .. } = self.lengths[*place];
            let logged = self.at_once[*place] && frontier.keeps(unit.op);
            let whole = match (profile.tear, frontier.part) {
                (Tear::Journal, Some(part)) if frontier.until == Some(unit.op) => {
                    unit.part != Part::Size && self.lens[*place] <= (u64::from(part) + 1) * BLOCK
                }
                _ => true,
            };
            logged && whole || flushed.is_some_and(|flushed| unit.op <= flushed)
        })
    }
}
