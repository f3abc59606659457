//! What a task must have done when it says that it has. The judges hold a store
//! to what it promises; one that keeps silent, or says that it is done and has
//! done nothing, would break no rule of theirs.

use afterimage_engine::raft::LogView;
use afterimage_engine::store::{Store, Ticket};
use afterimage_engine::{HardState, Index, Step};

use super::Single;
use super::up::Task;
use crate::disk::{FaultKind, OpOutcome, OpRecord};

/// What a batch must have brought about.
#[derive(Default)]
pub(super) struct Wanted {
    pub ticket: Ticket,
    /// Durable up to here.
    pub durable: Option<Index>,
    /// Nothing from here on is left.
    pub ends_before: Option<Index>,
    pub hard_state: Option<HardState>,
}

impl Wanted {
    fn lack(&self, store: &Store) -> Option<String> {
        let (persisted, last) = (store.persisted(), store.last_index());
        let (durable, hard_state) = (store.durable_index(), store.hard_state());
        if persisted < self.ticket {
            return Some(format!(
                "the writer is done, and of batch {} only {persisted} is persisted",
                self.ticket
            ));
        }
        if let Some(index) = self.durable.filter(|&index| index != durable) {
            return Some(format!(
                "the writer is done, and the log is durable up to {durable} instead of {index}"
            ));
        }
        if let Some(from) = self.ends_before.filter(|&from| last >= from) {
            return Some(format!(
                "the log still reaches {last} after a truncation from {from}"
            ));
        }
        let wanted = self.hard_state.filter(|&wanted| wanted != hard_state);
        wanted.map(|_| "the writer is done, and the hard state is another one".to_owned())
    }
}

impl Single {
    /// A batch whose writer has nothing left to do.
    pub(super) fn expect_written(&mut self, wanted: &Wanted) {
        let Some(up) = &self.up else { return };
        if !up.is_stalled() {
            self.lacks(wanted.lack(&up.store));
        }
    }

    /// A task that says how far it is.
    pub(super) fn expect_done(&mut self, task: Task, step: Step) {
        let Some(up) = &mut self.up else { return };
        let lack = match (task, step) {
            (_, Step::Stalled) if !self.refused => {
                Some(format!("{task:?} waits for space that nothing refused"))
            }
            (Task::Save, Step::Idle) => up.saving.take().and_then(|upto| {
                let newest = up.store.snapshot().map_or(Index(0), |s| s.last_index);
                (newest < upto).then(|| format!("saved up to {upto}, and the newest is {newest}"))
            }),
            _ => None,
        };
        self.lacks(lack);
    }

    /// A cleaner that was left alone has left no segment for which the next one
    /// begins at the same place, or no later than the snapshot ends.
    pub(super) fn expect_clean(&mut self) {
        let Some(up) = &self.up else { return };
        if self.gave_up {
            return;
        }
        let covered = up.store.snapshot().map_or(Index(0), |s| s.last_index);
        let bases = self.disk.cached_files().into_keys().filter_map(|path| {
            let name = path.rsplit('/').next()?.strip_prefix("log-")?;
            let base = name.strip_suffix(".seg")?.split('-').next()?;
            base.parse().ok().map(Index)
        });
        let bases: Vec<Index> = bases.collect();
        let left = bases
            .windows(2)
            .find(|pair| pair[1] <= covered.max(pair[0]));
        let what = |pair: &[Index]| format!("the cleaner has left a segment from {}", pair[0]);
        self.lacks(left.map(what));
    }

    fn lacks(&mut self, what: Option<String>) {
        if let Some(what) = what {
            self.recorder.panicked(what);
        }
    }

    /// Whether the disk ever said that it is full.
    pub(super) fn note_refusal(&mut self, op: &OpRecord) {
        self.refused |= op.outcome == OpOutcome::Injected(FaultKind::Enospc);
    }
}
