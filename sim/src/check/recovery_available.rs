//! recovery-available: without latent corruption a node always comes up again.

use super::{Harm, Judge, Model, broken};
use crate::trace::{Record, What};
use crate::verdict::{Invariant::RecoveryAvailable as RULE, Violation};

/// An open may fail, and a node may die by itself, only where an injected
/// runtime fault reached it. (That a
/// node comes up in the end, once the faults are over, is part of `converges`.)
#[derive(Clone)]
pub struct RecoveryAvailable;

impl Judge for RecoveryAvailable {
    fn record(&mut self, record: &Record, model: &Model) -> Result<(), Violation> {
        match (&record.what, model.node_of(record)) {
            (
                What::OpenFailed {
                    error,
                    excused: false,
                    ..
                }
                | What::Died {
                    error,
                    excused: false,
                    ..
                },
                // Of a bad disk, see `corruption-reported`.
                Some((id, node)),
            ) if node.harm == Harm::None => broken(RULE, format!("n{id}: {error}")),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::RULE;

    #[test]
    fn only_an_injected_fault_excuses_a_failed_open() {
        let start = || Stream::new().up(1, empty()).power_cut(1).boot(1);
        start().open_failed(1, true).boot(1).up(1, empty()).passes();
        start().open_failed(1, false).breaks(RULE);
        start().up(1, empty()).died(1, true).passes();
        start().up(1, empty()).died(1, false).breaks(RULE);
    }
}
