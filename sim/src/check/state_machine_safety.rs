//! state-machine-safety: no two nodes apply different entries at one index
//! (Raft thesis, figure 3.2).

use std::collections::BTreeMap;

use afterimage_engine::{EntryId, Event, Index, NodeId, Term};

use super::{Judge, Model, NodeModel, broken};
use crate::trace::{Contents, Record, What};
use crate::verdict::{Invariant::StateMachineSafety as RULE, Violation};

/// The same of what is committed, and of the states that snapshots hold; and
/// each node applies in order, without a gap. What every node has a snapshot
/// of is forgotten.
#[derive(Default, Clone)]
pub struct StateMachineSafety {
    applied: BTreeMap<Index, EntryId>,
    /// Term and CRC of the snapshots seen, by their last index.
    snapshots: BTreeMap<Index, (Term, u32)>,
    /// How far each state machine is.
    at: BTreeMap<NodeId, Index>,
}

impl Judge for StateMachineSafety {
    fn record(&mut self, record: &Record, model: &Model) -> Result<(), Violation> {
        let Some((id, node)) = model.node_of(record) else {
            return Ok(());
        };
        let found = match &record.what {
            What::Boot { .. } => {
                self.at.insert(id, Index(0));
                Ok(())
            }
            What::Up(contents) => self.recovered(id, model, contents),
            What::Engine(event) => self.event(id, model, node, event),
            _ => Ok(()),
        };
        found.or_else(|what| broken(RULE, format!("n{id}: {what}")))
    }
}

