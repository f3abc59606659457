//! One plan, carried out: the way in for the command line and for tests.

use crate::mutants::MutantInfo;
use crate::plan::Plan;
use crate::report::RunReport;

#[derive(Debug, Clone, Copy, Default)]
pub struct RunOptions {
    /// Plant this bug.
    pub mutant: Option<&'static MutantInfo>,
    /// Keep the trace as text.
    pub trace: bool,
}

/// What can be run by name.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    /// Part of a campaign when no scenario is named.
    pub default: bool,
}

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "raft-3",
        about: "three members, clients, crashes, partitions and disk faults",
        default: true,
    },
    Scenario {
        name: "raft-5",
        about: "the same with five members",
        default: true,
    },
];

/// Carries out `plan` on this thread. For a deterministic digest the thread
/// must be fresh: see [`run_fresh`].
#[cfg(madsim)]
#[allow(unused_variables, clippy::todo)]
pub fn run(plan: &Plan, options: &RunOptions) -> RunReport {
    todo!()
}

/// Carries out `plan` on a thread of its own.
#[cfg(madsim)]
#[allow(unused_variables, clippy::todo)]
pub fn run_fresh(plan: &Plan, options: RunOptions) -> RunReport {
    todo!()
}
