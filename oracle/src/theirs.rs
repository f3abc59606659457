//! raft-rs, on its own storage in memory.

use raft::eraftpb::{HardState, Message, MessageType};
use raft::storage::MemStorage;
use raft::{Config, RawNode, StateRole, Storage};
use slog::{Discard, Logger, o};

use crate::{APPEND_BYTES, Answer, ELECTION_TICKS, HEARTBEAT_TICKS, Role, Standing};

pub struct Theirs {
    id: u64,
    node: RawNode<MemStorage>,
}

impl Theirs {
    pub fn new(id: u64, members: u64) -> Self {
        let voters: Vec<u64> = (1..=members).collect();
        let storage = MemStorage::new_with_conf_state((voters, Vec::new()));
        Theirs {
            id,
            node: boot(id, storage),
        }
    }

    /// Forgets all but what is on the disk; of that, the commit index.
    pub fn restart(&mut self) {
        let storage = self.node.store().clone();
        storage.wl().mut_hard_state().set_commit(0);
        self.node = boot(self.id, storage);
    }

    pub fn tick(&mut self) -> Vec<Message> {
        self.node.tick();
        self.drain()
    }

    pub fn step(&mut self, message: Message) -> Vec<Message> {
        // It refuses answers of strangers, of which there are none here.
        self.node.step(message).expect("a message that it knows");
        self.drain()
    }

    /// Whether it was taken.
    pub fn propose(&mut self, data: &[u8]) -> (bool, Vec<Message>) {
        // A follower would pass it on to its leader.
        let leads = self.node.raft.state == StateRole::Leader;
        let taken = leads && self.node.propose(Vec::new(), data.to_vec()).is_ok();
        (taken, self.drain())
    }

    /// Writes all that is to be written, and says what is to be sent.
    fn drain(&mut self) -> Vec<Message> {
        let mut sent = Vec::new();
        while self.node.has_ready() {
            let mut ready = self.node.ready();
            sent.extend(ready.take_messages());
            let storage = self.node.store().clone();
            if !ready.entries().is_empty() {
                storage.wl().append(ready.entries()).expect("no gap");
            }
            if let Some(hard_state) = ready.hs() {
                storage.wl().set_hardstate(hard_state.clone());
            }
            sent.extend(ready.take_persisted_messages());
            let mut light = self.node.advance(ready);
            sent.extend(light.take_messages());
            if let Some(commit) = light.commit_index() {
                storage.wl().mut_hard_state().set_commit(commit);
            }
            self.node.advance_apply();
        }
        sent
    }

    pub fn standing(&self) -> Standing {
        let raft = &self.node.raft;
        let some = |id: u64| (id != raft::INVALID_ID).then_some(id);
        let last = raft.raft_log.last_index();
        let term = |index| raft.raft_log.term(index).expect("it is in the log");
        Standing {
            role: match raft.state {
                StateRole::Follower => Role::Follower,
                StateRole::PreCandidate => Role::PreCandidate,
                StateRole::Candidate => Role::Candidate,
                StateRole::Leader => Role::Leader,
            },
            term: raft.term,
            vote: some(raft.vote),
            leader: some(raft.leader_id),
            commit: raft.raft_log.committed,
            log: (1..=last).map(term).collect(),
        }
    }
}

/// The answer in a message of raft-rs, if it is one.
pub fn answer(message: &Message) -> Option<Answer> {
    let granted = !message.reject;
    match message.get_msg_type() {
        MessageType::MsgRequestPreVoteResponse => Some(Answer::PreVote { granted }),
        MessageType::MsgRequestVoteResponse => Some(Answer::Vote { granted }),
        MessageType::MsgAppendResponse if granted => Some(Answer::Accepted {
            upto: message.index,
        }),
        MessageType::MsgAppendResponse => Some(Answer::Rejected {
            hint: message.reject_hint,
            hint_term: message.log_term,
        }),
        _ => None,
    }
}

fn boot(id: u64, storage: MemStorage) -> RawNode<MemStorage> {
    let timeout = ELECTION_TICKS as usize + id as usize;
    let config = Config {
        id,
        election_tick: ELECTION_TICKS as usize,
        heartbeat_tick: HEARTBEAT_TICKS as usize,
        // No chance: always the same.
        min_election_tick: timeout,
        max_election_tick: timeout + 1,
        max_size_per_msg: APPEND_BYTES as u64,
        max_inflight_msgs: 4,
        check_quorum: true,
        pre_vote: true,
        ..Config::default()
    };
    let hard_state: HardState = storage.initial_state().expect("in memory").hard_state;
    assert_eq!(hard_state.commit, 0, "it is made to forget that");
    let logger = Logger::root(Discard, o!());
    RawNode::new(&config, storage, &logger).expect("a configuration that works")
}
