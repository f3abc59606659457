//! Writes down what a log was told, and what it acknowledged.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use afterimage_openraft::{LogId, LogReader, LogStore};
use openraft::alias::{EntryOf, VoteOf};
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use openraft::{LogState, OptionalSend, RaftLogReader};

use crate::Types;

/// What a log should hold.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Model {
    pub vote: Option<VoteOf<Types>>,
    pub purged: Option<LogId>,
    pub entries: BTreeMap<u64, EntryOf<Types>>,
}

impl Model {
    pub fn last(&self) -> Option<LogId> {
        match self.entries.last_key_value() {
            Some((_, entry)) => Some(entry.log_id()),
            None => self.purged,
        }
    }

    /// What is in a log.
    pub async fn read(log: &mut LogStore<Types>) -> io::Result<Model> {
        let state = log.get_log_state().await?;
        let mut reader = log.get_log_reader().await;
        let entries = reader.try_get_log_entries(..).await?;
        let model = Model {
            vote: reader.read_vote().await?,
            purged: state.last_purged_log_id,
            entries: entries.into_iter().map(|e| (e.index(), e)).collect(),
        };
        assert_eq!(state.last_log_id, model.last(), "the last log id");
        Ok(model)
    }

    fn begin_before(&mut self, entry: &EntryOf<Types>) {
        if self.last().is_none()
            && let Some(before) = entry.index().checked_sub(1)
        {
            self.purged = Some(LogId::new(entry.log_id().leader_id, before));
        }
    }

    fn truncate_after(&mut self, last: Option<LogId>) {
        let kept = last.map_or(0, |id| id.index + 1);
        self.entries.split_off(&kept);
    }

    fn purge(&mut self, id: LogId) {
        if self.purged.is_some_and(|purged| purged.index >= id.index) {
            return;
        }
        let agrees = (self.entries.get(&id.index)).is_some_and(|e| e.log_id() == id);
        let behind = self.entries.split_off(&(id.index + 1));
        self.entries = if agrees { behind } else { BTreeMap::new() };
        self.purged = Some(id);
    }
}

/// What survives a crash must be one of these.
#[derive(Debug, Default)]
pub struct Testimony {
    pub acknowledged: Model,
    /// The steps of the operation on its way, each on top of the one before.
    pub attempted: Vec<Model>,
}

/// A log that keeps books.
pub struct Witness {
    log: LogStore<Types>,
    books: Arc<Mutex<Testimony>>,
}

impl Witness {
    pub fn new(log: LogStore<Types>, books: Arc<Mutex<Testimony>>) -> Self {
        Witness { log, books }
    }

    fn books(&self) -> MutexGuard<'_, Testimony> {
        self.books.lock().unwrap()
    }

    fn attempt(&self, step: impl FnOnce(&mut Model)) {
        let mut books = self.books();
        let mut model = (books.attempted.last()).map_or(books.acknowledged.clone(), Model::clone);
        step(&mut model);
        books.attempted.push(model);
    }

    fn acknowledge<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.is_ok() {
            let mut books = self.books();
            if let Some(last) = books.attempted.pop() {
                books.acknowledged = last;
            }
            books.attempted.clear();
        }
        result
    }
}

impl RaftLogStorage<Types> for Witness {
    type LogReader = LogReader<Types>;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        self.log.get_log_state().await
    }

    async fn get_log_reader(&mut self) -> LogReader<Types> {
        self.log.get_log_reader().await
    }

    async fn save_vote(&mut self, vote: &VoteOf<Types>) -> Result<(), io::Error> {
        self.attempt(|model| model.vote = Some(*vote));
        let saved = self.log.save_vote(vote).await;
        self.acknowledge(saved)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = EntryOf<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        if let Some(first) = entries.first() {
            // That a log begins in the middle is durable before its entries.
            self.attempt(|model| model.begin_before(first));
        }
        for entry in &entries {
            self.attempt(|model| {
                model.entries.insert(entry.index(), entry.clone());
            });
        }
        let (done, flushed) = Types::oneshot();
        self.log.append(entries, IOFlushed::signal(done)).await?;
        let result = flushed.await.map_err(io::Error::other)?;
        callback.io_completed(self.acknowledge(result));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        self.attempt(|model| model.truncate_after(last));
        let truncated = self.log.truncate_after(last).await;
        self.acknowledge(truncated)
    }

    async fn purge(&mut self, id: LogId) -> Result<(), io::Error> {
        self.attempt(|model| model.purge(id));
        let purged = self.log.purge(id).await;
        self.acknowledge(purged)
    }
}
