//! Which of the pending effects a power cut keeps: every choice up to a level.
//!
//! An effect is the whole of what one operation leaves pending of a kind: its
//! name, its data, its length. Effects are ordered by their operations.
//!
//! | level | choices |
//! |---|---|
//! | 1 | the prefixes: what came first persists, what came later does not |
//! | 2 | each prefix with at most two effects against it; of data that is lost where it allocated blocks, also the block without its data |
//! | 3 | those of level 2, and each write torn at every sector: its first or last sectors, all but one, only one; with what came before it and with everything else; and the lengths that a long write had in its middle |
//! | 4 | every subset: of the units if there are at most [`FULL_UNITS`], else of the effects if there are as few, and those of level 3 |

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::disk::{Part, Unit};

/// With more than these, level 4 does not try all subsets: 2^16 of them take
/// a tenth of a second at each crash point.
const FULL_UNITS: usize = 16;
/// Effects are bits of a word. Of more of them the oldest share a fate.
const EFFECTS_MAX: usize = 120;

/// How far the choice goes: see the top of this file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Prefixes = 1,
    TwoFlips = 2,
    Torn = 3,
    All = 4,
}

impl Level {
    pub fn number(self) -> u32 {
        self as u32
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "1" => Ok(Level::Prefixes),
            "2" => Ok(Level::TwoFlips),
            "3" => Ok(Level::Torn),
            "4" => Ok(Level::All),
            _ => Err(format!("level {text:?}: 1, 2, 3 or 4")),
        }
    }
}

/// Some of the units of [`crate::disk::SimFs::pending`], one bit each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Subset(Vec<u64>);

impl Subset {
    fn none(units: usize) -> Self {
        Subset(vec![0; units.div_ceil(64)])
    }

    fn with(mut self, unit: usize) -> Self {
        self.insert(unit);
        self
    }

    fn insert(&mut self, unit: usize) {
        self.0[unit / 64] |= 1 << (unit % 64);
    }

    fn join(&mut self, other: &Subset) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word |= other;
        }
    }

    fn contains(&self, unit: usize) -> bool {
        self.0[unit / 64] & 1 << (unit % 64) != 0
    }

    /// Says of each unit whether it is in it.
    pub fn write(&self, kept: &mut [bool]) {
        for (unit, kept) in kept.iter_mut().enumerate() {
            *kept = self.contains(unit);
        }
    }
}

/// All choices among `units`, in the order in which they should be tried:
/// the simple ones first, none twice.
pub(super) fn choices(units: &[Unit], level: Level) -> Vec<Subset> {
    let pending = Pending::of(units);
    let mut chosen = Chosen::default();
    pending.prefixes(&mut chosen);
    if level >= Level::TwoFlips {
        pending.flips(&mut chosen);
    }
    if level >= Level::Torn {
        pending.torn(&mut chosen);
        pending.partial_lengths(&mut chosen);
    }
    if level >= Level::All {
        pending.all(&mut chosen);
    }
    chosen.list
}

#[derive(Default)]
struct Chosen {
    list: Vec<Subset>,
    seen: BTreeSet<Subset>,
}

impl Chosen {
    fn add(&mut self, subset: Subset) {
        if self.seen.insert(subset.clone()) {
            self.list.push(subset);
        }
    }
}

/// What one operation leaves pending of a kind.
struct Effect {
    units: Subset,
    /// The sectors of a write in their order, as (unit, its garbage).
    sectors: Vec<(usize, Option<usize>)>,
}

struct Pending {
    units: usize,
    effects: Vec<Effect>,
    /// The middle lengths of writes, each with the number of effects of its
    /// operation and of those before it.
    partial: Vec<(usize, usize)>,
    /// Without garbage and middle lengths.
    plain: Vec<usize>,
}

impl Pending {
    fn of(units: &[Unit]) -> Self {
        let mut pending = Pending {
            units: units.len(),
            effects: Vec::new(),
            partial: Vec::new(),
            plain: Vec::new(),
        };
        let mut start = 0;
        for of_op in units.chunk_by(|a, b| a.op == b.op) {
            pending.take(start, of_op);
            start += of_op.len();
        }
        pending.merge_oldest();
        pending
    }

