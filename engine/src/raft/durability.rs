//! What is durable of what the core handed out.

use std::collections::VecDeque;

use crate::ids::Index;

/// Batches on their way to the disk, and what is known to have arrived.
#[derive(Debug)]
pub(super) struct Durability {
    /// The number of the batch that the next `Ready` may carry; from 1 on.
    next_seq: u64,
    persisted_seq: u64,
    /// The batch that carries the current hard state; `next_seq` while no
    /// batch does.
    hard_state_seq: u64,
    /// The batches on their way, each with the highest index of the *current*
    /// log that is durable once it is.
    in_flight: VecDeque<(u64, Index)>,
    durable_index: Index,
}

impl Durability {
    pub(super) fn new(durable_index: Index) -> Self {
        Durability {
            next_seq: 1,
            persisted_seq: 0,
            hard_state_seq: 0,
            in_flight: VecDeque::new(),
            durable_index,
        }
    }

    pub(super) fn durable_index(&self) -> Index {
        self.durable_index
    }

    /// The hard state changed: the next batch carries it.
    pub(super) fn hard_state_changed(&mut self) {
        self.hard_state_seq = self.next_seq;
    }

    /// Whether the next batch must carry the hard state.
    pub(super) fn hard_state_is_due(&self) -> bool {
        self.hard_state_seq == self.next_seq
    }

    /// The batch that carries the current hard state, if it isn't durable yet.
    pub(super) fn hard_state_waits_for(&self) -> Option<u64> {
        (self.hard_state_seq > self.persisted_seq).then_some(self.hard_state_seq)
    }

    /// The entries from `from` on were replaced: no batch on its way may claim
    /// them any more, though its bytes do reach the disk (d-engine #351).
    pub(super) fn truncate_suffix(&mut self, from: Index) {
        let kept = from.prev();
        self.durable_index = self.durable_index.min(kept);
        for (_, last) in &mut self.in_flight {
            *last = (*last).min(kept);
        }
    }

    /// A batch goes to the disk; `last` is its last entry, 0 if it has none.
    pub(super) fn submit(&mut self, last: Index) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.in_flight.push_back((seq, last));
        seq
    }

    /// The batch `seq` and all before it are durable.
    pub(super) fn persisted(&mut self, seq: u64) {
        assert!(
            self.persisted_seq < seq && seq < self.next_seq,
            "batch {seq} is not on its way"
        );
        self.persisted_seq = seq;
        while let Some((_, last)) = self.in_flight.pop_front_if(|(batch, _)| *batch <= seq) {
            self.durable_index = self.durable_index.max(last);
        }
    }

    /// A durable snapshot stands for everything up to `last`.
    pub(super) fn snapshot_installed(&mut self, last: Index, kept_suffix: bool) {
        if !kept_suffix {
            self.truncate_suffix(last.next());
        }
        self.durable_index = self.durable_index.max(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    enum Do {
        Submit(u64),
        Truncate(u64),
        Persisted(u64),
        Install(u64, bool),
    }
    use Do::*;

    /// Starts with 1..=4 durable.
    fn check(steps: &[Do], expected: &[u64]) {
        let mut durability = Durability::new(Index(4));
        let got: Vec<u64> = steps
            .iter()
            .map(|step| {
                match *step {
                    Submit(last) => drop(durability.submit(Index(last))),
                    Truncate(from) => durability.truncate_suffix(Index(from)),
                    Persisted(seq) => durability.persisted(seq),
                    Install(last, kept) => durability.snapshot_installed(Index(last), kept),
                }
                durability.durable_index().0
            })
            .collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn batches_claim_only_what_is_still_in_the_log() {
        check(
            &[Submit(6), Submit(9), Persisted(1), Persisted(2)],
            &[4, 4, 6, 9],
        );
        check(&[Submit(6), Submit(9), Persisted(2)], &[4, 4, 9]);
        // The hard state alone claims nothing.
        check(&[Submit(0), Persisted(1)], &[4, 4]);
        // Replaced while on its way.
        check(
            &[
                Submit(9),
                Truncate(7),
                Submit(7),
                Persisted(1),
                Persisted(2),
            ],
            &[4, 4, 4, 6, 7],
        );
        // Replaced below the durable index, then longer than before.
        check(
            &[
                Submit(9),
                Truncate(3),
                Submit(12),
                Persisted(1),
                Persisted(2),
            ],
            &[4, 2, 2, 2, 12],
        );
        check(&[Submit(9), Install(20, false), Persisted(1)], &[4, 20, 20]);
        check(&[Submit(9), Install(7, true), Persisted(1)], &[4, 7, 9]);
        check(&[Submit(9), Install(7, false), Persisted(1)], &[4, 7, 7]);
    }
}
