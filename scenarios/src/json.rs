//! The reports in JSON. The names of the fields are a contract; fields may be
//! added.

use std::collections::BTreeMap;
use std::time::Duration;

use afterimage_sim::litmus::Row;
use afterimage_sim::mutants::Impossible;
use serde::Serialize;

use crate::error::Error;
use crate::out::Sink;
use crate::seed::{self, Seed};

#[derive(Serialize)]
pub struct Run<'a> {
    /// All that ran, of all scenarios: `passed` + the number of `failures` +
    /// `vacuous` + `nondeterministic`.
    pub seeds: u64,
    pub passed: u64,
    pub failures: Vec<RunFailure<'a>>,
    pub vacuous: u64,
    pub nondeterministic: u64,
    pub simulated_s: f64,
    pub wall_s: f64,
    pub fs_ops: u64,
    pub messages: u64,
    pub crashes: u64,
    pub kills: u64,
    pub elections: u64,
    pub client_ops: u64,
    pub faults: &'a BTreeMap<&'static str, u64>,
    pub sometimes: &'a BTreeMap<&'static str, u64>,
    /// Labels that a campaign of so many seeds must have reached.
    pub missed: Vec<Unreached>,
    /// Kinds of faults, by name: in how many seeds each was planned, and in how
    /// many of them it had an effect.
    pub kinds: &'a BTreeMap<&'static str, Planned>,
    /// The most of everything that any run came to, by label.
    pub watermarks: &'a BTreeMap<&'static str, u64>,
    pub digest: String,
    pub scenarios: &'a [&'static str],
    #[serde(serialize_with = "seed::number")]
    pub first_seed: u64,
    pub profile: &'static str,
    pub mutant: Option<&'static str>,
    pub jobs: usize,
    pub interrupted: bool,
}

/// A label that a scenario requires, and that none of its runs reached.
#[derive(Debug, Serialize, PartialEq, Eq)]
pub struct Unreached {
    pub scenario: &'static str,
    pub label: &'static str,
}

#[derive(Debug, Default, Clone, Copy, Serialize, PartialEq, Eq)]
pub struct Planned {
    pub on: u64,
    pub effect: u64,
}

#[derive(Serialize)]
pub struct RunFailure<'a> {
    #[serde(serialize_with = "seed::number")]
    pub seed: u64,
    pub scenario: &'a str,
    pub invariant: &'static str,
    pub file: String,
    pub detail: &'a str,
    /// `null` with `--no-shrink`.
    pub shrunk: Option<ShrunkFrom>,
}

#[derive(Serialize)]
pub struct ShrunkFrom {
    pub steps_before: usize,
    pub steps: usize,
    /// Nothing that is left can be left out by itself.
    pub minimal: bool,
    /// The file of the plan as it was.
    pub original: String,
}

#[derive(Serialize)]
pub struct Replay<'a> {
    pub scenario: &'a str,
    pub seed: Seed,
    pub verdict: String,
    pub invariant: Option<&'static str>,
    pub digest: String,
    pub events: u64,
    /// The file that was replayed, or that the plan of a failure was written to.
    pub file: Option<String>,
    pub detail: Option<&'a str>,
    pub mutant: Option<&'static str>,
    pub simulated_s: f64,
    pub wall_s: f64,
}

/// The report of an exploration is a list of these.
#[derive(Serialize)]
pub struct Explored {
    pub scenario: &'static str,
    pub profile: &'static str,
    pub level: u32,
    pub depth: u32,
    /// Nested ones included, like the states.
    pub crash_points: u64,
    /// Before those that leave the same are taken together.
    pub states: u64,
    pub distinct_images: u64,
    pub recoveries: u64,
    pub violations: Vec<ExploredViolation>,
    /// It came to its end, and did not stop at its tenth violation.
    pub complete: bool,
    pub wall_s: f64,
}

#[derive(Serialize)]
pub struct ExploredViolation {
    pub invariant: &'static str,
    pub crash_point: String,
    pub file: String,
    pub detail: String,
}

#[derive(Serialize)]
pub struct Shrink<'a> {
    pub scenario: &'a str,
    pub seed: Seed,
    pub mutant: Option<&'static str>,
    pub invariant: &'static str,
    pub detail: &'a str,
    pub file: String,
    pub steps_before: usize,
    pub steps: usize,
    pub nodes_before: u32,
    pub nodes: u32,
    pub candidates: u64,
    /// Nothing that is left can be left out by itself.
    pub minimal: bool,
    pub wall_s: f64,
}

