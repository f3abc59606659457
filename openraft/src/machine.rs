//! OpenRaft's state machine: yours in memory, and its snapshots on disk.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use afterimage_engine::Host;
use afterimage_engine::store::{Options, SnapshotSource};
use futures_util::{Stream, StreamExt};
use openraft::alias::{
    DefaultEntryOf, EntryPayloadOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf,
};
use openraft::storage::EntryResponder;
use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder, Snapshot};

use crate::config::{Config, LogId};
use crate::error::invalid_data;
use crate::payload;
use crate::snapshot_data::SnapshotData;
use crate::snapshot_store::SnapshotStore;

/// Your state machine. Deterministic: the same commands in the same order give
/// the same state and the same answers on every replica. It is called on the
/// runtime's threads, and must not block.
pub trait Machine<C: Config>: Send + Sync + 'static {
    /// Takes a committed entry; the answer goes to the client. `None`: the entry
    /// is a leader's first, or a change of the membership.
    fn apply(&mut self, log_id: LogId, command: Option<C::D>) -> C::R;
    /// Freezes the current state; it is read while later commands are applied.
    fn snapshot(&self) -> Box<dyn SnapshotSource>;
    /// Forgets everything; [`Machine::restore`] brings a snapshot's data.
    fn reset(&mut self);
    /// The next piece of a snapshot's data.
    fn restore(&mut self, piece: &[u8]);
    /// All pieces were given. An error says that the data makes no sense.
    fn restored(&mut self) -> Result<(), String>;
}

/// A [`Machine`] with its [`SnapshotStore`]. What was applied since the last
/// snapshot is in memory only; OpenRaft applies it again from the log.
pub struct StateMachine<C: Config, M> {
    machine: M,
    snapshots: SnapshotStore<C>,
    applied: SnapshotMetaOf<C>,
}

impl<C: Config, M: Machine<C>> StateMachine<C, M> {
    /// Opens the snapshots in `dir`, or creates the directory (the one above
    /// must exist), and brings the machine to the current snapshot. Blocks.
    pub fn open(host: Host, dir: &Path, options: Options, machine: M) -> io::Result<Self> {
        let mut this = StateMachine {
            machine,
            snapshots: SnapshotStore::open(host, dir, options)?,
            applied: SnapshotMetaOf::<C>::default(),
        };
        if let Some((meta, data)) = this.snapshots.current_now()? {
            let mut offset = 0;
            this.machine.reset();
            loop {
                let piece = data.read_now(offset)?;
                if piece.is_empty() {
                    break;
                }
                offset += piece.len() as u64;
                this.machine.restore(&piece);
            }
            this.restored(meta)?;
        }
        Ok(this)
    }

    /// For receiving snapshots from the network.
    pub fn snapshots(&self) -> &SnapshotStore<C> {
        &self.snapshots
    }

    /// The state as it is now.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    fn restored(&mut self, meta: SnapshotMetaOf<C>) -> io::Result<()> {
        self.machine.restored().map_err(|why| {
            invalid_data(format!("the snapshot's data is not this machine's: {why}"))
        })?;
        self.applied = meta;
        Ok(())
    }

    async fn restore(&mut self, meta: SnapshotMetaOf<C>, data: &SnapshotData) -> io::Result<()> {
        self.machine.reset();
        let mut offset = 0;
        loop {
            let piece = data.read::<C>(offset).await?;
            if piece.is_empty() {
                return self.restored(meta);
            }
            offset += piece.len() as u64;
            self.machine.restore(&piece);
        }
    }
}

impl<C, M> RaftStateMachine<C> for StateMachine<C, M>
where
    C: Config<Payload = EntryPayloadOf<C>, Entry = DefaultEntryOf<C>>,
    M: Machine<C>,
{
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder<C>;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembershipOf<C>), io::Error> {
        let SnapshotMetaOf::<C> {
            last_log_id,
            last_membership,
        } = self.applied.clone();
        Ok((last_log_id, last_membership))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<C>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(entry) = entries.next().await {
            let (entry, responder) = entry?;
            let log_id = payload::log_id::<C>(&entry);
            let command = match entry.payload {
                EntryPayload::Blank => None,
                EntryPayload::Normal(command) => Some(command),
                EntryPayload::Membership(membership) => {
                    self.applied.last_membership =
                        StoredMembershipOf::<C>::new(Some(log_id), membership);
                    None
                }
            };
            let answer = self.machine.apply(log_id, command);
            self.applied.last_log_id = Some(log_id);
            if let Some(responder) = responder {
                responder.send(answer);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder<C> {
        SnapshotBuilder {
            snapshots: self.snapshots.clone(),
            meta: self.applied.clone(),
            frozen: Mutex::new(Some(self.machine.snapshot())),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<C>,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        self.snapshots.install(meta, snapshot).await?;
        match self.snapshots.current().await? {
            Some((stored, data)) => self.restore(stored, &data).await,
            // One of before the first entry.
            None => {
                self.machine.reset();
                self.applied = meta.clone();
                Ok(())
            }
        }
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<C, SnapshotData>>, io::Error> {
        let current = self.snapshots.current().await?;
        Ok(current.map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

/// A frozen state on its way to the disk, while commands are applied.
pub struct SnapshotBuilder<C: Config> {
    snapshots: SnapshotStore<C>,
    meta: SnapshotMetaOf<C>,
    /// `None` once it was built. In a mutex only to be shared between threads,
    /// which sources need not allow.
    frozen: Mutex<Option<Box<dyn SnapshotSource>>>,
}

impl<C: Config> RaftSnapshotBuilder<C> for SnapshotBuilder<C> {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<C, SnapshotData>, io::Error> {
        let frozen = self
            .frozen
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let (Some(source), Some(_)) = (frozen.take(), &self.meta.last_log_id) {
            self.snapshots.save(&self.meta, source).await?;
        }
        Ok(match self.snapshots.current().await? {
            Some((meta, snapshot)) => Snapshot { meta, snapshot },
            // Nothing was applied yet, so there is nothing to store.
            None => Snapshot {
                meta: self.meta.clone(),
                snapshot: SnapshotData::initial(),
            },
        })
    }
}

impl<C: Config, M> fmt::Debug for StateMachine<C, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateMachine")
            .field("snapshots", &self.snapshots)
            .finish_non_exhaustive()
    }
}

impl<C: Config> fmt::Debug for SnapshotBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SnapshotBuilder")
    }
}