impl StateMachineSafety {
    fn event(
        &mut self,
        id: NodeId,
        model: &Model,
        node: &NodeModel,
        event: &Event,
    ) -> Result<(), String> {
        match event {
            Event::Committed { index, .. } => check_commit(model, node, *index),
            Event::Appended { entries } => match entries.first() {
                Some(first) => check_truncation(node, first.index),
                None => Ok(()),
            },
            Event::TruncateRequested { from } => check_truncation(node, *from),
            Event::Applied { entry } => self.applied(id, model, *entry),
            Event::Restored {
                last_index,
                last_term,
            } => {
                self.at.insert(id, *last_index);
                check_restored(model, *last_index, *last_term)
            }
            Event::SnapshotSaved { .. } | Event::SnapshotInstalled { .. } => {
                let keep = model.snapshot_everywhere();
                self.applied = self.applied.split_off(&keep);
                self.snapshots = self.snapshots.split_off(&keep);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn applied(&mut self, id: NodeId, model: &Model, entry: EntryId) -> Result<(), String> {
        let at = self.at.entry(id).or_default();
        if entry.index != at.next() {
            return Err(format!("applied {} after {at}", entry.index));
        }
        *at = entry.index;
        let committed = model.committed.get(entry.index).map(|c| c.entry);
        let agreed = *self.applied.entry(entry.index).or_insert(entry);
        match committed.filter(|c| *c != entry).or(Some(agreed)) {
            Some(other) if other != entry => Err(format!(
                "applied {}, others {}",
                name(entry),
                name_beside(other, entry)
            )),
            _ => Ok(()),
        }
    }

    fn recovered(&mut self, id: NodeId, model: &Model, contents: &Contents) -> Result<(), String> {
        let Some((last_index, last_term, crc)) = contents.snapshot else {
            return Ok(());
        };
        // The state machine starts from the snapshot.
        let at = self.at.entry(id).or_default();
        *at = last_index.max(*at);
        let state = (last_term, crc);
        if *self.snapshots.entry(last_index).or_insert(state) != state {
            return Err(format!(
                "its snapshot up to {last_index} holds another state than others"
            ));
        }
        match model.committed.get(last_index) {
            Some(c) if c.entry.term != last_term => Err(format!(
                "its snapshot ends with {last_term}/{last_index}, committed was {}",
                name(c.entry)
            )),
            _ => Ok(()),
        }
    }
}

fn check_commit(model: &Model, node: &NodeModel, index: Index) -> Result<(), String> {
    let mut at = node.commit.max(node.store.snapshot_index()).next();
    while at <= index {
        let Some(entry) = node.store.entry(at) else {
            return Err(format!(
                "committed {index}, its log ends at {}",
                node.store.last_index()
            ));
        };
        if let Some(c) = model.committed.get(at)
            && c.entry != entry
        {
            return Err(format!(
                "committed {}, others {}",
                name(entry),
                name_beside(c.entry, entry)
            ));
        }
        at = at.next();
    }
    Ok(())
}

fn check_truncation(node: &NodeModel, from: Index) -> Result<(), String> {
    if from <= node.commit && from <= node.store.last_index() {
        return Err(format!(
            "truncated from {from}, committed up to {}",
            node.commit
        ));
    }
    Ok(())
}

fn check_restored(model: &Model, last_index: Index, last_term: Term) -> Result<(), String> {
    match model.committed.get(last_index) {
        Some(c) if c.entry.term != last_term => Err(format!(
            "restored {last_term}/{last_index}, committed was {}",
            name(c.entry)
        )),
        None if last_index > model.committed.last() => Err(format!(
            "restored {last_term}/{last_index}, committed up to {}",
            model.committed.last()
        )),
        _ => Ok(()),
    }
}

fn name(entry: EntryId) -> String {
    format!("{}/{}", entry.term, entry.index)
}

/// Two entries of one term differ in their content alone.
fn name_beside(other: EntryId, entry: EntryId) -> String {
    if other.term == entry.term {
        format!("another {}", name(other))
    } else {
        name(other)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::RULE;

    fn start() -> Stream {
        Stream::new()
            .append(1, &[e(1, 1), e(1, 2)])
            .append(2, &[e(1, 1), e(2, 2)])
            .committed(1, 2, 1)
    }

    #[test]
    fn one_committed_entry_an_index() {
        start().committed(2, 1, 2).passes();
        start().committed(2, 2, 2).breaks(RULE);
        start().committed(2, 3, 2).breaks(RULE);
        start().committed(1, 3, 2).breaks(RULE);
    }

    #[test]
    fn one_applied_entry_an_index() {
        start().applied(1, e(1, 1)).applied(2, e(1, 1)).passes();
        start().applied(2, e(1, 1)).applied(2, e(2, 2)).breaks(RULE);
        let unheard = || Stream::new().applied(1, e(1, 1));
        unheard().applied(2, e(2, 1)).breaks(RULE);
        unheard().applied(2, forged(1, 1)).breaks(RULE);
    }

    #[test]
    fn entries_are_applied_in_order() {
        start().applied(1, e(1, 1)).applied(1, e(1, 2)).passes();
        start().applied(1, e(1, 2)).breaks(RULE);
        start().applied(1, e(1, 1)).applied(1, e(1, 1)).breaks(RULE);
        start().restored(1, 1, 1).applied(1, e(1, 2)).passes();
        start()
            .applied(1, e(1, 1))
            .boot(1)
            .applied(1, e(1, 1))
            .passes();
        let snapshotted = || start().saved(1, 1, 1).boot(1);
        let contents = snapshot(log(&[e(1, 1), e(1, 2)]), 1, 1, 7);
        snapshotted()
            .up(1, contents.clone())
            .applied(1, e(1, 2))
            .passes();
        snapshotted()
            .up(1, contents)
            .applied(1, e(1, 1))
            .breaks(RULE);
    }

    #[test]
    fn committed_entries_are_not_truncated() {
        start().truncate(2, 2).passes();
        start().append(1, &[e(2, 3)]).append(1, &[e(3, 3)]).passes();
        start().truncate(1, 2).breaks(RULE);
        start().append(1, &[e(2, 2)]).breaks(RULE);
    }

    #[test]
    fn a_restored_state_is_a_committed_one() {
        start().restored(2, 2, 1).passes();
        start().restored(2, 2, 2).breaks(RULE);
        start().restored(2, 3, 1).breaks(RULE);
    }

    #[test]
    fn snapshots_of_one_index_hold_one_state() {
        let up = |crc| {
            Stream::new()
                .up(1, snapshot(empty_from(6), 5, 1, 7))
                .up(2, snapshot(empty_from(6), 5, 1, crc))
        };
        up(7).passes();
        up(8).breaks(RULE);
    }
}
