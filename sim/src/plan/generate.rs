//! How a seed becomes a plan: swarm testing (Groce et al., ISSTA 2012). Each
//! seed draws its own configuration, and which kinds of faults it has at all:
//! runs with everything on hide what a few kinds alone would find.
//!
//! Each concern draws from a stream of its own, so that one which is off, or
//! draws more in a later version, leaves the others as they were.

mod aims;
mod faults;
mod kind;
mod members;
mod store;
mod storm;
mod swarm;
mod workload;

pub use self::storm::STORM;

use self::kind::Kind;
use super::{Cluster, Disk, Heal, Net, Plan, STORE, Workload};
use crate::disk::Profile;
use crate::explore;
use crate::rng::{Ratio, SimRng};
use crate::stories::{self, STORIES};

/// The scenario in which everything is drawn.
pub const SWARM: &str = "swarm";

/// As [`generate`], but any number of disks may go bad, and nothing is asked of the
/// cluster in the end: for safety alone. Only plans of clusters have such disks.
pub fn generate_unbounded(scenario: &str, seed: u64) -> Result<Plan, UnknownScenario> {
    if scenario == SWARM {
        return Ok(swarm::draw(seed, true));
    }
    if scenario == STORM {
        return Ok(storm::draw(seed, true));
    }
    let mut plan = generate(scenario, seed)?;
    if let Some(shape) = SHAPES.iter().find(|shape| shape.name == scenario) {
        plan.cluster.heal = Heal::Nobody;
        let mut kinds = kind::kinds(seed, shape.kinds);
        kinds.retain(|kind| *kind != Kind::Decay);
        kinds.push(Kind::Decay);
        plan.steps = faults::draw(seed, &plan.cluster, &kinds, faults::UNBOUNDED);
    }
    Ok(plan)
}

/// A scenario of clusters with generated plans.
struct Shape {
    name: &'static str,
    nodes: u32,
    /// Kinds of faults that it has besides those of all.
    kinds: &'static [Kind],
}

const SHAPES: &[Shape] = &[
    Shape {
        name: "raft-3",
        nodes: 3,
        kinds: &[],
    },
    Shape {
        name: "raft-5",
        nodes: 5,
        kinds: &[],
    },
    Shape {
        name: "membership-5",
        nodes: 5,
        kinds: &Kind::OF_MEMBERS,
    },
];

/// No plans can be generated for a scenario of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown scenario `{}`; plans can be drawn for: {}", name.escape_debug(), known())]
pub struct UnknownScenario {
    pub name: String,
}

fn known() -> String {
    let clusters = SHAPES.iter().map(|shape| shape.name);
    let workloads = explore::store::SCENARIOS.iter().map(|s| s.name);
    let stories = STORIES.iter().map(|story| story.name);
    let names: Vec<&str> = (clusters.chain([SWARM, STORM, STORE]))
        .chain(stories)
        .chain(workloads)
        .collect();
    names.join(", ")
}

/// The plan of `seed`. It always has at least one step.
pub fn generate(scenario: &str, seed: u64) -> Result<Plan, UnknownScenario> {
    if scenario == STORE {
        return Ok(generate_store(seed));
    }
    if let Some(workload) = explore::store::find(scenario) {
        return Ok(workload::draw(workload, seed));
    }
    if let Some(story) = stories::find(scenario) {
        return Ok(Plan {
            seed,
            ..story.plan()
        });
    }
    if scenario == SWARM {
        return Ok(swarm::draw(seed, false));
    }
    if scenario == STORM {
        return Ok(storm::draw(seed, false));
    }
    let Some(shape) = SHAPES.iter().find(|shape| shape.name == scenario) else {
        return Err(UnknownScenario {
            name: scenario.to_string(),
        });
    };
    let mut cluster = Cluster {
        // A few entries, or more than between two snapshots.
        trail_entries: draw_at_times(seed, "plan/trail", &[1, 20, 300]),
        commit_hint_every: draw_at_times(seed, "plan/commit-hint", &[1, 5, 40]),
        ..draw_cluster(&mut SimRng::new(seed, "plan/cluster"), shape.nodes)
    };
    if !shape.kinds.is_empty() {
        cluster.spares = SimRng::new(seed, "plan/spares").between(2, 4) as u32;
    }
    let kinds = kind::kinds(seed, shape.kinds);
    let steps = faults::draw(seed, &cluster, &kinds, faults::USUAL);
    Ok(Plan {
        scenario: scenario.to_string(),
        seed,
        cluster,
        net: draw_net(&mut SimRng::new(seed, "plan/net")),
        disk: Disk {
            direct: draw_direct(seed),
            ..draw_disk(&mut SimRng::new(seed, "plan/disk"))
        },
        workload: draw_workload(&mut SimRng::new(seed, "plan/workload")),
        steps,
    })
}

