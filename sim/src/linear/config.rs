//! Configurations of the search, and which of them have been seen.

use std::collections::{BTreeMap, BTreeSet};

use super::space::State;

/// How far a linearization is in some round. The history says which operations
/// have returned; all of these are placed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Config {
    pub state: State,
    /// Open operations that have a place.
    pub done: Bits,
    /// Those of them that were placed where others saw it: they cannot be
    /// placed again. The rest went where nobody noticed, and still may turn
    /// out to have taken effect later.
    pub used: Bits,
    /// How many unknown operations of each sort took effect.
    pub spent: BTreeMap<usize, usize>,
    /// The same of the spare writes, see `Problem::spare`.
    pub spare: usize,
}

impl Config {
    pub fn spent(&self, class: usize) -> usize {
        self.spent.get(&class).copied().unwrap_or(0)
    }

    /// Whatever can follow `other` can follow this one: it has more behind it,
    /// and more at its disposal.
    fn covers(&self, other: &Config) -> bool {
        self.state == other.state
            && self.spare <= other.spare
            && other.done.is_within(&self.done)
            && self.used.is_within(&other.used)
            && (self.spent.iter()).all(|(class, n)| *n <= other.spent(*class))
    }
}

/// A set of slots.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub fn new(slots: usize) -> Self {
        Bits(vec![0; slots.div_ceil(64)])
    }
    pub fn has(&self, slot: usize) -> bool {
        self.0[slot / 64] >> (slot % 64) & 1 == 1
    }
    pub fn set(&mut self, slot: usize) {
        self.0[slot / 64] |= 1 << (slot % 64);
    }
    pub fn clear(&mut self, slot: usize) {
        self.0[slot / 64] &= !(1 << (slot % 64));
    }
    fn is_within(&self, other: &Bits) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a & !b == 0)
    }
}

/// Comparisons with covering configurations, a configuration: more cost more
/// than they save. An equal one is always found.
const COMPARED_MAX: usize = 64;

/// The configurations that were looked at.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<Place, Here>);

/// Round, whether at its beginning, whether idle (see `search.rs`), and the state.
pub(super) type Place = (usize, bool, bool, State);

#[derive(Debug, Default)]
struct Here {
    all: BTreeSet<Config>,
    first: Vec<Config>,
}

impl Seen {
    /// Notes a configuration; false if it, or one that covers it, was there.
    pub fn add(&mut self, place: Place, config: &Config) -> bool {
        let here = self.0.entry(place).or_default();
        if here.first.iter().any(|seen| seen.covers(config)) || here.all.contains(config) {
            return false;
        }
        if here.first.len() < COMPARED_MAX {
            here.first.push(config.clone());
        } else {
            here.all.insert(config.clone());
        }
        true
    }
}
