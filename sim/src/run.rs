//! One plan, carried out: the way in for the command line and for tests.

use std::sync::LazyLock;

use afterimage_engine::sometimes::Spot;

use crate::explore;
use crate::mutants::MutantInfo;
#[cfg(madsim)]
use crate::plan::Plan;
use crate::plan::STORE;
use crate::plan::generate::{STORM, SWARM};
#[cfg(madsim)]
use crate::report::RunReport;
use crate::stories::STORIES;
use crate::trace::Style;
use crate::trace::sometimes::LABELS;

#[derive(Debug, Clone, Copy, Default)]
pub struct RunOptions {
    /// Plant this bug.
    pub mutant: Option<&'static MutantInfo>,
    /// Keep the trace as text.
    pub trace: Option<Detail>,
    /// Keep what the clients saw.
    pub history: bool,
}

/// How much of the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// What one wants to read.
    Story,
    /// Reads and phases as well: to find where two runs part.
    Everything,
}

impl RunOptions {
    /// The style for a plan whose story is told in `story`.
    pub(crate) fn style(&self, story: Style) -> Style {
        match self.trace {
            Some(Detail::Everything) => Style::FULL,
            _ => story,
        }
    }
}

/// What can be run by name.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub name: &'static str,
    pub about: String,
    /// Part of a campaign when no scenario is named.
    pub default: bool,
    /// What a campaign of [`ENOUGH_SEEDS`] must have reached, or it proved too little.
    pub required: Vec<&'static str>,
}

/// Every required label is reached many times in so many seeds.
pub const ENOUGH_SEEDS: u64 = 200;

/// Labels of clusters with changing members alone.
const OF_MEMBERS: [&str; 6] = [
    "learner-added",
    "member-added",
    "member-removed",
    "leader-removed-itself",
    "change-undone",
    "leadership-transferred",
];

/// Places of the engine where every cluster comes, in so many seeds.
const OF_CLUSTERS: [Spot; 18] = [
    Spot::TornTailCut,
    Spot::CutTailFoundAgain,
    Spot::TailCopied,
    Spot::HiddenSegment,
    Spot::TemporaryRemoved,
    Spot::HintUsed,
    Spot::HintTorn,
    Spot::GroupOfBatches,
    Spot::GroupAfterStall,
    Spot::PreparedUsed,
    Spot::WrittenThrough,
    Spot::SegmentGivenUp,
    Spot::PurgeHeldByTrail,
    Spot::PieceOutOfOrder,
    Spot::EarlyRead,
    Spot::OldTermWaits,
    Spot::QuorumLost,
    Spot::VoteInLease,
];
/// And where only those with changing members come.
const OF_CHANGES: [Spot; 2] = [Spot::RemovedCampaigns, Spot::HandoverGivenUp];

/// Where one store comes whose appends are not all synced.
const OF_STORES: [Spot; 6] = [
    Spot::UnprovenSegments,
    Spot::TornSegmentsCut,
    Spot::TailCopySealed,
    Spot::RolledUnsynced,
    Spot::SyncOfSegments,
    Spot::SyncedForRoom,
];

fn required(name: &str) -> Vec<&'static str> {
    let labels = || LABELS.into_iter();
    let everywhere = OF_CLUSTERS.map(Spot::name);
    match name {
        "raft-3" | "raft-5" | STORM => labels()
            .filter(|label| !OF_MEMBERS.contains(label))
            .chain(everywhere)
            .collect(),
        "membership-5" | SWARM => labels()
            .chain(everywhere)
            .chain(OF_CHANGES.map(Spot::name))
            .collect(),
        STORE => OF_STORES.map(Spot::name).into(),
        _ => Vec::new(),
    }
}

