//! What is written: its bytes follow from its position.

use afterimage_engine::store::SnapshotSource;
use afterimage_engine::{Entry, EntryKind, Index, Membership, SnapshotMeta, Term};

use super::NODE;
use crate::plan::StoreEntry;
use crate::rng::hash;
use crate::trace::What;

/// The data of an entry follows from its position and its length.
pub(crate) fn entry(e: &StoreEntry) -> Entry {
    let word = hash(&[e.term.0, e.index.0]).to_le_bytes();
    Entry {
        index: e.index,
        term: e.term,
        kind: EntryKind::Command,
        timestamp_ms: 0,
        data: word
            .iter()
            .copied()
            .cycle()
            .take(e.bytes as usize)
            .collect(),
    }
}

pub(super) fn meta(last_index: Index, last_term: Term) -> SnapshotMeta {
    SnapshotMeta {
        last_index,
        last_term,
        membership: Membership {
            voters: vec![NODE],
            learners: Vec::new(),
        },
    }
}

/// A state of so many bytes, as of an entry.
#[derive(Clone)]
pub(super) struct State {
    last_index: Index,
    last_term: Term,
    word: [u8; 8],
    left: u64,
}

impl State {
    pub fn new(last: Index, term: Term, bytes: u64) -> Self {
        State {
            last_index: last,
            last_term: term,
            word: hash(&[last.0, term.0, bytes]).to_le_bytes(),
            left: bytes,
        }
    }

    /// That a snapshot of it is handed over.
    pub fn given(self) -> What {
        What::SnapshotGiven {
            last_index: self.last_index,
            last_term: self.last_term,
            crc: crc32fast::hash(&self.into_bytes()),
        }
    }

    /// All of it.
    pub fn into_bytes(self) -> Vec<u8> {
        let word = self.word.iter().copied();
        word.cycle().take(self.left as usize).collect()
    }
}

impl SnapshotSource for State {
    fn read(&mut self, out: &mut Vec<u8>, max: usize) -> bool {
        let n = self.left.min(max as u64);
        out.extend(self.word.iter().cycle().take(n as usize));
        self.left -= n;
        self.left > 0
    }
}
