//! What the trace has shown so far: the ground that all judges stand on.

use std::collections::BTreeMap;

use afterimage_engine::{EntryId, Event, Index, Membership, NodeId, Term};

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
    /// The newest membership that is committed, and from where on it counts.
    /// `None` if the run did not say who takes part.
    pub members: Option<(Index, Membership)>,
    /// Who takes part at the beginning.
    founders: Option<Membership>,
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
    /// The membership that counts here, and from where on, if it is known.
    pub membership: Option<(Index, Membership)>,
    /// The one of the last life, until this one has said what its log has.
    former: Option<(Index, Membership)>,
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
    /// It is gone, and its member with it.
    Lost,
}

/// The receipt of a lost disk.
pub const DISK_LOST: &str = "disk-lost";

impl Harm {
    /// What the record says about the disk of its node.
    pub fn of(what: &What) -> Self {
        match what {
            What::Fault { kind: DISK_LOST } => Harm::Lost,
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

    /// Whether the node takes part, by what is committed: everybody, if the run
    /// did not say who does.
    pub fn is_member(&self, id: NodeId) -> bool {
        self.members.as_ref().is_none_or(|(_, m)| takes_part(m, id))
    }

    /// Whether `node` believes that `other` takes part.
    pub fn believes(&self, node: NodeId, other: NodeId) -> bool {
        let membership = self.node(node).membership.as_ref();
        membership.is_some_and(|(_, membership)| takes_part(membership, other))
    }

    /// Whether the node's disk never went bad.
    pub fn is_sound(&self, id: NodeId) -> bool {
        self.node(id).harm == Harm::None
    }

    /// Whether more than half of the voters have sound disks, those of `but` not
    /// counted: in the membership that is committed, and in each that a sound
    /// member has in its log behind it. If not, nothing can be asked: what was
    /// lost may be all that there was.
    pub fn has_sound_quorum(&self, but: Option<NodeId>) -> bool {
        self.is_quorum(|id| Some(id) != but && self.is_sound(id))
    }

    /// Whether these are more than half of the voters, in each membership that
    /// may count.
    pub fn is_quorum(&self, is: impl Fn(NodeId) -> bool) -> bool {
        let Some((committed_at, committed)) = &self.members else {
            let these = self.nodes.keys().filter(|id| is(**id));
            return these.count() * 2 > self.nodes.len();
        };
        let known = self.nodes.iter().filter(|(id, _)| self.is_sound(**id));
        let newer = known
            .flat_map(|(_, node)| node.membership.iter().chain(&node.former))
            .filter(|(at, _)| at > committed_at);
        let mut all = newer.map(|(_, m)| m).chain([committed]);
        all.all(|m| m.voters.iter().filter(|id| is(**id)).count() * 2 > m.voters.len())
    }

    pub fn apply(&mut self, record: &Record) {
        if let What::Members(founders) = &record.what {
            self.founders = Some(founders.clone());
            self.members = Some((Index(0), founders.clone()));
        }
        let Some(id) = record.node else { return };
        let node = self.nodes.entry(id).or_default();
        node.harm = node.harm.max(Harm::of(&record.what));
        match &record.what {
            What::Boot { .. } => {
                node.state = State::Opening;
                node.commit = Index(0);
                let said = node.membership.take().filter(|(at, _)| *at > Index(0));
                node.former = said.or(node.former.take());
                node.membership = self.founders.as_ref().map(|founders| {
                    let one_of_them = takes_part(founders, id);
                    let known = one_of_them.then(|| founders.clone());
                    (Index(0), known.unwrap_or_default())
                });
            }
            What::Up(contents) => {
                // What could not be read stays promised.
                if contents.unreadable.is_none() {
                    node.store.recovered(contents);
                }
                let last = node.store.last_index();
                node.former.take_if(|(at, _)| *at > last);
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
            What::Engine(Event::MembershipChanged { index, membership }) => {
                node.membership = Some((*index, membership.clone()));
                node.former = None;
            }
            What::Engine(_) if node.state == State::Opening => {}
            What::Engine(Event::Committed { index, term }) => {
                node.commit = node.commit.max(*index);
                if let (Some(own), Some(newest)) = (&node.membership, &mut self.members)
                    && own.0 <= node.commit
                    && own.0 > newest.0
                {
                    newest.clone_from(own);
                }
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

/// Whether the node is a voter or a learner.
fn takes_part(membership: &Membership, id: NodeId) -> bool {
    membership.voters.contains(&id) || membership.learners.contains(&id)
}
