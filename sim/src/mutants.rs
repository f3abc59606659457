//! Known bugs of real systems, planted in the engine on request.

use afterimage_engine::mutant::Mutants;

/// One planted bug.
#[derive(Debug, Clone, Copy)]
pub struct MutantInfo {
    pub name: &'static str,
    /// The system and issue that had it.
    pub source: &'static str,
    /// What is wrong, in one line.
    pub what: &'static str,
    pub plant: Plant,
}

/// How it is planted.
#[derive(Debug, Clone, Copy)]
pub enum Plant {
    /// A decision inside the engine is changed.
    #[cfg(feature = "mutants")]
    Engine(afterimage_engine::mutant::Mutant),
    /// A wrapper around the filesystem drops or changes operations.
    Fs(FsBug),
}

/// What the wrapper does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FsBug {
    /// `sync_dir` does nothing after a rename to a name of this pattern.
    NoDirSyncAfter(&'static str),
    /// `sync` of files of this name pattern does nothing.
    NoSync(&'static str),
}

/// All of them.
pub fn catalogue() -> &'static [MutantInfo] {
    &[]
}

/// The one with this name.
pub fn find(name: &str) -> Option<&'static MutantInfo> {
    catalogue().iter().find(|m| m.name == name)
}

impl MutantInfo {
    /// The engine's share of it.
    pub fn engine(&self) -> Mutants {
        match self.plant {
            #[cfg(feature = "mutants")]
            Plant::Engine(mutant) => Mutants::plant(mutant),
            Plant::Fs(_) => Mutants::NONE,
        }
    }
}
