//! How often a run reached the situations in which stores have broken before.
//! A campaign in which one of them never happens proves little. Most are seen in
//! the records; where no record shows it, the engine marks the place (`Spot`).

use std::collections::{BTreeMap, BTreeSet};

use afterimage_engine::sometimes::take;
use afterimage_engine::{Event, Index, NodeId, Phase, Role};

use super::changes::Changes;
use super::names::{is_temporary, short};
use super::{Record, What};
use crate::disk::{CrashPoint, CrashReport, FaultKind, OpKind, OpOutcome, OpRecord};

/// Every label, in the order of reports.
pub const LABELS: [&str; 21] = [
    "crash-between-temp-write-and-rename",
    "crash-between-rename-and-dir-sync",
    "torn-record",
    "torn-snapshot",
    "crash-during-recovery",
    "crash-during-roll",
    "crash-during-truncation",
    "crash-of-leader",
    "leader-in-minority",
    "suffix-truncated-by-leader",
    "snapshot-installed",
    "purge-after-snapshot",
    "sync-failed",
    "disk-full",
    "kill-then-power-cut",
    "learner-added",
    "member-added",
    "member-removed",
    "leader-removed-itself",
    "change-undone",
    "leadership-transferred",
];

/// Counts them from the records of a run. A crash here is a power cut, and each
/// counts once for each label, at each node.
#[derive(Debug, Clone, Default)]
pub struct Sometimes {
    counts: BTreeMap<&'static str, u64>,
    nodes: BTreeMap<NodeId, Node>,
    changes: Changes,
}

/// What is under way at a node.
#[derive(Debug, Clone, Default)]
struct Node {
    phases: BTreeSet<Phase>,
    /// Temporary files of this incarnation that wait for their rename.
    temporary: BTreeMap<String, Temporary>,
    /// A rename was done, and no sync of a directory since.
    renamed: bool,
    leads: bool,
    /// The last index of the log as its readers see it.
    last_index: Index,
    /// Conflicts: suffixes that a leader's entries replaced, not yet durably.
    conflicts: BTreeSet<Index>,
    has_snapshot: bool,
    life: Life,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Life {
    #[default]
    Ran,
    Killed,
    /// Started again after a kill; the power has not gone since.
    BootedAfterKill,
}

#[derive(Debug, Clone, Copy, Default)]
struct Temporary {
    /// Bytes written so far reach up to here.
    end: u64,
    /// Something was written over what had been written before.
    rewritten: bool,
}

impl Sometimes {
    pub fn new() -> Self {
        // What was before on this thread was not this run.
        take().for_each(drop);
        Sometimes::default()
    }

    /// Every label with its count, those with none included.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        LABELS
            .iter()
            .map(|label| (*label, self.counts.get(label).copied().unwrap_or(0)))
            .collect()
    }

    /// The same, and the places that the engine marks in its own code: how often
    /// it was there on this thread since they were last counted.
    /// What only a store alone comes to is left out for a cluster, and the other
    /// way round.
    pub fn counts_with_spots(&self, alone: bool) -> BTreeMap<&'static str, u64> {
        let spots = take().filter(|(spot, _)| match alone {
            true => !spot.is_of_raft(),
            false => !spot.is_of_a_store_alone(),
        });
        let spots = spots.map(|(spot, count)| (spot.name(), count));
        self.counts().into_iter().chain(spots).collect()
    }

    pub fn record(&mut self, record: &Record) {
        if let What::Fault {
            kind: "leader-in-minority",
        } = record.what
        {
            self.count("leader-in-minority");
        }
        let mut reached = self.changes.record(record);
        let Some(id) = record.node else { return };
        if let What::Sent(_) | What::Delivered { .. } = record.what {
            return;
        }
        let node = self.nodes.entry(id).or_default();
        match &record.what {
            What::Engine(event) => reached.extend(node.event(event)),
            What::Disk(op) => reached.extend(node.op(op)),
            What::PowerCut(report) => {
                reached.extend(node.crash(report));
                node.stop(Life::Ran);
            }
            What::Killed => node.stop(Life::Killed),
            What::Died { .. } | What::OpenFailed { .. } => node.stop(node.life),
            What::Boot { .. } => {
                node.stop(match node.life {
                    Life::Ran => Life::Ran,
                    Life::Killed | Life::BootedAfterKill => Life::BootedAfterKill,
                });
            }
            What::Up(contents) => {
                node.last_index = contents.last_index;
                node.has_snapshot = contents.snapshot.is_some();
            }
            _ => {}
        }
        for label in reached {
            self.count(label);
        }
    }

    fn count(&mut self, label: &'static str) {
        assert!(LABELS.contains(&label), "{label} is not in the list");
        *self.counts.entry(label).or_default() += 1;
    }
}

