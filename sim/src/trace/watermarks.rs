//! The most of everything that a run came to: how far its stress went.

use std::collections::BTreeMap;

use afterimage_engine::raft::Body;
use afterimage_engine::{Event, Index, NodeId, Role};

use super::{Record, What};

/// Keeps the highest value by label.
#[derive(Debug, Clone, Default)]
pub struct Watermarks {
    highest: BTreeMap<&'static str, u64>,
    /// The first and the last index of each log.
    logs: BTreeMap<NodeId, (Index, Index)>,
    elections: u64,
    installs: u64,
    power_cuts: u64,
}

impl Watermarks {
    pub fn new() -> Self {
        Watermarks::default()
    }

    /// The labels with their values, as far as there are any.
    pub fn highest(&self) -> &BTreeMap<&'static str, u64> {
        &self.highest
    }

    pub fn raise(&mut self, label: &'static str, value: u64) {
        let highest = self.highest.entry(label).or_default();
        *highest = value.max(*highest);
    }

    pub fn record(&mut self, record: &Record) {
        match (&record.what, record.node) {
            (What::Engine(event), Some(id)) => self.event(id, event),
            (What::Up(contents), Some(id)) => {
                self.log(id, Some(contents.first_index), Some(contents.last_index));
            }
            (What::Boot { incarnation }, _) => self.raise("restarts-of-a-node", incarnation - 1),
            (What::PowerCut(_), _) => {
                self.power_cuts += 1;
                self.raise("power-cuts", self.power_cuts);
            }
            (What::Sent(message), _) => match &message.body {
                Body::Append { entries, .. } => {
                    self.raise("entries-of-an-append", entries.len() as u64);
                }
                Body::Snapshot { offset, data, .. } => {
                    self.raise("bytes-of-a-snapshot", offset + data.len() as u64);
                }
                _ => {}
            },
            (
                What::Converged {
                    within_us: Some(us),
                },
                _,
            ) => {
                self.raise("ms-to-converge", us.div_ceil(1000));
            }
            _ => {}
        }
    }

    fn event(&mut self, id: NodeId, event: &Event) {
        match event {
            Event::Appended { entries } => {
                self.log(id, None, entries.last().map(|entry| entry.index));
            }
            Event::Purged { first, .. } => self.log(id, Some(*first), None),
            Event::SnapshotInstalled { meta, kept_suffix } => {
                self.installs += 1;
                self.raise("installs", self.installs);
                let last = (!kept_suffix).then_some(meta.last_index);
                self.log(id, None, last);
            }
            Event::RoleChanged { term, role, .. } => {
                self.raise("term", term.0);
                if *role == Role::Leader {
                    self.elections += 1;
                    self.raise("elections", self.elections);
                }
            }
            Event::MembershipChanged { membership, .. } => {
                self.raise("voters", membership.voters.len() as u64);
            }
            Event::Committed { index, .. } => self.raise("committed-entries", index.0),
            _ => {}
        }
    }

    fn log(&mut self, id: NodeId, first: Option<Index>, last: Option<Index>) {
        let log = self.logs.entry(id).or_insert((Index(1), Index(0)));
        log.0 = first.unwrap_or(log.0);
        log.1 = last.unwrap_or(log.1);
        let entries = (log.1.0 + 1).saturating_sub(log.0.0);
        self.raise("entries-of-a-log", entries);
    }
}

#[cfg(test)]
mod tests {
    use super::Watermarks;
    use crate::check::testing::{Stream, e, empty};

    #[test]
    fn the_highest_value_counts() {
        let stream = Stream::new()
            .up(1, empty())
            .append(1, &[e(1, 1), e(1, 2), e(1, 3)])
            .append(2, &[e(1, 1)])
            .installed(2, 9, 1, false)
            .installed(1, 9, 1, true)
            .power_cut(1);
        let mut watermarks = Watermarks::new();
        for record in &stream.records() {
            watermarks.record(record);
        }
        watermarks.raise("installs", 1);
        let expected = [("entries-of-a-log", 9), ("installs", 2), ("power-cuts", 1)];
        assert_eq!(watermarks.highest(), &expected.into());
    }
}
