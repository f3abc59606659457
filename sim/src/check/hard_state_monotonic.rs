//! hard-state-monotonic: the term never decreases, the vote never changes
//! within a term.

use std::collections::BTreeMap;
use std::hash::Hash;

use afterimage_engine::{Event, HardState, NodeId, Role, Term};
use xxhash_rust::xxh3::Xxh3;

use super::{Judge, Model, broken};
use crate::trace::{Record, What};
use crate::verdict::{Invariant::HardStateMonotonic as RULE, Violation};

/// On the disk over the whole run, in memory within an incarnation. (What a
/// crash does to it is judged by `acked-durable`.)
#[derive(Default, Clone)]
pub struct HardStateMonotonic {
    nodes: BTreeMap<NodeId, Seen>,
}

#[derive(Default, Clone, Hash)]
struct Seen {
    durable: HardState,
    memory: HardState,
}

impl Judge for HardStateMonotonic {
    fn record(&mut self, record: &Record, _: &Model) -> Result<(), Violation> {
        let Some(id) = record.node else {
            return Ok(());
        };
        let seen = self.nodes.entry(id).or_default();
        let found = match &record.what {
            What::Boot { .. } => {
                seen.memory = HardState::default();
                Ok(())
            }
            What::Up(contents) => {
                seen.durable = contents.hard_state;
                advance(&mut seen.memory, contents.hard_state)
            }
            What::Engine(Event::HardStateDurable { hard_state }) => {
                advance(&mut seen.durable, *hard_state)
            }
            What::Engine(Event::Voted { term, candidate }) => {
                advance(&mut seen.memory, in_term(*term, Some(*candidate)))
            }
            // A pre-candidate only asks about a term.
            What::Engine(Event::RoleChanged { term, role, .. }) if *role != Role::PreCandidate => {
                let vote = seen.memory.vote.filter(|_| seen.memory.term == *term);
                advance(&mut seen.memory, in_term(*term, vote))
            }
            _ => Ok(()),
        };
        found.or_else(|what| broken(RULE, format!("n{id}: {what}")))
    }

    fn remember(&self, memory: &mut Xxh3) {
        self.nodes.hash(memory);
    }
}

fn in_term(term: Term, vote: Option<NodeId>) -> HardState {
    HardState { term, vote }
}

fn advance(old: &mut HardState, new: HardState) -> Result<(), String> {
    if new.term < old.term {
        return Err(format!("term {} after term {}", new.term, old.term));
    }
    if new.term == old.term && old.vote.is_some() && new.vote != old.vote {
        return Err(format!("the vote in term {} changed", new.term));
    }
    *old = new;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::RULE;

    #[test]
    fn on_disk() {
        let start = || Stream::new().up(1, empty()).hard_state(1, 2, Some(3));
        start().hard_state(1, 3, None).passes();
        start().hard_state(1, 2, Some(3)).passes();
        start().hard_state(1, 1, None).breaks(RULE);
        start().hard_state(1, 2, Some(1)).breaks(RULE);
        start().hard_state(1, 2, None).breaks(RULE);
    }

    #[test]
    fn in_memory() {
        use afterimage_engine::Role::{Candidate, Follower, PreCandidate};
        let start = || Stream::new().up(1, empty()).voted(1, 2, 3);
        start().voted(1, 2, 3).voted(1, 3, 1).passes();
        start().voted(1, 2, 1).breaks(RULE);
        start().voted(1, 1, 1).breaks(RULE);
        start().role(1, 3, Candidate).voted(1, 3, 1).passes();
        start().role(1, 2, Follower).voted(1, 2, 1).breaks(RULE);
        start().role(1, 1, Follower).breaks(RULE);
        start()
            .role(1, 3, PreCandidate)
            .role(1, 2, Follower)
            .passes();
        // What was not durable is forgotten with the process.
        start().boot(1).up(1, empty()).voted(1, 2, 1).passes();
        let recovered = voted(empty(), 2, Some(3));
        start()
            .submitted(1, 2, Some(3))
            .boot(1)
            .up(1, recovered)
            .voted(1, 2, 1)
            .breaks(RULE);
    }
}
