//! OpenRaft's log and vote in one directory of the engine.
//!
//! **Where the log begins.** OpenRaft purges up to a log id and wants to hear of
//! it for ever after. The engine's log begins behind its snapshot; so a purge
//! installs a snapshot of the engine without data, whose index and term are that
//! log id. One rename does it, with everything that was proven of installs: a
//! log that has the entry keeps what follows, one that ends below it, or has
//! another entry there, is discarded. Segments are removed by the cleaner,
//! afterwards. The state machine's snapshots live in another directory: they
//! are durable before OpenRaft purges what they cover, and a crash between the
//! two leaves entries that nobody needs, which OpenRaft purges at its start.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use afterimage_engine::raft::LogView;
use afterimage_engine::store::{Batch, Options, Store};
use afterimage_engine::threads::Threads;
use afterimage_engine::{Env, Error, Host, Index, Membership, SnapshotMeta, Term};
use openraft::alias::VoteOf;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use openraft::{LogState, OptionalSend};

use crate::acks::Acks;
use crate::config::{Config, LogId, position, to_index, to_log_id};
use crate::error::{invalid_input, to_io};
use crate::hands::Hands;
use crate::log_reader::LogReader;
use crate::{payload, vote};

/// The log and the vote. Dropping it, and all its readers, waits until
/// everything handed over is durable (or has failed), and frees the directory.
pub struct LogStore<C: Config> {
    /// First: its thread, if any, waits for the other ones.
    acks: Arc<Acks<C>>,
    hands: Arc<Hands>,
    env: Arc<dyn Env>,
    /// As the hint had it at the open.
    committed: Option<LogId>,
}

impl<C: Config> LogStore<C> {
    /// Opens the log in `dir`, or creates it; the directory above must exist.
    /// Blocks, as long as reading the newest segment takes.
    pub fn open(host: Host, dir: &Path, options: Options) -> io::Result<Self> {
        let env = host.env.clone();
        let (store, committed) = open(host, dir, options)?;
        let hands = Arc::new(Hands::Threads(Threads::start(store)?));
        Ok(LogStore {
            committed,
            acks: Arc::new(Acks::start(hands.clone())?),
            hands,
            env,
        })
    }

    /// As [`LogStore::open`], but without a thread of its own: nothing becomes
    /// durable, and no callback comes, but in the steps of the second. For a
    /// simulation, which must know when what happens.
    pub fn open_stepped(
        host: Host,
        dir: &Path,
        options: Options,
    ) -> io::Result<(Self, Stepper<C>)> {
        let env = host.env.clone();
        let (store, committed) = open(host, dir, options)?;
        let hands = Arc::new(Hands::of_caller(store));
        let acks = Arc::new(Acks::of_caller());
        let stepper = Stepper {
            acks: acks.clone(),
            hands: hands.clone(),
        };
        let log = LogStore {
            committed,
            acks,
            hands,
            env,
        };
        Ok((log, stepper))
    }

    fn store(&self) -> &Store {
        self.hands.store()
    }

    /// The last entry, or what was purged last if there is none.
    fn last(&self) -> io::Result<(Index, Term)> {
        let index = self.store().last_index();
        // The last term is in memory.
        let term = self.store().term(index).map_err(to_io)?;
        Ok((index, term))
    }

    /// From here on the log begins behind this position.
    async fn begin_after(&self, (last_index, last_term): (Index, Term)) -> io::Result<()> {
        let hands = self.hands.clone();
        let installed = C::spawn_blocking(move || {
            let install = hands.store().install(SnapshotMeta {
                last_index,
                last_term,
                membership: Membership::default(),
            });
            hands.install(install)
        });
        installed.await?.map_err(to_io)?;
        Ok(())
    }
}

/// The store, and what its hint says is committed.
fn open(host: Host, dir: &Path, options: Options) -> io::Result<(Store, Option<LogId>)> {
    let (store, report) = Store::open(host, dir, options).run().map_err(to_io)?;
    let committed = match store.term(report.commit_hint) {
        Ok(term) => to_log_id((report.commit_hint, term)),
        // Older than what was purged: the state machine has it.
        Err(Error::Purged { .. }) => None,
        Err(error) => return Err(to_io(error)),
    };
    Ok((store, committed))
}

