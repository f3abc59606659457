//! The plan's steps, carried out. Each says what it did, or why it was skipped;
//! what it aimed at is written back into the plan.

use std::collections::BTreeSet;

use afterimage_engine::{Event, NodeId, Phase};

use super::member::{Life, Part};
use super::net::Link;
use super::{Happening, Subject, World};
use crate::disk::{CrashTrigger, Damage, Fates};
use crate::plan::{Action, Heal, MessageKind, Side, Target};
use crate::rng::hash;
use crate::trace::What;

/// The end of something that a step began.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Links {
        step: u32,
    },
    /// Not the end: the links of a partition come back, or go again.
    Flap {
        step: u32,
        every_ms: u64,
    },
    Full {
        node: NodeId,
    },
    Slow {
        node: NodeId,
    },
    Await {
        step: u32,
    },
}

const MS: u64 = 1000;
/// Why an operator does not do it.
pub(super) const TOO_FEW: &str = "too few sound voters";

impl<S: Subject> World<S> {
    /// Begins step number `at` of the plan.
    pub(super) fn begin(&mut self, at: usize) {
        if self.is_healed() {
            return;
        }
        let step = self.plan.steps[at].clone();
        let note = match step.action {
            Action::Partition {
                side,
                one_way,
                for_ms,
                flap_ms,
            } => {
                let note = self.partition(at, side, one_way, for_ms);
                if flap_ms > 0 {
                    let every_ms = flap_ms;
                    let step = step.id;
                    self.end_in(every_ms, End::Flap { step, every_ms });
                }
                note
            }
            Action::Lose {
                from,
                to,
                kind,
                for_ms,
            } => self.lose(at, (from, to), kind, for_ms),
            Action::Mend { step } => match self.net.mend(step) {
                true => format!("what s{step} did to links is over"),
                false => format!("skip: no link is ill from s{step}"),
            },
            Action::Await { target, .. } => {
                let node = self.aim(at, target);
                self.begin_await(at, node)
            }
            Action::Heal => {
                self.heal();
                "the faults end here".to_owned()
            }
            Action::Crash {
                target,
                pattern,
                nth,
                point,
                during,
                ..
            } => match self.aim(at, target) {
                None => "skip: no such target now".to_owned(),
                Some(node) if during == Some(Phase::Recovery) => {
                    self.member(node).recovery_crashes.push_back(at);
                    format!("n{node}: power cut in a recovery")
                }
                Some(node) if let Some(phase) = during => {
                    self.member(node).waiting = Some((at, phase));
                    format!("n{node}: power cut in a {}", phase.name())
                }
                Some(node) if self.member(node).life == Life::Down => {
                    format!("skip: n{node} is down")
                }
                Some(node) if nth == 0 => {
                    self.cut_power(node, Some(at));
                    format!("n{node}: power cut")
                }
                Some(node) => {
                    let member = self.member(node);
                    member.armed = Some(at);
                    let trigger = CrashTrigger {
                        pattern,
                        nth,
                        point,
                    };
                    member.disk.arm_crash(trigger);
                    format!("n{node}: power cut armed")
                }
            },
            Action::Kill { target, down_ms } => match self.aim(at, target) {
                None => "skip: no such target now".to_owned(),
                Some(node) if self.member(node).life == Life::Down => {
                    format!("skip: n{node} is down")
                }
                Some(node) => {
                    self.stop_process(node);
                    self.record(Some(node), What::Killed);
                    self.boot_in(node, down_ms * MS);
                    format!("n{node}: killed")
                }
            },
            Action::Fail { target, trigger } => match self.aim(at, target) {
                None => "skip: no such target now".to_owned(),
                Some(node) => {
                    self.member(node).disk.arm_fail(trigger);
                    format!("n{node}: a file operation will fail")
                }
            },
            Action::Full {
                target,
                bytes,
                for_ms,
            } => match self.aim(at, target) {
                None => "skip: no such target now".to_owned(),
                Some(node) => {
                    let member = self.member(node);
                    member.disk.limit_space(Some(bytes));
                    member.full = true;
                    self.end_in(for_ms, End::Full { node });
                    format!("n{node}: {bytes} bytes left")
                }
            },
            Action::Evict { target } => match self.aim(at, target) {
                None => "skip: no such target now".to_owned(),
                Some(node) => {
                    let member = self.member(node);
                    member.cache_lied |= member.disk.evict();
                    format!("n{node}: cache evicted")
                }
            },
            Action::Damage { target, damage } => match self.aim(at, target) {
                None => "skip: no such target now".to_owned(),
                Some(node) => self.damage(at, node, &damage),
            },
            Action::Slow {
                target,
                factor,
                for_ms,
            } => match self.aim(at, target) {
                None => "skip: no such target now".to_owned(),
                Some(node) => {
                    self.member(node).slow_factor = factor.max(1);
                    self.record(Some(node), What::Fault { kind: "disk-slow" });
                    self.end_in(for_ms, End::Slow { node });
                    format!("n{node}: disk {factor} times as slow")
                }
            },
            Action::Pause { target, for_ms } => match self.aim(at, target) {
                None => "skip: no such target now".to_owned(),
                Some(node) => {
                    let until_us = self.now_us + for_ms * MS;
                    let member = self.member(node);
                    member.paused_until_us = until_us.max(member.paused_until_us);
                    member.pause_felt = false;
                    format!("n{node}: stands still")
                }
            },
            Action::Jump {
                target,
                by_ms,
                back,
            } => match self.aim(at, target) {
                None => "skip: no such target now".to_owned(),
                Some(node) => {
                    let by_ms = if back { -(by_ms as i64) } else { by_ms as i64 };
                    self.member(node).clock_ahead_ms += by_ms;
                    self.record(Some(node), What::Fault { kind: "clock-jump" });
                    format!("n{node}: its clock jumps by {by_ms} ms")
                }
            },
            Action::Ask { ask, target, .. } => match self.aim(at, target) {
                None => "skip: no such target now".to_owned(),
                Some(node) => self.wish(at, ask, node),
            },
            Action::LoseDisk { target } => match self.aim(at, target) {
                None => "skip: no such target now".to_owned(),
                Some(node) => self.lose_disk(node),
            },
            Action::Store(_) => "skip: for a single store".to_owned(),
        };
        let id = step.id;
        self.record(None, What::Step { id, note });
    }

