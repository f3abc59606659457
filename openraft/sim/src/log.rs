//! The log store as OpenRaft gets it: what it is told is written down first.
//! Here, too, the bugs of an adapter are planted.

use std::io;

use afterimage_engine::{Event, HardState, NodeId, Role, Term};
use afterimage_openraft::{LogId, LogReader, LogStore};
use afterimage_sim::trace::What;
use openraft::alias::{EntryOf, VoteOf};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend};

use crate::books::Witness;
use crate::machine::{Types, position};

/// What an adapter might do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Entries are said to be durable when they were handed over.
    AckBeforeSync,
    /// A vote is said to be durable and never written.
    VoteNotSaved,
    /// A truncation is said to be done and is not.
    TruncationLeftOut,
}

impl Bug {
    pub const ALL: [(&'static str, Bug); 3] = [
        ("adapter-acks-before-sync", Bug::AckBeforeSync),
        ("adapter-vote-not-saved", Bug::VoteNotSaved),
        ("adapter-truncation-left-out", Bug::TruncationLeftOut),
    ];
}

pub struct Log {
    inner: LogStore<Types>,
    witness: Witness,
    id: u64,
    term: Term,
    bug: Option<Bug>,
}

impl Log {
    /// `restored`: who led leads on, in its term.
    pub fn new(
        inner: LogStore<Types>,
        witness: Witness,
        id: u64,
        hard_state: HardState,
        restored: bool,
        bug: Option<Bug>,
    ) -> Self {
        let mut log = Log {
            inner,
            witness,
            id,
            term: Term(0),
            bug,
        };
        if let Some(NodeId(number)) = hard_state.vote {
            let (node, committed) = (number >> 1, number & 1 == 1);
            match node == id && !restored {
                true => log.role(hard_state.term, 0, false),
                false => log.role(hard_state.term, node, committed),
            }
        }
        log
    }

    /// This vote says which part the node plays.
    fn role(&mut self, term: Term, node: u64, committed: bool) {
        self.term = term;
        let role = match (node == self.id, committed) {
            (true, true) => Role::Leader,
            (true, false) => Role::Candidate,
            (false, _) => Role::Follower,
        };
        let leader = committed.then_some(NodeId(node));
        let event = Event::RoleChanged { term, role, leader };
        self.witness.say(What::Engine(event));
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = LogReader<Types>;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        self.inner.get_log_state().await
    }

    async fn get_log_reader(&mut self) -> LogReader<Types> {
        self.inner.get_log_reader().await
    }

    async fn save_vote(&mut self, vote: &VoteOf<Types>) -> Result<(), io::Error> {
        let leader = &vote.leader_id;
        self.role(Term(leader.term), leader.voted_for, vote.committed);
        match self.bug {
            Some(Bug::VoteNotSaved) => Ok(()),
            _ => self.inner.save_vote(vote).await,
        }
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        if let Some((index, _)) = committed.as_ref().map(position) {
            let term = self.term;
            self.witness
                .say(What::Engine(Event::Committed { index, term }));
        }
        self.inner.save_committed(committed).await
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        self.inner.read_committed().await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = EntryOf<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        if self.bug == Some(Bug::AckBeforeSync) {
            self.inner.append(entries, IOFlushed::noop()).await?;
            callback.io_completed(Ok(()));
            return Ok(());
        }
        self.inner.append(entries, callback).await
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        match self.bug {
            Some(Bug::TruncationLeftOut) => Ok(()),
            _ => self.inner.truncate_after(last_log_id).await,
        }
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        self.inner.purge(log_id).await
    }
}
