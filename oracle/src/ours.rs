//! The engine's core, on a log in memory.

use std::sync::Arc;

use afterimage_engine::mutant::Mutants;
use afterimage_engine::raft::{Config, LogView, Message, Raft};
use afterimage_engine::{
    Entry, EntryKind, Error, HardState, Index, Membership, NodeId, Result, Role as EngineRole, Term,
};

use crate::{APPEND_BYTES, ELECTION_TICKS, HEARTBEAT_TICKS, Role, Standing};

/// What is on the disk.
#[derive(Debug, Default)]
pub struct Disk {
    hard_state: HardState,
    entries: Vec<Entry>,
}

pub struct Ours {
    config: Config,
    disk: Disk,
    raft: Raft,
}

impl Ours {
    pub fn new(id: u64, members: u64, mutants: Mutants) -> Self {
        let config = Config {
            id: NodeId(id),
            membership: Membership {
                voters: (1..=members).map(NodeId).collect(),
                learners: Vec::new(),
            },
            election_ticks: ELECTION_TICKS,
            heartbeat_ticks: HEARTBEAT_TICKS,
            append_bytes_max: APPEND_BYTES,
            inflight_max: 4,
            mutants,
        };
        let disk = Disk::default();
        let raft = boot(&config, &disk);
        Ours { config, disk, raft }
    }

    /// Forgets all but what is on the disk.
    pub fn restart(&mut self) {
        self.raft = boot(&self.config, &self.disk);
    }

    pub fn tick(&mut self) -> Vec<Message> {
        let entropy = entropy(&self.config);
        self.call(|raft, disk| raft.tick(disk, entropy)).1
    }

    pub fn step(&mut self, message: Message) -> Vec<Message> {
        let entropy = entropy(&self.config);
        self.call(|raft, disk| raft.step(message, disk, entropy)).1
    }

    /// Whether it was taken.
    pub fn propose(&mut self, data: &[u8]) -> (bool, Vec<Message>) {
        let data: Arc<[u8]> = data.into();
        let (placed, sent) =
            self.call(|raft, disk| raft.propose(EntryKind::Command, data, 0, disk));
        (placed.is_ok(), sent)
    }

    /// Does it, writes all that follows, and says what is to be sent.
    fn call<T>(&mut self, call: impl FnOnce(&mut Raft, &Disk) -> Result<T>) -> (T, Vec<Message>) {
        let answer = call(&mut self.raft, &self.disk).expect("a log in memory");
        let mut sent = Vec::new();
        loop {
            let ready = self.raft.ready(&self.disk).expect("a log in memory");
            assert!(ready.snapshot_reads.is_empty(), "nothing is purged here");
            let idle = ready.seq.is_none() && ready.messages.is_empty();
            sent.extend(ready.messages);
            if let Some(hard_state) = ready.hard_state {
                self.disk.hard_state = hard_state;
            }
            if let Some(first) = ready.entries.first() {
                self.disk.entries.truncate(first.index.0 as usize - 1);
                self.disk.entries.extend(ready.entries);
            }
            sent.extend(ready.after_persist);
            if let Some(seq) = ready.seq {
                let persisted = self.raft.persisted(seq, &self.disk);
                persisted.expect("a log in memory");
            }
            if idle {
                return (answer, sent);
            }
        }
    }

    pub fn term_at(&self, index: u64) -> u64 {
        self.disk.term(Index(index)).expect("it is in the log").0
    }

    pub fn standing(&self) -> Standing {
        Standing {
            role: match self.raft.role() {
                EngineRole::Follower => Role::Follower,
                EngineRole::PreCandidate => Role::PreCandidate,
                EngineRole::Candidate => Role::Candidate,
                EngineRole::Leader => Role::Leader,
            },
            term: self.raft.term().0,
            vote: self.disk.hard_state.vote.map(|id| id.0),
            leader: self.raft.leader().map(|id| id.0),
            commit: self.raft.commit_index().0,
            log: self.disk.entries.iter().map(|entry| entry.term.0).collect(),
        }
    }
}

/// Draws the member's own timeout, always the same.
fn entropy(config: &Config) -> u64 {
    config.id.0
}

fn boot(config: &Config, disk: &Disk) -> Raft {
    let entropy = entropy(config);
    let raft = Raft::new(config.clone(), disk.hard_state, None, disk, entropy);
    raft.expect("a configuration that works")
}

impl LogView for Disk {
    fn first_index(&self) -> Index {
        Index(1)
    }
    fn last_index(&self) -> Index {
        Index(self.entries.len() as u64)
    }
    fn term(&self, index: Index) -> Result<Term> {
        if index == Index(0) {
            return Ok(Term(0));
        }
        let entry = self.entries.get(index.0 as usize - 1);
        entry.map(|entry| entry.term).ok_or(Error::Unavailable {
            last: self.last_index(),
        })
    }
    fn entries(&self, from: Index, max_bytes: usize) -> Result<Vec<Entry>> {
        self.term(from)?;
        let mut bytes = 0;
        let suffix = self.entries[from.0 as usize - 1..].iter().enumerate();
        let fitting = suffix.take_while(|(position, entry)| {
            bytes += entry.data.len();
            *position == 0 || bytes <= max_bytes
        });
        Ok(fitting.map(|(_, entry)| entry.clone()).collect())
    }
}
