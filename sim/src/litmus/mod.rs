//! Litmus tests: can a profile of [`SimFs`] leave behind
//! what was found on a real filesystem?
//!
//! A file of tests (`file.rs` has its form) says what was done, and for each
//! step what was found after a power cut during the one after it. A profile is
//! *sound* if it can leave all of that, and *tight* if it leaves little else.
//! Each outcome is decided by membership, so that posix-worst, which may leave
//! more contents than there are atoms, can be judged like the others.
//!
//! The power may go between two operations and in the middle of one. What an
//! operation has done by then is a part of what is pending after it (or, for a
//! sync, of what was pending before), so the moments after each operation cover
//! the middles.

mod file;
mod play;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::disk::{Profile, SimFs};

pub use file::{Op, Step, Suite, Test};
pub use play::OTHER;

/// More distinct contents than this are not counted.
pub const REACHABLE_MAX: usize = 1_000_000;

/// What stops a judgement. Never a verdict.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("not a litmus file: {0}")]
    Form(#[from] serde_json::Error),
    #[error("{test}: {what}")]
    Test { test: String, what: String },
}

/// The outcomes of one test on one filesystem, held against a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    pub name: String,
    /// On which they were observed.
    pub fs: String,
    pub profile: &'static str,
    /// Pairs of a label and a content.
    pub observed: usize,
    /// Of those that the profile can leave; `None` if they are more than
    /// [`REACHABLE_MAX`].
    pub reachable: Option<usize>,
    /// Observed, and the profile cannot leave it.
    pub missing: Vec<Outcome>,
}

impl Row {
    /// Pairs that the profile can leave and nobody saw.
    pub fn never_seen(&self) -> Option<usize> {
        let seen = self.observed - self.missing.len();
        self.reachable
            .map(|reachable| reachable.saturating_sub(seen))
    }
}

/// What a power cut left, while the step after `label` was on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    pub label: String,
    /// As the file has it.
    pub content: BTreeMap<String, String>,
}

/// Holds what was observed on each filesystem against `profile`; without one,
/// against the profile of its name, and against posix-worst.
pub fn judge(suite: &Suite, profile: Option<Profile>) -> Result<Vec<Row>, Error> {
    let mut rows = Vec::new();
    for test in &suite.tests {
        let mut played = BTreeMap::new();
        for (fs, observed) in &test.observed {
            let profiles = match profile {
                Some(profile) => vec![profile],
                None => vec![named(test, fs)?, Profile::POSIX_WORST],
            };
            for profile in profiles {
                let run = match played.entry(profile.name) {
                    std::collections::btree_map::Entry::Occupied(run) => run.into_mut(),
                    std::collections::btree_map::Entry::Vacant(free) => {
                        free.insert(Played::of(test, profile)?)
                    }
                };
                rows.push(run.row(test, fs, profile, observed)?);
            }
        }
    }
    Ok(rows)
}

fn named(test: &Test, fs: &str) -> Result<Profile, Error> {
    fs.parse().map_err(|what| Error::Test {
        test: test.name.clone(),
        what,
    })
}

/// A test, carried out on a profile.
struct Played {
    /// For each label the moments at which the power may have gone.
    moments: BTreeMap<String, Vec<SimFs>>,
    reachable: Option<usize>,
}

impl Played {
    fn of(test: &Test, profile: Profile) -> Result<Self, Error> {
        let moments = play::moments(test, profile)?;
        let reachable = moments.values().try_fold(0, |sum: usize, moments| {
            let mut all = BTreeSet::new();
            for moment in moments {
                all.extend(moment.outcomes(&[OTHER], REACHABLE_MAX)?);
            }
            Some(sum + all.len()).filter(|sum| *sum <= REACHABLE_MAX)
        });
        Ok(Played { moments, reachable })
    }

    fn row(
        &self,
        test: &Test,
        fs: &str,
        profile: Profile,
        observed: &BTreeMap<String, Vec<BTreeMap<String, String>>>,
    ) -> Result<Row, Error> {
        let wrong = |what| Error::Test {
            test: test.name.clone(),
            what,
        };
        let mut missing = Vec::new();
        for (label, contents) in observed {
            let moments = self.moments.get(label);
            let moments = moments.ok_or_else(|| wrong(format!("no step {label:?}")))?;
            for content in contents {
                let files = file::files(content).map_err(wrong)?;
                let leaves = |moment: &SimFs| moment.can_leave(&files, &[OTHER]);
                if !moments.iter().any(leaves) {
                    missing.push(Outcome {
                        label: label.clone(),
                        content: content.clone(),
                    });
                }
            }
        }
        Ok(Row {
            name: test.name.clone(),
            fs: fs.to_owned(),
            profile: profile.name,
            observed: observed.values().map(Vec::len).sum(),
            reachable: self.reachable,
            missing,
        })
    }
}