/// Does the work of a [`LogStore`] that has no threads.
pub struct Stepper<C: Config> {
    acks: Arc<Acks<C>>,
    hands: Arc<Hands>,
}

impl<C: Config> Stepper<C> {
    /// The log's store, for looking at it.
    pub fn store(&self) -> &Store {
        self.hands.store()
    }

    /// One file operation at the most, and the callbacks of what is durable then.
    /// Whether there was something to do. After an error, which the callbacks
    /// are told, only opening the log again helps.
    pub fn step(&self) -> io::Result<bool> {
        let Hands::Caller(caller) = &*self.hands else {
            unreachable!("made with a log that has no threads");
        };
        let stepped = caller.step();
        let result = match &stepped {
            Ok(_) => Ok(self.hands.store().persisted()),
            Err(error) => Err(error.clone()),
        };
        self.acks.answer_to(result);
        stepped.map_err(to_io)
    }
}

impl<C: Config> fmt::Debug for Stepper<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stepper")
    }
}

impl<C: Config> RaftLogStorage<C> for LogStore<C> {
    type LogReader = LogReader<C>;

    async fn get_log_state(&mut self) -> Result<LogState<C>, io::Error> {
        Ok(LogState {
            last_purged_log_id: purged(self.store()),
            last_log_id: to_log_id(self.last()?),
        })
    }

    async fn get_log_reader(&mut self) -> LogReader<C> {
        LogReader::new(self.acks.clone(), self.hands.clone())
    }

    async fn save_vote(&mut self, vote: &VoteOf<C>) -> Result<(), io::Error> {
        let batch = Batch {
            hard_state: Some(vote::to_hard_state(vote)?),
            entries: Vec::new(),
        };
        self.acks.room().await;
        let ticket = self.hands.append(batch).map_err(to_io)?;
        self.acks.wait(ticket).await
    }

    /// A hint, and in the background: see the crate's documentation. Never of an
    /// entry that this log does not have.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        if let Some((index, term)) = committed.as_ref().map(position) {
            // One that has left the cache is not worth a read.
            let ours = self.store().cached_entries(index, index.next(), 0);
            let ours = ours.and_then(|entries| Some(entries.first()?.term));
            if ours == Some(term) {
                self.hands.hint_commit(index);
            }
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<C>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = C::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let now_ms = self.env.now_ms();
        let entries: Vec<_> = entries
            .into_iter()
            .map(|entry| payload::to_entry::<C>(&entry, now_ms))
            .collect::<io::Result<_>>()?;
        let bytes = entries.iter().map(|entry| entry.data.len()).sum();
        self.acks.room().await;
        if let Some(first) = entries.first() {
            let (last, _) = self.last()?;
            if first.index > last.next() && last == Index(0) {
                // A log that begins in the middle: what is before it is gone.
                self.begin_after((first.index.prev(), first.term)).await?;
            } else if first.index != last.next() {
                return Err(invalid_input(format!(
                    "log index {} can't follow {last} entries",
                    first.index.prev()
                )));
            }
        }
        let batch = Batch {
            hard_state: None,
            entries,
        };
        // In memory only: it replaces nothing, and there is room.
        let ticket = self.hands.append(batch).map_err(to_io)?;
        self.acks.push(ticket, bytes, callback);
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let kept = last_log_id.map_or(Index(0), |id| to_index(id.index));
        let begin = self.store().snapshot().map_or(Index(0), |s| s.last_index);
        let from = kept.min(self.store().last_index()).max(begin).next();
        self.acks.room().await;
        let hands = self.hands.clone();
        // It may have to read the term of the entry before.
        let ticket = C::spawn_blocking(move || hands.truncate_suffix(from));
        let ticket = ticket.await?.map_err(to_io)?;
        self.acks.wait(ticket).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        match purged(self.store()) {
            Some(already) if already.index >= log_id.index => Ok(()),
            _ => self.begin_after(position(&log_id)).await,
        }
    }
}

/// The last log id that was purged.
pub(crate) fn purged(store: &Store) -> Option<LogId> {
    let begin = store.snapshot()?;
    to_log_id((begin.last_index, begin.last_term))
}

impl<C: Config> fmt::Debug for LogStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogStore")
            .field("dir", &self.store().dir())
            .finish_non_exhaustive()
    }
}
