//! Known bugs of real systems, planted in the engine on request, to prove that
//! the harness bites. `docs/mutants.md` has the list of all of them, and what
//! caught each.
//!
//! Where a wrapper around the filesystem can plant a bug, it does ([`wrap`]);
//! the others are a runtime value inside the engine.

mod catalogue;
mod fs;

use std::sync::Arc;

use afterimage_engine::fs::Fs;
use afterimage_engine::mutant::{Mutant, Mutants};

/// One planted bug.
#[derive(Debug, Clone, Copy)]
pub struct MutantInfo {
    pub name: &'static str,
    /// Its numbers in the list of `docs/mutants.md`, if it is in there.
    pub rows: &'static [u8],
    /// The system and issue that had it.
    pub source: &'static str,
    /// What is wrong, in one line.
    pub what: &'static str,
    pub plant: Plant,
    /// Where it shows: a store's bug soonest where there is nothing else.
    pub scenario: &'static str,
}

/// A bug that cannot be planted, because this design has no place for it.
#[derive(Debug, Clone, Copy)]
pub struct Impossible {
    pub name: &'static str,
    /// As [`MutantInfo::rows`].
    pub rows: &'static [u8],
    pub source: &'static str,
    pub what: &'static str,
    /// The argument.
    pub why: &'static str,
}

/// How it is planted.
#[derive(Debug, Clone, Copy)]
pub enum Plant {
    /// A decision inside the engine is changed.
    Engine(Mutant),
    /// A wrapper around the filesystem drops or changes operations.
    Fs(FsBug),
    /// A defence of the engine is taken away, and the wrapper attacks.
    Both(Mutant, FsBug),
    /// Whoever runs the cluster does what must not be done.
    Operator(OperatorBug),
}

/// What the operator of a cluster does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorBug {
    /// A member whose disk is gone is started again under its old name, on an
    /// empty disk.
    ReusesIdentity,
}

/// What the wrapper does wrong. Names are those of files, `*` matching any run
/// of characters where there is a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FsBug {
    /// `sync_dir` does nothing after a rename to such a name.
    NoDirSyncAfter(&'static str),
    /// `sync` of files of such a name does nothing.
    NoSync(&'static str),
    /// A file is created under this name at once, not under a temporary one.
    NoTemporary(&'static str),
    /// A write to this file first empties it.
    Rewrites(&'static str),
    /// What has this name is unlinked before another file is renamed to it.
    UnlinkFirst(&'static str),
    /// A marker beside this file says, until it is unlinked, that the file is
    /// unfinished and to be removed.
    Marker(&'static str),
    /// A temporary file that the last process left gets this name.
    TemporaryCounts(&'static str),
    /// The segments behind the base of a new one are unlinked first, in order.
    UnlinkHidden,
    /// The unlink of a segment also unlinks all that have the same base.
    UnlinkByBase,
    /// A new segment begins with the bytes of a removed one.
    Recycle,
}

/// All that can be planted: without the feature `mutants`, only what needs no
/// change inside the engine.
pub fn catalogue() -> impl Iterator<Item = &'static MutantInfo> + Clone {
    let can = |mutant: &&MutantInfo| {
        cfg!(feature = "mutants") || matches!(mutant.plant, Plant::Fs(_) | Plant::Operator(_))
    };
    catalogue::PLANTED.iter().filter(can)
}

/// Those of the list that cannot.
pub fn impossible() -> &'static [Impossible] {
    catalogue::IMPOSSIBLE
}

/// The one with this name.
pub fn find(name: &str) -> Option<&'static MutantInfo> {
    catalogue().find(|m| m.name == name)
}

impl MutantInfo {
    /// The engine's share of it.
    pub fn engine(&self) -> Mutants {
        match self.plant {
            #[cfg(feature = "mutants")]
            Plant::Engine(mutant) | Plant::Both(mutant, _) => Mutants::plant(mutant),
            _ => Mutants::NONE,
        }
    }

    /// The filesystem's share of it.
    pub fn fs_bug(&self) -> Option<FsBug> {
        match self.plant {
            Plant::Fs(bug) | Plant::Both(_, bug) => Some(bug),
            Plant::Engine(_) | Plant::Operator(_) => None,
        }
    }

    /// The operator's share of it.
    pub fn operator_bug(&self) -> Option<OperatorBug> {
        match self.plant {
            Plant::Operator(bug) => Some(bug),
            _ => None,
        }
    }
}

/// The filesystem with this bug, if any.
pub fn wrap(fs: Arc<dyn Fs>, bug: Option<FsBug>) -> Arc<dyn Fs> {
    match bug {
        Some(bug) => Arc::new(fs::Buggy::new(fs, bug)),
        None => fs,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The bugs of the list.
    const ROWS: u8 = 41;

    fn names() -> Vec<&'static str> {
        let planted = catalogue::PLANTED.iter().map(|mutant| mutant.name);
        planted
            .chain(impossible().iter().map(|mutant| mutant.name))
            .collect()
    }

    #[test]
    fn every_bug_of_the_list_is_accounted_for() {
        let planted = catalogue::PLANTED.iter().map(|mutant| mutant.rows);
        let impossible: BTreeSet<u8> = impossible().iter().flat_map(|m| m.rows).copied().collect();
        let planted: BTreeSet<u8> = planted.flatten().copied().collect();
        for row in 1..=ROWS {
            let ways = [planted.contains(&row), impossible.contains(&row)];
            assert_eq!(
                ways.iter().filter(|way| **way).count(),
                1,
                "{row}: either planted or impossible"
            );
        }
        let all = planted.union(&impossible);
        assert_eq!(all.copied().max(), Some(ROWS), "there are no others");
    }

    #[test]
    fn names_are_unique() {
        let all = names();
        let unique: BTreeSet<&str> = all.iter().copied().collect();
        assert_eq!(unique.len(), all.len());
    }

    /// Whether the page says what the code has.
    #[test]
    fn the_page_names_every_mutant() {
        let page = include_str!("../../../docs/mutants.md");
        for name in names() {
            assert!(page.contains(&format!("`{name}`")), "{name} is missing");
        }
        for row in 1..=ROWS {
            assert!(page.contains(&format!("\n| {row} | ")), "{row} is missing");
        }
    }
}
