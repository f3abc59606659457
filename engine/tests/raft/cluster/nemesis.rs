//! What is done to the members: faults, and changes of the membership.

use afterimage_engine::NodeId;
use afterimage_engine::raft::{Change, Refused};

use super::Cluster;
use crate::oracle::{Violation, violated};

impl Cluster {
    /// The leader `id` is told to change the membership, or to hand over.
    pub(super) fn change(&mut self, id: NodeId) -> Result<(), Violation> {
        let other = self.any_id();
        if self.rng.chance(1, 4) {
            return self.hand_over(id, other);
        }
        let core = self.members[&id].core();
        let is_learner = core.membership().learners.contains(&other);
        let change = if core.membership().voters.contains(&other) {
            Change::Remove(other)
        } else if !is_learner {
            Change::AddLearner(other)
        } else if self.rng.chance(1, 4) {
            Change::Remove(other)
        } else {
            Change::Promote(other)
        };
        let answer = self.call(id, |raft, log| raft.change_membership(change, 0, log))?;
        // What can't be refused with such a choice.
        assert!(
            !matches!(
                answer,
                Err(Refused::NotLeader(_)
                    | Refused::IsMember(_)
                    | Refused::NotMember(_)
                    | Refused::NotLearner(_))
            ),
            "{change:?}: {answer:?}"
        );
        Ok(())
    }

    fn hand_over(&mut self, id: NodeId, to: NodeId) -> Result<(), Violation> {
        let answer = self.call(id, |raft, _| Ok(raft.transfer_leadership(to)))?;
        if answer.is_ok() && self.propose(id)? {
            let what = format!("{id} proposes, handing over to {to}");
            return violated("handover-proposes-nothing", what);
        }
        Ok(())
    }

    pub(super) fn fault(&mut self) -> Result<(), Violation> {
        // Trouble for the leader is worth more.
        let id = match self.leaders().first() {
            Some(&id) if self.rng.chance(1, 2) => id,
            _ => self.any_id(),
        };
        match self.rng.below(10) {
            0..2 => self.crash(id)?,
            2..5 => self.restart_all(),
            5 => self.cut.clear(),
            6 | 7 => {
                self.cut.clear();
                self.isolate(id);
            }
            8 => {
                // Two halves.
                let mask = self.rng.next();
                let side = |id: NodeId| mask >> (id.0 % 64) & 1;
                for (a, b) in self.links() {
                    if side(a) != side(b) {
                        self.cut.insert((a, b));
                    }
                }
            }
            _ => {
                // One direction of one link.
                let other = self.any_id();
                self.cut.insert((id, other));
            }
        }
        Ok(())
    }

    fn links(&self) -> Vec<(NodeId, NodeId)> {
        let ids = self.ids();
        let pairs = ids.iter().flat_map(|&a| ids.iter().map(move |&b| (a, b)));
        pairs.collect()
    }

    fn isolate(&mut self, id: NodeId) {
        for (a, b) in self.links() {
            if a == id || b == id {
                self.cut.insert((a, b));
            }
        }
    }

    fn crash(&mut self, id: NodeId) -> Result<(), Violation> {
        if self.is_up(id) {
            let member = self.members.get_mut(&id).unwrap();
            member.crash(&mut self.rng, &mut self.oracle)?;
        }
        Ok(())
    }

    pub(super) fn restart_all(&mut self) {
        for id in self.ids() {
            if !self.is_up(id) {
                let entropy = self.rng.next();
                self.member(id).start(entropy);
            }
        }
    }
}
