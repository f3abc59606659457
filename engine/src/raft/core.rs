//! The core's state, and the way of a call through it.
//!
//! Who leads is decided in `election`, what a leader sends in `leader`, what a
//! follower does with it in `follower`, snapshots on their way in `transfer`.

use std::collections::BTreeMap;
use std::mem;

use super::durability::Durability;
use super::leader::Leader;
use super::members::Members;
use super::transfer::Receiving;
use super::view::View;
use super::{Body, LogView, Message, Ready};
use crate::entry::{Entry, HardState, Membership, SnapshotMeta};
use crate::error::{Error, Result};
use crate::event::{Event, Role};
use crate::ids::{Index, NodeId, Term};
use crate::mutant::{Mutant, Mutants};

/// How the core behaves. Times are in ticks.
#[derive(Debug, Clone)]
pub struct Config {
    pub id: NodeId,
    /// The members at the very beginning; a snapshot's membership and the log
    /// override it. Empty for a server that joins later: it learns from a leader.
    pub membership: Membership,
    /// An election starts after `election_ticks .. 2 * election_ticks` without a leader.
    pub election_ticks: u32,
    pub heartbeat_ticks: u32,
    /// Data of one `Append` at the most, in bytes (but at least one entry).
    pub append_bytes_max: usize,
    /// `Append`s on their way to one follower at the most.
    pub inflight_max: usize,
    pub mutants: Mutants,
}

impl Config {
    fn validate(&self) -> Result<()> {
        let rule = |holds, what| {
            if holds {
                Ok(())
            } else {
                Err(Error::Misuse(what))
            }
        };
        rule(self.heartbeat_ticks > 0, "heartbeat_ticks must not be 0")?;
        rule(
            self.election_ticks > self.heartbeat_ticks,
            "election_ticks must be above heartbeat_ticks",
        )?;
        rule(self.inflight_max > 0, "inflight_max must not be 0")
    }
}

/// This node can't do that; `leader` may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotLeader {
    pub leader: Option<NodeId>,
}

/// One member's Raft.
///
/// After an error that comes from the log, drop it and recover.
/// Members trust each other: the transport delivers a message whole or not at
/// all, but it may lose, repeat, reorder and delay them.
#[derive(Debug)]
pub struct Raft {
    pub(super) config: Config,
    pub(super) members: Members,
    pub(super) hard_state: HardState,
    pub(super) state: State,
    /// The leader of this term, once known.
    pub(super) leader: Option<NodeId>,
    pub(super) commit_index: Index,
    /// Entries for the next `Ready`. They replace the log's from the first
    /// one's index on.
    pub(super) fresh: Vec<Entry>,
    pub(super) durability: Durability,
    /// A follower's log equals that of this term's leader up to here.
    pub(super) verified_index: Index,
    /// The highest index that was acknowledged to this term's leader.
    pub(super) acked_index: Index,
    pub(super) receiving: Option<Receiving>,
    pub(super) timer: Timer,
    /// What the next `Ready` is made of.
    pub(super) pending: Ready,
    /// Messages that wait until the batch is durable.
    held: Vec<(u64, Message)>,
    events: Vec<Event>,
    /// What the last `RoleChanged` said.
    reported: (Term, Role, Option<NodeId>),
    /// What the last `MembershipChanged` said, or the configuration at index 0.
    reported_membership: (Index, Membership),
}

/// A node's part in its cluster, with what only that part needs.
#[derive(Debug)]
pub(super) enum State {
    Follower,
    /// Asks whether it could win, before it disturbs anybody (thesis, 9.6).
    PreCandidate(BTreeMap<NodeId, bool>),
    Candidate(BTreeMap<NodeId, bool>),
    Leader(Leader),
}

/// Ticks since something happened that puts an election off.
#[derive(Debug)]
pub(super) struct Timer {
    pub(super) elapsed_ticks: u32,
    /// Drawn anew with each reset, so that split votes don't repeat.
    timeout_ticks: u32,
    entropy: u64,
}