    /// Ends what a step began.
    pub(super) fn end(&mut self, end: End) {
        match end {
            End::Links { step } => {
                self.net.mend(step);
            }
            End::Flap { step, every_ms } => {
                if self.net.flap(step) {
                    self.end_in(every_ms, End::Flap { step, every_ms });
                }
            }
            End::Full { node } => {
                let member = self.member(node);
                member.full = false;
                member.disk.limit_space(None);
            }
            End::Slow { node } => self.member(node).slow_factor = 1,
            End::Await { step } => self.end_await(step),
        }
    }

    pub(super) fn end_in(&mut self, for_ms: u64, end: End) {
        let at = self.now_us + for_ms * MS;
        self.queue.push(at, Happening::End(end));
    }

    /// The node that the step aims at, written back into the plan.
    fn aim(&mut self, at: usize, target: Target) -> Option<NodeId> {
        let node = match target {
            Target::Node(id) => Some(id).filter(|id| id.0 >= 1 && id.0 <= self.machines()),
            Target::Leader => self.leader(),
            Target::Follower(n) => {
                let leader = self.leader();
                let others: Vec<_> = self.active().filter(|&id| Some(id) != leader).collect();
                others.get(n as usize % others.len().max(1)).copied()
            }
        }?;
        if let Some(target) = self.plan.steps[at].action.target_mut() {
            *target = Target::Node(node);
        }
        Some(node)
    }

    fn ids(&self) -> Vec<NodeId> {
        self.members.iter().map(|m| m.id).collect()
    }

    /// Until when the machine stands still, if it does. Leaves the receipt.
    pub(super) fn paused_until(&mut self, node: NodeId) -> Option<u64> {
        let now_us = self.now_us;
        let member = self.member(node);
        if member.paused_until_us <= now_us {
            return None;
        }
        let until_us = member.paused_until_us;
        if !std::mem::replace(&mut member.pause_felt, true) {
            self.record(Some(node), What::Fault { kind: "pause" });
        }
        Some(until_us)
    }

