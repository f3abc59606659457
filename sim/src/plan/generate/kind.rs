//! The kinds of faults, and which of them a seed has.

use super::ratio;
use crate::rng::SimRng;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A group of members is cut off.
    Partition,
    /// One node's power goes, at an operation aimed at.
    Crash,
    /// The power goes again while the node recovers.
    RecoveryCrash,
    /// The power of all nodes goes at the same moment.
    PowerLoss,
    /// A process dies.
    Kill,
    /// A process dies, and shortly after its restart the power goes: what
    /// recovery took from the cache must have been made durable first.
    KillThenCut,
    /// A member is away until it needs a snapshot; the power goes as it installs it.
    Absence,
    /// A sync fails: the store is reopened without a reboot, with a cache that lies.
    FailedSync,
    /// The power goes in the middle of a protocol.
    PhaseCrash,
    /// A leader is cut off with entries that nobody else has; the power goes
    /// when its successor makes it truncate them.
    Deposed,
    /// One leader after the other dies young.
    Churn,
    /// Another operation fails, or stops short.
    FailedOp,
    Full,
    Slow,
    /// A sync fails and leaves the filesystem read-only, until the machine is
    /// started anew.
    ReadOnly,
    /// Sectors of some members go bad.
    Decay,
    /// Members join and leave.
    Membership,
    /// The leadership is handed over.
    Handover,
    /// A disk is lost, and somebody new takes its member's place.
    LostDisk,
    /// A partition of another form: a ring, a bridge.
    Shape,
    /// A link or a partition that comes and goes.
    Flap,
    /// A machine stands still for a while.
    Pause,
    /// A wall clock jumps.
    Jump,
}

impl Kind {
    pub(super) const ALL: [Kind; 14] = [
        Kind::Partition,
        Kind::Crash,
        Kind::RecoveryCrash,
        Kind::PowerLoss,
        Kind::Kill,
        Kind::KillThenCut,
        Kind::Absence,
        Kind::FailedSync,
        Kind::PhaseCrash,
        Kind::Deposed,
        Kind::Churn,
        Kind::FailedOp,
        Kind::Full,
        Kind::Slow,
    ];
    /// Kinds of which one seed in so many has one; whether, each draws itself.
    pub(super) const RARE: [(Kind, u32); 2] = [(Kind::ReadOnly, 4), (Kind::Decay, 8)];
    /// Kinds of scenarios with spares; each is on in three seeds out of four.
    pub(super) const OF_MEMBERS: [Kind; 3] = [Kind::Membership, Kind::Handover, Kind::LostDisk];
    /// Kinds that have an effect whatever the workload does: a seed has one of
    /// them, so that its run is not vacuous.
    const CERTAIN: [Kind; 4] = [Kind::Partition, Kind::Crash, Kind::PowerLoss, Kind::Kill];

    /// The name of its stream.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Partition => "partition",
            Kind::Crash => "crash",
            Kind::RecoveryCrash => "recovery-crash",
            Kind::PowerLoss => "power-loss",
            Kind::Kill => "kill",
            Kind::KillThenCut => "kill-then-cut",
            Kind::Absence => "absence",
            Kind::FailedSync => "failed-sync",
            Kind::PhaseCrash => "phase-crash",
            Kind::Deposed => "deposed",
            Kind::Churn => "churn",
            Kind::FailedOp => "failed-op",
            Kind::Full => "full",
            Kind::Slow => "slow",
            Kind::ReadOnly => "read-only",
            Kind::Decay => "decay",
            Kind::Membership => "membership",
            Kind::Handover => "handover",
            Kind::LostDisk => "lost-disk",
            Kind::Shape => "shape",
            Kind::Flap => "flap",
            Kind::Pause => "pause",
            Kind::Jump => "jump",
        }
    }

    /// Whether it is on, where it draws that itself.
    pub(super) fn own_stream(self, seed: u64) -> SimRng {
        SimRng::new(seed, &format!("plan/kinds/{}", self.name()))
    }

    /// Whether it makes sense among so many.
    pub(super) fn fits(self, machines: u32) -> bool {
        let needs_two = [
            Kind::Partition,
            Kind::Deposed,
            Kind::Shape,
            Kind::Flap,
            Kind::Handover,
            Kind::Membership,
            Kind::LostDisk,
        ];
        machines > 1 || !needs_two.contains(&self)
    }

    /// The mean time between two of the kind: drawn per seed from this range.
    pub(super) fn gap_ms(self) -> (u64, u64) {
        match self {
            Kind::Crash => (1500, 6000),
            Kind::Partition | Kind::Kill => (2000, 8000),
            Kind::RecoveryCrash | Kind::KillThenCut | Kind::FailedSync | Kind::FailedOp => {
                (3000, 9000)
            }
            Kind::PhaseCrash | Kind::Deposed => (3000, 9000),
            Kind::PowerLoss | Kind::Absence | Kind::Churn => (5000, 12_000),
            Kind::Full | Kind::Slow | Kind::ReadOnly => (4000, 10_000),
            Kind::Decay => (8000, 20_000),
            Kind::Membership => (800, 4000),
            Kind::Handover => (1500, 6000),
            Kind::LostDisk => (6000, 15_000),
            Kind::Shape | Kind::Flap | Kind::Pause => (2000, 9000),
            Kind::Jump => (3000, 9000),
        }
    }
}

/// The kinds that a seed of a scenario with these additional ones has.
pub(super) fn kinds(seed: u64, more: &[Kind]) -> Vec<Kind> {
    let mut kinds = enabled(&mut SimRng::new(seed, "plan/kinds"));
    for (kind, one_in) in Kind::RARE {
        let mut rng = kind.own_stream(seed);
        kinds.extend(rng.chance(ratio(1, one_in)).then_some(kind));
    }
    for kind in more {
        let mut rng = kind.own_stream(seed);
        kinds.extend(rng.chance(ratio(3, 4)).then_some(*kind));
    }
    kinds
}

fn enabled(rng: &mut SimRng) -> Vec<Kind> {
    let on = Kind::ALL.map(|kind| (kind, rng.chance(ratio(1, 2))));
    let mut kinds: Vec<Kind> = on
        .into_iter()
        .filter_map(|(kind, on)| on.then_some(kind))
        .collect();
    if !kinds.iter().any(|kind| Kind::CERTAIN.contains(kind)) {
        kinds.push(*rng.pick(&Kind::CERTAIN));
    }
    kinds
}
