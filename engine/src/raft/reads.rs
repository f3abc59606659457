//! Linearizable reads without a log entry (Raft thesis, 6.4).

use std::collections::VecDeque;

use super::ReadState;
use crate::ids::Index;

/// The reads that wait at a leader.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// Asked before the leader committed an entry of its own term; until then
    /// it does not know how far the log is committed.
    early: Vec<u64>,
    /// Those that wait for a quorum, each with the round that confirms it.
    asked: VecDeque<(u64, ReadState)>,
    /// The newest round of heartbeats; every heartbeat carries it.
    round: u64,
    /// The newest round that a quorum has answered.
    confirmed: u64,
}

impl Reads {
    pub(super) fn round(&self) -> u64 {
        self.round
    }

    /// A read at a leader that knows the commit index.
    pub(super) fn ask(&mut self, context: u64, index: Index) {
        // Only heartbeats sent from now on prove that nobody else led before:
        // a round under way won't do.
        self.asked
            .push_back((self.round + 1, ReadState { context, index }));
    }

    /// A read at a leader that must wait for its first commit.
    pub(super) fn ask_early(&mut self, context: u64) {
        self.early.push(context);
    }

    /// The leader knows the commit index now.
    pub(super) fn commit_is_known(&mut self, index: Index) {
        for context in std::mem::take(&mut self.early) {
            self.ask(context, index);
        }
    }

    /// Begins a new round if a read needs one and the one before is done: so
    /// there is one round at a time, however many reads come. Where answers may
    /// be lost, a `heartbeat` that is due anyway begins one in any case.
    pub(super) fn start_round(&mut self, heartbeat: bool) -> bool {
        let needed = matches!(self.asked.back(), Some((round, _)) if *round > self.round);
        let due = needed && (heartbeat || self.confirmed == self.round);
        if due {
            self.round += 1;
        }
        due
    }

    /// Whether a round is under way.
    pub(super) fn awaits_answers(&self) -> bool {
        self.confirmed < self.round
    }

    /// A quorum has answered `round`: its reads and those before are confirmed.
    pub(super) fn take_confirmed(&mut self, round: u64, out: &mut Vec<ReadState>) {
        assert!(round <= self.round, "an answer to a round that never was");
        self.confirmed = self.confirmed.max(round);
        while let Some((_, read)) = self.asked.pop_front_if(|(needed, _)| *needed <= round) {
            out.push(read);
        }
    }

    /// Leadership was lost: the contexts of all that wait.
    pub(super) fn fail(self) -> impl Iterator<Item = u64> {
        let asked = self.asked.into_iter().map(|(_, read)| read.context);
        asked.chain(self.early)
    }
}
