//! linearizable: the clients' history has a linearization.

use crate::linear::{self, Outcome};
use crate::trace::{History, Record};
use crate::verdict::{Invariant::Linearizable as RULE, Violation};

use super::{Judge, Model, broken};

/// The one judge that trusts in nothing but what the clients saw. It speaks at
/// the end of the run: where `fresh-reads`, which believes the versions that
/// the store gives its values, saw the same at once, that one names the failure.
#[derive(Clone, Default)]
pub struct Linearizable {
    history: History,
}

impl Judge for Linearizable {
    fn record(&mut self, record: &Record, _: &Model) -> Result<(), Violation> {
        self.history.record(record);
        Ok(())
    }

    fn finish(&mut self, _: &Model) -> Result<(), Violation> {
        let history = std::mem::take(&mut self.history).finish();
        match linear::check(&history) {
            Outcome::Linearizable => Ok(()),
            Outcome::Fails(explanation) => broken(RULE, explanation.to_string()),
            Outcome::Undecided { configurations } => broken(
                RULE,
                format!("not decided after {configurations} configurations"),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::RULE;

    #[test]
    fn what_clients_saw_has_an_order() {
        let start = || Stream::new().put(1, 1, 7, 10).get(2, 1, 7);
        start().wrote(1, 1, 5).read(2, 1, 0, 0).passes();
        start().wrote(1, 1, 5).read(2, 1, 5, 10).passes();
    }

    /// The store gives both puts versions that fit; their order in time does not.
    #[test]
    fn a_write_is_not_older_than_one_completed_before_it() {
        Stream::new()
            .put(1, 1, 7, 10)
            .wrote(1, 1, 5)
            .put(1, 2, 7, 11)
            .wrote(1, 2, 4)
            .get(2, 1, 7)
            .read(2, 1, 5, 10)
            .breaks_at_the_end(RULE);
    }
}
