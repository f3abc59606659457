//! What one run leaves behind.

use std::collections::BTreeMap;

use crate::linear::History;
use crate::plan::Plan;
use crate::verdict::{Verdict, Violation};

/// The outcome of one run of a plan.
#[derive(Debug, Clone)]
pub struct RunReport {
    pub verdict: Verdict,
    pub violation: Option<Violation>,
    /// XXH3-64 over every record of the trace.
    pub digest: u64,
    /// Records hashed.
    pub events: u64,
    /// Simulated time, without the teardown.
    pub simulated_us: u64,
    pub fs_ops: u64,
    pub messages: u64,
    /// Power cuts.
    pub crashes: u64,
    pub kills: u64,
    /// Won: so many leaders there were.
    pub elections: u64,
    pub client_ops: u64,
    /// Faults that had an effect, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// How often each rare situation was reached, by label.
    pub sometimes: BTreeMap<&'static str, u64>,
    /// The kinds of faults that were planned, and whether each had an effect.
    pub kinds: BTreeMap<&'static str, bool>,
    /// The most of everything, by label.
    pub watermarks: BTreeMap<&'static str, u64>,
    /// The plan as it was carried out: targets named, fates explicit.
    pub resolved: Plan,
    /// The trace as text, if asked for.
    pub trace: Option<String>,
    /// What the clients saw, if asked for.
    pub history: Option<History>,
}