    /// Takes the units of one operation, which begin at the place `start`.
    fn take(&mut self, start: usize, of_op: &[Unit]) {
        let mut names = Vec::new();
        let mut sizes = Vec::new();
        let mut sectors = Vec::new();
        let mut partial = Vec::new();
        for (place, unit) in (start..).zip(of_op) {
            match unit.part {
                Part::Name => names.push(place),
                Part::Size => sizes.push(place),
                Part::Sector(index) => sectors.push((place, index)),
                Part::PartialSize(_) => partial.push(place),
                Part::Garbage(_) => {}
            }
        }
        let garbage = |index: u32| {
            let of_sector = |unit: &Unit| unit.part == Part::Garbage(index);
            of_op.iter().position(of_sector).map(|at| start + at)
        };
        let sectors: Vec<_> = sectors
            .into_iter()
            .map(|(place, index)| (place, garbage(index)))
            .collect();
        self.plain.extend(&names);
        self.plain.extend(sectors.iter().map(|(place, _)| *place));
        self.plain.extend(&sizes);
        self.effect(&names, Vec::new());
        let data: Vec<usize> = sectors.iter().map(|(place, _)| *place).collect();
        self.effect(&data, sectors);
        self.effect(&sizes, Vec::new());
        let before = self.effects.len();
        self.partial
            .extend(partial.into_iter().map(|place| (place, before)));
    }

    fn effect(&mut self, places: &[usize], sectors: Vec<(usize, Option<usize>)>) {
        if places.is_empty() {
            return;
        }
        let mut units = Subset::none(self.units);
        places.iter().for_each(|place| units.insert(*place));
        self.effects.push(Effect { units, sectors });
    }

    fn merge_oldest(&mut self) {
        while self.effects.len() > EFFECTS_MAX {
            let oldest = self.effects.remove(0);
            let next = &mut self.effects[0];
            next.units.join(&oldest.units);
            next.sectors.extend(oldest.sectors);
            for (_, before) in &mut self.partial {
                *before = before.saturating_sub(1);
            }
        }
    }

    /// The units of these effects.
    fn subset(&self, effects: u128) -> Subset {
        let mut subset = Subset::none(self.units);
        for (n, effect) in self.effects.iter().enumerate() {
            if effects & 1 << n != 0 {
                subset.join(&effect.units);
            }
        }
        subset
    }

    /// The same where what is lost left its blocks behind; `None` if nothing did.
    fn with_garbage(&self, subset: &Subset) -> Option<Subset> {
        let mut dirty = subset.clone();
        for (sector, garbage) in self.effects.iter().flat_map(|effect| &effect.sectors) {
            if let Some(garbage) = garbage
                && !subset.contains(*sector)
            {
                dirty.insert(*garbage);
            }
        }
        (dirty != *subset).then_some(dirty)
    }

    fn prefixes(&self, chosen: &mut Chosen) {
        for len in 0..=self.effects.len() {
            chosen.add(self.subset(prefix(len)));
        }
    }

    fn flips(&self, chosen: &mut Chosen) {
        let count = self.effects.len();
        let mut tried = BTreeSet::new();
        for len in 0..=count {
            for one in 0..count {
                for other in one..count {
                    let second = if other > one { 1 << other } else { 0 };
                    let effects = prefix(len) ^ (1 << one) ^ second;
                    if tried.insert(effects) {
                        self.add_both(self.subset(effects), chosen);
                    }
                }
            }
            self.add_both(self.subset(prefix(len)), chosen);
        }
    }

    fn add_both(&self, subset: Subset, chosen: &mut Chosen) {
        let dirty = self.with_garbage(&subset);
        chosen.add(subset);
        dirty.into_iter().for_each(|dirty| chosen.add(dirty));
    }

    fn torn(&self, chosen: &mut Chosen) {
        let all = prefix(self.effects.len());
        for (n, effect) in self.effects.iter().enumerate() {
            let count = effect.sectors.len();
            if count < 2 {
                continue;
            }
            // With the length that this write gave the file, or all that is
            // lost could not be seen.
            let length = 1 << (n + 1).min(self.effects.len() - 1);
            let before = (prefix(n) | length) & !(1 << n);
            for rest in [before, prefix(n), all & !(1 << n)] {
                let rest = self.subset(rest);
                for at in 0..count {
                    let patterns: [&dyn Fn(usize) -> bool; 4] =
                        [&|k| k < at, &|k| k >= at, &|k| k != at, &|k| k == at];
                    for kept in patterns {
                        let mut subset = rest.clone();
                        let sectors = effect.sectors.iter().enumerate();
                        sectors
                            .filter(|(k, _)| kept(*k))
                            .for_each(|(_, (sector, _))| subset.insert(*sector));
                        self.add_both(subset, chosen);
                    }
                }
            }
        }
    }

