//! The judge: sees every decision of every member, and breaks nothing itself.

use std::collections::{BTreeMap, BTreeSet};

use afterimage_engine::raft::{Body, LogView, Message, Raft, ReadState};
use afterimage_engine::{Entry, EntryId, EntryKind, Event, HardState, Index, NodeId, Role, Term};

use crate::image::Image;
use crate::rng::mix;

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub invariant: &'static str,
    pub what: String,
}

pub fn violated<T>(invariant: &'static str, what: impl Into<String>) -> Result<T, Violation> {
    let what = what.into();
    Err(Violation { invariant, what })
}

/// What happened, to know that a run was worth something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    pub elections: u64,
    pub committed: u64,
    pub truncations: u64,
    pub installs: u64,
    pub reads: u64,
    pub failed_reads: u64,
    pub crashes: u64,
    pub lost_batches: u64,
    pub step_downs: u64,
    /// Committed changes of the membership.
    pub changes: u64,
    /// Changes that another leader replaced.
    pub undone_changes: u64,
    /// Leaders by handover.
    pub handovers: u64,
    pub removed_leaders: u64,
}

impl Stats {
    pub fn add(&mut self, other: &Stats) {
        for (sum, more) in self.all().into_iter().zip(other.clone().all()) {
            *sum += *more;
        }
    }

    pub fn reaches(&self, least: &Stats) -> bool {
        let (mut own, mut least) = (self.clone(), least.clone());
        let mut pairs = own.all().into_iter().zip(least.all());
        pairs.all(|(own, least)| own >= least)
    }

    fn all(&mut self) -> [&mut u64; 13] {
        let Stats {
            elections,
            committed,
            truncations,
            installs,
            reads,
            failed_reads,
            crashes,
            lost_batches,
            step_downs,
            changes,
            undone_changes,
            handovers,
            removed_leaders,
        } = self;
        [
            elections,
            committed,
            truncations,
            installs,
            reads,
            failed_reads,
            crashes,
            lost_batches,
            step_downs,
            changes,
            undone_changes,
            handovers,
            removed_leaders,
        ]
    }
}

#[derive(Debug, Default)]
pub struct Oracle {
    leaders: BTreeMap<Term, NodeId>,
    votes: BTreeMap<(NodeId, Term), NodeId>,
    hard_states: BTreeMap<NodeId, HardState>,
    /// Every entry that ever was in a log, and the term of the one before it.
    entries: BTreeMap<(Index, Term), (EntryId, Term)>,
    roles: BTreeMap<NodeId, (Term, Role)>,
    /// Everything that any member believes to be committed; index 1 first.
    committed: Vec<EntryId>,
    /// The state machine after each of these.
    states: Vec<u64>,
    /// How far the log was committed when each open read was asked for.
    reads: BTreeMap<u64, Index>,
    /// Who led on while its own removal was on its way, and in which term.
    removed: BTreeSet<(NodeId, Term)>,
    /// The terms that a candidate began because the leader wanted it.
    handed_over: BTreeSet<Term>,
    /// Over all events, to compare two runs.
    pub digest: u64,
    pub stats: Stats,
}

/// The state machine: all it took, in order.
pub fn apply(state: u64, entry: EntryId) -> u64 {
    mix(state ^ mix(entry.index.0) ^ mix(u64::from(entry.fingerprint)) ^ entry.term.0)
}

impl Oracle {
    pub fn committed_index(&self) -> Index {
        Index(self.committed.len() as u64)
    }

