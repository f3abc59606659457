//! What one node's store may and must hold, as its events promised.

use std::collections::BTreeSet;

use afterimage_engine::{EntryId, Event, HardState, Index, SnapshotMeta, Term};

use super::span::Span;
use crate::trace::Contents;

/// The promises of one store. Batches reach the disk in the order of their
/// submission, so what recovery may find is a prefix of the log as it was
/// before or after each truncation that is not durable yet, and of nothing else.
#[derive(Debug, Clone, Default, Hash)]
pub struct StoreModel {
    /// The log as its readers see it.
    log: Span<EntryId>,
    /// Suffixes whose truncation is not durable, the oldest first.
    replaced: Vec<Replaced>,
    /// Entries of `log` up to here were acknowledged as durable.
    durable: Index,
    /// The last one acknowledged as durable.
    hard_state: HardState,
    /// All that it was ever given; `None` until it was seen for the first time.
    hard_states: Option<BTreeSet<HardState>>,
    snapshot: Option<Snapshot>,
    /// Each snapshot that it was handed: its end, and a CRC over its data. Empty
    /// where nobody says so: in a cluster, where the state is compared instead.
    snapshots_given: BTreeSet<(Index, Term, u32)>,
    /// A discarding install made everything below this index garbage for ever.
    floor: Index,
    /// A discarding install may have become durable: the log goes on here.
    discarding: Option<Index>,
}

/// A suffix that recovery may still bring back.
#[derive(Debug, Clone, Hash)]
struct Replaced {
    from: Index,
    suffix: Vec<EntryId>,
}

/// The newest durable snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Snapshot {
    pub last_index: Index,
    pub last_term: Term,
    /// CRC over the data, once it was read back.
    pub crc: Option<u32>,
}

impl StoreModel {
    pub fn last_index(&self) -> Index {
        self.log.last()
    }

    /// Everything up to here was acknowledged as durable, in the log or by the
    /// snapshot.
    pub fn durable_index(&self) -> Index {
        self.durable.max(self.snapshot_index())
    }

    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// Whether a hard state can be there: it was handed over at some time.
    pub fn was_given(&self, hard_state: HardState) -> bool {
        let given = self.hard_states.as_ref();
        given.is_none_or(|given| given.contains(&hard_state))
    }

    pub fn snapshot(&self) -> Option<Snapshot> {
        self.snapshot
    }

    /// It was handed this snapshot.
    pub fn give_snapshot(&mut self, last_index: Index, last_term: Term, crc: u32) {
        self.snapshots_given.insert((last_index, last_term, crc));
    }

    /// Whether a snapshot with this data can be there.
    pub fn was_given_snapshot(&self, snapshot: (Index, Term, u32)) -> bool {
        self.snapshots_given.is_empty() || self.snapshots_given.contains(&snapshot)
    }

    /// The snapshot's last index, or 0.
    pub fn snapshot_index(&self) -> Index {
        self.snapshot.map_or(Index(0), |s| s.last_index)
    }

    /// The first index that a discarding install left possible.
    pub fn floor(&self) -> Index {
        self.floor
    }

    pub fn entry(&self, index: Index) -> Option<EntryId> {
        self.log.get(index).copied()
    }

    /// Whether a reader may be given this entry. An install that discards the log
    /// says so before it begins, and until its end the log stays readable.
    pub fn may_be_read(&self, entry: EntryId) -> bool {
        let index = entry.index;
        let before = (self.discarding).and(self.replaced.last()).and_then(|r| {
            r.suffix
                .get(usize::try_from(index.0.checked_sub(r.from.0)?).ok()?)
        });
        index < self.log.first() || self.entry(index) == Some(entry) || before == Some(&entry)
    }

    /// The term at `index`, if it is known: of an entry, of the snapshot's end,
    /// or 0 before the first entry.
    pub fn term(&self, index: Index) -> Option<Term> {
        if index == Index(0) {
            return Some(Term(0));
        }
        match self.entry(index) {
            Some(entry) => Some(entry.term),
            None => self
                .snapshot
                .filter(|s| s.last_index == index)
                .map(|s| s.last_term),
        }
    }

    /// Every log of which recovery may find a prefix, the newest first.
    pub fn possible_logs(&self) -> Vec<Span<EntryId>> {
        let mut log = self.log.clone();
        let mut logs = vec![log.clone()];
        for replaced in self.replaced.iter().rev() {
            log.cut_from(replaced.from);
            for &entry in &replaced.suffix {
                log.push(entry);
            }
            logs.push(log.clone());
        }
        logs
    }

