//! The first half of a power cut: which fate each pending effect takes. The
//! second half, `crash.rs`, carries it out; `cutter.rs` only looks at what
//! would come of it.

use super::fates::{Chooser, Closure, Pick};
use super::image::SECTOR;
use super::pending::{FilePending, Pending};

/// The fates, after the profile's rules were applied. In the order of the
/// [`Pending`] that they are for.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The name operations that persist.
    pub names: Vec<bool>,
    pub files: Vec<FileOutcome>,
}

#[derive(Debug, Default, Clone)]
pub(super) struct FileOutcome {
    /// The file keeps a name.
    pub alive: bool,
    /// The pending length that it gets; `None`: the durable one.
    pub length: Option<usize>,
    /// For each chain what its sector gets; `None`: it lies past the end.
    pub picks: Vec<Option<Pick>>,
}

impl Pending {
    /// Nothing is chosen yet.
    pub fn outcome(&self) -> Outcome {
        Outcome {
            names: Vec::with_capacity(self.names.len()),
            files: vec![FileOutcome::default(); self.files.len()],
        }
    }

    /// Which name operations persist: what is wanted, made possible.
    pub fn resolve_names(&self, chooser: &mut Chooser<'_>, outcome: &mut Outcome) {
        let kept = &mut outcome.names;
        kept.clear();
        match chooser.names(&self.names, kept) {
            Closure::PullIn => self.pull_in(kept),
            Closure::DropOut => self.drop_out(kept),
        }
    }

    /// Keeps what the kept operations build on.
    fn pull_in(&self, kept: &mut [bool]) {
        for later in (1..kept.len()).rev() {
            if kept[later] {
                for earlier in &self.builds_on[later] {
                    kept[*earlier as usize] = true;
                }
            }
        }
    }

    /// Loses what builds on the lost operations.
    fn drop_out(&self, kept: &mut [bool]) {
        for later in 1..kept.len() {
            let mut earlier = self.builds_on[later].iter();
            kept[later] &= earlier.all(|earlier| kept[*earlier as usize]);
        }
    }

    /// What the files get that are `alive` in the outcome.
    pub fn resolve_files(&self, durable: &[u64], chooser: &mut Chooser<'_>, outcome: &mut Outcome) {
        let files = self.files.iter().zip(&mut outcome.files).zip(durable);
        for ((file, outcome), durable) in files {
            if outcome.alive {
                file.resolve(*durable, chooser, outcome);
            }
        }
    }
}

impl FilePending {
    fn resolve(&self, durable: u64, chooser: &mut Chooser<'_>, outcome: &mut FileOutcome) {
        outcome.length = chooser.length(&self.lengths);
        let len = self.len(outcome.length).unwrap_or(durable);
        outcome.picks.clear();
        for chain in &self.chains {
            // Past the end it is not part of the file: nothing to choose.
            let within = u64::from(chain.sector) * (SECTOR as u64) < len;
            outcome
                .picks
                .push(within.then(|| chooser.sector(self.chain(*chain))));
        }
    }
}
