//! Is a client history linearizable?
//!
//! [`History::parse`] reads one, [`check`] decides it. Nothing in here knows
//! the engine or the simulator: histories of other systems are judged alike.
//!
//! The search is Wing and Gong's with Lowe's two improvements: an operation is
//! linearized when the first one that must not come before it returns
//! ("just-in-time"), and no configuration is looked at twice (`config.rs`).
//! `search.rs` says what else keeps it short.

mod config;
mod explain;
mod history;
mod lines;
mod parse;
mod problem;
mod search;
mod space;
#[cfg(test)]
mod tests;
mod trie;
mod unmade;

use std::collections::{BTreeMap, BTreeSet};

pub use explain::Explanation;
pub use history::{Call, Done, History, Model, Operation};
pub use parse::{InputError, Kind, Wrong};

use problem::Problem;
use search::Search;

/// What a history came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Linearizable,
    /// With the smallest prefix that fails.
    Fails(Explanation),
    /// Given up: too many orders to try.
    Undecided {
        configurations: u64,
    },
}

/// Configurations looked at before a key is given up: some seconds, and some
/// hundred megabytes.
pub const CONFIGURATIONS_MAX: u64 = 2_000_000;

/// Decides `history`, key by key: it has a linearization exactly if each key
/// has one (Herlihy and Wing, 1990: linearizability is local).
pub fn check(history: &History) -> Outcome {
    match failing_key(history) {
        Ok(None) => Outcome::Linearizable,
        Ok(Some((key, end))) => Outcome::Fails(explain::explain(history, &key, end)),
        Err(GaveUp { configurations }) => Outcome::Undecided { configurations },
    }
}

/// A search that would have taken too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct GaveUp {
    configurations: u64,
}

/// The key that fails first, as operations of the history, and the line.
fn failing_key(history: &History) -> Result<Option<(Vec<usize>, usize)>, GaveUp> {
    let mut keys: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, operation) in history.operations.iter().enumerate() {
        let key = operation.key.as_deref().unwrap_or("");
        keys.entry(key).or_default().push(at);
    }
    let mut first: Option<(Vec<usize>, usize)> = None;
    let mut gave_up = None;
    for operations in keys.into_values() {
        let end = first.as_ref().map_or(usize::MAX, |(_, end)| *end);
        match explain::smallest_prefix(history, &operations, end) {
            Ok(None) => {}
            Ok(Some(end)) => first = Some((operations, end)),
            Err(error) => gave_up = Some(error),
        }
    }
    // One key that fails settles it, whatever the others are.
    match (first, gave_up) {
        (None, Some(error)) => Err(error),
        (first, _) => Ok(first),
    }
}

/// What is to be decided: some operations, up to a line, some of them weakened.
#[derive(Debug, Clone, Copy)]
struct Part<'a> {
    history: &'a History,
    operations: &'a [usize],
    /// What ended after this line has not ended.
    end: usize,
    /// Their outcome is not believed: as if they had never ended.
    unknown: &'a BTreeSet<usize>,
}

impl Part<'_> {
    fn linearizable(&self, limit: u64) -> Result<bool, GaveUp> {
        if unmade::first(self).is_some() {
            return Ok(false);
        }
        Search::new(&Problem::new(self), limit).run()
    }
}