    fn partial_lengths(&self, chosen: &mut Chosen) {
        for &(place, effects) in &self.partial {
            // The operation's data is the effect before its length.
            let lengthless = prefix(effects) & !(1 << (effects - 1));
            for rest in [lengthless, lengthless & !(1 << effects.saturating_sub(2))] {
                self.add_both(self.subset(rest).with(place), chosen);
            }
        }
    }

    fn all(&self, chosen: &mut Chosen) {
        if self.plain.len() <= FULL_UNITS {
            for bits in 0..1u32 << self.plain.len() {
                let mut subset = Subset::none(self.units);
                let kept = self.plain.iter().enumerate();
                kept.filter(|(n, _)| bits & 1 << n != 0)
                    .for_each(|(_, place)| subset.insert(*place));
                self.add_both(subset, chosen);
            }
        } else if self.effects.len() <= FULL_UNITS {
            for effects in 0..1u128 << self.effects.len() {
                self.add_both(self.subset(effects), chosen);
            }
        }
    }
}

/// The first `len` effects.
fn prefix(len: usize) -> u128 {
    (1 << len) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::OpId;

    fn unit(n: u32, part: Part) -> Unit {
        Unit {
            op: OpId { boot: 0, n },
            part,
        }
    }

    /// A create, a write of three new sectors with its length, and a rename.
    fn pending() -> Vec<Unit> {
        let mut units = vec![unit(1, Part::Name)];
        units.extend((0..3).map(|index| unit(2, Part::Sector(index))));
        units.push(unit(2, Part::Size));
        units.extend((0..3).map(|index| unit(2, Part::Garbage(index))));
        units.push(unit(3, Part::Name));
        units
    }

    fn shown(level: Level) -> Vec<String> {
        let units = pending();
        let mut kept = vec![false; units.len()];
        let choices = choices(&units, level).into_iter().map(|choice| {
            choice.write(&mut kept);
            let units = units.iter().zip(&kept).filter(|(_, kept)| **kept);
            let keep: crate::disk::Keep = units.map(|(unit, _)| *unit).collect();
            keep.to_string()
        });
        choices.collect()
    }

    #[test]
    fn level_1_is_the_prefixes() {
        let expected = ["none", "1", "1,2[0-2]", "1,2[0-2]#", "1,2[0-2]#,3"];
        assert_eq!(shown(Level::Prefixes), expected);
    }

    #[test]
    fn level_2_has_two_exceptions_and_garbage() {
        let shown = shown(Level::TwoFlips);
        for expected in ["3", "1,2#,3", "2[0-2]#,3", "1,2#g[0-2],3", "2#", "1,3"] {
            assert!(shown.iter().any(|s| s == expected), "{expected}: {shown:?}");
        }
        // Of a torn write it knows nothing.
        assert!(!shown.iter().any(|s| s.contains("[0]")), "{shown:?}");
    }

    #[test]
    fn level_3_tears_at_every_sector() {
        let shown = shown(Level::Torn);
        let torn = ["1,2[0]#", "1,2[0-1]#", "1,2[1-2]#", "1,2[0,2]#", "1,2[1]#"];
        for expected in torn {
            assert!(shown.iter().any(|s| s == expected), "{expected}: {shown:?}");
        }
        let with_the_rest = "1,2[0]#,3";
        assert!(shown.iter().any(|s| s == with_the_rest), "{shown:?}");
        let garbage = "1,2[0]#g[1-2]";
        assert!(shown.iter().any(|s| s == garbage), "{shown:?}");
    }

    #[test]
    fn level_4_is_every_subset() {
        let shown = shown(Level::All);
        let without_garbage = shown.iter().filter(|s| !s.contains('g')).count();
        assert_eq!(without_garbage, 1 << 6);
    }

    #[test]
    fn each_level_holds_the_one_below_and_nothing_twice() {
        let levels = [Level::Prefixes, Level::TwoFlips, Level::Torn, Level::All];
        for pair in levels.windows(2) {
            let (less, more) = (shown(pair[0]), shown(pair[1]));
            assert_eq!(less[..], more[..less.len()]);
        }
        let all = shown(Level::All);
        let distinct: BTreeSet<&String> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn with_nothing_pending_there_is_one_choice() {
        for level in [Level::Prefixes, Level::All] {
            assert_eq!(choices(&[], level).len(), 1);
        }
    }

    /// More effects than fit into a word: the oldest go together.
    #[test]
    fn hundreds_of_effects_are_a_bounded_number_of_choices() {
        let units: Vec<Unit> = (1..=300).map(|n| unit(n, Part::Name)).collect();
        let choices = choices(&units, Level::Prefixes);
        assert_eq!(choices.len(), EFFECTS_MAX + 1);
    }
}