    pub fn event(&mut self, id: NodeId, event: &Event, view: &Image) -> Result<(), Violation> {
        self.digest = format!("{id} {event:?}")
            .bytes()
            .fold(self.digest, |digest, byte| mix(digest ^ u64::from(byte)));
        if let Event::RoleChanged { term, role, .. } = *event {
            self.roles.insert(id, (term, role));
        }
        match *event {
            Event::RoleChanged {
                term,
                role: Role::Leader,
                ..
            } => self.elected(id, term, view),
            Event::RoleChanged { term, .. } => {
                if self.leaders.get(&term) == Some(&id) {
                    self.stats.step_downs += 1;
                }
                Ok(())
            }
            Event::Voted { term, candidate } => {
                match *self.votes.entry((id, term)).or_insert(candidate) {
                    before if before == candidate => Ok(()),
                    before => violated(
                        "hard-state-monotonic",
                        format!("{id} votes for {before}, then {candidate} in term {term}"),
                    ),
                }
            }
            // Luck rarely plays figure 8 to its end, but the wrong decision that
            // leads there is plain to see.
            Event::Committed { term, index } => match self.roles.get(&id) {
                Some(&(own, Role::Leader)) if own != term => violated(
                    "commits-own-term",
                    format!("{id} leads term {own} and commits {index} of term {term}"),
                ),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn elected(&mut self, id: NodeId, term: Term, view: &Image) -> Result<(), Violation> {
        self.stats.elections += 1;
        self.stats.handovers += u64::from(self.handed_over.contains(&term));
        let first = *self.leaders.entry(term).or_insert(id);
        if first != id {
            let what = format!("{first} and {id} both lead term {term}");
            return violated("election-safety", what);
        }
        for entry in &self.committed {
            if view
                .meta()
                .is_some_and(|meta| entry.index <= meta.last_index)
            {
                continue;
            }
            if view.term(entry.index).ok() != Some(entry.term) {
                let what = format!("{id} leads term {term} without {entry:?}");
                return violated("leader-completeness", what);
            }
        }
        Ok(())
    }

    /// A leader that is removed for good leads nobody.
    pub fn leads(&mut self, id: NodeId, core: &Raft) -> Result<(), Violation> {
        if core.is_leader() && !core.membership().voters.contains(&id) {
            if !core.change_is_pending() {
                let what = format!("{id} leads {:?}", core.membership());
                return violated("removed-leader-steps-down", what);
            }
            self.removed.insert((id, core.term()));
            self.stats.removed_leaders = self.removed.len() as u64;
        }
        Ok(())
    }

    /// `id` puts entries into its log.
    pub fn appended(
        &mut self,
        id: NodeId,
        mut prev: Term,
        entries: &[Entry],
    ) -> Result<(), Violation> {
        for entry in entries {
            let here = (entry.id(), prev);
            // The same index and term imply, entry by entry, the same log before it.
            let there = *self
                .entries
                .entry((entry.index, entry.term))
                .or_insert(here);
            if there != here {
                let what = format!("{id} appends {here:?}, another has {there:?}");
                return violated("log-matching", what);
            }
            prev = entry.term;
        }
        Ok(())
    }

    /// `id` believes everything after `before` and up to `upto` to be committed.
    pub fn commits(
        &mut self,
        id: NodeId,
        (before, upto): (Index, Index),
        view: &Image,
    ) -> Result<(), Violation> {
        for index in view.first_index().max(before.next()).0..=upto.0 {
            let entry = view.entry(Index(index)).id();
            match self.committed.get(index as usize - 1) {
                Some(&known) if known != entry => {
                    let what = format!("{id} commits {entry:?}, another {known:?}");
                    return violated("state-machine-safety", what);
                }
                Some(_) => {}
                None => {
                    assert_eq!(self.committed.len() as u64 + 1, index);
                    let state = self.states.last().copied().unwrap_or(0);
                    self.states.push(apply(state, entry));
                    self.committed.push(entry);
                    self.stats.committed += 1;
                    let kind = view.entry(Index(index)).kind;
                    self.stats.changes += u64::from(kind == EntryKind::Membership);
                }
            }
        }
        Ok(())
    }

    /// The state machine of `id` after `index`.
    pub fn state(&self, id: NodeId, index: Index, state: u64) -> Result<(), Violation> {
        if index > Index(0) && self.states.get(index.0 as usize - 1) != Some(&state) {
            let what = format!("{id} has another state after {index}");
            return violated("state-machine-safety", what);
        }
        Ok(())
    }

    /// A message leaves its sender, whose disk holds `disk`.
    pub fn sends(&mut self, message: &Message, disk: &Image) -> Result<(), Violation> {
        if let Body::Vote { handover: true, .. } = message.body {
            self.handed_over.insert(message.term);
        }
        let durable = disk.hard_state;
        let voted = |candidate| {
            message.term < durable.term
                || (message.term == durable.term && durable.vote == Some(candidate))
        };
        let kept = match message.body {
            Body::PreVote { .. } | Body::PreVoteReply { granted: true } => true,
            Body::Vote { .. } => voted(message.from),
            Body::VoteReply { granted: true } => voted(message.to),
            // What was replaced since was there when the promise was made.
            Body::AppendAccepted { match_index } => {
                message.term < durable.term
                    || (message.term == durable.term && match_index <= disk.last_index())
            }
            _ => message.term <= durable.term,
        };
        if !kept {
            let what = format!("{message:?} with {durable:?}, log to {}", disk.last_index());
            return violated("persist-before-send", what);
        }
        Ok(())
    }

    /// The disk of `id` took a hard state.
    pub fn hard_state(&mut self, id: NodeId, new: HardState) -> Result<(), Violation> {
        let old = self.hard_states.insert(id, new).unwrap_or_default();
        let same_vote = old.vote.is_none() || old.vote == new.vote;
        if new.term < old.term || (new.term == old.term && !same_vote) {
            return violated(
                "hard-state-monotonic",
                format!("{id}: {old:?}, then {new:?}"),
            );
        }
        Ok(())
    }

    /// `id` loses power: votes that were in memory only were never cast.
    pub fn crashed(&mut self, id: NodeId) {
        self.stats.crashes += 1;
        self.roles.remove(&id);
        let durable = self.hard_states.get(&id).copied().unwrap_or_default();
        self.votes.retain(|&(voter, term), vote| {
            voter != id
                || term < durable.term
                || (term == durable.term && durable.vote == Some(*vote))
        });
    }

    pub fn read_asked(&mut self, context: u64) {
        self.reads.insert(context, self.committed_index());
    }

    pub fn read_failed(&mut self, context: u64) {
        assert!(self.reads.remove(&context).is_some(), "answered twice");
        self.stats.failed_reads += 1;
    }

    pub fn read_granted(&mut self, id: NodeId, read: ReadState) -> Result<(), Violation> {
        let needed = self.reads.remove(&read.context).expect("answered twice");
        self.stats.reads += 1;
        if read.index < needed {
            let what = format!("{id} reads at {}, {needed} was committed", read.index);
            return violated("linearizable", what);
        }
        Ok(())
    }
}
