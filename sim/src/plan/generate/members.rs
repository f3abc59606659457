//! An operator's day: who is added, promoted, removed, and whose turn it is to
//! lead. Each ask is made in the middle of all other faults, and some on purpose
//! at the moment in which a leader is cut off: the change that only it knows of
//! is the one that must come to nothing.

use afterimage_engine::NodeId;

use super::faults::Drawer;
use super::ratio;
use crate::plan::{Action, Ask, Side, Target};

impl Drawer<'_> {
    pub(super) fn membership(&mut self, at_ms: u64) {
        match self.rng.below(6) {
            0 | 1 => {
                self.grow(at_ms);
            }
            2 | 3 => self.shrink(at_ms),
            4 => {
                // The new one is ready before the old one goes.
                let at_ms = self.grow(at_ms);
                self.shrink(at_ms);
            }
            _ => {
                // One that left, or never did, or is still on its way.
                let target = self.anybody();
                self.add(at_ms, target);
            }
        }
        if self.rng.chance(ratio(1, 3)) {
            let at_ms = at_ms + self.rng.below(60);
            let partition = Action::Partition {
                side: match self.rng.below(3) {
                    0 => Side::LeaderMinority,
                    _ => Side::Leader,
                },
                one_way: self.rng.chance(ratio(1, 6)),
                for_ms: self.rng.between(300, 2500),
                flap_ms: 0,
            };
            self.push(at_ms, partition);
        }
    }

    pub(super) fn handover(&mut self, at_ms: u64) {
        let target = match self.rng.below(4) {
            0 => self.anybody(),
            _ => Target::Follower(self.rng.below(self.machines - 1) as u32),
        };
        self.ask(at_ms, Ask::Transfer, target);
        if self.rng.chance(ratio(1, 4)) {
            // Whom it was promised to, or who promised it, dies.
            let target = match self.rng.below(2) {
                0 => target,
                _ => Target::Leader,
            };
            let at_ms = at_ms + self.rng.below(20);
            let down_ms = self.down_ms();
            self.push(at_ms, Action::Kill { target, down_ms });
        }
    }

    /// The disk is gone; then its member is removed, and a spare takes its
    /// place, in one order or the other.
    pub(super) fn lost_disk(&mut self, at_ms: u64) {
        let target = self.member();
        self.push(at_ms, Action::LoseDisk { target });
        let after_ms = at_ms + self.rng.between(50, 2000);
        if self.rng.chance(ratio(1, 2)) {
            self.ask(after_ms, Ask::Remove, target);
            self.grow(after_ms + 200);
        } else {
            let after_ms = self.grow(after_ms);
            self.ask(after_ms, Ask::Remove, target);
        }
    }

    /// A spare joins; when it has perhaps caught up.
    fn grow(&mut self, at_ms: u64) -> u64 {
        if *self.last_spare == self.machines {
            let target = self.anybody();
            return self.add(at_ms, target);
        }
        *self.last_spare += 1;
        self.add(at_ms, Target::Node(NodeId(*self.last_spare)))
    }

    fn add(&mut self, at_ms: u64, target: Target) -> u64 {
        self.ask(at_ms, Ask::AddLearner, target);
        let at_ms = at_ms + self.rng.between(20, 1500);
        // Some stay learners.
        if self.rng.chance(ratio(5, 6)) {
            self.ask(at_ms, Ask::Promote, target);
        }
        at_ms + self.rng.between(0, 1000)
    }

    fn shrink(&mut self, at_ms: u64) {
        let target = match self.rng.below(3) {
            0 => Target::Leader,
            _ => self.anybody(),
        };
        self.ask(at_ms, Ask::Remove, target);
    }

    fn ask(&mut self, at_ms: u64, ask: Ask, target: Target) {
        let action = Action::Ask {
            ask,
            target,
            stop: ask == Ask::Remove && self.rng.chance(ratio(1, 2)),
            for_ms: self.rng.between(500, 6000),
        };
        self.push(at_ms, action);
    }

    fn anybody(&mut self) -> Target {
        Target::Node(NodeId(self.rng.between(1, self.machines)))
    }
}