    /// Those that are to run.
    fn active(&self) -> impl Iterator<Item = NodeId> {
        let active = self.members.iter().filter(|m| m.part == Part::Active);
        active.map(|m| m.id)
    }

    fn damage(&mut self, at: usize, node: NodeId, damage: &Damage) -> String {
        let draw = hash(&[self.plan.seed, u64::from(self.plan.steps[at].id)]);
        // Which disks a plan without spares may harm, it says itself.
        let sound = self.recorder.model().is_sound(node);
        let bounded = self.plan.cluster.heal != Heal::Nobody;
        if bounded && self.plan.cluster.spares > 0 && sound && !self.may_lose(node) {
            return format!("skip: {TOO_FEW} without n{node}");
        }
        let Some(damage) = self.member(node).disk.damage(damage, draw) else {
            return "skip: nothing to harm".to_owned();
        };
        let kind = damage.kind.receipt();
        self.record(Some(node), What::Fault { kind });
        let note = format!("n{node}: {damage}");
        let target = Target::Node(node);
        self.plan.steps[at].action = Action::Damage { target, damage };
        note
    }

    fn partition(&mut self, at: usize, side: Side, one_way: bool, for_ms: u64) -> String {
        let leader = self.leader();
        let minority = (self.active().count() as u64).saturating_sub(1) / 2;
        let step = self.plan.steps[at].id;
        let shape = match side {
            Side::Ring => Some((ring(&self.ids()), "each hears its neighbours".to_owned())),
            Side::Bridge(id) => Some((
                bridge(&self.ids(), id),
                format!("n{id}: between two halves"),
            )),
            _ => None,
        };
        if let Some((links, note)) = shape {
            self.net.cut(step, links);
            self.end_in(for_ms, End::Links { step });
            return note;
        }
        let Some(nodes) = self.side(side) else {
            return "skip: no leader now".to_owned();
        };
        if let Action::Partition { side, .. } = &mut self.plan.steps[at].action {
            *side = Side::Nodes(nodes.clone());
        }
        let mut links = BTreeSet::new();
        for inside in &nodes {
            for outside in self.members.iter().map(|m| m.id) {
                if !nodes.contains(&outside) {
                    links.insert((*inside, outside));
                    if !one_way {
                        links.insert((outside, *inside));
                    }
                }
            }
        }
        self.net.cut(step, links);
        self.end_in(for_ms, End::Links { step });
        if !one_way
            && leader.is_some_and(|id| nodes.contains(&id))
            && nodes.len() as u64 <= minority
        {
            let kind = "leader-in-minority";
            self.record(leader, What::Fault { kind });
        }
        let how = if one_way {
            "speak to nobody"
        } else {
            "cut off"
        };
        format!("{}: {how}", names(&nodes))
    }

    /// The members of a side; `None` if there is no leader to tell them.
    fn side(&self, side: Side) -> Option<Vec<NodeId>> {
        let leader = match side {
            Side::Nodes(nodes) => return Some(nodes),
            Side::Leader => return Some(vec![self.leader()?]),
            Side::LeaderMinority => self.leader()?,
            // No set of members.
            Side::Ring | Side::Bridge(_) => return None,
        };
        let minority = (self.active().count() as u64).saturating_sub(1) / 2;
        // In ascending order, as the plan's text wants it.
        let friends = self.active().filter(|&id| id != leader);
        let with = friends.take((minority as usize).saturating_sub(1));
        let mut nodes: Vec<_> = std::iter::once(leader).chain(with).collect();
        nodes.sort_unstable();
        Some(nodes)
    }

    fn lose(
        &mut self,
        at: usize,
        (from, to): (Side, Option<Side>),
        kind: MessageKind,
        for_ms: u64,
    ) -> String {
        let everybody = || Some(self.members.iter().map(|m| m.id).collect());
        let ends = self
            .side(from)
            .zip(to.map_or_else(everybody, |to| self.side(to)));
        let Some((senders, receivers)) = ends else {
            return "skip: no leader now".to_owned();
        };
        if let Action::Lose { from, to, .. } = &mut self.plan.steps[at].action {
            *from = Side::Nodes(senders.clone());
            *to = to.take().map(|_| Side::Nodes(receivers.clone()));
        }
        let pairs = senders
            .iter()
            .flat_map(|from| receivers.iter().map(|to| (*from, *to)));
        let step = self.plan.steps[at].id;
        self.net.lose(step, kind, pairs.collect());
        self.end_in(for_ms, End::Links { step });
        format!("{}: every {} is lost", names(&senders), kind.name())
    }

