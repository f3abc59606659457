//! election-safety: at most one leader a term (Raft thesis, figure 3.2).

use std::collections::BTreeMap;

use afterimage_engine::raft::Body;
use afterimage_engine::{Event, NodeId, Role, Term};

use super::{Judge, Model, broken};
use crate::trace::{Record, What};
use crate::verdict::{Invariant::ElectionSafety as RULE, Violation};

/// A leader is who says so, or who speaks as one.
#[derive(Default, Clone)]
pub struct ElectionSafety {
    leaders: BTreeMap<Term, NodeId>,
}

impl Judge for ElectionSafety {
    fn record(&mut self, record: &Record, _: &Model) -> Result<(), Violation> {
        match (&record.what, record.node) {
            (
                What::Engine(Event::RoleChanged {
                    term,
                    role: Role::Leader,
                    ..
                }),
                Some(id),
            ) => self.leads(*term, id),
            _ => Ok(()),
        }
    }

    fn message(&mut self, record: &Record, _: &Model) -> Result<(), Violation> {
        match &record.what {
            What::Sent(message) => match message.body {
                Body::Append { .. } | Body::Heartbeat { .. } | Body::Snapshot { .. } => {
                    self.leads(message.term, message.from)
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

impl ElectionSafety {
    fn leads(&mut self, term: Term, node: NodeId) -> Result<(), Violation> {
        let leader = *self.leaders.entry(term).or_insert(node);
        if leader != node {
            return broken(RULE, format!("n{leader} and n{node} lead in term {term}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use afterimage_engine::Role::{Candidate, Leader};
    use afterimage_engine::{Index, raft::Body};

    use super::super::testing::*;
    use super::RULE;

    #[test]
    fn one_leader_a_term() {
        let start = || Stream::new().role(1, 2, Leader);
        start().role(2, 3, Leader).role(1, 4, Leader).passes();
        start().role(2, 2, Candidate).passes();
        start().role(2, 2, Leader).breaks(RULE);
    }

    #[test]
    fn who_speaks_as_a_leader_is_one() {
        let heartbeat = || Body::Heartbeat {
            commit: Index(0),
            round: 1,
        };
        let start = || {
            Stream::new()
                .hard_state(1, 2, None)
                .hard_state(2, 3, None)
                .sent(1, 3, 2, heartbeat())
        };
        start().sent(2, 3, 3, heartbeat()).passes();
        start().sent(2, 3, 2, heartbeat()).breaks(RULE);
    }
}
