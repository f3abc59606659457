//! A log, a hard state and a snapshot: what readers see, or what is durable.

use afterimage_engine::format::decode_membership;
use afterimage_engine::raft::LogView;
use afterimage_engine::{
    Entry, EntryKind, Error, HardState, Index, Membership, Result, SnapshotMeta, Term,
};

#[derive(Debug, Clone)]
pub struct Image {
    pub hard_state: HardState,
    pub snapshot: Option<(SnapshotMeta, Vec<u8>)>,
    first: Index,
    entries: Vec<Entry>,
}

impl Image {
    pub fn new() -> Self {
        Image {
            hard_state: HardState::default(),
            snapshot: None,
            first: Index(1),
            entries: Vec::new(),
        }
    }

    pub fn meta(&self) -> Option<&SnapshotMeta> {
        self.snapshot.as_ref().map(|(meta, _)| meta)
    }

    /// Appends; what was there from the first entry's index on goes first.
    pub fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else {
            return;
        };
        assert!(self.first <= first.index && first.index <= self.last_index().next());
        self.entries.truncate((first.index - self.first) as usize);
        self.entries.extend_from_slice(entries);
    }

    /// Removes the entries before `first`, which the snapshot covers.
    pub fn purge_prefix(&mut self, first: Index) {
        assert!(self.meta().is_some_and(|meta| first <= meta.last_index));
        if first > self.first {
            self.entries.drain(..(first - self.first) as usize);
            self.first = first;
        }
    }

    /// The snapshot takes the place of the whole log.
    pub fn discard(&mut self, last: Index) {
        self.entries.clear();
        self.first = last.next();
    }

    /// The newest change of the membership up to `index`, of those behind the
    /// snapshot; where there is none, what the snapshot says.
    pub fn membership_at(&self, index: Index) -> Option<(Index, Membership)> {
        let behind = self.meta().map_or(Index(0), |meta| meta.last_index);
        let mut entries = self.entries.iter().rev();
        let change = entries.find(|entry| {
            behind < entry.index && entry.index <= index && entry.kind == EntryKind::Membership
        });
        match (change, self.meta()) {
            (Some(entry), _) => Some((entry.index, decode_membership(&entry.data).unwrap())),
            (None, Some(meta)) => Some((meta.last_index, meta.membership.clone())),
            (None, None) => None,
        }
    }

    pub fn entry(&self, index: Index) -> &Entry {
        &self.entries[(index - self.first) as usize]
    }
}

impl LogView for Image {
    fn first_index(&self) -> Index {
        self.first
    }

    fn last_index(&self) -> Index {
        Index(self.first.0 + self.entries.len() as u64 - 1)
    }

    fn term(&self, index: Index) -> Result<Term> {
        match self.meta() {
            _ if index == Index(0) => Ok(Term(0)),
            Some(meta) if index == meta.last_index => Ok(meta.last_term),
            _ if index < self.first => Err(Error::Purged { first: self.first }),
            _ if index > self.last_index() => Err(Error::Unavailable {
                last: self.last_index(),
            }),
            _ => Ok(self.entry(index).term),
        }
    }

    fn entries(&self, from: Index, max_bytes: usize) -> Result<Vec<Entry>> {
        if from < self.first {
            return Err(Error::Purged { first: self.first });
        }
        if from > self.last_index() {
            return Err(Error::Unavailable {
                last: self.last_index(),
            });
        }
        let mut bytes = 0;
        let suffix = &self.entries[(from - self.first) as usize..];
        let fitting = suffix.iter().enumerate().take_while(|(position, entry)| {
            bytes += entry.data.len();
            *position == 0 || bytes <= max_bytes
        });
        Ok(fitting.map(|(_, entry)| entry.clone()).collect())
    }
}
