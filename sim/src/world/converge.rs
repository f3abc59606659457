//! The end of a run: everything heals, a last client writes, and the cluster
//! must come to one leader and one state within a bound.

use std::collections::BTreeSet;

use afterimage_engine::NodeId;

use super::clients::Client;
use super::member::{Life, Part};
use super::net::Link;
use super::{Happening, Subject, World};
use crate::disk::Fates;
use crate::plan::Heal;
use crate::rng::{Ratio, hash};
use crate::trace::What;

/// Between two looks at the cluster.
const LOOK_US: u64 = 20_000;

impl<S: Subject> World<S> {
    /// No fault from here on.
    pub(super) fn heal(&mut self) {
        self.healed_us = Some(self.now_us);
        let core = match self.plan.cluster.heal {
            Heal::Core => Some(self.choose_core()),
            _ => None,
        };
        self.core = core.clone();
        self.net.heal(|(from, to)| {
            let healed = |id| core.as_ref().is_none_or(|core| core.contains(id));
            !healed(from) || !healed(to)
        });
        // After that, for a cut that comes and goes stays for good.
        let severed = core.as_ref().map(|core| self.links_to_sever(core));
        self.net.sever(severed.unwrap_or_default());
        for id in (1..=self.machines()).map(NodeId) {
            if !self.heals(id) {
                self.leave_behind(id);
                continue;
            }
            let member = self.member(id);
            if member.part != Part::Active {
                continue;
            }
            member.paused_until_us = 0;
            member.disk.disarm_crash();
            member.disk.disarm_fails();
            member.disk.limit_space(None);
            member.disk.short_io(Ratio::default());
            member.armed = None;
            member.recovery_crashes.clear();
            member.waiting = None;
            member.slow_factor = 1;
            if member.disk.is_read_only() {
                // Somebody starts the machine anew.
                self.stop_process(id);
                self.member(id).disk.power_cut(&Fates::Lose);
                self.record(Some(id), What::Killed);
            }
            if self.member(id).life == Life::Down {
                self.boot_in(id, 0);
            }
        }
        let core = self.core.clone();
        self.record(None, What::Healed { core });
        // The witness: its write must go through.
        let id = self.clients.len() as u64 + 1;
        let mut witness = Client::new(self.plan.seed, id, false);
        let operation = witness.put(0);
        self.clients.push(witness);
        self.invoke(self.clients.len() - 1, operation, 0);
        self.queue.push(self.now_us + LOOK_US, Happening::Look);
    }

    /// Has the cluster converged?
    pub(super) fn look(&mut self) {
        let Some(healed_us) = self.healed_us else {
            unreachable!("it looks because it healed");
        };
        let since_us = self.now_us - healed_us;
        let within_us = self.has_converged().then_some(since_us);
        if within_us.is_none() && since_us < self.plan.cluster.converge_ms * 1000 {
            self.queue.push(self.now_us + LOOK_US, Happening::Look);
            return;
        }
        self.record(None, What::Converged { within_us });
        for id in (1..=self.machines()).map(NodeId) {
            if !self.member(id).is_up() {
                continue;
            }
            let outcome = self.call(id, super::replica::Command::Status);
            let Some(status) = outcome.status else {
                continue;
            };
            let last = What::Final {
                leader: status.leader,
                term: status.term,
                commit: status.commit,
                applied: status.applied,
                state: status.state,
            };
            self.record(Some(id), last);
        }
        self.finished = true;
    }

    fn heals(&self, id: NodeId) -> bool {
        self.core.as_ref().is_none_or(|core| core.contains(&id))
    }

    /// No more voters than a quorum needs; if there is none, all.
    fn choose_core(&self) -> Vec<NodeId> {
        let model = self.recorder.model();
        let usable = self.members.iter().filter(|m| m.part == Part::Active);
        let mut core: Vec<NodeId> = usable.map(|m| m.id).collect();
        core.retain(|id| model.is_sound(*id));
        let mut gone = core.clone();
        gone.sort_by_key(|id| hash(&[self.plan.seed, id.0]));
        for id in gone {
            if model.is_quorum(|other| other != id && core.contains(&other)) {
                core.retain(|other| *other != id);
            }
        }
        core
    }

    /// Who is cut off from a part of the core is cut off from all of it. Raft asks
    /// for that: a leader outside that most of the core hears, and one of it does
    /// not, stays for ever, and so does that one's ignorance (Howard and Abraham,
    /// "Raft does not guarantee liveness in the face of network faults", 2020).
    fn links_to_sever(&self, core: &[NodeId]) -> BTreeSet<Link> {
        let outside = self.members.iter().map(|m| m.id);
        let outside = outside.filter(|id| !core.contains(id));
        let links = |id: NodeId| core.iter().flat_map(move |&own| [(id, own), (own, id)]);
        let cut = |id: &NodeId| links(*id).any(|(from, to)| self.net.is_cut(from, to));
        outside.filter(cut).flat_map(links).collect()
    }

    /// For this one nothing ends: who is down stays down, who stands still
    /// does so for ever.
    fn leave_behind(&mut self, id: NodeId) {
        let now_us = self.now_us;
        let member = self.member(id);
        if member.life == Life::Down {
            member.part = Part::Gone;
        }
        if member.paused_until_us > now_us {
            member.paused_until_us = u64::MAX;
        }
    }

    fn has_converged(&self) -> bool {
        let Some(leader) = self.leader() else {
            return false;
        };
        let model = self.recorder.model();
        let newest = model.members.as_ref().map(|(_, membership)| membership);
        let own = model.node(leader).membership.as_ref().map(|(_, m)| m);
        // A change that is under way comes to its end first.
        if newest != own {
            return false;
        }
        let status = self.members[leader.0 as usize - 1].status;
        // Every client has its answer, the witness among them.
        self.clients.iter().all(|c| c.outstanding.is_none())
            && self
                .members
                .iter()
                // One whose disk went bad need not come up again, nor stay up.
                .filter(|m| model.is_member(m.id) && model.is_sound(m.id))
                .filter(|m| self.heals(m.id))
                .all(|m| {
                    m.is_up()
                        && m.status.term == status.term
                        && m.status.applied == status.commit
                        && m.status.leader == (m.id == leader)
                })
    }
}
