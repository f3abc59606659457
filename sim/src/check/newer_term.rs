//! hard-state-monotonic: who was answered in a newer term does not speak as the
//! leader of an older one (Raft, 5.1).
//!
//! Nobody believes such a leader, so it does no harm that another judge would
//! see; but it takes proposals in vain until it notices.

use std::collections::BTreeMap;

use afterimage_engine::raft::Body;
use afterimage_engine::{NodeId, Term};

use super::{Judge, Model, broken};
use crate::trace::{Record, What};
use crate::verdict::{Invariant::HardStateMonotonic as RULE, Violation};

/// Answers that are never given in a term that is only asked about.
const ANSWERS: [&str; 5] = [
    "vote-reply",
    "append-accepted",
    "append-rejected",
    "heartbeat-reply",
    "snapshot-wanted",
];

#[derive(Default, Clone)]
pub struct NewerTerm {
    /// The newest term in which each node was answered, in this incarnation.
    answered: BTreeMap<NodeId, Term>,
}

impl Judge for NewerTerm {
    fn record(&mut self, record: &Record, _: &Model) -> Result<(), Violation> {
        if let (What::Boot { .. }, Some(id)) = (&record.what, record.node) {
            self.answered.remove(&id);
        }
        Ok(())
    }

    fn message(&mut self, record: &Record, _: &Model) -> Result<(), Violation> {
        let Some(id) = record.node else {
            return Ok(());
        };
        match &record.what {
            What::Delivered { kind, term, .. } if ANSWERS.contains(kind) => {
                let newest = self.answered.entry(id).or_default();
                *newest = (*newest).max(*term);
            }
            What::Sent(message) if leads(&message.body) => {
                let newest = self.answered.get(&id).copied().unwrap_or_default();
                if message.term < newest {
                    let what = format!(
                        "n{id}: leads in term {}, answered in term {newest}",
                        message.term
                    );
                    return broken(RULE, what);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Only a leader says this.
fn leads(body: &Body) -> bool {
    matches!(
        body,
        Body::Append { .. } | Body::Heartbeat { .. } | Body::Snapshot { .. } | Body::TimeoutNow
    )
}

#[cfg(test)]
mod tests {
    use afterimage_engine::Index;
    use afterimage_engine::Role::Leader;
    use afterimage_engine::raft::Body;

    use super::super::testing::*;
    use super::RULE;

    #[test]
    fn a_leader_heeds_a_newer_term_in_an_answer() {
        fn heartbeat() -> Body {
            Body::Heartbeat {
                commit: Index(0),
                round: 1,
            }
        }
        let start = || {
            Stream::new()
                .up(1, empty())
                .hard_state(1, 2, Some(1))
                .role(1, 2, Leader)
        };
        let answered = |kind, term| start().delivered(1, 2, kind, term);
        answered("heartbeat-reply", 2)
            .sent(1, 2, 2, heartbeat())
            .passes();
        answered("heartbeat-reply", 3).passes();
        answered("heartbeat-reply", 3)
            .sent(1, 2, 2, heartbeat())
            .breaks(RULE);
        // Of a pre-vote, the term may never come to be.
        answered("pre-vote-reply", 3)
            .sent(1, 2, 2, heartbeat())
            .passes();
        // A restart forgets what was not durable.
        let back = answered("vote-reply", 3).boot(1);
        back.up(1, voted(empty(), 2, Some(1)))
            .sent(1, 2, 2, heartbeat())
            .passes();
    }
}
