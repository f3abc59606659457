//! The file operations that faults aim at. Names are those of one log directory
//! (`log-<base>-<generation>.seg`, `hardstate`, `snapshot`), and of the temporary
//! files that become them (`segment-*.tmp`, `hardstate-*.tmp`, `snapshot-*.tmp`).

use crate::disk::{FaultKind, OpKind, Pattern};
use crate::plan::StoreOp;

/// An operation to aim at, and how many of its kind to let pass at the most.
pub(super) struct Aim {
    pub(super) kind: Option<OpKind>,
    name: &'static str,
    pub(super) nth_max: u64,
}

impl Aim {
    pub(super) fn pattern(&self) -> Pattern {
        Pattern {
            kind: self.kind,
            name: self.name.to_string(),
        }
    }
}

const fn aim(kind: OpKind, name: &'static str, nth_max: u64) -> Aim {
    Aim {
        kind: Some(kind),
        name,
        nth_max,
    }
}

pub(super) const ANY: Aim = Aim {
    kind: None,
    name: "*",
    nth_max: 60,
};

/// Where crashes land while a node works.
pub(super) const WORK: &[Aim] = &[
    aim(OpKind::Write, "log-*", 8),
    aim(OpKind::Sync, "log-*", 4),
    aim(OpKind::Rename, "log-*", 2),
    aim(OpKind::Write, "segment-*", 3),
    aim(OpKind::Sync, "segment-*", 2),
    aim(OpKind::SyncDir, "*", 4),
    aim(OpKind::Write, "hardstate", 2),
    aim(OpKind::Sync, "hardstate", 2),
    aim(OpKind::Write, "snapshot-*", 6),
    aim(OpKind::Sync, "snapshot-*", 1),
    aim(OpKind::Rename, "snapshot", 1),
    aim(OpKind::Unlink, "log-*", 2),
    ANY,
];

/// Where they land while it recovers; most recoveries have about 10 operations.
pub(super) const RECOVERY: &[Aim] = &[
    Aim {
        kind: None,
        name: "*",
        nth_max: 12,
    },
    aim(OpKind::Write, "segment-*", 2),
    aim(OpKind::Rename, "log-*", 1),
    aim(OpKind::SyncDir, "*", 3),
    aim(OpKind::Unlink, "*", 3),
    aim(OpKind::Write, "hardstate", 1),
];

/// Where they land while it installs a snapshot.
pub(super) const INSTALL: &[Aim] = &[
    aim(OpKind::Write, "snapshot-*", 6),
    aim(OpKind::Rename, "snapshot", 1),
    aim(OpKind::SyncDir, "*", 3),
    aim(OpKind::Unlink, "log-*", 3),
];

/// Syncs that fail.
pub(super) const SYNCS: &[Aim] = &[
    aim(OpKind::Sync, "log-*", 5),
    aim(OpKind::Sync, "log-*", 5),
    aim(OpKind::Sync, "hardstate", 2),
    aim(OpKind::Sync, "segment-*", 2),
    aim(OpKind::Sync, "snapshot-*", 1),
    aim(OpKind::SyncDir, "*", 3),
];

/// Other operations that fail, and how.
pub(super) const FAILURES: &[(Aim, FaultKind)] = &[
    (aim(OpKind::Write, "log-*", 5), FaultKind::Eio),
    (aim(OpKind::Write, "*", 10), FaultKind::Eio),
    (aim(OpKind::Write, "log-*", 5), FaultKind::Short),
    (aim(OpKind::Write, "*", 10), FaultKind::Enospc),
    (aim(OpKind::Sync, "log-*", 5), FaultKind::Enospc),
    (aim(OpKind::Allocate, "*", 2), FaultKind::Enospc),
    (aim(OpKind::Create, "*", 2), FaultKind::Enospc),
    (aim(OpKind::Rename, "*", 2), FaultKind::Eio),
    (aim(OpKind::Rename, "*", 2), FaultKind::EioDone),
    (aim(OpKind::Unlink, "*", 2), FaultKind::Eio),
    (aim(OpKind::Read, "*", 5), FaultKind::Eio),
    (aim(OpKind::Read, "*", 5), FaultKind::Short),
];

const fn any(nth_max: u64) -> Aim {
    Aim {
        kind: None,
        name: "*",
        nth_max,
    }
}

// The operations of one piece of work on a store.

/// Behind the last record, or into a new segment.
const APPEND: &[Aim] = &[
    aim(OpKind::Write, "*", 1),
    aim(OpKind::Sync, "*", 1),
    aim(OpKind::Rename, "log-*", 1),
    aim(OpKind::SyncDir, "*", 1),
    any(2),
    any(5),
];
/// Of several segments, and their names.
const SYNC: &[Aim] = &[
    aim(OpKind::Sync, "*", 3),
    aim(OpKind::SyncDir, "*", 1),
    any(4),
];
const HARD_STATE: &[Aim] = &[
    aim(OpKind::Write, "hardstate", 1),
    aim(OpKind::Sync, "hardstate", 1),
];
const SNAPSHOT: &[Aim] = &[
    aim(OpKind::Write, "snapshot-*", 4),
    aim(OpKind::Sync, "snapshot-*", 1),
    aim(OpKind::Rename, "snapshot", 1),
    aim(OpKind::SyncDir, "*", 1),
    any(8),
];
const CLEAN: &[Aim] = &[
    aim(OpKind::Unlink, "*", 3),
    aim(OpKind::SyncDir, "*", 1),
    any(4),
];
const OTHER: &[Aim] = &[any(3)];

/// Where faults land in a piece of work on a store.
pub(super) fn of_work(op: &StoreOp) -> &'static [Aim] {
    match op {
        StoreOp::Append { .. } | StoreOp::Truncate { .. } => APPEND,
        StoreOp::Sync => SYNC,
        StoreOp::HardState { .. } => HARD_STATE,
        StoreOp::Save { .. } | StoreOp::Install { .. } => SNAPSHOT,
        StoreOp::Clean { .. } => CLEAN,
        _ => OTHER,
    }
}