impl Raft {
    /// A member that restarts from what its store recovered (all of it
    /// durable). The commit index starts at the snapshot's last index (or 0).
    ///
    /// [`Error::Misuse`] for a configuration that can't work.
    pub fn new(
        config: Config,
        hard_state: HardState,
        snapshot: Option<&SnapshotMeta>,
        log: &dyn LogView,
        entropy: u64,
    ) -> Result<Self> {
        config.validate()?;
        let (commit_index, membership) = match snapshot {
            Some(meta) => (meta.last_index, meta.membership.clone()),
            None => (Index(0), config.membership.clone()),
        };
        assert!(
            log.first_index() <= commit_index.next() && commit_index <= log.last_index(),
            "the snapshot does not cover the log"
        );
        let members = recover_members(commit_index, membership, log)?;
        let mut raft = Raft {
            members,
            hard_state,
            state: State::Follower,
            leader: None,
            commit_index,
            fresh: Vec::new(),
            durability: Durability::new(log.last_index()),
            verified_index: Index(0),
            acked_index: Index(0),
            receiving: None,
            timer: Timer {
                elapsed_ticks: 0,
                timeout_ticks: 0,
                entropy,
            },
            pending: Ready::default(),
            held: Vec::new(),
            events: Vec::new(),
            reported: (hard_state.term, Role::Follower, None),
            reported_membership: (Index(0), config.membership.clone()),
            config,
        };
        if raft.config.mutants.has(Mutant::ChangeOnCommit) {
            raft.members.count_upto(commit_index);
        }
        raft.reset_timer();
        raft.report_membership();
        Ok(raft)
    }

    /// Everything up to `index` was committed before a restart, and is in the
    /// log. To be called first of all.
    pub fn recover_commit(&mut self, index: Index, log: &dyn LogView) {
        assert!(index <= log.last_index(), "committed, but not there");
        self.commit_index = self.commit_index.max(index);
    }

    /// Time passes by one tick. `entropy` draws the next election timeout.
    pub fn tick(&mut self, log: &dyn LogView, entropy: u64) -> Result<()> {
        self.timer.entropy = entropy;
        self.timer.elapsed_ticks = self.timer.elapsed_ticks.saturating_add(1);
        if self.is_leader() {
            self.tick_leader();
        } else if self.timer.elapsed_ticks >= self.timer.timeout_ticks && self.may_campaign() {
            self.start_pre_vote(log)?;
        }
        Ok(())
    }

    /// A message arrived. Messages for others are ignored. Those of strangers are
    /// not: the membership that has them may still be on its way to us.
    pub fn step(&mut self, message: Message, log: &dyn LogView, entropy: u64) -> Result<()> {
        self.timer.entropy = entropy;
        let Message {
            from,
            to,
            term,
            body,
        } = message;
        if to != self.config.id || from == to {
            return Ok(());
        }
        if term > self.term() {
            if self.misses_newer_term(&body) || !self.catch_up(from, term, &body) {
                return Ok(());
            }
        } else if term < self.term() {
            self.answer_outdated(from, &body);
            return Ok(());
        }
        match body {
            Body::PreVote {
                last_index,
                last_term,
            } => self.on_pre_vote(from, term, last_index, last_term, log),
            Body::PreVoteReply { granted } => self.on_pre_vote_reply(from, term, granted, log),
            Body::Vote {
                last_index,
                last_term,
                handover: _,
            } => self.on_vote(from, last_index, last_term, log),
            Body::VoteReply { granted } => self.on_vote_reply(from, granted, log),
            Body::Append {
                prev_index,
                prev_term,
                commit,
                entries,
            } => self.on_append(from, (prev_index, prev_term), commit, entries, log),
            Body::AppendAccepted { match_index } => self.on_append_accepted(from, match_index, log),
            Body::AppendRejected {
                prev_index,
                hint_index,
                hint_term,
            } => self.on_append_rejected(from, prev_index, (hint_index, hint_term), log),
            Body::Heartbeat { commit, round } => self.on_heartbeat(from, commit, round, log),
            Body::HeartbeatReply { round } => {
                self.on_heartbeat_reply(from, round);
                Ok(())
            }
            Body::Snapshot {
                meta,
                offset,
                data,
                done,
            } => self.on_snapshot(from, meta, (offset, data, done), log),
            Body::SnapshotWanted { last_index, offset } => {
                self.on_snapshot_wanted(from, last_index, offset);
                Ok(())
            }
            Body::TimeoutNow => self.on_timeout_now(from, log),
        }
    }

