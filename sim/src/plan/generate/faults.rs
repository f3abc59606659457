//! Which faults a seed has, when, and whom they hit.
//!
//! Each kind of fault draws from a stream of its own. What a kind places aims
//! at the moments between two file operations that protocols get wrong (see the
//! cases of the log format), since uniformly random crashes rarely land there.

use afterimage_engine::{NodeId, Phase};

use super::aims::{ANY, Aim, FAILURES, INSTALL, RECOVERY, SYNCS, WORK};
use super::kind::Kind;
use super::ratio;
use crate::disk::{CrashPoint, Damage, DamageKind, FailTrigger, FaultKind};
use crate::plan::{Action, Cluster, Side, Step, Target};
use crate::rng::{Ratio, SimRng};

/// The faults come in waves, with a calm in between in which none begins: the
/// cluster gets on, fills logs and saves snapshots, and there is something to lose.
const WAVE_MS: u64 = 4000;
const CALM_MS: u64 = 1200;

/// Protocols of several operations.
const PHASES: [Phase; 6] = [
    Phase::Truncate,
    Phase::Truncate,
    Phase::Roll,
    Phase::SnapshotSave,
    Phase::SnapshotInstall,
    Phase::Clean,
];

/// What a member's disk may lose without anybody being deceived: a store that
/// can't read them whole refuses, and its member stays down. (The end of the
/// log is not among them: there rot looks like a torn write, and a member that
/// comes up without it has forgotten what it acknowledged.)
const DECAYS: [(DamageKind, &str); 4] = [
    (DamageKind::Rot, "hardstate"),
    (DamageKind::Rot, "snapshot"),
    (DamageKind::Unreadable, "log-*"),
    (DamageKind::Unreadable, "*"),
];

/// How a seed's faults are: all of one seed alike.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// How long from one of a kind to the next, as a multiple of what is usual.
    pub(super) gap: Ratio,
    pub(super) favour: Favour,
    /// Any number of disks may go bad, not only a minority.
    pub(super) unbounded: bool,
}

/// Whom the faults hit.
#[derive(Debug, Clone, Copy)]
pub(super) enum Favour {
    /// Now the leader, now a follower, now anybody.
    Nobody,
    Leader,
    Followers,
    /// A fixed set of members, just as many as a quorum needs.
    Edge {
        first: u64,
    },
    /// This one alone.
    One(NodeId),
}

pub(super) const USUAL: Manner = Manner {
    gap: Ratio {
        numerator: 1,
        denominator: 1,
    },
    favour: Favour::Nobody,
    unbounded: false,
};

pub(super) const UNBOUNDED: Manner = Manner {
    unbounded: true,
    ..USUAL
};

/// The steps of `seed`, in order of their times.
pub(super) fn draw(seed: u64, cluster: &Cluster, kinds: &[Kind], manner: Manner) -> Vec<Step> {
    let mut placed: Vec<(u64, Action)> = Vec::new();
    let mut last_spare = u64::from(cluster.nodes);
    for &kind in kinds {
        let rng = SimRng::new(seed, &format!("plan/faults/{}", kind.name()));
        let mut drawer = Drawer {
            rng,
            nodes: u64::from(cluster.nodes),
            machines: u64::from(cluster.nodes + cluster.spares),
            victims: Vec::new(),
            last_spare: &mut last_spare,
            manner,
            placed: &mut placed,
        };
        drawer.draw(kind, cluster.duration_ms);
    }
    // A follow-up may lie behind the end of the faults; what it follows does not.
    placed.retain(|(at_ms, _)| *at_ms < cluster.duration_ms);
    placed.sort_by_key(|(at_ms, _)| *at_ms);
    (1..)
        .zip(placed)
        .map(|(id, (at_ms, action))| Step { id, at_ms, action })
        .collect()
}

/// Places the faults of one kind.
pub(super) struct Drawer<'a> {
    pub(super) rng: SimRng,
    pub(super) nodes: u64,
    /// Those and the spares.
    pub(super) machines: u64,
    /// The last spare that a step has added.
    pub(super) last_spare: &'a mut u64,
    manner: Manner,
    /// Whose disks may go bad.
    victims: Vec<Target>,
    placed: &'a mut Vec<(u64, Action)>,
}

