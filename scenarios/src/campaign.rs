//! Which seeds a campaign runs, on which threads, and when it stops.

use std::ops::ControlFlow;
use std::time::Duration;

use afterimage_sim::disk::Profile;
use afterimage_sim::mutants::MutantInfo;
use afterimage_sim::plan::Plan;
use afterimage_sim::plan::generate::{generate, generate_unbounded};
use afterimage_sim::report::RunReport;
use afterimage_sim::run::{Detail, RunOptions, run_fresh};
use afterimage_sim::verdict::Verdict;

use crate::clock::Stopwatch;
use crate::error::Error;
use crate::interrupt;
use crate::pool;
use crate::twice::{self, Difference};

#[derive(Debug)]
pub struct Campaign {
    /// They take turns, so that a campaign cut short has run each of them.
    pub scenarios: Vec<&'static str>,
    pub first_seed: u64,
    /// Seeds of each scenario; `None`: until the time is up.
    pub seeds: Option<u64>,
    pub time: Option<Duration>,
    pub jobs: usize,
    pub profile: Profile,
    pub mutant: Option<&'static MutantInfo>,
    pub twice: bool,
    /// Any number of disks may go bad: for safety alone.
    pub unbounded: bool,
}

/// One seed's run.
#[derive(Debug)]
pub struct Ran {
    pub scenario: &'static str,
    pub seed: u64,
    pub report: RunReport,
    pub wall: Duration,
    /// What the second run did otherwise.
    pub difference: Option<Difference>,
}

impl Ran {
    /// A broken invariant outranks a second run that went another way.
    pub fn verdict(&self) -> Verdict {
        match self.report.verdict {
            fail @ Verdict::Fail(_) => fail,
            _ if self.difference.is_some() => Verdict::Nondeterministic,
            verdict => verdict,
        }
    }
    /// What was seen, in words; empty for a pass.
    pub fn detail(&self) -> &str {
        match &self.report.violation {
            Some(violation) => &violation.detail,
            None => "",
        }
    }
}

impl Campaign {
    /// How many runs there will be at the most.
    pub fn total(&self) -> Option<u64> {
        let scenarios = self.scenarios.len() as u64;
        self.seeds.map(|seeds| seeds.saturating_mul(scenarios))
    }

    /// Runs it, and hands over each run in the order of the seeds, whatever the
    /// number of threads. Ends at `Break`, after the last seed, when the time is
    /// up or after Ctrl-C; seeds under way in the last two cases are waited for.
    pub fn run(
        &self,
        mut take: impl FnMut(Ran) -> Result<ControlFlow<()>, Error>,
    ) -> Result<(), Error> {
        let clock = Stopwatch::start();
        let in_time = || self.time.is_none_or(|time| clock.elapsed() < time);
        let mut result = Ok(());
        pool::in_order(
            self.jobs,
            self.total().unwrap_or(u64::MAX),
            || in_time() && !interrupt::requested(),
            |number| self.run_one(number),
            |_, ran| match ran.and_then(&mut take) {
                Ok(flow) => flow,
                Err(error) => {
                    result = Err(error);
                    ControlFlow::Break(())
                }
            },
        );
        result
    }

    fn run_one(&self, number: u64) -> Result<Ran, Error> {
        let scenarios = self.scenarios.len() as u64;
        let scenario = self.scenarios[(number % scenarios) as usize];
        let seed = self.first_seed.wrapping_add(number / scenarios);
        let clock = Stopwatch::start();
        let plan = draw(scenario, seed, self.profile, self.unbounded)?;
        let report = run_fresh(&plan, options(self.mutant, None));
        let difference = match self.twice {
            true => twice::compare(&plan, self.mutant, &report)?,
            false => None,
        };
        Ok(Ran {
            scenario,
            seed,
            report,
            wall: clock.elapsed(),
            difference,
        })
    }
}

pub fn options(mutant: Option<&'static MutantInfo>, trace: Option<Detail>) -> RunOptions {
    RunOptions {
        mutant,
        trace,
        history: false,
    }
}

/// The plan of a seed, on disks of this profile.
pub fn draw(scenario: &str, seed: u64, profile: Profile, unbounded: bool) -> Result<Plan, Error> {
    let drawn = match unbounded {
        true => generate_unbounded(scenario, seed),
        false => generate(scenario, seed),
    };
    let mut plan = drawn.map_err(|error| Error::Generate(error.to_string()))?;
    plan.disk.profile = profile;
    Ok(plan)
}
