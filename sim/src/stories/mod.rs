//! The classics of consensus, each told on purpose: plans of a cluster that
//! are written by hand and run by name.
//!
//! What a seed draws for them are latencies and what the clients do, not the
//! faults: a story comes out the same with any seed, which its tests demand. A
//! step that is skipped in one says that it went another way.

use crate::plan::Plan;

/// A plan of a cluster with a name.
#[derive(Debug, Clone, Copy)]
pub struct Story {
    pub name: &'static str,
    /// The plan, and in its first lines what it is about.
    text: &'static str,
}

macro_rules! stories {
    ($($name:literal),* $(,)?) => {
        &[$(Story {
            name: $name,
            text: include_str!(concat!($name, ".plan")),
        }),*]
    };
}

pub const STORIES: &[Story] = stories![
    "figure-8",
    "deposed-leader",
    "missed-purge",
    "leader-crash-before-sync",
    "save-during-transfer",
    "crash-in-install",
    "leader-disk-full",
    "corrupt-follower",
];

/// The one with this name.
pub fn find(name: &str) -> Option<&'static Story> {
    STORIES.iter().find(|story| story.name == name)
}

impl Story {
    /// Its plan, as written.
    pub fn plan(&self) -> Plan {
        match self.text.parse() {
            Ok(plan) => plan,
            Err(e) => unreachable!("{}: {e}", self.name),
        }
    }

    /// Its comment: what it is about.
    pub fn about(&self) -> String {
        let lines = self.text.lines().map_while(|line| line.strip_prefix("# "));
        lines.collect::<Vec<_>>().join(" ")
    }
}
