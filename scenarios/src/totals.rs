//! What the runs of a campaign add up to.

use std::collections::BTreeMap;
use std::path::PathBuf;

use afterimage_sim::verdict::{Invariant, Verdict};

use crate::campaign::Ran;
use crate::digest::CampaignDigest;
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
    pub client_ops: u64,
    /// Faults that had an effect, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Rare situations, by label; 0 for one that was never reached.
    pub sometimes: BTreeMap<&'static str, u64>,
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
        self.client_ops += report.client_ops;
        for (sums, counts) in [
            (&mut self.faults, &report.faults),
            (&mut self.sometimes, &report.sometimes),
        ] {
            for (&label, count) in counts {
                *sums.entry(label).or_default() += count;
            }
        }
        self.digest.add(ran.scenario, ran.seed, report.digest);
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