    /// Whether the snapshot found by recovery is one that discarded the log: an
    /// install that was cut off after it became durable and before it said so,
    /// and that had said that it would.
    /// (A snapshot whose end the log agrees with leaves the log alone.)
    pub fn discarded_by(&self, contents: &Contents) -> bool {
        contents.snapshot.is_some_and(|(last_index, last_term, _)| {
            last_index > self.snapshot_index()
                && self.discarding == Some(last_index.next())
                && self.term(last_index) != Some(last_term)
        })
    }

    /// Takes an event of a store that is up.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Appended { entries } => self.append(entries),
            Event::TruncateRequested { from } => {
                self.discarding = Some(*from);
                self.truncate(*from);
            }
            Event::Durable { index } => self.acknowledge(*index),
            Event::Truncated { from } => self.truncated(*from),
            Event::HardStateSubmitted { hard_state } => self.give(*hard_state),
            Event::HardStateDurable { hard_state } => {
                self.give(*hard_state);
                self.hard_state = *hard_state;
            }
            Event::SnapshotSaved { meta } => self.take_snapshot(meta),
            Event::SnapshotInstalled { meta, kept_suffix } => {
                self.discarding = None;
                self.take_snapshot(meta);
                // Without the flag there may still be nothing to keep.
                if !kept_suffix || self.log.last() < meta.last_index {
                    self.log = Span::starting_at(meta.last_index.next());
                    self.replaced.clear();
                    self.durable = meta.last_index;
                    self.floor = meta.last_index.next();
                }
            }
            _ => {}
        }
    }

    /// Recovery says what there is: from here on all of it is durable.
    pub fn recovered(&mut self, contents: &Contents) {
        let first = contents.first_index.max(Index(1));
        if self.discarded_by(contents) {
            self.log = Span::starting_at(first);
            self.floor = first;
        } else {
            // What lies below may come back with segments whose removal was
            // not durable: remember what it must look like.
            self.log.cut_from(first);
            if self.log.last().next() != first {
                self.log = Span::starting_at(first);
            }
        }
        for &entry in &contents.entries {
            self.log.push(entry);
        }
        self.replaced.clear();
        self.discarding = None;
        self.durable = self.log.last();
        let given = self.hard_states.get_or_insert_default();
        given.extend([HardState::default(), contents.hard_state]);
        self.hard_state = contents.hard_state;
        self.snapshot = contents
            .snapshot
            .map(|(last_index, last_term, crc)| Snapshot {
                last_index,
                last_term,
                crc: Some(crc),
            });
    }

    fn give(&mut self, hard_state: HardState) {
        self.hard_states.get_or_insert_default().insert(hard_state);
    }

    fn append(&mut self, entries: &[EntryId]) {
        let Some(first) = entries.first() else { return };
        // Nothing is appended during an install: it failed, and must have left
        // nothing behind that could still discard this.
        self.discarding = None;
        self.truncate(first.index);
        for &entry in entries {
            self.log.push(entry);
        }
    }

    fn truncate(&mut self, from: Index) {
        if from > self.log.last() {
            return;
        }
        let suffix = self.log.cut_from(from);
        self.replaced.push(Replaced { from, suffix });
        self.durable = self.durable.min(from.prev());
    }

    fn acknowledge(&mut self, index: Index) {
        // The claim is about the log as it is now. Where it reaches behind a
        // truncation, that truncation and all before it are durable as well.
        let index = index.min(self.log.last());
        if let Some(k) = self.replaced.iter().rposition(|r| r.from <= index) {
            self.replaced.drain(..=k);
        }
        self.durable = self.durable.max(index);
    }

    fn truncated(&mut self, from: Index) {
        if let Some(k) = self.replaced.iter().position(|r| r.from == from) {
            self.replaced.drain(..=k);
        }
    }

    fn take_snapshot(&mut self, meta: &SnapshotMeta) {
        let previous = self.snapshot_index();
        // Segments below come back until their removal is durable; one
        // snapshot's worth of them is remembered to compare with.
        self.log.forget_below(previous);
        self.snapshot = Some(Snapshot {
            last_index: meta.last_index,
            last_term: meta.last_term,
            crc: None,
        });
    }
}
