//! A cluster by hand: nothing happens but what the test says.

use std::collections::{BTreeMap, BTreeSet};

use afterimage_engine::mutant::Mutants;
use afterimage_engine::raft::{Body, Change, Config, LogView, Message, Raft, ReadState, Refused};
use afterimage_engine::{
    Entry, EntryKind, Index, Membership, NodeId, Result as EngineResult, Term,
};

use crate::image::Image;
use crate::member::{Member, Out};
use crate::oracle::{Oracle, Violation};
use crate::rng::Rng;

pub type Played = Result<(), Violation>;

pub const ELECTION_TICKS: u32 = 10;
/// Draws the longest timeout, so that nobody campaigns but who is told to.
const PATIENT: u64 = ELECTION_TICKS as u64 - 1;

pub struct Lab {
    members: BTreeMap<u64, Member>,
    /// Sent and not delivered, in order.
    pub wire: Vec<Message>,
    /// Members that nobody hears and who hear nobody.
    cut: BTreeSet<u64>,
    /// Members whose disk does nothing until told.
    slow: BTreeSet<u64>,
    /// Whether an install waits for `finish_install` with the last piece.
    pub holds_installs: bool,
    pub oracle: Oracle,
    pub granted: Vec<ReadState>,
    pub failed: Vec<u64>,
}

impl Lab {
    /// A cluster of these voters, and `spares` more servers that may join it.
    pub fn new(voters: u64, spares: u64, mutants: Mutants) -> Self {
        let membership = Membership {
            voters: (1..=voters).map(NodeId).collect(),
            learners: Vec::new(),
        };
        let start = |id| {
            let joins = id > voters;
            let mut member = Member::new(Config {
                id: NodeId(id),
                membership: if joins {
                    Membership::default()
                } else {
                    membership.clone()
                },
                election_ticks: ELECTION_TICKS,
                heartbeat_ticks: 2,
                append_bytes_max: 10,
                inflight_max: 4,
                mutants,
            });
            member.start(PATIENT);
            (id, member)
        };
        Lab {
            members: (1..=voters + spares).map(start).collect(),
            wire: Vec::new(),
            cut: BTreeSet::new(),
            slow: BTreeSet::new(),
            holds_installs: false,
            oracle: Oracle::default(),
            granted: Vec::new(),
            failed: Vec::new(),
        }
    }

    pub fn member(&self, id: u64) -> &Member {
        &self.members[&id]
    }

    pub fn core(&self, id: u64) -> &Raft {
        self.members[&id].core()
    }

    /// The terms of the log's entries.
    pub fn terms(&self, id: u64) -> Vec<u64> {
        let view = &self.members[&id].view;
        let indexes = view.first_index().0..=view.last_index().0;
        indexes
            .map(|index| view.entry(Index(index)).term.0)
            .collect()
    }

    pub fn call<T>(
        &mut self,
        id: u64,
        call: impl FnOnce(&mut Raft, &Image) -> EngineResult<T>,
    ) -> Result<T, Violation> {
        let member = self.members.get_mut(&id).unwrap();
        let (answer, out) = member.call(&mut self.oracle, call)?;
        self.carry_out(id, out)?;
        Ok(answer)
    }

    fn carry_out(&mut self, id: u64, mut out: Out) -> Played {
        let member = self.members.get_mut(&id).unwrap();
        self.wire.append(&mut out.messages);
        for read in out.reads {
            self.oracle.read_granted(NodeId(id), read)?;
            self.granted.push(read);
        }
        for context in out.failed_reads {
            self.oracle.read_failed(context);
            self.failed.push(context);
        }
        if let Some(piece) = out.piece {
            member.take_piece(&piece);
            if !piece.done {
                let more = member.stored(&mut self.oracle, &piece)?;
                self.carry_out(id, more)?;
            } else if !self.holds_installs {
                self.finish_install(id)?;
            }
        }
        if !self.slow.contains(&id) {
            self.persist(id)?;
        }
        Ok(())
    }

    /// Everything on its way to this disk arrives.
    pub fn persist(&mut self, id: u64) -> Played {
        while self.members[&id].has_unwritten() {
            self.persist_one(id)?;
        }
        Ok(())
    }

    /// The next batch on its way to this disk arrives.
    pub fn persist_one(&mut self, id: u64) -> Played {
        let member = self.members.get_mut(&id).unwrap();
        let out = member.persist(1, &mut self.oracle)?;
        self.carry_out(id, out)
    }

    pub fn finish_install(&mut self, id: u64) -> Played {
        let member = self.members.get_mut(&id).unwrap();
        let out = member.finish_install(false, &mut self.oracle)?;
        self.carry_out(id, out)
    }

    pub fn tick(&mut self, id: u64, times: u32) -> Played {
        for _ in 0..times {
            self.call(id, |raft, log| raft.tick(log, PATIENT))?;
        }
        Ok(())
    }

    pub fn step(&mut self, message: Message) -> Played {
        let id = message.to.0;
        self.call(id, |raft, log| raft.step(message, log, PATIENT))
    }

    /// Delivers what is on the wire now and chosen, in order; what is cut off
    /// is lost, the rest stays.
    pub fn deliver(&mut self, chosen: impl Fn(&Message) -> bool) -> Result<usize, Violation> {
        let (now, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.wire).into_iter().partition(chosen);
        self.wire = later;
        let count = now.len();
        for message in now {
            let lost = self.cut.contains(&message.from.0) || self.cut.contains(&message.to.0);
            if !lost && self.members[&message.to.0].raft.is_some() {
                self.step(message)?;
            }
        }
        Ok(count)
    }

