//! What became of changes of the membership, and of leaderships handed over.

use std::collections::BTreeMap;

use afterimage_engine::raft::Body;
use afterimage_engine::{Event, Index, Membership, NodeId, Role, Term};

use super::{Record, What};

/// Follows them from the proposal to the commit, and says what was reached.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes {
    founders: Membership,
    nodes: BTreeMap<NodeId, Node>,
    /// Who was told to lead, in the term of the one who told.
    told: BTreeMap<NodeId, Term>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    leads: bool,
    membership: Membership,
    changed_at: Index,
    /// What this leader proposed and has not committed.
    proposed: Vec<(Index, &'static str)>,
}

impl Changes {
    pub fn record(&mut self, record: &Record) -> Vec<&'static str> {
        match (&record.what, record.node) {
            (What::Members(founders), _) => self.founders = founders.clone(),
            (What::Sent(message), _) if matches!(message.body, Body::TimeoutNow) => {
                self.told.insert(message.to, message.term);
            }
            (What::Boot { .. }, Some(id)) => {
                let founder = self.founders.voters.contains(&id);
                let membership = founder.then(|| self.founders.clone());
                let node = Node {
                    membership: membership.unwrap_or_default(),
                    ..Node::default()
                };
                self.nodes.insert(id, node);
            }
            (What::Engine(event), Some(id)) => return self.event(id, event),
            _ => {}
        }
        Vec::new()
    }

    fn event(&mut self, id: NodeId, event: &Event) -> Vec<&'static str> {
        let node = self.nodes.entry(id).or_default();
        match event {
            Event::RoleChanged { role, term, .. } => {
                node.leads = *role == Role::Leader;
                node.proposed.clear();
                let told = self.told.get(&id).filter(|_| node.leads);
                if told.is_some_and(|told| told.next() == *term) {
                    return vec!["leadership-transferred"];
                }
            }
            Event::MembershipChanged { index, membership } => {
                let former = std::mem::replace(&mut node.membership, membership.clone());
                let before = std::mem::replace(&mut node.changed_at, *index);
                if node.leads {
                    let what = what_changed(id, &former, membership);
                    node.proposed.extend(what.map(|what| (*index, what)));
                } else if *index < before {
                    return vec!["change-undone"];
                }
            }
            Event::Committed { index, .. } if !node.proposed.is_empty() => {
                let done = node.proposed.extract_if(.., |(at, _)| *at <= *index);
                return done.map(|(_, what)| what).collect();
            }
            _ => {}
        }
        Vec::new()
    }
}

/// The label of a change that the leader `id` proposes.
fn what_changed(id: NodeId, former: &Membership, next: &Membership) -> Option<&'static str> {
    let left = |id: &&NodeId| !next.voters.contains(id) && !next.learners.contains(id);
    if next.voters.len() > former.voters.len() {
        Some("member-added")
    } else if let Some(gone) = former.voters.iter().find(left) {
        match *gone == id {
            true => Some("leader-removed-itself"),
            false => Some("member-removed"),
        }
    } else if next.learners.len() > former.learners.len() {
        Some("learner-added")
    } else {
        None
    }
}
