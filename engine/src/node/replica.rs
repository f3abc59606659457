//! The replicated state: the user's state machine behind its client sessions.

use crate::entry::{Entry, EntryKind};
use crate::error::{Corruption, Error, Result};
use crate::ids::{Index, Term};
use crate::store::{SnapshotReader, SnapshotSource, Store};

use super::StateMachine;
use super::session::{Command, Decoder, Frozen, Limits, Seen, Sessions};

/// State machine and sessions, as of one entry.
#[derive(Debug)]
pub(super) struct Replica<S> {
    machine: S,
    sessions: Sessions,
    applied: (Index, Term),
}

/// What an entry came to for the client that waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The command's answer, now or from when it was applied first.
    Done(Vec<u8>),
    /// Nothing is known of it any more: blank, or a command older than its
    /// client's last one.
    None,
}

impl<S: StateMachine> Replica<S> {
    /// `machine` must be in its first state.
    pub fn new(machine: S) -> Self {
        Replica {
            machine,
            sessions: Sessions::new(Limits::DEFAULT),
            applied: (Index(0), Term(0)),
        }
    }

    pub fn machine(&self) -> &S {
        &self.machine
    }

    pub fn applied_index(&self) -> Index {
        self.applied.0
    }

    pub fn applied_term(&self) -> Term {
        self.applied.1
    }

    /// Takes the next committed entry.
    pub fn apply(&mut self, entry: &Entry) -> Result<Answer> {
        assert_eq!(entry.index, self.applied.0.next(), "entries apply in order");
        assert!(entry.term >= self.applied.1, "terms never decrease");
        let answer = match entry.kind {
            EntryKind::Blank | EntryKind::Membership => Answer::None,
            EntryKind::Command => self.command(entry)?,
        };
        self.applied = (entry.index, entry.term);
        Ok(answer)
    }

    fn command(&mut self, entry: &Entry) -> Result<Answer> {
        // The log is checksummed, so only a host that wrote entries past the
        // node can have put this here.
        let Command {
            client,
            sequence,
            body,
        } = Command::decode(&entry.data).ok_or(Error::Misuse(
            "a command in the log has no client and sequence: it was not proposed by a node",
        ))?;
        Ok(match self.sessions.meet(entry.index, client, sequence) {
            Seen::New => {
                let answer = self.machine.apply(entry.index, body);
                self.sessions
                    .record(entry.index, client, sequence, answer.as_slice().into());
                Answer::Done(answer)
            }
            Seen::Duplicate(answer) => Answer::Done(answer.to_vec()),
            Seen::Stale => Answer::None,
        })
    }

    /// Freezes the state as of the last applied entry.
    pub fn snapshot(&self) -> Box<dyn SnapshotSource> {
        Box::new(FrozenReplica {
            sessions: Some(self.sessions.freeze()),
            machine: self.machine.snapshot(),
        })
    }
}

/// A snapshot's data: the sessions' table, then the state machine's own bytes.
struct FrozenReplica {
    /// `None` once all of it was given.
    sessions: Option<Frozen>,
    machine: Box<dyn SnapshotSource>,
}

impl SnapshotSource for FrozenReplica {
    fn read(&mut self, out: &mut Vec<u8>, max: usize) -> bool {
        let Some(sessions) = &mut self.sessions else {
            return self.machine.read(out, max);
        };
        if !sessions.read(out, max) {
            self.sessions = None;
        }
        true
    }
}

/// The replacement of a replica's state by the current snapshot's, one file
/// operation a step. The replica is of no use until it is finished.
#[derive(Debug)]
pub(super) struct Restore {
    reader: Option<SnapshotReader>,
    offset: u64,
    sessions: Decoder,
}

impl Restore {
    pub fn new() -> Self {
        Restore {
            reader: None,
            offset: 0,
            sessions: Decoder::new(Limits::DEFAULT),
        }
    }

    /// `true` once the replica has the snapshot's state.
    pub fn step<S: StateMachine>(
        &mut self,
        replica: &mut Replica<S>,
        store: &Store,
    ) -> Result<bool> {
        let Some(reader) = &self.reader else {
            let reader = store.open_snapshot()?;
            assert!(reader.is_some(), "only an existing snapshot is restored");
            self.reader = reader;
            replica.machine.reset();
            return Ok(false);
        };
        let refused = |offset, why| Error::Corrupt {
            path: store.dir().join("snapshot"),
            offset,
            what: Corruption::State(why),
        };
        let data = reader.read(self.offset)?;
        if !data.is_empty() {
            let rest = self
                .sessions
                .push(&data)
                .map_err(|why| refused(self.offset, why))?;
            if !rest.is_empty() {
                replica.machine.restore(rest);
            }
            self.offset += data.len() as u64;
            return Ok(false);
        }
        assert_eq!(self.offset, reader.data_len(), "a read is empty at the end");
        let sessions = std::mem::replace(&mut self.sessions, Decoder::new(Limits::DEFAULT));
        replica.sessions = sessions.finish().map_err(|why| refused(self.offset, why))?;
        replica
            .machine
            .restored()
            .map_err(|why| refused(self.offset, why))?;
        let meta = reader.meta();
        replica.applied = (meta.last_index, meta.last_term);
        Ok(true)
    }
}