    /// The batch `seq` and all before it are durable.
    pub fn persisted(&mut self, seq: u64, log: &dyn LogView) -> Result<()> {
        self.durability.persisted(seq);
        for (needed, message) in mem::take(&mut self.held) {
            if needed <= seq {
                self.pending.messages.push(message);
            } else {
                self.held.push((needed, message));
            }
        }
        match self.state {
            State::Follower => self.acknowledge_progress(),
            State::PreCandidate(_) => {}
            State::Candidate(_) => self.count_own_vote(log)?,
            State::Leader(_) => self.advance_commit(log)?,
        }
        Ok(())
    }

    /// What to do now.
    pub fn ready(&mut self, log: &dyn LogView) -> Result<Ready> {
        // Only now, so that what was proposed and asked since shares messages.
        self.send_as_leader(log)?;
        let mut ready = mem::take(&mut self.pending);
        let hard_state_is_due = self.durability.hard_state_is_due();
        if hard_state_is_due {
            let forget = self.config.mutants.has(Mutant::VoteNotPersisted);
            let vote = self.hard_state.vote.filter(|_| !forget);
            let term = self.hard_state.term;
            ready.hard_state = Some(HardState { term, vote });
        }
        ready.entries = mem::take(&mut self.fresh);
        if hard_state_is_due || !ready.entries.is_empty() {
            let last = ready.entries.last().map_or(Index(0), |entry| entry.index);
            let seq = self.durability.submit(last);
            let (now, later) = mem::take(&mut self.held)
                .into_iter()
                .partition(|(needed, _)| *needed == seq);
            self.held = later;
            let now: Vec<(u64, Message)> = now;
            ready.after_persist = now.into_iter().map(|(_, message)| message).collect();
            ready.seq = Some(seq);
        }
        Ok(ready)
    }

    /// Decisions since the last call, for the observer.
    pub fn take_events(&mut self) -> Vec<Event> {
        mem::take(&mut self.events)
    }

    pub fn is_leader(&self) -> bool {
        matches!(self.state, State::Leader(_))
    }
    pub fn role(&self) -> Role {
        match self.state {
            State::Follower => Role::Follower,
            State::PreCandidate(_) => Role::PreCandidate,
            State::Candidate(_) => Role::Candidate,
            State::Leader(_) => Role::Leader,
        }
    }
    pub fn leader(&self) -> Option<NodeId> {
        self.leader
    }
    pub fn term(&self) -> Term {
        self.hard_state.term
    }
    pub fn commit_index(&self) -> Index {
        self.commit_index
    }
    /// The highest index of the core's current log that is known durable here.
    /// Entries may be applied up to `min(commit_index, durable_index)`.
    pub fn durable_index(&self) -> Index {
        self.durability.durable_index()
    }
    /// The membership that counts: the log's newest, committed or not.
    pub fn membership(&self) -> &Membership {
        self.members.current()
    }

    pub(super) fn view<'a>(&'a self, log: &'a dyn LogView) -> View<'a> {
        View::new(log, &self.fresh)
    }

    /// Sends a message of this term, once the term and the vote in it are
    /// durable (Raft figure 2: "updated on stable storage before responding").
    pub(super) fn send(&mut self, to: NodeId, body: Body) {
        let message = self.message(to, self.term(), body);
        match self.durability.hard_state_waits_for() {
            Some(seq) => self.held.push((seq, message)),
            None => self.pending.messages.push(message),
        }
    }

    /// Sends a message that promises nothing, or one whose promise is kept.
    pub(super) fn send_now(&mut self, to: NodeId, term: Term, body: Body) {
        let message = self.message(to, term, body);
        self.pending.messages.push(message);
    }

    fn message(&self, to: NodeId, term: Term, body: Body) -> Message {
        let from = self.config.id;
        Message {
            from,
            to,
            term,
            body,
        }
    }

