//! A state machine that counts.

use afterimage_engine::store::SnapshotSource;
use afterimage_openraft::{LogId, Machine};

use crate::Types;

/// How many entries were applied; a snapshot of it is of about that size.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally {
    pub applied: Vec<u8>,
}

impl Machine<Types> for Tally {
    fn apply(&mut self, log_id: LogId, _: Option<String>) -> u64 {
        self.applied.extend(log_id.index.to_le_bytes());
        log_id.index
    }

    fn snapshot(&self) -> Box<dyn SnapshotSource> {
        Box::new(Frozen(self.applied.clone()))
    }

    fn reset(&mut self) {
        self.applied.clear();
    }

    fn restore(&mut self, piece: &[u8]) {
        self.applied.extend(piece);
    }

    fn restored(&mut self) -> Result<(), String> {
        match self.applied.len() % 8 {
            0 => Ok(()),
            more => Err(format!("{more} bytes too many")),
        }
    }
}

struct Frozen(Vec<u8>);

impl SnapshotSource for Frozen {
    fn read(&mut self, out: &mut Vec<u8>, max: usize) -> bool {
        out.extend(self.0.drain(..max.min(self.0.len())));
        !self.0.is_empty()
    }
}
