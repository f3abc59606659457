//! What the runs of a campaign add up to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use afterimage_sim::disk::Profile;
use afterimage_sim::run::{ENOUGH_SEEDS, SCENARIOS};
use afterimage_sim::verdict::{Invariant, Verdict};

use crate::campaign::{Campaign, Ran};
use crate::digest::CampaignDigest;
use crate::json::{Planned, Unreached};
use crate::status::Status;

/// `seeds` is the sum of `passed`, `vacuous`, `nondeterministic` and the number
/// of failures.
#[derive(Default)]
pub struct Totals {
    pub seeds: u64,
    pub passed: u64,
    pub failures: Vec<Failure>,
    pub vacuous: u64,
    pub nondeterministic: u64,
    pub simulated_us: u64,
    pub fs_ops: u64,
    pub messages: u64,
    /// Power cuts.
    pub crashes: u64,
    pub kills: u64,
    pub elections: u64,
    pub client_ops: u64,
    /// Faults that had an effect, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Rare situations, by label; 0 for one that was never reached.
    pub sometimes: BTreeMap<&'static str, u64>,
    /// Kinds of faults: in how many seeds each was planned, and had an effect.
    pub kinds: BTreeMap<&'static str, Planned>,
    /// The highest of all runs, by label.
    pub watermarks: BTreeMap<&'static str, u64>,
    /// By scenario: its seeds, and the labels that they reached.
    reached: BTreeMap<&'static str, (u64, BTreeSet<&'static str>)>,
    pub digest: CampaignDigest,
}

/// A seed that broke an invariant.
#[derive(Debug)]
pub struct Failure {
    pub seed: u64,
    pub scenario: &'static str,
    pub invariant: Invariant,
    /// Of the run that the file replays.
    pub detail: String,
    /// The seed file that replays it.
    pub file: PathBuf,
    /// If it was shrunk.
    pub shrunk: Option<ShrunkFrom>,
}

/// What a failure was before it was shrunk.
#[derive(Debug)]
pub struct ShrunkFrom {
    pub steps_before: usize,
    pub steps: usize,
    /// Nothing that is left can be left out by itself.
    pub minimal: bool,
    /// The seed file of the plan as it was.
    pub original: PathBuf,
}

impl Totals {
    /// Counts a run; a failure's file is the caller's to add.
    pub fn add(&mut self, ran: &Ran) {
        let report = &ran.report;
        self.seeds += 1;
        match ran.verdict() {
            Verdict::Pass => self.passed += 1,
            Verdict::Fail(_) => {}
            Verdict::Vacuous => self.vacuous += 1,
            Verdict::Nondeterministic => self.nondeterministic += 1,
        }
        self.simulated_us += report.simulated_us;
        self.fs_ops += report.fs_ops;
        self.messages += report.messages;
        self.crashes += report.crashes;
        self.kills += report.kills;
        self.elections += report.elections;
        self.client_ops += report.client_ops;
        for (sums, counts) in [
            (&mut self.faults, &report.faults),
            (&mut self.sometimes, &report.sometimes),
        ] {
            for (&label, count) in counts {
                *sums.entry(label).or_default() += count;
            }
        }
        for (&kind, &effect) in &report.kinds {
            let planned = self.kinds.entry(kind).or_default();
            planned.on += 1;
            planned.effect += u64::from(effect);
        }
        for (&label, &value) in &report.watermarks {
            let highest = self.watermarks.entry(label).or_default();
            *highest = value.max(*highest);
        }
        let (seeds, reached) = self.reached.entry(ran.scenario).or_default();
        *seeds += 1;
        let labels = report.sometimes.iter().filter(|(_, count)| **count > 0);
        reached.extend(labels.map(|(label, _)| *label));
        self.digest.add(ran.scenario, ran.seed, report.digest);
    }

    /// What the scenarios require and none of their runs reached. Asked of enough
    /// seeds of the engine itself, on the disks that do their worst, alone.
    pub fn missed(&self, campaign: &Campaign) -> Vec<Unreached> {
        let usual = campaign.mutant.is_none()
            && campaign.profile == Profile::POSIX_WORST
            && !campaign.unbounded;
        let mut missed = Vec::new();
        for scenario in SCENARIOS.iter().filter(|_| usual) {
            let Some((seeds, reached)) = self.reached.get(scenario.name) else {
                continue;
            };
            if *seeds < ENOUGH_SEEDS {
                continue;
            }
            let required = scenario.required.iter();
            let unreached = required.filter(|label| !reached.contains(*label));
            missed.extend(unreached.map(|&label| Unreached {
                scenario: scenario.name,
                label,
            }));
        }
        missed
    }

    pub fn status(&self) -> Status {
        let counted =
            self.passed + self.vacuous + self.nondeterministic + self.failures.len() as u64;
        assert_eq!(counted, self.seeds, "each seed has one verdict");
        if !self.failures.is_empty() {
            Status::Broken
        } else if self.passed < self.seeds || self.seeds == 0 {
            Status::Unproven
        } else {
            Status::Ok
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn campaign() -> Campaign {
        Campaign {
            scenarios: vec!["raft-3"],
            first_seed: 1,
            seeds: Some(ENOUGH_SEEDS),
            time: None,
            jobs: 1,
            profile: Profile::POSIX_WORST,
            mutant: None,
            twice: false,
            unbounded: false,
        }
    }

    #[track_caller]
    fn check(seeds: u64, without: Option<&'static str>, campaign: &Campaign, expected: &[&str]) {
        let required = SCENARIOS.iter().find(|s| s.name == "raft-3");
        let required = required.map(|s| s.required.clone()).unwrap_or_default();
        assert!(required.len() > 10);
        let reached = required.into_iter().filter(|label| Some(*label) != without);
        let totals = Totals {
            reached: BTreeMap::from([("raft-3", (seeds, reached.collect()))]),
            ..Totals::default()
        };
        let missed = totals.missed(campaign);
        let labels: Vec<&str> = missed.iter().map(|missed| missed.label).collect();
        assert_eq!(labels, expected);
    }

    #[test]
    fn a_required_label_is_missed() {
        check(ENOUGH_SEEDS, None, &campaign(), &[]);
        let label = "torn-record";
        check(ENOUGH_SEEDS, Some(label), &campaign(), &[label]);
        check(ENOUGH_SEEDS - 1, Some(label), &campaign(), &[]);
        let unbounded = true;
        check(
            ENOUGH_SEEDS,
            Some(label),
            &Campaign {
                unbounded,
                ..campaign()
            },
            &[],
        );
    }

    #[test]
    fn a_broken_invariant_outranks_what_is_unproven() {
        assert_eq!(Status::Ok.or(Status::Unproven), Status::Unproven);
        assert_eq!(Status::Broken.or(Status::Unproven), Status::Broken);
    }
}