impl Drawer<'_> {
    fn draw(&mut self, kind: Kind, duration_ms: u64) {
        let (low, high) = kind.gap_ms();
        let gap_ms = self.rng.between(low, high) * u64::from(self.manner.gap.numerator);
        let gap_ms = gap_ms / u64::from(self.manner.gap.denominator);
        if kind == Kind::RecoveryCrash && self.rng.chance(ratio(1, 3)) {
            self.birth();
        }
        if kind == Kind::Decay {
            self.choose_victims();
        }
        // On a clock that stands still in a calm.
        let mut stormy_ms = self.rng.between(300, gap_ms);
        loop {
            let at_ms = stormy_ms + stormy_ms / WAVE_MS * CALM_MS;
            if at_ms >= duration_ms {
                return;
            }
            self.place(kind, at_ms);
            stormy_ms += self.rng.between(gap_ms / 2, gap_ms * 3 / 2);
        }
    }

    fn place(&mut self, kind: Kind, at_ms: u64) {
        match kind {
            Kind::Partition => self.partition(at_ms),
            Kind::Crash => {
                let target = self.target();
                let down_ms = self.down_ms();
                self.crash(at_ms, target, WORK, None, down_ms);
            }
            Kind::RecoveryCrash => self.recovery_crash(at_ms),
            Kind::PowerLoss => self.power_loss(at_ms),
            Kind::Kill => {
                let target = self.target();
                let down_ms = self.down_ms();
                self.push(at_ms, Action::Kill { target, down_ms });
            }
            Kind::KillThenCut => self.kill_then_cut(at_ms),
            Kind::Absence => self.absence(at_ms),
            Kind::FailedSync => self.failed_sync(at_ms),
            Kind::PhaseCrash => {
                let phase = *self.rng.pick(&PHASES);
                let target = self.target();
                self.phase_crash(at_ms, target, phase);
            }
            Kind::Deposed => self.deposed(at_ms),
            Kind::Churn => self.churn(at_ms),
            Kind::FailedOp => {
                let (aim, fault) = self.rng.pick(FAILURES);
                let trigger = self.fail_trigger(aim, *fault);
                let target = self.target();
                self.push(at_ms, Action::Fail { target, trigger });
            }
            Kind::Full => self.full(at_ms),
            Kind::ReadOnly => self.read_only(at_ms),
            Kind::Decay => self.decay(at_ms),
            Kind::Membership => self.membership(at_ms),
            Kind::Handover => self.handover(at_ms),
            Kind::LostDisk => self.lost_disk(at_ms),
            Kind::Shape => self.shape(at_ms),
            Kind::Flap => self.flap(at_ms),
            Kind::Pause => self.pause(at_ms),
            Kind::Jump => self.jump(at_ms),
            Kind::Slow => {
                let target = self.target();
                let factor = self.rng.between(3, 50);
                let for_ms = self.rng.between(300, 3000);
                self.push(
                    at_ms,
                    Action::Slow {
                        target,
                        factor,
                        for_ms,
                    },
                );
            }
        }
    }

    pub(super) fn push(&mut self, at_ms: u64, action: Action) {
        self.placed.push((at_ms, action));
    }

    fn partition(&mut self, at_ms: u64) {
        let side = match self.rng.below(5) {
            0 | 1 => Side::Leader,
            2 => Side::LeaderMinority,
            _ => self.random_side(),
        };
        let one_way = self.rng.chance(ratio(1, 4));
        let for_ms = if self.rng.chance(ratio(1, 4)) {
            self.rng.between(3000, 6000)
        } else {
            self.rng.between(200, 2500)
        };
        self.push(
            at_ms,
            Action::Partition {
                side,
                one_way,
                for_ms,
                flap_ms: 0,
            },
        );
    }

    /// Some of the members, but not all.
    pub(super) fn random_side(&mut self) -> Side {
        let mut nodes: Vec<NodeId> = (1..=self.nodes).map(NodeId).collect();
        self.rng.shuffle(&mut nodes);
        nodes.truncate(self.rng.between(1, self.nodes - 1) as usize);
        nodes.sort_unstable();
        Side::Nodes(nodes)
    }

    /// The very first open of a store is cut short: it must not leave something
    /// behind that no later open accepts.
    fn birth(&mut self) {
        let target = self.member();
        let down_ms = self.down_ms();
        self.crash(0, target, RECOVERY, Some(Phase::Recovery), down_ms);
    }

    fn recovery_crash(&mut self, at_ms: u64) {
        let target = self.member();
        let down_ms = self.rng.between(20, 300);
        self.crash(at_ms, target, WORK, None, down_ms);
        for _ in 0..self.rng.between(1, 2) {
            let down_ms = self.rng.between(20, 300);
            self.crash(at_ms, target, RECOVERY, Some(Phase::Recovery), down_ms);
        }
    }

    /// At one moment, or each within its next few operations.
    fn power_loss(&mut self, at_ms: u64) {
        let at_once = self.rng.chance(ratio(1, 2));
        for n in 1..=self.machines {
            let target = Target::Node(NodeId(n));
            let down_ms = self.rng.between(50, 600);
            let trigger = if at_once {
                (0, CrashPoint::Before)
            } else {
                (self.rng.between(1, 4), self.point())
            };
            self.push(at_ms, crash(target, &ANY, trigger, None, down_ms));
        }
    }

    fn kill_then_cut(&mut self, at_ms: u64) {
        let target = self.member();
        let down_ms = self.rng.between(10, 300);
        let again_ms = self.rng.between(20, 500);
        self.push(at_ms, Action::Kill { target, down_ms });
        if self.rng.chance(ratio(1, 2)) {
            self.crash(at_ms, target, RECOVERY, Some(Phase::Recovery), again_ms);
        } else {
            let at_ms = at_ms + down_ms + self.rng.between(5, 150);
            let nth = self.rng.below(6);
            let point = self.point();
            self.push(at_ms, crash(target, &ANY, (nth, point), None, again_ms));
        }
    }

    fn phase_crash(&mut self, at_ms: u64, target: Target, phase: Phase) {
        let trigger = (self.rng.between(1, 4), self.point());
        let down_ms = self.down_ms();
        let during = Some(phase);
        self.push(at_ms, crash(target, &ANY, trigger, during, down_ms));
    }

    /// Both steps are carried out at the same moment, so they mean the same leader.
    fn deposed(&mut self, at_ms: u64) {
        let for_ms = self.rng.between(500, 2500);
        let partition = Action::Partition {
            side: Side::Leader,
            // It goes on sending, or goes on hearing; or neither.
            one_way: self.rng.chance(ratio(1, 4)),
            for_ms,
            flap_ms: 0,
        };
        self.push(at_ms, partition);
        if self.rng.chance(ratio(2, 3)) {
            self.phase_crash(at_ms, Target::Leader, Phase::Truncate);
        }
    }

    fn churn(&mut self, at_ms: u64) {
        let mut at_ms = at_ms;
        for _ in 0..self.rng.between(3, 8) {
            let down_ms = self.rng.between(20, 1500);
            let target = Target::Leader;
            if self.rng.chance(ratio(1, 2)) {
                let trigger = (self.rng.below(8), self.point());
                self.push(at_ms, crash(target, &ANY, trigger, None, down_ms));
            } else {
                self.push(at_ms, Action::Kill { target, down_ms });
            }
            at_ms += self.rng.between(100, 700);
        }
    }

    fn absence(&mut self, at_ms: u64) {
        let target = self.member();
        let down_ms = self.rng.between(2000, 5000);
        self.push(at_ms, Action::Kill { target, down_ms });
        if self.rng.chance(ratio(2, 3)) {
            let at_ms = at_ms + down_ms + self.rng.between(5, 40);
            let down_ms = self.rng.between(20, 500);
            self.crash(at_ms, target, INSTALL, None, down_ms);
        }
    }

    /// A failed sync kills the node by its own hand. What comes then tells
    /// whether it still believed the cache.
    fn failed_sync(&mut self, at_ms: u64) {
        let target = self.member();
        let aim = self.rng.pick(SYNCS);
        let trigger = self.fail_trigger(aim, FaultKind::Eio);
        self.push(at_ms, Action::Fail { target, trigger });
        let after_ms = at_ms + self.rng.between(10, 800);
        let down_ms = self.rng.between(20, 500);
        match self.rng.below(5) {
            0 => {}
            1 => self.push(after_ms, Action::Evict { target }),
            2 => {
                self.push(after_ms, Action::Evict { target });
                self.crash(after_ms + down_ms, target, &[ANY], None, down_ms);
            }
            3 => {
                let now = (0, CrashPoint::Before);
                self.push(after_ms, crash(target, &ANY, now, None, down_ms));
            }
            // The next boot is the reopen: a count beyond what recovery needs
            // lands in the first appends after it.
            _ => self.crash(at_ms, target, &[ANY], Some(Phase::Recovery), down_ms),
        }
    }

    fn read_only(&mut self, at_ms: u64) {
        let target = self.member();
        let aim = self.rng.pick(SYNCS);
        let trigger = self.fail_trigger(aim, FaultKind::Erofs);
        self.push(at_ms, Action::Fail { target, trigger });
        let after_ms = at_ms + self.rng.between(10, 1500);
        let now = (0, CrashPoint::Before);
        let down_ms = self.rng.between(20, 500);
        self.push(after_ms, crash(target, &ANY, now, None, down_ms));
    }

    /// A minority at the most, so that a quorum still has every record.
    fn choose_victims(&mut self) {
        let mut members: Vec<u64> = (1..=self.nodes).collect();
        self.rng.shuffle(&mut members);
        let most = match self.manner.unbounded {
            true => self.nodes,
            false => (self.nodes - 1) / 2,
        };
        members.truncate(self.rng.between(most.min(1), most) as usize);
        let targets = members.into_iter().map(|id| Target::Node(NodeId(id)));
        self.victims = targets.collect();
    }

    /// A sector goes bad; then the power does, so that it comes to light.
    fn decay(&mut self, at_ms: u64) {
        if self.victims.is_empty() {
            return;
        }
        let target = *self.rng.pick(&self.victims);
        let (kind, file) = *self.rng.pick(&DECAYS);
        let damage = Damage {
            kind,
            file: file.to_owned(),
            sector: None,
            bit: None,
        };
        self.push(at_ms, Action::Damage { target, damage });
        let after_ms = at_ms + self.rng.between(10, 1500);
        let now = (0, CrashPoint::Before);
        let down_ms = self.rng.between(20, 500);
        self.push(after_ms, crash(target, &ANY, now, None, down_ms));
    }

    fn full(&mut self, at_ms: u64) {
        let target = self.member();
        let bytes = *self.rng.pick(&[0, 512, 1024, 4096, 16_384]);
        let for_ms = self.rng.between(300, 4000);
        self.push(
            at_ms,
            Action::Full {
                target,
                bytes,
                for_ms,
            },
        );
        if self.rng.chance(ratio(1, 3)) {
            // Recovery finds the disk full too.
            let down_ms = self.rng.between(10, 200);
            self.push(at_ms + for_ms / 3, Action::Kill { target, down_ms });
        }
    }

    /// A power cut at one of `aims`.
    fn crash(
        &mut self,
        at_ms: u64,
        target: Target,
        aims: &[Aim],
        during: Option<Phase>,
        down_ms: u64,
    ) {
        let aim = self.rng.pick(aims);
        let trigger = (self.rng.between(1, aim.nth_max), self.point());
        self.push(at_ms, crash(target, aim, trigger, during, down_ms));
    }

    fn fail_trigger(&mut self, aim: &Aim, fault: FaultKind) -> FailTrigger {
        FailTrigger {
            pattern: aim.pattern(),
            nth: self.rng.between(1, aim.nth_max),
            fault,
        }
    }

    fn point(&mut self) -> CrashPoint {
        *self
            .rng
            .pick(&[CrashPoint::Before, CrashPoint::Mid, CrashPoint::After])
    }

    /// Mostly short; at times long enough to be left behind.
    pub(super) fn down_ms(&mut self) -> u64 {
        if self.rng.chance(ratio(1, 6)) {
            self.rng.between(1500, 4000)
        } else {
            self.rng.between(20, 800)
        }
    }

    pub(super) fn member(&mut self) -> Target {
        Target::Node(NodeId(self.rng.between(1, self.machines)))
    }

    fn follower(&mut self) -> Target {
        match self.nodes {
            1 => self.member(),
            nodes => Target::Follower(self.rng.below(nodes - 1) as u32),
        }
    }

    pub(super) fn target(&mut self) -> Target {
        match self.manner.favour {
            Favour::Nobody => match self.rng.below(5) {
                0 | 1 => Target::Leader,
                2 | 3 => self.follower(),
                _ => self.member(),
            },
            Favour::Leader => Target::Leader,
            Favour::Followers => self.follower(),
            Favour::Edge { first } => {
                let place = first + self.rng.below(self.nodes / 2 + 1);
                Target::Node(NodeId(1 + place % self.nodes))
            }
            Favour::One(id) => Target::Node(id),
        }
    }
}

/// `(nth, point)` is the moment.
fn crash(
    target: Target,
    aim: &Aim,
    (nth, point): (u64, CrashPoint),
    during: Option<Phase>,
    down_ms: u64,
) -> Action {
    Action::Crash {
        target,
        pattern: aim.pattern(),
        nth,
        point,
        during,
        down_ms,
        keep: None,
    }
}