impl Node {
    /// The process is gone, and with it all that was under way.
    fn stop(&mut self, life: Life) {
        *self = Node {
            has_snapshot: self.has_snapshot,
            life,
            ..Node::default()
        };
    }

    fn event(&mut self, event: &Event) -> Option<&'static str> {
        match event {
            Event::Begin(phase) => {
                self.phases.insert(*phase);
            }
            Event::End(phase) => {
                self.phases.remove(phase);
            }
            Event::RoleChanged { role, .. } => self.leads = *role == Role::Leader,
            Event::Appended { entries } => {
                if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
                    if first.index <= self.last_index {
                        self.conflicts.insert(first.index);
                    }
                    self.last_index = last.index;
                }
            }
            Event::TruncateRequested { from } => {
                self.last_index = self.last_index.min(from.prev());
            }
            Event::Truncated { from } if self.conflicts.remove(from) => {
                return Some("suffix-truncated-by-leader");
            }
            Event::SnapshotSaved { .. } => self.has_snapshot = true,
            Event::SnapshotInstalled { meta, kept_suffix } => {
                self.has_snapshot = true;
                if !kept_suffix {
                    self.last_index = meta.last_index;
                }
                return Some("snapshot-installed");
            }
            Event::Purged { segments, .. } if *segments > 0 && self.has_snapshot => {
                return Some("purge-after-snapshot");
            }
            _ => {}
        }
        None
    }

    fn op(&mut self, op: &OpRecord) -> Option<&'static str> {
        let failed = match op.outcome {
            OpOutcome::Injected(FaultKind::Enospc)
            | OpOutcome::Refused(std::io::ErrorKind::StorageFull) => return Some("disk-full"),
            OpOutcome::Injected(FaultKind::Eio | FaultKind::Erofs)
                if matches!(op.kind, OpKind::Sync | OpKind::SyncDir) =>
            {
                return Some("sync-failed");
            }
            OpOutcome::Ok
            | OpOutcome::Injected(
                FaultKind::Short | FaultKind::EioDone | FaultKind::Lost | FaultKind::Misdirected,
            )
            | OpOutcome::Crash(CrashPoint::After) => false,
            // Some of it may have been written.
            OpOutcome::Crash(CrashPoint::Mid) => op.kind != OpKind::Write,
            OpOutcome::Crash(CrashPoint::Before)
            | OpOutcome::Injected(_)
            | OpOutcome::Refused(_)
            | OpOutcome::Fenced => true,
        };
        if failed {
            return None;
        }
        match op.kind {
            OpKind::Write if is_temporary(&op.path) => {
                let file = self.temporary.entry(op.path.clone()).or_default();
                file.rewritten |= op.offset < file.end;
                file.end = file.end.max(op.offset + op.len);
            }
            OpKind::Rename => {
                self.temporary.remove(&op.path);
                self.renamed = true;
            }
            OpKind::Unlink => {
                self.temporary.remove(&op.path);
            }
            OpKind::SyncDir => self.renamed = false,
            _ => {}
        }
        None
    }

    fn crash(&self, report: &CrashReport) -> Vec<&'static str> {
        let torn = |kinds: &[&str]| {
            report
                .torn
                .iter()
                .any(|name| kinds.iter().any(|kind| short(name).starts_with(kind)))
        };
        let during = |phase| self.phases.contains(&phase);
        let between = self.temporary.iter().any(|(name, file)| {
            // A segment prepared ahead is only zeros and no loss: it counts
            // once its header is written, or while one is being made in place.
            let prepared = short(name).starts_with("segment") && !file.rewritten;
            !prepared || during(Phase::Roll) || during(Phase::Truncate) || during(Phase::Recovery)
        });
        [
            ("crash-between-temp-write-and-rename", between),
            ("crash-between-rename-and-dir-sync", self.renamed),
            ("torn-record", torn(&["log-", "segment"])),
            ("torn-snapshot", torn(&["snapshot"])),
            ("crash-during-recovery", during(Phase::Recovery)),
            ("crash-during-roll", during(Phase::Roll)),
            ("crash-during-truncation", during(Phase::Truncate)),
            ("crash-of-leader", self.leads),
            ("kill-then-power-cut", self.life == Life::BootedAfterKill),
        ]
        .into_iter()
        .filter_map(|(label, yes)| yes.then_some(label))
        .collect()
    }
}
