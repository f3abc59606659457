//! The judges: one file an invariant. They see only the trace.

use crate::trace::Record;
use crate::verdict::Violation;

/// Watches a run and speaks up when its rule is broken.
pub trait Judge {
    fn record(&mut self, record: &Record) -> Result<(), Violation>;
    /// The run is over.
    fn finish(&mut self) -> Result<(), Violation> {
        Ok(())
    }
}

/// All judges for a cluster run.
#[allow(clippy::todo)]
pub fn all() -> Vec<Box<dyn Judge>> {
    todo!()
}