    /// A crash that waits for a phase is armed with its beginning, and disarmed
    /// if the phase ends unharmed.
    pub(super) fn watch_phase(&mut self, node: NodeId, event: &Event) {
        let member = &mut self.members[node.0 as usize - 1];
        let Some((at, phase)) = member.waiting else {
            return;
        };
        match event {
            Event::Begin(begun) if *begun == phase && member.armed.is_none() => {
                if let Action::Crash {
                    pattern,
                    nth,
                    point,
                    ..
                } = &self.plan.steps[at].action
                {
                    member.armed = Some(at);
                    member.disk.arm_crash(CrashTrigger {
                        pattern: pattern.clone(),
                        nth: (*nth).max(1),
                        point: *point,
                    });
                }
            }
            Event::End(ended)
                if *ended == phase && member.armed == Some(at) && !member.disk.crash_fired() =>
            {
                member.disk.disarm_crash();
                member.armed = None;
            }
            _ => {}
        }
    }

    /// How the pending effects of a power cut are chosen, and remembered.
    pub(super) fn fates(&self, node: NodeId, step: Option<usize>) -> Fates {
        let Some(step) = step.map(|at| &self.plan.steps[at]) else {
            return Fates::Random(hash(&[self.plan.seed, node.0, self.now_us]));
        };
        match &step.action {
            Action::Crash {
                keep: Some(keep), ..
            } => Fates::Explicit(keep.clone()),
            _ => Fates::Random(hash(&[self.plan.seed, u64::from(step.id)])),
        }
    }
}

fn names(nodes: &[NodeId]) -> String {
    let names: Vec<String> = nodes.iter().map(|id| format!("n{id}")).collect();
    names.join(",")
}

/// The links that a ring of these does not have.
fn ring(ids: &[NodeId]) -> BTreeSet<Link> {
    let n = ids.len();
    let apart = |a: usize, b: usize| a != b && (a + 1) % n != b && (b + 1) % n != a;
    links(ids, apart)
}

/// The links between two halves of all but `bridge`.
fn bridge(ids: &[NodeId], bridge: NodeId) -> BTreeSet<Link> {
    let half = |at: usize| at < ids.len() / 2;
    let apart = |a: usize, b: usize| half(a) != half(b) && ids[a] != bridge && ids[b] != bridge;
    links(ids, apart)
}

/// The links between the places that are `apart`, in both directions.
fn links(ids: &[NodeId], apart: impl Fn(usize, usize) -> bool) -> BTreeSet<Link> {
    let places = || 0..ids.len();
    let pairs = places().flat_map(|a| places().map(move |b| (a, b)));
    let apart = pairs.filter(|(a, b)| apart(*a, *b));
    apart.map(|(a, b)| (ids[a], ids[b])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(links: BTreeSet<Link>, expected: &[(u64, u64)]) {
        let both = expected.iter().flat_map(|&(a, b)| [(a, b), (b, a)]);
        let both = both.map(|(a, b)| (NodeId(a), NodeId(b)));
        assert_eq!(links, both.collect());
    }

    fn ids(n: u64) -> Vec<NodeId> {
        (1..=n).map(NodeId).collect()
    }

    #[test]
    fn in_a_ring_each_hears_two() {
        check(ring(&ids(5)), &[(1, 3), (1, 4), (2, 4), (2, 5), (3, 5)]);
        check(ring(&ids(3)), &[]);
        check(ring(&ids(1)), &[]);
    }

    #[test]
    fn a_bridge_hears_all() {
        check(
            bridge(&ids(5), NodeId(3)),
            &[(1, 4), (1, 5), (2, 4), (2, 5)],
        );
        check(bridge(&ids(3), NodeId(1)), &[]);
    }
}
