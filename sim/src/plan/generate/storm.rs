//! Every kind of fault that five members can have whose membership stays, in each
//! seed. Swarm testing finds more; here faults meet that a draw seldom brings
//! together, and what a seed costs is measured by them.

use super::faults::{self, Favour, Manner};
use super::kind::Kind;
use super::{draw_cluster, draw_direct, draw_disk, draw_net, draw_workload, ratio};
use crate::plan::{Cluster, Disk, Heal, Net, Plan, Workload};
use crate::rng::{Ratio, SimRng};

/// The scenario in which nothing is left out.
pub const STORM: &str = "storm-5";

/// Each kind is rarer than it is where half of them are off: else nobody would ever
/// lead for long enough to have something to lose.
const GAP: Ratio = ratio(3, 1);

/// Kinds that other scenarios have seldom, or not at all. Those that change the
/// membership are left out.
const MORE: [Kind; 6] = [
    Kind::ReadOnly,
    Kind::Decay,
    Kind::Shape,
    Kind::Flap,
    Kind::Pause,
    Kind::Jump,
];

pub(super) fn draw(seed: u64, unbounded: bool) -> Plan {
    let stream = |concern: &str| SimRng::new(seed, &format!("storm/{concern}"));
    let cluster = Cluster {
        duration_ms: 30_000,
        // Heartbeats every 40 to 100 ms.
        tick_ms: *stream("tick").pick(&[20, 25]),
        heal: match unbounded {
            true => Heal::Nobody,
            false => Heal::All,
        },
        drift: ratio(1, 100),
        trail_entries: *stream("trail").pick(&[0, 20, 300]),
        commit_hint_every: *stream("commit-hint").pick(&[0, 5, 40]),
        ..draw_cluster(&mut stream("cluster"), 5)
    };
    let manner = Manner {
        gap: GAP,
        favour: Favour::Nobody,
        unbounded,
    };
    let kinds: Vec<Kind> = Kind::ALL.into_iter().chain(MORE).collect();
    let steps = faults::draw(seed, &cluster, &kinds, manner);
    Plan {
        scenario: STORM.to_string(),
        seed,
        net: net(&mut stream("net")),
        disk: disk(&mut stream("disk"), draw_direct(seed)),
        workload: workload(&mut stream("workload")),
        steps,
        cluster,
    }
}

fn net(rng: &mut SimRng) -> Net {
    let mut thousandths = |most| ratio(rng.between(1, most) as u32, 1000);
    let [loss, duplicate, reorder] = [thousandths(30), thousandths(30), thousandths(60)];
    let corrupt = thousandths(10);
    Net {
        loss,
        duplicate,
        reorder,
        corrupt,
        uneven: rng.between(1, 3),
        bandwidth: *rng.pick(&[0, 500]),
        ..draw_net(rng)
    }
}

fn disk(rng: &mut SimRng, direct: bool) -> Disk {
    Disk {
        short: ratio(1, *rng.pick(&[200, 1000])),
        stall: ratio(1, *rng.pick(&[300, 1000])),
        direct,
        ..draw_disk(rng)
    }
}

/// Three that write and one that reads, at a leisure that leaves most of the time to
/// the faults: some 550 operations.
fn workload(rng: &mut SimRng) -> Workload {
    Workload {
        clients: 3,
        readers: 1,
        think_ms_max: *rng.pick(&[200, 250]),
        timeout_ms: 1000,
        ..draw_workload(rng)
    }
}
