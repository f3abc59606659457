//! What the log holds, and what stands beside it.

use std::sync::Arc;

use crate::ids::{Index, NodeId, Term};
use crate::log::record::RecordHeader;

/// What an entry is for. The discriminant is the on-disk value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum EntryKind {
    /// A new leader's first entry; carries nothing.
    Blank = 1,
    /// A command for the state machine.
    Command = 2,
    /// A change of the membership.
    Membership = 3,
}

impl EntryKind {
    /// The kind with this on-disk value, if there is one.
    pub fn from_u8(value: u8) -> Option<Self> {
        match value {
            1 => Some(Self::Blank),
            2 => Some(Self::Command),
            3 => Some(Self::Membership),
            _ => None,
        }
    }
}

/// One entry of the replicated log. Cloning shares the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub index: Index,
    pub term: Term,
    pub kind: EntryKind,
    /// Milliseconds since the epoch at the leader that proposed it.
    pub timestamp_ms: i64,
    pub data: Arc<[u8]>,
}

impl Entry {
    /// A short name of the entry's content: CRC-32 over kind, timestamp and data.
    pub fn fingerprint(&self) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&[self.kind as u8]);
        crc.update(&self.timestamp_ms.to_le_bytes());
        crc.update(&self.data);
        crc.finalize()
    }

    /// What identifies this entry in a trace.
    pub fn id(&self) -> EntryId {
        EntryId {
            index: self.index,
            term: self.term,
            fingerprint: self.fingerprint(),
        }
    }
}

/// An entry whose data is still where it was read to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryRef<'a> {
    pub index: Index,
    pub term: Term,
    pub kind: EntryKind,
    pub timestamp_ms: i64,
    pub data: &'a [u8],
}

impl<'a> From<&'a Entry> for EntryRef<'a> {
    fn from(entry: &'a Entry) -> Self {
        EntryRef {
            index: entry.index,
            term: entry.term,
            kind: entry.kind,
            timestamp_ms: entry.timestamp_ms,
            data: &entry.data,
        }
    }
}

impl<'a> EntryRef<'a> {
    pub(crate) fn new(header: &RecordHeader, data: &'a [u8]) -> Self {
        EntryRef {
            index: header.index,
            term: header.term,
            kind: header.kind,
            timestamp_ms: header.timestamp_ms,
            data,
        }
    }

    /// A copy that stays.
    pub fn to_entry(&self) -> Entry {
        Entry {
            index: self.index,
            term: self.term,
            kind: self.kind,
            timestamp_ms: self.timestamp_ms,
            data: self.data.into(),
        }
    }
}

/// An entry without its data: enough to tell two entries apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId {
    pub index: Index,
    pub term: Term,
    pub fingerprint: u32,
}

/// What a Raft node must never forget (Raft figure 2, "persistent state").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HardState {
    pub term: Term,
    pub vote: Option<NodeId>,
}

/// Who takes part. Learners receive the log but do not vote. Both lists are
/// sorted and without duplicates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    pub voters: Vec<NodeId>,
    pub learners: Vec<NodeId>,
}

/// What a snapshot stands for: everything up to and including `last_index`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotMeta {
    pub last_index: Index,
    pub last_term: Term,
    pub membership: Membership,
}
