//! The states that matter. Two states are one where no operation that is still
//! to return can tell them apart.

use std::collections::BTreeMap;

use super::history::Model;
use super::trie::Trie;

/// A value that somebody saw or compared with, or [`OTHER`].
pub(super) type State = u32;

/// All values that nobody will ever tell apart.
pub(super) const OTHER: State = u32::MAX;

#[derive(Debug)]
pub(super) struct Space {
    values: Values,
    /// Until which round a state differs from [`OTHER`].
    matters: Vec<usize>,
    pub initial: State,
}

#[derive(Debug)]
enum Values {
    /// Nothing is appended: a value is a number.
    Flat(BTreeMap<String, State>),
    /// A state is a prefix of what was read.
    Trie(Trie),
}

impl Space {
    /// From the values that are seen, each with the round until which it is.
    pub fn new<'a>(
        model: Model,
        appends: bool,
        seen: impl Iterator<Item = (&'a str, usize)>,
    ) -> Self {
        let mut matters: Vec<usize> = Vec::new();
        let values = if appends {
            let mut trie = Trie::new();
            note(&mut matters, 0, 0);
            for (value, until) in seen {
                note(&mut matters, trie.insert(value), until);
            }
            // Whoever sees a value will have seen how it began.
            for node in (1..trie.len()).rev() {
                let parent = trie.parent(node as u32) as usize;
                matters[parent] = matters[parent].max(matters[node]);
            }
            Values::Trie(trie)
        } else {
            let mut numbers = BTreeMap::new();
            for (value, until) in seen {
                let next = numbers.len() as State;
                let state = *numbers.entry(value.to_owned()).or_insert(next);
                note(&mut matters, state, until);
            }
            Values::Flat(numbers)
        };
        let mut space = Space {
            values,
            matters,
            initial: OTHER,
        };
        space.initial = space.find(model.initial());
        space
    }

    /// The state that holds this value.
    pub fn find(&self, value: &str) -> State {
        match &self.values {
            Values::Flat(numbers) => numbers.get(value).copied().unwrap_or(OTHER),
            Values::Trie(trie) => trie.walk(0, value).unwrap_or(OTHER),
        }
    }

    pub fn append(&self, state: State, value: &str) -> State {
        match &self.values {
            Values::Trie(trie) if state != OTHER => trie.walk(state, value).unwrap_or(OTHER),
            _ => OTHER,
        }
    }

    /// It differs from [`OTHER`] until this round, if not for longer.
    pub fn keep(&mut self, state: State, until: usize) {
        note(&mut self.matters, state, until);
    }

    /// What `state` is from this round on.
    pub fn as_of(&self, state: State, round: usize) -> State {
        match self.matters.get(state as usize) {
            Some(until) if *until >= round => state,
            _ => OTHER,
        }
    }

    pub fn len(&self) -> usize {
        self.matters.len()
    }

    /// See [`Trie::ranges`].
    pub fn ranges(&self) -> Option<Vec<(u32, u32)>> {
        match &self.values {
            Values::Trie(trie) => Some(trie.ranges()),
            Values::Flat(_) => None,
        }
    }
}

fn note(matters: &mut Vec<usize>, state: State, until: usize) {
    let at = state as usize;
    matters.resize(matters.len().max(at + 1), 0);
    matters[at] = matters[at].max(until);
}
