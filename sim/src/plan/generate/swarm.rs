//! Everything drawn: how many members, how they are set up, which kinds of faults
//! there are, how often, and whom they hit (swarm testing at its widest). What a
//! fixed scenario always has, some of these seeds do without; what it never has,
//! some of them have nothing but.

use afterimage_engine::NodeId;

use super::faults::{self, Drawer, Favour, Manner};
use super::kind::Kind;
use super::{
    SWARM, draw_at_times, draw_cluster, draw_direct, draw_disk, draw_net, draw_workload, ratio,
};
use crate::plan::{Action, Cluster, Disk, Heal, Net, Plan, Side, Step, Target, Workload};
use crate::rng::{Ratio, SimRng};

/// Entries between two snapshots: more than any run has.
const NO_SNAPSHOTS: u64 = 10_000;
/// Kinds that only these seeds have.
const OWN: [Kind; 4] = [Kind::Shape, Kind::Flap, Kind::Pause, Kind::Jump];

pub(super) fn draw(seed: u64, unbounded: bool) -> Plan {
    let stream = |concern: &str| SimRng::new(seed, &format!("swarm/{concern}"));
    let mut cluster = Cluster {
        trail_entries: draw_at_times(seed, "plan/trail", &[1, 20, 300]),
        commit_hint_every: draw_at_times(seed, "plan/commit-hint", &[1, 5, 40]),
        ..cluster(&mut stream("cluster"))
    };
    let kinds = kinds(seed, &mut stream("kinds"), &cluster, unbounded);
    if !kinds.iter().any(|kind| Kind::OF_MEMBERS.contains(kind)) {
        cluster.spares = 0;
    }
    if unbounded {
        cluster.heal = Heal::Nobody;
    }
    let manner = manner(&mut stream("manner"), &cluster, unbounded);
    let mut steps = faults::draw(seed, &cluster, &kinds, manner);
    add_a_kill(&mut stream("kill"), &cluster, &mut steps);
    Plan {
        scenario: SWARM.to_string(),
        seed,
        net: net(&mut stream("net")),
        disk: Disk {
            direct: draw_direct(seed),
            ..draw_disk(&mut stream("disk"))
        },
        workload: workload(&mut stream("workload")),
        steps,
        cluster,
    }
}

fn cluster(rng: &mut SimRng) -> Cluster {
    let nodes = *rng.pick(&[1, 2, 3, 3, 3, 4, 5, 5, 6, 7]);
    let drawn = draw_cluster(rng, nodes);
    let mut cluster = Cluster {
        spares: rng.between(1, 3) as u32,
        election_ticks: *rng.pick(&[6, 10, 15, 25]),
        heartbeat_ticks: *rng.pick(&[1, 2, 4, 5]),
        // From one that is always under way to none at all.
        snapshot_every: *rng.pick(&[3, 10, 30, 100, 300, NO_SNAPSHOTS]),
        segment_bytes: *rng.pick(&[1024, 2048, 4096, 16_384, 262_144]),
        heal: match rng.below(4) {
            0 => Heal::Core,
            _ => Heal::All,
        },
        drift: match rng.below(4) {
            0 => ratio(*rng.pick(&[1, 5, 15]), 100),
            _ => ratio(0, 1),
        },
        ..drawn
    };
    // Who lags catches up by a snapshot, or by more entries in a round trip than
    // the clients write meanwhile. Else no bound could be asked for.
    if cluster.snapshot_every == NO_SNAPSHOTS {
        cluster.inflight_max = cluster.inflight_max.max(4);
        cluster.append_bytes_max = cluster.append_bytes_max.max(1024);
    }
    cluster
}

fn net(rng: &mut SimRng) -> Net {
    let net = draw_net(rng);
    let mut one_in = |n| rng.below(n) == 0;
    let [corrupts, is_uneven, is_narrow] = [one_in(4), one_in(4), one_in(6)];
    Net {
        corrupt: match corrupts {
            true => ratio(rng.between(1, 30) as u32, 1000),
            false => ratio(0, 1),
        },
        uneven: match is_uneven {
            true => rng.between(2, 6),
            false => 1,
        },
        // From what a busy moment fills to what a snapshot does.
        bandwidth: match is_narrow {
            true => *rng.pick(&[30, 100, 500]),
            false => 0,
        },
        ..net
    }
}

