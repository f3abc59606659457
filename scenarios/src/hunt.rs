//! The hunt for one planted bug: by exploring workloads, and by running seeds.

use std::ops::ControlFlow;

use afterimage_sim::explore::store::{SCENARIOS, explore};
use afterimage_sim::explore::{Bounds, Level};
use afterimage_sim::mutants::MutantInfo;
use afterimage_sim::plan::STORE;
use afterimage_sim::verdict::{Invariant, Verdict};

use crate::campaign::Campaign;
use crate::cli::{self, MutantsArgs};
use crate::error::Error;
use crate::interrupt;

/// The first seed, the same for every bug.
const FIRST_SEED: u64 = 1;
/// Crashes in a row.
const DEPTH: u32 = 2;

/// What a hunt came to.
pub struct Hunt {
    /// Seeds, or states, up to the first catch.
    pub tried: u64,
    /// What broke, if anything did.
    pub invariant: Option<Invariant>,
}

impl Hunt {
    /// How much was tried, and whether in vain.
    pub fn column(&self, tried: String) -> String {
        match self.invariant {
            Some(_) => tried,
            None => format!("not in {tried}"),
        }
    }
}

/// Tries all workloads with one crash, then with two in a row, until a rule
/// breaks. `None` for what takes a cluster to go wrong.
pub fn by_exploring(args: &MutantsArgs, mutant: &'static MutantInfo) -> Option<Hunt> {
    if mutant.scenario != STORE {
        return None;
    }
    let mut tried = 0;
    for depth in 1..=DEPTH {
        for scenario in SCENARIOS {
            let bounds = Bounds {
                level: Level::Torn.min(scenario.level_max),
                depth,
                jobs: cli::jobs(args.jobs),
                violations: 1,
            };
            let go_on = &mut |_: &_| !interrupt::requested();
            let mut plan = scenario.plan();
            plan.disk.profile = cli::profile(args.profile.as_deref());
            let explored = explore(&plan, Some(mutant), bounds, go_on);
            tried += explored.counts.states;
            if let Some(found) = explored.violations.first() {
                let invariant = Some(found.violation.invariant);
                return Some(Hunt { tried, invariant });
            }
        }
    }
    Some(Hunt {
        tried,
        invariant: None,
    })
}

/// Runs seeds until a rule breaks.
pub fn by_running(args: &MutantsArgs, mutant: &'static MutantInfo) -> Result<Hunt, Error> {
    let campaign = Campaign {
        scenarios: vec![mutant.scenario],
        first_seed: FIRST_SEED,
        seeds: None,
        time: None,
        jobs: cli::jobs(args.jobs),
        profile: cli::profile(args.profile.as_deref()),
        mutant: Some(mutant),
        twice: false,
        unbounded: false,
    };
    let mut hunt = Hunt {
        tried: 0,
        invariant: None,
    };
    campaign.run(|ran| {
        hunt.tried += 1;
        if let Verdict::Fail(invariant) = ran.verdict() {
            hunt.invariant = Some(invariant);
        }
        let over = hunt.invariant.is_some() || hunt.tried == args.seeds;
        Ok(match over {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    })?;
    Ok(hunt)
}
