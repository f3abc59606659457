//! Snapshots of no state in particular.

use afterimage_engine::store::SnapshotSource;
use afterimage_engine::{Index, Membership, NodeId, SnapshotMeta, Term};

/// Its data, all at once.
pub struct Once(pub Vec<u8>);

impl SnapshotSource for Once {
    fn read(&mut self, out: &mut Vec<u8>, _: usize) -> bool {
        out.append(&mut self.0);
        false
    }
}

/// Of one member.
pub fn meta(term: u64, last: u64) -> SnapshotMeta {
    SnapshotMeta {
        last_index: Index(last),
        last_term: Term(term),
        membership: Membership {
            voters: vec![NodeId(1)],
            learners: Vec::new(),
        },
    }
}