fn generate_store(seed: u64) -> Plan {
    let cluster = draw_cluster(&mut SimRng::new(seed, "plan/cluster"), 1);
    let commit_hint_every = draw_at_times(seed, "plan/commit-hint", &[1, 1, 4]);
    let direct = draw_direct(seed);
    let mut rng = SimRng::new(seed, "plan/unsynced");
    let unsynced = rng
        .chance(ratio(1, 3))
        .then(|| *rng.pick(&[600, 6000, 65_536, 65_536]));
    Plan {
        scenario: STORE.to_string(),
        seed,
        // Of a cluster's section a store has only its sizes.
        cluster: Cluster {
            segment_bytes: cluster.segment_bytes,
            chunk_bytes: cluster.chunk_bytes,
            cache_bytes: cluster.cache_bytes,
            trail_entries: draw_at_times(seed, "plan/trail", &[1, 3, 20]),
            commit_hint_every,
            unsynced_bytes: unsynced.unwrap_or(Cluster::default().unsynced_bytes),
            ..Cluster::default()
        },
        net: Net::default(),
        disk: Disk {
            short: draw_disk(&mut SimRng::new(seed, "plan/disk")).short,
            direct,
            ..Disk::default()
        },
        workload: Workload::default(),
        steps: store::draw(seed, commit_hint_every > 0, direct, unsynced.is_some()),
    }
}

const fn ratio(numerator: u32, denominator: u32) -> Ratio {
    Ratio {
        numerator,
        denominator,
    }
}

/// An option that is off in most of the seeds: then 0.
fn draw_at_times(seed: u64, concern: &str, values: &[u64]) -> u64 {
    let mut rng = SimRng::new(seed, concern);
    match rng.chance(ratio(1, 3)) {
        true => *rng.pick(values),
        false => 0,
    }
}

fn draw_cluster(rng: &mut SimRng, nodes: u32) -> Cluster {
    Cluster {
        nodes,
        spares: 0,
        // Elections after 160 to 600 ms, heartbeats every 20 to 80 ms.
        tick_ms: *rng.pick(&[10, 20, 20]),
        election_ticks: *rng.pick(&[8, 10, 12, 15]),
        heartbeat_ticks: *rng.pick(&[2, 3, 4]),
        // Small, so that a run rolls and cleans many times.
        segment_bytes: *rng.pick(&[1024, 2048, 4096, 8192, 16_384]),
        chunk_bytes: *rng.pick(&[256, 512, 1024, 2048]),
        // Without a cache every read of the log goes to the disk.
        cache_bytes: *rng.pick(&[0, 512, 4096, 65_536]),
        trail_entries: 0,
        commit_hint_every: 0,
        unsynced_bytes: Cluster::default().unsynced_bytes,
        append_bytes_max: *rng.pick(&[256, 1024, 4096, 16_384]),
        inflight_max: *rng.pick(&[1, 2, 4, 8, 16]),
        snapshot_every: rng.between(20, 200),
        duration_ms: rng.between(20_000, 25_000),
        converge_ms: 10_000,
        heal: Heal::All,
        drift: ratio(0, 1),
    }
}

fn draw_net(rng: &mut SimRng) -> Net {
    let latency_us_min = rng.between(200, 2000);
    let latency_us_max = latency_us_min + *rng.pick(&[100, 1000, 5000, 18_000]);
    // Each of them is off in half of the seeds.
    let often = |rng: &mut SimRng, most: u32| {
        if rng.chance(ratio(1, 2)) {
            let thousandths = rng.between(1, u64::from(most)) as u32;
            ratio(thousandths, 1000)
        } else {
            ratio(0, 1)
        }
    };
    Net {
        latency_us_min,
        latency_us_max,
        loss: often(rng, 50),
        duplicate: often(rng, 50),
        reorder: often(rng, 100),
        reorder_us_max: *rng.pick(&[5000, 20_000, 100_000, 400_000]),
        ..Net::default()
    }
}

fn draw_disk(rng: &mut SimRng) -> Disk {
    let op_us_min = rng.between(10, 50);
    let sync_us_min = rng.between(100, 1000);
    Disk {
        op_us_min,
        op_us_max: op_us_min + rng.between(10, 150),
        sync_us_min,
        sync_us_max: sync_us_min + *rng.pick(&[200, 1000, 4000, 9000]),
        short: if rng.chance(ratio(1, 4)) {
            ratio(1, *rng.pick(&[50, 200, 1000]))
        } else {
            ratio(0, 1)
        },
        // A job that stalls lets the others overtake it.
        stall: if rng.chance(ratio(1, 2)) {
            ratio(1, *rng.pick(&[100, 300, 1000]))
        } else {
            ratio(0, 1)
        },
        stall_us_max: *rng.pick(&[20_000, 100_000, 500_000]),
        profile: Profile::POSIX_WORST,
        direct: false,
    }
}

/// From a stream of its own.
fn draw_direct(seed: u64) -> bool {
    SimRng::new(seed, "plan/direct").chance(ratio(1, 4))
}

fn draw_workload(rng: &mut SimRng) -> Workload {
    Workload {
        clients: rng.between(1, 4) as u32,
        readers: rng.below(3) as u32,
        keys: rng.between(1, 8) as u32,
        // A record of several sectors can be torn.
        value_bytes_max: *rng.pick(&[16, 100, 500, 2000]),
        reads: ratio(*rng.pick(&[1, 3, 5, 7]), 10),
        think_ms_max: *rng.pick(&[20, 50, 100, 200]),
        timeout_ms: *rng.pick(&[300, 1000, 3000]),
    }
}
