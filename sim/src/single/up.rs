//! The open store and its tasks, one step at a time.

use std::collections::BTreeSet;

use afterimage_engine::store::{Cleaner, Hinter, Install, LogReader, Preparer, Store, Writer};
use afterimage_engine::{Entry, Index, Job, Result, Step};

use super::PIECE;

/// Who can do the next file operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Task {
    Writer,
    Cleaner,
    Preparer,
    Save,
    Install,
    Hinter,
    Reader,
}

/// The open store, and its tasks.
pub(super) struct Up {
    pub store: Store,
    writer: Writer,
    cleaner: Cleaner,
    preparer: Preparer,
    hinter: Hinter,
    pub save: Option<Job<Result<bool>>>,
    /// Where the snapshot ends that is being saved.
    pub saving: Option<Index>,
    pub install: Option<Install>,
    pub reader: Option<LogReader>,
    /// What it has read and nobody has looked at.
    pub read: Vec<Entry>,
    /// What the reader must return next.
    pub reads: Index,
    /// These take a step for each step of whatever is done.
    pub background: BTreeSet<Task>,
    /// A state machine was at this index: a snapshot of it was begun. What it
    /// has applied is committed and never replaced.
    pub applied: Index,
}

impl Up {
    /// `hint`: a state machine applies as much at once.
    pub fn new(store: Store, hint: Index) -> Self {
        Up {
            writer: store.writer(),
            cleaner: store.cleaner(),
            preparer: store.preparer(),
            hinter: store.hinter(),
            save: None,
            saving: None,
            install: None,
            reader: None,
            read: Vec::new(),
            reads: Index(0),
            background: BTreeSet::new(),
            applied: store.snapshot().map_or(hint, |s| s.last_index.max(hint)),
            store,
        }
    }

    /// Batches wait for space.
    pub fn is_stalled(&self) -> bool {
        self.writer.has_work()
    }

    /// At most one file operation of a task; `Idle` when it is done.
    pub fn step(&mut self, task: Task) -> Result<Step> {
        let step = match task {
            Task::Writer => self.writer.step(),
            Task::Cleaner => self.cleaner.step(),
            Task::Preparer => self.preparer.step(),
            Task::Hinter => self.hinter.step(),
            Task::Reader => match self.reader.as_mut().map(|reader| reader.read(PIECE)) {
                Some(Ok(entries)) if !entries.is_empty() => {
                    self.read.extend(entries);
                    Ok(Step::Ran)
                }
                ended => {
                    self.reader = None;
                    ended.unwrap_or(Ok(Vec::new())).map(|_| Step::Idle)
                }
            },
            Task::Save => match self.save.as_mut().map(Job::step) {
                Some(None) => Ok(Step::Ran),
                Some(Some(result)) => {
                    self.save = None;
                    result.map(|_| Step::Idle)
                }
                None => Ok(Step::Idle),
            },
            Task::Install => match self.install.as_mut() {
                // It waits for a sync.
                Some(install) if !install.has_work() => self.writer.step(),
                Some(install) => match install.step() {
                    Ok(_) if install.outcome().is_none() => Ok(Step::Ran),
                    ended => {
                        self.install = None;
                        ended.map(|_| Step::Idle)
                    }
                },
                None => Ok(Step::Idle),
            },
        };
        // A job has an end; the cleaner and the preparer wait for more.
        let ended = match task {
            Task::Save => self.save.is_none(),
            Task::Install => self.install.is_none(),
            Task::Reader => self.reader.is_none(),
            _ => false,
        };
        if ended {
            self.background.remove(&task);
        }
        step
    }
}
