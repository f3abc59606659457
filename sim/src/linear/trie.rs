//! The prefixes of the strings that were read.

use std::collections::BTreeMap;

/// Node 0 is the empty string. A child is always behind its parent.
#[derive(Debug, Default)]
pub(super) struct Trie {
    children: BTreeMap<(u32, u8), u32>,
    parents: Vec<u32>,
}

impl Trie {
    pub fn new() -> Self {
        Trie {
            children: BTreeMap::new(),
            parents: vec![0],
        }
    }

    pub fn insert(&mut self, text: &str) -> u32 {
        let mut at = 0;
        for byte in text.bytes() {
            let next = self.parents.len() as u32;
            at = match *self.children.entry((at, byte)).or_insert(next) {
                new if new == next => {
                    self.parents.push(at);
                    new
                }
                known => known,
            };
        }
        at
    }

    /// Where `text` leads from `at`, if that was read by anybody.
    pub fn walk(&self, at: u32, text: &str) -> Option<u32> {
        text.bytes()
            .try_fold(at, |at, byte| self.children.get(&(at, byte)).copied())
    }

    pub fn len(&self) -> usize {
        self.parents.len()
    }

    pub fn parent(&self, node: u32) -> u32 {
        self.parents[node as usize]
    }

    /// For each node the numbers of the nodes at or below it, in an order of
    /// depth first: `a` is at or above `b` if `a.0 <= b.0 && b.0 < a.1`.
    pub fn ranges(&self) -> Vec<(u32, u32)> {
        let mut size = vec![1u32; self.len()];
        for node in (1..self.len()).rev() {
            size[self.parents[node] as usize] += size[node];
        }
        // Where the next child of a node begins.
        let mut next = vec![1u32; self.len()];
        let mut ranges = vec![(0, size[0]); self.len()];
        for node in 1..self.len() {
            let parent = self.parents[node] as usize;
            let begin = next[parent];
            next[parent] += size[node];
            next[node] = begin + 1;
            ranges[node] = (begin, begin + size[node]);
        }
        ranges
    }
}
