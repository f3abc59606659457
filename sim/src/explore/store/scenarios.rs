//! The workloads that are explored by name.

use super::super::subset::Level;
use crate::plan::Plan;

/// A workload.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    /// The plan, and in its first lines what it is about.
    text: &'static str,
    /// No level above this is tried: there is too much pending.
    pub level_max: Level,
}

macro_rules! scenarios {
    ($($name:literal $(up to $level:ident)?),* $(,)?) => {
        &[$(Scenario {
            name: $name,
            text: include_str!(concat!("scenarios/", $name, ".plan")),
            level_max: level!($($level)?),
        }),*]
    };
}

macro_rules! level {
    () => {
        Level::All
    };
    ($level:ident) => {
        Level::$level
    };
}

/// In the order in which they are explored when none is named.
pub const SCENARIOS: &[Scenario] = scenarios![
    "append",
    "group",
    "roll",
    "direct",
    "unsynced",
    "unsynced-cut",
    "truncate",
    "truncate-across",
    "snapshot",
    "install-gap",
    "install-keep",
    "save-meets-install",
    "purge-reader",
    "hard-state",
    "commit-hint",
    "prepared",
    "disk-full",
    "failed-sync",
    "reuse",
    "standard",
    "replica-life" up to TwoFlips,
];

/// The one with this name.
pub fn find(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

impl Scenario {
    /// The plan that is its workload.
    pub fn plan(&self) -> Plan {
        match self.text.parse() {
            Ok(plan) => plan,
            Err(e) => unreachable!("{}: {e}", self.name),
        }
    }

    /// What it is about, in one line.
    pub fn about(&self) -> String {
        let lines = self.text.lines().map_while(|line| line.strip_prefix("# "));
        lines.collect::<Vec<_>>().join(" ")
    }
}