    /// Delivers until nothing is on the wire.
    pub fn settle(&mut self) -> Played {
        while self.deliver(|_| true)? > 0 {}
        Ok(())
    }

    /// Makes `id` campaign, with the others' leases run out; delivers nothing.
    pub fn campaign(&mut self, id: u64) -> Played {
        let leased = |member: &&Member| {
            let core = member.raft.as_ref();
            core.is_some_and(|core| core.leader().is_some() && !core.is_leader())
        };
        let others = self.members.values().filter(leased);
        let others: Vec<u64> = others.map(|member| member.id.0).collect();
        for other in others.into_iter().filter(|&other| other != id) {
            self.tick(other, ELECTION_TICKS)?;
        }
        let asks = |message: &Message| {
            message.from.0 == id && matches!(message.body, Body::PreVote { .. })
        };
        while !self.wire.iter().any(asks) && !self.members[&id].is_leader() {
            self.tick(id, 1)?;
        }
        Ok(())
    }

    pub fn elect(&mut self, id: u64) -> Played {
        self.campaign(id)?;
        self.settle()?;
        assert!(self.members[&id].is_leader(), "{:?}", self.core(id));
        Ok(())
    }

    /// A leader's heartbeats, and all that follows.
    pub fn beat(&mut self, id: u64) -> Played {
        self.tick(id, 2)?;
        self.settle()
    }

    pub fn propose(&mut self, id: u64, bytes: usize) -> Played {
        let data = vec![7; bytes].into();
        let kind = EntryKind::Command;
        let placed = self.call(id, |raft, log| raft.propose(kind, data, 0, log))?;
        placed.expect("it leads");
        Ok(())
    }

    /// Whether `id` takes a proposal.
    pub fn proposes(&mut self, id: u64) -> Result<bool, Violation> {
        let propose =
            |raft: &mut Raft, log: &Image| raft.propose(EntryKind::Command, [7].into(), 0, log);
        Ok(self.call(id, propose)?.is_ok())
    }

    /// Asks the leader `id` for a change of the membership.
    pub fn change(&mut self, id: u64, change: Change) -> Result<Result<(), Refused>, Violation> {
        let answer = self.call(id, |raft, log| raft.change_membership(change, 0, log))?;
        Ok(answer.map(|_| ()))
    }

    /// A change that is made and committed, and known so to everybody.
    pub fn change_and_settle(&mut self, id: u64, change: Change) -> Played {
        let answer = self.change(id, change)?;
        assert_eq!(answer, Ok(()), "{change:?}");
        self.settle()?;
        self.beat(id)?;
        assert!(!self.core(id).change_is_pending(), "{change:?}");
        Ok(())
    }

    /// Asks the leader `id` to hand over.
    pub fn hand_over(&mut self, id: u64, to: u64) -> Result<Result<(), Refused>, Violation> {
        self.call(id, |raft, _| Ok(raft.transfer_leadership(NodeId(to))))
    }

    pub fn read(&mut self, id: u64, context: u64) -> Played {
        self.oracle.read_asked(context);
        let asked = self.call(id, |raft, log| raft.read_index(context, log))?;
        asked.expect("it leads");
        Ok(())
    }

    pub fn cut(&mut self, ids: &[u64]) {
        self.cut.extend(ids);
    }

    pub fn heal(&mut self) {
        self.cut.clear();
    }

    pub fn slow(&mut self, id: u64) {
        self.slow.insert(id);
    }

    pub fn crash(&mut self, id: u64) -> Played {
        let member = self.members.get_mut(&id).unwrap();
        member.crash(&mut Rng::new(id), &mut self.oracle)
    }

    pub fn start(&mut self, id: u64) {
        self.members.get_mut(&id).unwrap().start(PATIENT);
    }

    pub fn save_snapshot(&mut self, id: u64) {
        let member = self.members.get_mut(&id).unwrap();
        member.save_snapshot(|last| last).unwrap();
    }
}

pub fn lab(voters: u64) -> Lab {
    Lab::new(voters, 0, Mutants::NONE)
}

/// With servers that may join.
pub fn lab_with_spares(voters: u64, spares: u64) -> Lab {
    Lab::new(voters, spares, Mutants::NONE)
}

pub fn message(from: u64, to: u64, term: u64, body: Body) -> Message {
    Message {
        from: NodeId(from),
        to: NodeId(to),
        term: Term(term),
        body,
    }
}

pub fn entry(index: u64, term: u64) -> Entry {
    Entry {
        index: Index(index),
        term: Term(term),
        kind: EntryKind::Command,
        timestamp_ms: 0,
        data: [index as u8].into(),
    }
}

pub fn append(prev: (u64, u64), commit: u64, entries: Vec<Entry>) -> Body {
    Body::Append {
        prev_index: Index(prev.0),
        prev_term: Term(prev.1),
        commit: Index(commit),
        entries,
    }
}

/// The answers on the wire from `id`.
pub fn bodies(lab: &Lab, id: u64) -> Vec<Body> {
    let sent = lab.wire.iter().filter(|message| message.from == NodeId(id));
    sent.map(|message| message.body.clone()).collect()
}

pub fn accepted(match_index: u64) -> Body {
    Body::AppendAccepted {
        match_index: Index(match_index),
    }
}
