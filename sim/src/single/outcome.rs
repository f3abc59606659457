//! What a task must have done when it says that it has. The judges hold a store
//! to what it promises; one that keeps silent, or says that it is done and has
//! done nothing, would break no rule of theirs.

use std::path::Path;

use afterimage_engine::inspect::{Inspector, Item, SegmentState};
use afterimage_engine::raft::LogView;
use afterimage_engine::store::{Store, Ticket};
use afterimage_engine::{Error, HardState, Index, Op, Step};

use super::up::Task;
use super::{DIR, NODE, Single};
use crate::check::{Harm, StoreModel};
use crate::disk::{FaultKind, OpOutcome, OpRecord};

/// What a batch must have brought about.
#[derive(Default)]
pub(super) struct Wanted {
    pub ticket: Ticket,
    /// At least in the file.
    pub written: Ticket,
    /// Durable up to here.
    pub durable: Option<Index>,
    /// Nothing from here on is left.
    pub ends_before: Option<Index>,
    pub hard_state: Option<HardState>,
}

impl Wanted {
    /// What is missing, in the store or in what it said of it.
    fn lack(&self, store: &Store, said: &StoreModel) -> Option<String> {
        let (persisted, last) = (store.persisted(), store.last_index());
        if persisted < self.ticket {
            return Some(format!(
                "the writer is done, and of batch {} only {persisted} is persisted",
                self.ticket
            ));
        }
        let written = store.written();
        if written < self.written {
            return Some(format!(
                "the writer is done, and of batch {} only {written} is written",
                self.written
            ));
        }
        let durable = [store.durable_index(), said.durable_index()];
        if let Some(index) = self.durable.filter(|index| durable != [*index; 2]) {
            return Some(format!(
                "the writer is done, and the log is durable up to {}, or so it says up to {}, \
                 instead of {index}",
                durable[0], durable[1]
            ));
        }
        if let Some(from) = self.ends_before.filter(|&from| last >= from) {
            return Some(format!(
                "the log still reaches {last} after a truncation from {from}"
            ));
        }
        let hard_state = [store.hard_state(), said.hard_state()];
        let other = self.hard_state.filter(|wanted| hard_state != [*wanted; 2]);
        other.map(|_| "the writer is done, and the hard state is another one".to_owned())
    }
}

impl Single {
    /// A batch whose writer has nothing left to do.
    pub(super) fn expect_written(&mut self, wanted: &Wanted) {
        let Some(up) = &self.up else { return };
        if !up.is_stalled() {
            let said = &self.recorder.model().node(NODE).store;
            self.lacks(wanted.lack(&up.store, said));
        }
    }

    /// A task that says how far it is.
    pub(super) fn expect_done(&mut self, task: Task, step: Step) {
        let Some(up) = &mut self.up else { return };
        let lack = match (task, step) {
            (_, Step::Stalled) if !self.refused => {
                Some(format!("{task:?} waits for space that nothing refused"))
            }
            // A snapshot of that may be what makes space.
            (Task::Writer, Step::Stalled) => {
                let (written, durable) = (up.store.written(), up.store.persisted());
                (durable < written).then(|| {
                    format!(
                        "a batch waits for space, and {} written before it wait with it",
                        written - durable
                    )
                })
            }
            (Task::Save, Step::Idle) => up.saving.take().and_then(|upto| {
                let newest = up.store.snapshot().map_or(Index(0), |s| s.last_index);
                (newest < upto).then(|| format!("saved up to {upto}, and the newest is {newest}"))
            }),
            (Task::Reader, Step::Idle) => {
                let last = self.recorder.model().node(NODE).store.last_index();
                let (read, missed) = (up.reads.prev(), up.reads <= last);
                missed.then(|| format!("a reader ended behind {read}, and the log behind {last}"))
            }
            _ => None,
        };
        self.lacks(lack);
    }

