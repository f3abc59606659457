//! The operator: asks for changes of the membership, and whose disk is gone.
//!
//! It knows nothing of terms and logs. It asks whoever says that it leads, which
//! may be one that was deposed long ago, and goes on asking until a leader says
//! that it is so already: only then the change is committed.

use afterimage_engine::NodeId;
use afterimage_engine::raft::{Change, Refused};

use super::life;
use super::member::{Life, Part};
use super::nemesis::TOO_FEW;
use super::replica::Command;
use super::{Happening, Subject, World};
use crate::check::DISK_LOST;
use crate::mutants::OperatorBug;
use crate::plan::{Action, Ask};
use crate::rng::hash;
use crate::trace::What;

/// Between two tries.
const AGAIN_US: u64 = 40_000;
/// Until a lost disk is replaced, where somebody does so without a new name.
const REPLACED_US: u64 = 500_000;

/// A step of the plan that is being asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    /// The step's place in the plan.
    at: usize,
    ask: Ask,
    node: NodeId,
    until_us: u64,
    tries: u64,
    /// Some leader has agreed to it.
    agreed: bool,
}

/// What a try came to.
enum Came {
    Again,
    Agreed(String),
    Over(String),
}

impl Ask {
    /// What a leader's agreement leaves in the report's faults.
    fn receipt(self) -> &'static str {
        match self {
            Ask::AddLearner => "member-add",
            Ask::Promote => "member-promote",
            Ask::Remove => "member-remove",
            Ask::Transfer => "leader-transfer",
        }
    }
}

impl<S: Subject> World<S> {
    /// Begins to ask for step number `at`.
    pub(super) fn wish(&mut self, at: usize, ask: Ask, node: NodeId) -> String {
        let Action::Ask { for_ms, .. } = self.plan.steps[at].action else {
            unreachable!("only an ask is asked for");
        };
        let member = self.member(node);
        if member.part == Part::Gone && ask != Ask::Remove {
            return format!("skip: n{node} is gone");
        }
        if member.part == Part::Spare {
            if ask != Ask::AddLearner {
                return format!("skip: n{node} was never added");
            }
            member.part = Part::Active;
            self.boot_in(node, 0);
        }
        let wish = Wish {
            at,
            ask,
            node,
            until_us: self.now_us + for_ms * 1000,
            tries: 0,
            agreed: false,
        };
        self.queue.push(self.now_us, Happening::Ask(wish));
        match ask {
            Ask::AddLearner => format!("n{node}: to be added"),
            Ask::Promote => format!("n{node}: to be promoted"),
            Ask::Remove => format!("n{node}: to be removed"),
            Ask::Transfer => format!("n{node}: to lead"),
        }
    }

    /// One try.
    pub(super) fn ask(&mut self, mut wish: Wish) {
        if self.is_healed() {
            return;
        }
        wish.tries += 1;
        let id = self.plan.steps[wish.at].id;
        let came = match self.ask_once(&wish) {
            Came::Again if self.now_us >= wish.until_us => Came::Over("given up".to_owned()),
            came => came,
        };
        let note = match came {
            Came::Over(note) => {
                self.record(None, What::Step { id, note });
                return;
            }
            Came::Agreed(note) => Some(note).filter(|_| !wish.agreed),
            Came::Again => None,
        };
        if let Some(note) = note {
            wish.agreed = true;
            self.record(None, What::Step { id, note });
            let kind = wish.ask.receipt();
            self.record(None, What::Fault { kind });
        }
        if wish.agreed && wish.ask == Ask::Transfer {
            return;
        }
        self.queue
            .push(self.now_us + AGAIN_US, Happening::Ask(wish));
    }

