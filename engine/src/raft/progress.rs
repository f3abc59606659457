//! What the leader knows about one other member.

use std::collections::VecDeque;

use crate::entry::Entry;
use crate::ids::Index;

#[derive(Debug)]
pub(super) struct Progress {
    /// Up to here the member's log equals ours and is durable there.
    match_index: Index,
    /// The first index of the next `Append`; above `match_index`.
    next_index: Index,
    mode: Mode,
    /// It was heard from since the last check of the quorum.
    pub(super) active: bool,
    /// The newest heartbeat round that it answered.
    pub(super) round: u64,
}

#[derive(Debug)]
enum Mode {
    /// Where its log equals ours is not known: one `Append` at a time, until
    /// it is answered, or a heartbeat's answer shows that it may be lost.
    Probe { sent: bool },
    /// `Append`s follow each other without waiting; `inflight` holds the last
    /// index of each that was not answered yet. `nudge` sends one in any case,
    /// which is rejected if one before it was lost.
    Replicate {
        inflight: VecDeque<Index>,
        nudge: bool,
    },
    /// What it needs is no longer in the log.
    Snapshot(Transfer),
}

/// A snapshot on its way to a member, piece by piece.
#[derive(Debug)]
struct Transfer {
    /// Which snapshot, and from where on: what the member asked for last. 0
    /// before it asked: whatever is current.
    last_index: Index,
    offset: u64,
    due: bool,
    /// Ticks since the piece was sent.
    waited_ticks: u32,
}

impl Progress {
    /// At the beginning of a leadership: the guess is that nothing is missing.
    pub(super) fn new(next_index: Index) -> Self {
        Progress {
            match_index: Index(0),
            next_index,
            mode: Mode::Probe { sent: false },
            active: false,
            round: 0,
        }
    }

    pub(super) fn match_index(&self) -> Index {
        self.match_index
    }

    /// Whether it is not known yet where its log equals ours.
    pub(super) fn is_probe(&self) -> bool {
        matches!(self.mode, Mode::Probe { .. })
    }

    pub(super) fn next_index(&self) -> Index {
        self.next_index
    }

    /// Whether an `Append` should go out now, with our log ending at `last`.
    pub(super) fn append_is_due(&self, last: Index, inflight_max: usize) -> bool {
        match &self.mode {
            Mode::Probe { sent } => !sent,
            Mode::Replicate { inflight, nudge } => {
                *nudge || (inflight.len() < inflight_max && self.next_index <= last)
            }
            Mode::Snapshot(_) => false,
        }
    }

    /// Whether the window leaves room for entries; otherwise a nudge is empty.
    pub(super) fn has_room(&self, inflight_max: usize) -> bool {
        match &self.mode {
            Mode::Replicate { inflight, .. } => inflight.len() < inflight_max,
            Mode::Probe { .. } | Mode::Snapshot(_) => true,
        }
    }

    /// An `Append` with these entries, from `next_index` on, was sent.
    pub(super) fn append_sent(&mut self, entries: &[Entry]) {
        match &mut self.mode {
            Mode::Probe { sent } => *sent = true,
            Mode::Replicate { inflight, nudge } => {
                *nudge = false;
                if let Some(last) = entries.last() {
                    assert_eq!(entries[0].index, self.next_index);
                    inflight.push_back(last.index);
                    self.next_index = last.index.next();
                }
            }
            Mode::Snapshot(_) => unreachable!("no Append is due during a transfer"),
        }
    }

    /// The member has everything up to `match_index`. Late and repeated news
    /// are harmless: within a term it can only become more.
    pub(super) fn accepted(&mut self, match_index: Index) {
        self.match_index = self.match_index.max(match_index);
        self.next_index = self.next_index.max(self.match_index.next());
        match &mut self.mode {
            Mode::Probe { .. } => self.replicate(),
            Mode::Replicate { inflight, .. } => {
                while inflight
                    .pop_front_if(|last| *last <= self.match_index)
                    .is_some()
                {}
            }
            // Whether the log can go on from there, the caller knows.
            Mode::Snapshot(_) => {}
        }
    }

    /// Goes on after `match_index`, which the member is known to have.
    pub(super) fn replicate(&mut self) {
        self.next_index = self.match_index.next();
        self.mode = Mode::Replicate {
            inflight: VecDeque::new(),
            nudge: false,
        };
    }

    /// Whether a rejection of `prev_index` says something new. What was
    /// matched stays matched, and a probe has one answer.
    pub(super) fn is_news(&self, prev_index: Index) -> bool {
        match self.mode {
            Mode::Probe { .. } => prev_index == self.next_index.prev(),
            Mode::Replicate { .. } => prev_index > self.match_index,
            Mode::Snapshot(_) => false,
        }
    }

    /// `prev_index` was rejected; the logs may be equal up to `guess`.
    pub(super) fn rejected(&mut self, prev_index: Index, guess: Index) {
        assert!(self.is_news(prev_index));
        // At least one step back, whatever the hint says; never into what matches.
        self.next_index = guess.next().min(prev_index).max(self.match_index.next());
        self.mode = Mode::Probe { sent: false };
    }

    /// It is alive. What was sent before and not answered may be lost.
    pub(super) fn heartbeat_answered(&mut self, round: u64, retry_ticks: u32) {
        self.round = self.round.max(round);
        match &mut self.mode {
            Mode::Probe { sent } => *sent = false,
            Mode::Replicate { nudge, .. } => *nudge = self.match_index.next() < self.next_index,
            Mode::Snapshot(transfer) => {
                if transfer.waited_ticks >= retry_ticks {
                    transfer.due = true;
                }
            }
        }
    }

    pub(super) fn is_transfer(&self) -> bool {
        matches!(self.mode, Mode::Snapshot(_))
    }

    /// Whether the member has all that the snapshot on its way would bring.
    pub(super) fn transfer_is_superfluous(&self) -> bool {
        matches!(&self.mode, Mode::Snapshot(transfer)
            if transfer.last_index > Index(0) && transfer.last_index <= self.match_index)
    }

    /// It needs the current snapshot, from the beginning.
    pub(super) fn start_transfer(&mut self) {
        self.mode = Mode::Snapshot(Transfer {
            last_index: Index(0),
            offset: 0,
            due: true,
            waited_ticks: 0,
        });
    }

    /// The member asks for a piece. It knows best what it has: after a restart
    /// that may be less than before.
    pub(super) fn piece_wanted(&mut self, last_index: Index, offset: u64) {
        let Mode::Snapshot(transfer) = &mut self.mode else {
            return;
        };
        // The same again is an echo of a duplicate; if not, a retry follows.
        if (transfer.last_index, transfer.offset) != (last_index, offset) {
            transfer.last_index = last_index;
            transfer.offset = offset;
            transfer.due = true;
        }
    }

    /// The piece to send now: the snapshot's last index and the offset.
    pub(super) fn take_piece(&mut self) -> Option<(Index, u64)> {
        match &mut self.mode {
            Mode::Snapshot(transfer) if transfer.due => {
                transfer.due = false;
                transfer.waited_ticks = 0;
                Some((transfer.last_index, transfer.offset))
            }
            _ => None,
        }
    }

    pub(super) fn tick(&mut self) {
        if let Mode::Snapshot(transfer) = &mut self.mode {
            transfer.waited_ticks = transfer.waited_ticks.saturating_add(1);
        }
    }
}