    /// What a reader returns is the log as it is, one entry after the other.
    pub(super) fn expect_read(&mut self) {
        let Some(up) = &mut self.up else { return };
        let said = &self.recorder.model().node(NODE).store;
        let mut lack = None;
        for entry in std::mem::take(&mut up.read) {
            let (next, is) = (up.reads, entry.id());
            if entry.index != next || !said.may_be_read(is) {
                let (term, index) = (is.term, is.index);
                lack = Some(format!(
                    "a reader was given {term}/{index} for entry {next}"
                ));
                break;
            }
            up.reads = next.next();
        }
        self.lacks(lack);
    }

    /// Whether an error is a reader's answer: what it read last was replaced, or a
    /// leader's snapshot took the place of the whole log. A purge is none.
    pub(super) fn ends_reader(&mut self, error: &Error) -> bool {
        let floor = self.recorder.model().node(NODE).store.floor();
        match error {
            Error::Replaced { .. } => true,
            Error::Purged { first } => {
                let lack = (*first > floor).then(|| {
                    format!("the log was purged up to {first} under the eyes of a reader")
                });
                self.lacks(lack);
                true
            }
            _ => false,
        }
    }

    /// A cleaner that was left alone has left no segment without meaning, and
    /// none that ends no later than the snapshot, less the trail.
    pub(super) fn expect_clean(&mut self) {
        let Some(up) = &self.up else { return };
        // A segment with a bad header is left for whoever mends it.
        let harm = self.recorder.model().node(NODE).harm;
        if self.gave_up || harm != Harm::None || up.reader.is_some() {
            return;
        }
        let snapshot_index = up.store.snapshot().map_or(0, |s| s.last_index.0);
        let trail = self.plan.cluster.trail_entries;
        let covered = Index(snapshot_index.saturating_sub(trail));
        let mut left = None;
        let is_left = |state| match state {
            SegmentState::Live { until } => until.is_some_and(|next| next <= covered),
            SegmentState::Hidden | SegmentState::Dead => true,
        };
        let looked = Inspector::open(self.disk.fork().boot(), Path::new(DIR));
        let looked = looked.and_then(|inspector| {
            inspector.dump(|item| {
                if let Item::Segment { segment, .. } = item
                    && is_left(segment.state)
                {
                    left = Some(segment.name.clone());
                }
                Ok::<(), Error>(())
            })
        });
        let left = match looked {
            Ok(()) => left.map(|name| format!("the cleaner is done, and {name} is still there")),
            Err(e) => Some(format!("after the cleaner: {e}")),
        };
        self.lacks(left);
    }

    fn lacks(&mut self, what: Option<String>) {
        if let Some(what) = what {
            self.recorder.panicked(what);
        }
    }

    /// A full disk is no reason to fail where nothing is in doubt: before a write
    /// is synced, and a name in its place. (A snapshot is given up then.)
    pub(super) fn expect_to_wait(&mut self, task: Task, error: &Error) {
        let Error::Io { op, path, .. } = error else {
            return;
        };
        let name = path.file_name().and_then(|name| name.to_str());
        let in_doubt = match op {
            Op::Sync | Op::SyncDir | Op::Rename => true,
            // Written over in place, or written and synced at once.
            Op::Write => name.is_some_and(|name| {
                name == "hardstate" || (self.plan.disk.direct && name.starts_with("log-"))
            }),
            _ => false,
        };
        let died = self.up.as_ref().is_some_and(|up| up.store.is_poisoned());
        let waits = matches!(task, Task::Writer | Task::Preparer);
        let lack = error.is_no_space() && !in_doubt && (died || waits);
        self.lacks(lack.then(|| format!("{task:?} could wait for space: {error}")));
    }

    /// Whether the disk ever said that it is full.
    pub(super) fn note_refusal(&mut self, op: &OpRecord) {
        self.refused |= op.outcome == OpOutcome::Injected(FaultKind::Enospc);
    }
}
