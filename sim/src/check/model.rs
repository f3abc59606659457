//! What the trace has shown so far: the ground that all judges stand on.

use std::collections::BTreeMap;

use afterimage_engine::{EntryId, Event, Index, NodeId, Term};

use super::span::Span;
use super::store_model::StoreModel;
use crate::disk::{DamageKind, OpOutcome};
use crate::trace::{Record, What};

/// The cluster as its events describe it. A judge sees it as it was *before*
/// the record at hand.
#[derive(Debug, Default, Clone)]
pub struct Model {
    pub nodes: BTreeMap<NodeId, NodeModel>,
    /// Every committed entry, and the term of the leader that committed it.
    /// Forgotten below what every node has a snapshot of.
    pub committed: Span<Committed>,
    nothing: NodeModel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    pub entry: EntryId,
    /// The term in which it was committed, not that of the entry.
    pub term: Term,
}

/// One member.
#[derive(Debug, Default, Clone)]
pub struct NodeModel {
    pub store: StoreModel,
    pub state: State,
    /// The commit index of this incarnation.
    pub commit: Index,
    /// The worst that befell its disk so far.
    pub harm: Harm,
}

/// A latent fault of a disk: it holds other bytes than it acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Harm {
    #[default]
    None,
    /// Checksums show it.
    Seen,
    /// The newest that was written may be missing as if it had never been.
    Unseen,
}

impl Harm {
    /// What the record says about the disk of its node.
    pub fn of(what: &What) -> Self {
        match what {
            What::Fault { kind } if DamageKind::ALL.iter().any(|k| k.receipt() == *kind) => {
                Harm::Seen
            }
            What::Disk(op) => match op.outcome {
                OpOutcome::Injected(fault) if fault.is_latent() => Harm::Unseen,
                _ => Harm::None,
            },
            _ => Harm::None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    #[default]
    Down,
    /// Between `Boot` and `Up`. What recovery does then is judged by its
    /// result; its events promise nothing to anybody.
    Opening,
    Up,
}

impl Model {
    /// The node with this id; an empty one if nothing was heard of it yet.
    pub fn node(&self, id: NodeId) -> &NodeModel {
        self.nodes.get(&id).unwrap_or(&self.nothing)
    }

    /// The node this record is about, with its id.
    pub fn node_of(&self, record: &Record) -> Option<(NodeId, &NodeModel)> {
        record.node.map(|id| (id, self.node(id)))
    }

    /// Every node has a snapshot up to here (or there is none: 0).
    pub fn snapshot_everywhere(&self) -> Index {
        self.nodes
            .values()
            .map(|node| node.store.snapshot_index())
            .min()
            .unwrap_or_default()
    }

    pub fn apply(&mut self, record: &Record) {
        let Some(id) = record.node else { return };
        let node = self.nodes.entry(id).or_default();
        node.harm = node.harm.max(Harm::of(&record.what));
        match &record.what {
            What::Boot { .. } => {
                node.state = State::Opening;
                node.commit = Index(0);
            }
            What::Up(contents) => {
                // What could not be read stays promised.
                if contents.unreadable.is_none() {
                    node.store.recovered(contents);
                }
                node.state = State::Up;
                node.commit = node.store.snapshot_index();
            }
            What::Killed | What::Died { .. } | What::PowerCut(_) | What::OpenFailed { .. } => {
                node.state = State::Down;
            }
            What::SnapshotGiven {
                last_index,
                last_term,
                crc,
            } => node.store.give_snapshot(*last_index, *last_term, *crc),
            What::Engine(_) if node.state == State::Opening => {}
            What::Engine(Event::Committed { index, term }) => {
                node.commit = node.commit.max(*index);
                while self.committed.last() < *index {
                    let next = self.committed.last().next();
                    let Some(entry) = node.store.entry(next) else {
                        break;
                    };
                    self.committed.push(Committed { entry, term: *term });
                }
            }
            What::Engine(event) => {
                node.store.apply(event);
                if let Event::SnapshotSaved { .. } | Event::SnapshotInstalled { .. } = event {
                    let keep = self.snapshot_everywhere();
                    self.committed.forget_below(keep);
                }
            }
            _ => {}
        }
    }
}