#[derive(Serialize)]
pub struct Regress {
    pub files: u64,
    /// Files all of whose expectations were met.
    pub passed: u64,
    pub failures: Vec<Missed>,
}

/// An expectation that was missed.
#[derive(Serialize)]
pub struct Missed {
    pub file: String,
    /// `null` for the engine itself.
    pub mutant: Option<String>,
    pub expected: String,
    pub got: String,
}

#[derive(Serialize)]
pub struct Mutants {
    pub mutants: Vec<Mutant>,
    pub survived: Vec<&'static str>,
}

#[derive(Serialize)]
pub struct Mutant {
    pub name: &'static str,
    /// Its numbers in the list of known bugs.
    pub rows: &'static [u8],
    pub source: &'static str,
    pub caught: bool,
    /// The method that caught it.
    pub by: Option<&'static str>,
    /// Where it was hunted.
    pub scenario: Option<&'static str>,
    pub invariant: Option<&'static str>,
    /// Tried up to the first catch; `null` where that method was not used.
    pub seeds: Option<u64>,
    pub states: Option<u64>,
    /// What broke, method by method.
    pub by_run: Option<&'static str>,
    pub by_explore: Option<&'static str>,
    pub wall_s: f64,
    /// Why this design cannot have the bug.
    pub impossible: Option<&'static str>,
}

impl Mutant {
    /// Neither caught nor survived: there was nothing to plant.
    pub fn impossible(bug: &Impossible) -> Self {
        Mutant {
            name: bug.name,
            rows: bug.rows,
            source: bug.source,
            caught: false,
            by: None,
            scenario: None,
            invariant: None,
            seeds: None,
            states: None,
            by_run: None,
            by_explore: None,
            wall_s: 0.0,
            impossible: Some(bug.why),
        }
    }
}

#[derive(Serialize)]
pub struct Check<'a> {
    pub linearizable: bool,
    /// Invocations.
    pub operations: u64,
    pub wall_s: f64,
    pub model: &'static str,
    /// The smallest prefix that fails.
    pub prefix: Option<Prefix<'a>>,
}

#[derive(Serialize)]
pub struct Prefix<'a> {
    /// The first so many lines of the file.
    pub lines: usize,
    pub operations: usize,
    pub completions: usize,
    pub key: Option<&'a str>,
    /// These cannot be ordered, whatever the others did.
    pub stuck: Vec<Stuck<'a>>,
}

#[derive(Serialize)]
pub struct Stuck<'a> {
    pub process: &'a str,
    pub f: &'static str,
    pub what: String,
    /// Lines.
    pub invoked: usize,
    pub ended: Option<usize>,
}

#[derive(Serialize)]
pub struct Litmus {
    pub tests: Vec<LitmusTest>,
}

/// The outcomes of one test on one filesystem, against one profile.
#[derive(Serialize)]
pub struct LitmusTest {
    #[serde(flatten)]
    pub row: Row,
    /// Reachable and not observed.
    pub never_seen: Option<usize>,
}

#[derive(Serialize)]
pub struct List {
    pub scenarios: Vec<ListedScenario>,
    pub profiles: Vec<ListedProfile>,
    pub invariants: Vec<ListedInvariant>,
    pub mutants: Vec<ListedMutant>,
}

#[derive(Serialize)]
pub struct ListedScenario {
    pub name: &'static str,
    pub about: String,
    /// Run when no scenario is named.
    pub default: bool,
}

#[derive(Serialize)]
pub struct ListedProfile {
    pub name: &'static str,
    pub about: &'static str,
}

#[derive(Serialize)]
pub struct ListedInvariant {
    pub name: &'static str,
    pub about: &'static str,
}

#[derive(Serialize)]
pub struct ListedMutant {
    pub name: &'static str,
    pub source: &'static str,
    pub what: &'static str,
}

pub fn seconds(time: Duration) -> f64 {
    // Micros are exact in a float for 285 years.
    micros(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}

pub fn micros(us: u64) -> f64 {
    us as f64 / 1e6
}

pub fn write(sink: Option<Sink>, report: &impl Serialize) -> Result<(), Error> {
    let Some(sink) = sink else { return Ok(()) };
    let mut text = serde_json::to_string_pretty(report).expect("names are strings");
    text.push('\n');
    sink.write(text.as_bytes())
}