/// All of them, the default ones first.
pub static SCENARIOS: LazyLock<Vec<Scenario>> = LazyLock::new(|| {
    let scenario = |name: &'static str, about: &str, default| Scenario {
        name,
        about: about.to_owned(),
        default,
        required: required(name),
    };
    let mut scenarios = vec![
        scenario(
            "raft-3",
            "three members, clients, crashes, partitions and disk faults",
            true,
        ),
        scenario("raft-5", "the same with five members", true),
        scenario(
            "membership-5",
            "five members of which some leave while spares join, and leaders that hand over",
            true,
        ),
        scenario(
            SWARM,
            "one to seven members: all sizes, timeouts, kinds of faults, how often and whom they hit, drawn",
            true,
        ),
        scenario(
            STORM,
            "five members whose membership stays, and every kind of fault at once",
            false,
        ),
        scenario(
            STORE,
            "one store alone: appends, truncations, snapshots, and the power going in any of them",
            false,
        ),
    ];
    scenarios.extend(
        STORIES
            .iter()
            .map(|story| scenario(story.name, &story.about(), false)),
    );
    let workloads = explore::store::SCENARIOS.iter();
    scenarios.extend(workloads.map(|workload| scenario(workload.name, &workload.about(), false)));
    scenarios
});

#[cfg(madsim)]
pub use fresh::{WATCHDOG, run_fresh};

/// Carries out `plan` on this thread. For a deterministic digest the thread
/// must be fresh: see [`run_fresh`].
#[cfg(madsim)]
pub fn run(plan: &Plan, options: &RunOptions) -> RunReport {
    if plan.scenario == STORE {
        crate::single::run(plan, options)
    } else {
        crate::world::run::<crate::kv::Kv>(plan, options)
    }
}

#[cfg(madsim)]
mod fresh {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::{RunOptions, run};
    use crate::panics;
    use crate::plan::Plan;
    use crate::report::RunReport;
    use crate::verdict::{Invariant, Verdict, Violation};

    /// A run that takes longer than this of real time goes in circles in a
    /// place where simulated time does not pass.
    pub const WATCHDOG: Duration = Duration::from_secs(120);

    /// Carries out `plan` on a thread of its own: std draws the keys of its hash
    /// maps once a thread, so that a run's bytes must not depend on what ran
    /// there before. A panic, or a run without end, is a verdict.
    pub fn run_fresh(plan: &Plan, options: RunOptions) -> RunReport {
        let (done, result) = mpsc::channel();
        let on_thread = plan.clone();
        let body = move || {
            // Nobody listens any more if the watchdog was faster.
            let _ = done.send(panics::caught(|| run(&on_thread, &options)));
        };
        let name = format!("seed-{:#x}", plan.seed);
        if let Err(e) = thread::Builder::new().name(name).spawn(body) {
            return failed(plan, format!("no thread for the run: {e}"));
        }
        // In slices: a process that is suspended for an hour has used up one.
        for _ in 0..WATCHDOG.as_secs() {
            match result.recv_timeout(Duration::from_secs(1)) {
                Ok(Ok(report)) => return report,
                Ok(Err(panic)) => return failed(plan, format!("the run panicked: {panic}")),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return failed(plan, "the run's thread vanished".to_owned());
                }
            }
        }
        failed(
            plan,
            format!("no end after {} s of real time", WATCHDOG.as_secs()),
        )
    }

    fn failed(plan: &Plan, detail: String) -> RunReport {
        let violation = Violation {
            invariant: Invariant::NoPanic,
            detail,
        };
        RunReport {
            verdict: Verdict::Fail(violation.invariant),
            violation: Some(violation),
            digest: 0,
            events: 0,
            simulated_us: 0,
            fs_ops: 0,
            messages: 0,
            crashes: 0,
            kills: 0,
            elections: 0,
            client_ops: 0,
            faults: Default::default(),
            sometimes: Default::default(),
            kinds: Default::default(),
            watermarks: Default::default(),
            resolved: plan.clone(),
            trace: None,
            history: None,
        }
    }
}