    /// Enters `term`, without a vote.
    pub(super) fn enter_term(&mut self, term: Term) {
        assert!(term > self.term(), "the term never decreases");
        self.hard_state = HardState { term, vote: None };
        self.durability.hard_state_changed();
        // What equals the new leader's log is not known, but what is committed.
        self.verified_index = Index(0);
        // And that it has anyway: not a word about it unasked.
        self.acked_index = self.acknowledgeable_index();
    }

    pub(super) fn vote_for(&mut self, candidate: NodeId) {
        let term = self.term();
        self.hard_state.vote = Some(candidate);
        self.durability.hard_state_changed();
        self.events.push(Event::Voted { term, candidate });
    }

    /// Appends entries behind what is there, or over it.
    pub(super) fn append(&mut self, entries: &[Entry], log: &dyn LogView) -> Result<()> {
        let Some(first) = entries.first() else {
            return Ok(());
        };
        assert!(!self.is_finishing_install(), "an install replaces the log");
        assert!(first.index > self.commit_index, "what is committed stays");
        let last_index = self.view(log).last_index();
        assert!(first.index <= last_index.next(), "a gap before the entries");
        let mut last_term = self.view(log).term(first.index.prev())?;
        let mut next = first.index;
        for entry in entries {
            assert!(entry.index == next && entry.term >= last_term);
            assert!(entry.term <= self.term(), "an entry from the future");
            last_term = entry.term;
            next = next.next();
        }
        if first.index <= last_index {
            self.durability.truncate_suffix(first.index);
            if !self.config.mutants.has(Mutant::ChangeNotUndone) {
                self.members.truncate_suffix(first.index);
            }
            self.fresh.retain(|entry| entry.index < first.index);
        }
        self.fresh.extend_from_slice(entries);
        self.members.appended(entries)?;
        self.report_membership();
        Ok(())
    }

    /// Raises the commit index to `index`, unless it is there already.
    pub(super) fn commit_to(&mut self, index: Index, log: &dyn LogView) -> Result<()> {
        if index > self.commit_index {
            assert!(
                index <= self.view(log).last_index(),
                "committed, but not there"
            );
            let term = self.view(log).term(index)?;
            self.commit_index = index;
            self.pending.commit = Some(index);
            self.events.push(Event::Committed { index, term });
            if self.config.mutants.has(Mutant::ChangeOnCommit) {
                self.members.count_upto(index);
                self.report_membership();
                if self.is_leader() {
                    self.follow_membership(index.next());
                }
            }
        }
        Ok(())
    }

    /// Puts the next election off.
    pub(super) fn reset_timer(&mut self) {
        let ticks = u64::from(self.config.election_ticks);
        let extra = self.timer.entropy % ticks;
        self.timer.elapsed_ticks = 0;
        self.timer.timeout_ticks = (ticks + extra) as u32;
    }

    /// Tells the observer about this node's part, where that is news.
    pub(super) fn report_role(&mut self) {
        let role = (self.term(), self.role(), self.leader);
        if self.reported != role {
            self.reported = role;
            let (term, role, leader) = role;
            self.events.push(Event::RoleChanged { term, role, leader });
        }
    }

    /// Tells the observer who counts here, where that is news.
    pub(super) fn report_membership(&mut self) {
        let (index, membership) = self.members.counting();
        let (reported_at, reported) = &self.reported_membership;
        if index != *reported_at || membership != reported {
            let membership = membership.clone();
            self.reported_membership = (index, membership.clone());
            self.events
                .push(Event::MembershipChanged { index, membership });
        }
    }
}

/// Data of entries read from the log at once, in bytes.
const RECOVER_BYTES: usize = 1 << 20;

/// The snapshot's membership, and what the log behind it made of it.
fn recover_members(base: Index, membership: Membership, log: &dyn LogView) -> Result<Members> {
    let mut members = Members::new(base, membership);
    let mut next = base.next();
    while next <= log.last_index() {
        let entries = log.entries(next, RECOVER_BYTES)?;
        let last = entries.last().expect("at least one is read");
        next = last.index.next();
        members.appended(&entries)?;
    }
    Ok(members)
}