fn workload(rng: &mut SimRng) -> Workload {
    let workload = draw_workload(rng);
    Workload {
        clients: rng.between(1, 6) as u32,
        reads: match *rng.pick(&[0, 1, 3, 5, 9]) {
            0 => Ratio::default(),
            tenths => ratio(tenths, 10),
        },
        ..workload
    }
}

/// Each kind alone, with odds that are drawn too: some seeds have a few, some
/// nearly all.
fn kinds(seed: u64, rng: &mut SimRng, cluster: &Cluster, unbounded: bool) -> Vec<Kind> {
    let odds = *rng.pick(&[ratio(1, 8), ratio(1, 4), ratio(1, 2), ratio(3, 4)]);
    let rare = Kind::RARE.map(|(kind, _)| kind);
    let all = Kind::ALL.into_iter().chain(rare).chain(OWN);
    let all = all.chain(Kind::OF_MEMBERS);
    let mut kinds: Vec<Kind> = all
        .filter(|kind| kind.own_stream(seed).chance(odds))
        .filter(|kind| kind.fits(cluster.nodes))
        .collect();
    if unbounded && !kinds.contains(&Kind::Decay) {
        kinds.push(Kind::Decay);
    }
    kinds
}

/// Few kinds, seldom, and never where they hurt: a run must prove something.
fn add_a_kill(rng: &mut SimRng, cluster: &Cluster, steps: &mut Vec<Step>) {
    let at_ms = rng.between(cluster.duration_ms / 4, cluster.duration_ms / 2);
    let ids = steps.iter().map(|step| step.id);
    let step = Step {
        id: ids.max().unwrap_or(0) + 1,
        at_ms,
        action: Action::Kill {
            target: Target::Node(NodeId(rng.between(1, u64::from(cluster.nodes)))),
            down_ms: rng.between(20, 800),
        },
    };
    let place = steps.partition_point(|other| other.at_ms <= at_ms);
    steps.insert(place, step);
}

fn manner(rng: &mut SimRng, cluster: &Cluster, unbounded: bool) -> Manner {
    let nodes = u64::from(cluster.nodes);
    Manner {
        gap: *rng.pick(&[
            ratio(1, 2),
            ratio(1, 1),
            ratio(1, 1),
            ratio(2, 1),
            ratio(4, 1),
        ]),
        favour: match rng.below(8) {
            0 => Favour::Leader,
            1 => Favour::Followers,
            2 => Favour::Edge {
                first: rng.below(nodes),
            },
            3 => Favour::One(NodeId(rng.between(1, nodes))),
            _ => Favour::Nobody,
        },
        unbounded,
    }
}

impl Drawer<'_> {
    pub(super) fn shape(&mut self, at_ms: u64) {
        let side = match self.rng.below(2) {
            0 => Side::Ring,
            _ => Side::Bridge(NodeId(self.rng.between(1, self.nodes))),
        };
        let for_ms = self.rng.between(500, 4000);
        let action = Action::Partition {
            side,
            one_way: false,
            for_ms,
            flap_ms: 0,
        };
        self.push(at_ms, action);
    }

    /// About as long as an election takes, so that none is ever done.
    pub(super) fn flap(&mut self, at_ms: u64) {
        let side = match self.rng.below(4) {
            0 => Side::Leader,
            1 => Side::Ring,
            _ => self.random_side(),
        };
        let one_way = side != Side::Ring && self.rng.chance(ratio(1, 3));
        let for_ms = self.rng.between(1000, 5000);
        let action = Action::Partition {
            side,
            one_way,
            for_ms,
            flap_ms: self.rng.between(20, 600),
        };
        self.push(at_ms, action);
    }

    /// Shorter than an election timeout, about as long, or much longer.
    pub(super) fn pause(&mut self, at_ms: u64) {
        let target = self.target();
        let for_ms = match self.rng.below(3) {
            0 => self.rng.between(10, 150),
            1 => self.rng.between(150, 800),
            _ => self.rng.between(800, 4000),
        };
        self.push(at_ms, Action::Pause { target, for_ms });
    }

    pub(super) fn jump(&mut self, at_ms: u64) {
        let target = self.target();
        let by_ms = *self.rng.pick(&[1, 50, 1000, 60_000, 3_600_000]);
        let back = self.rng.chance(ratio(1, 2));
        let action = Action::Jump {
            target,
            by_ms,
            back,
        };
        self.push(at_ms, action);
    }
}