    fn ask_once(&mut self, wish: &Wish) -> Came {
        let node = wish.node;
        if self.member(node).part == Part::Gone && wish.ask != Ask::Remove {
            return Came::Over(format!("given up: n{node} is gone"));
        }
        let leaders = self.members.iter().filter(|m| m.leads());
        let leaders: Vec<NodeId> = leaders.map(|m| m.id).collect();
        if leaders.is_empty() {
            return Came::Again;
        }
        let step = u64::from(self.plan.steps[wish.at].id);
        let draw = hash(&[self.plan.seed, step, wish.tries]);
        let leader = leaders[(draw % leaders.len() as u64) as usize];
        let command = match wish.ask {
            Ask::AddLearner => Command::Change(Change::AddLearner(node)),
            Ask::Promote if !self.recorder.model().is_sound(node) => {
                return Came::Over("given up: a bad disk".to_owned());
            }
            Ask::Promote => Command::Change(Change::Promote(node)),
            Ask::Remove if !self.may_remove(node) => {
                return Came::Over(format!("given up: {TOO_FEW} without n{node}"));
            }
            Ask::Remove => Command::Change(Change::Remove(node)),
            Ask::Transfer => Command::Transfer(node),
        };
        let mut outcome = self.call(leader, command);
        let answer = outcome.answer.take();
        self.settle(leader, outcome, None);
        match (answer, wish.ask) {
            (Some(Ok(Some((index, term)))), _) => {
                Came::Agreed(format!("n{leader} proposes it as {term}/{index}"))
            }
            (Some(Ok(None)), _) => Came::Agreed(format!("n{leader} hands over to n{node}")),
            (Some(Err(Refused::IsMember(_))), Ask::AddLearner) => self.done(leader),
            (Some(Err(Refused::NotLearner(_))), Ask::Promote) if self.votes(leader, node) => {
                self.done(leader)
            }
            (Some(Err(Refused::NotMember(_))), Ask::Remove) => self.removed(wish, leader),
            (Some(Err(refused @ (Refused::LastVoter(_) | Refused::NotVoter(_)))), _) => {
                Came::Over(format!("given up: {refused}"))
            }
            // Another answer the next time; or the power went.
            (Some(Err(_)) | None, _) => Came::Again,
        }
    }

    fn done(&self, leader: NodeId) -> Came {
        Came::Over(format!("n{leader} says that it is done"))
    }

    /// Whether `node` is a voter of the membership that `leader` has.
    fn votes(&self, leader: NodeId, node: NodeId) -> bool {
        let own = self.recorder.model().node(leader).membership.as_ref();
        own.is_some_and(|(_, membership)| membership.voters.contains(&node))
    }

    /// It is removed, says the leader. Stopped for good it is only when nobody
    /// else believes in it any more, lest a deposed leader has said so.
    fn removed(&mut self, wish: &Wish, leader: NodeId) -> Came {
        let node = wish.node;
        let Action::Ask { stop, .. } = self.plan.steps[wish.at].action else {
            unreachable!("only an ask is asked for");
        };
        if !stop {
            return self.done(leader);
        }
        let model = self.recorder.model();
        let mut others = self.members.iter().filter(|m| m.id != node);
        if others.any(|m| m.life == Life::Booting || model.believes(m.id, node)) {
            return Came::Again;
        }
        if self.member(node).life != Life::Down {
            self.stop_process(node);
            self.record(Some(node), What::Killed);
        }
        self.member(node).part = Part::Gone;
        Came::Over(format!(
            "n{leader} says that it is done; n{node} is stopped"
        ))
    }

    /// The disk of a node is gone.
    pub(super) fn lose_disk(&mut self, node: NodeId) -> String {
        if self.member(node).part != Part::Active {
            return format!("skip: n{node} does not run");
        }
        if !self.may_lose(node) {
            return format!("skip: {TOO_FEW} without n{node}");
        }
        self.stop_process(node);
        self.member(node).part = Part::Gone;
        self.record(Some(node), What::Killed);
        self.record(Some(node), What::Fault { kind: DISK_LOST });
        let bug = self.options.mutant.and_then(|m| m.operator_bug());
        if bug == Some(OperatorBug::ReusesIdentity) {
            let disk = life::new_disk(&self.plan, node);
            let member = self.member(node);
            member.part = Part::Active;
            member.disk = disk;
            member.recovery_crashes.clear();
            self.boot_in(node, REPLACED_US);
        }
        format!("n{node}: its disk is gone")
    }

    /// Whether the members that are left are sound enough to go on.
    fn may_remove(&self, node: NodeId) -> bool {
        let model = self.recorder.model();
        let Some((_, membership)) = &model.members else {
            return false;
        };
        let left = || membership.voters.iter().filter(|id| **id != node);
        model.has_sound_quorum(None)
            && left().filter(|id| model.is_sound(**id)).count() * 2 > left().count()
    }

    /// Whether the cluster gets on if this node never comes back.
    pub(super) fn may_lose(&self, node: NodeId) -> bool {
        self.recorder.model().has_sound_quorum(Some(node))
    }
}
